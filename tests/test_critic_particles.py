"""Particles driven by fitted critics: the exact flow of a divergence between Gaussians, speeds that L bounds."""

import pytest
import torch

from wgf import evolve
from wgf.critics import Critic
from wgf.errors import Incompatible, InputError
from wgf.functionals import Entropy, FDivergence, KullbackLeibler, Lipschitz, Potential, Quadratic
from wgf.law import Empirical, Gaussian
from wgf.steppers import CriticParticles
from wgf.training import Adam

RHO0, PI = Gaussian([2.0, 0.0], torch.eye(2)), Gaussian.standard(2)
TRAINED = Adam(80, 1024, 8e-3)


@pytest.mark.parametrize(
    "F",
    [
        FDivergence(KullbackLeibler(), PI),
        Entropy() + Potential(Quadratic(torch.eye(2))),
    ],
    ids=["samples", "density"],
)
def test_the_divergence_to_a_gaussian_contracts_the_mean_as_ornstein_and_uhlenbeck(F):
    """ẋ = −∇ log ρ/π: from N(m, 1) to N(0, 1) the mean decays as e^{−t}, the covariance stays, and F = ½|m|²."""
    steps, tau = 5, 0.2
    path = evolve(F, CriticParticles(Critic(2, 32), TRAINED, particles=3000), RHO0, [tau] * steps, seed=0)
    x = path.final.x
    mean = 2 * (1 - tau) ** steps
    torch.testing.assert_close(x.mean(0), torch.tensor([mean, 0.0]), atol=0.1, rtol=0)
    torch.testing.assert_close(x.T.cov(), torch.eye(2), atol=0.15, rtol=0)
    if isinstance(F, FDivergence):
        assert path.infos[-1].total == pytest.approx(0.5 * mean**2, abs=0.06)
        assert path.infos[-1].measures["mass, FDivergence(KullbackLeibler)"] == pytest.approx(1, abs=0.1)


def test_a_lipschitz_term_bounds_the_speed_and_reaches_laws_with_no_overlap():
    """Between two far points KL is infinite; with L = 1 every particle moves at speed one, straight."""
    start, goal = Empirical(torch.tensor([[3.0, 4.0]]).repeat(500, 1)), Empirical(torch.zeros(500, 2))
    F = Lipschitz(FDivergence(KullbackLeibler(), goal), 1.0)
    path = evolve(F, CriticParticles(Critic(2, 32), TRAINED, particles=500), start, [0.5] * 4, seed=0)
    assert all(info.moved <= 0.5 * 1.05 for info in path.infos)
    torch.testing.assert_close(path.final.x.mean(0), torch.tensor([1.8, 2.4]), atol=0.12, rtol=0)


def test_bad_input_is_refused():
    with pytest.raises(Incompatible, match="the critic reads 3 dimensions, but the particles have 2"):
        evolve(FDivergence(KullbackLeibler(), PI), CriticParticles(Critic(3), particles=10), RHO0, [0.1])
    with pytest.raises(Incompatible, match="compares with 3 dimensions, but the particles have 2"):
        evolve(
            FDivergence(KullbackLeibler(), Gaussian.standard(3)), CriticParticles(Critic(2), particles=10), RHO0, [0.1]
        )
    with pytest.raises(InputError, match="particles must be an integer of at least 2"):
        CriticParticles(Critic(2), particles=1)
