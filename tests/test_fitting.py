"""A critic fitted on its own: near the closed form and below it, and a word where its value says little."""

import logging
import math

import pytest
import torch
import zoo

from wgf import evolve
from wgf.critics import Critic, LipschitzCritic
from wgf.errors import Incompatible, InputError
from wgf.fitting import fit, worth
from wgf.functionals import (
    DonskerVaradhan,
    Entropy,
    FDivergence,
    Hinge,
    KullbackLeibler,
    Lipschitz,
    PearsonChi2,
    TotalVariation,
)
from wgf.law import Box, Cloud, Gaussian
from wgf.maps import Affine
from wgf.steppers import CriticParticles, SaddleJKO
from wgf.training import Adam

RHO, PI = Gaussian([0.8, 0.0], [[0.7, 0.0], [0.0, 1.0]]), Gaussian.standard(2)
KL = 0.5 * (0.7 + 0.64 - 1 - math.log(0.7))
QUICK = Adam(300, 1024, 1e-2)


def rows(n: int, seed: int = 0) -> torch.Tensor:
    return RHO.sample(n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("term", [FDivergence(KullbackLeibler(), PI), DonskerVaradhan(PI)])
def test_a_fitted_critic_reaches_the_divergence(term):
    dual = term.dual({})
    critic = fit(dual, Critic(2, 32), rows(20_000), QUICK)
    found = worth(dual, critic, rows(200_000, 1), 200_000, seed=5)
    assert 0.93 * KL < found.value < KL + 3 * found.error
    assert found.mass == pytest.approx(1, abs=0.05)
    assert found.carried > 10_000
    assert not any(p.requires_grad for p in critic.parameters())


def test_the_standard_error_is_that_of_repeated_draws():
    def critic(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x[:, 0])

    for term in (FDivergence(KullbackLeibler(), PI), DonskerVaradhan(PI)):
        found = [worth(term.dual({}), critic, rows(500, k), 400, seed=k) for k in range(400)]
        spread = torch.tensor([one.value for one in found]).std()
        assert float(spread) == pytest.approx(sum(one.error for one in found) / 400, rel=0.12)  # 3.5 % of its own


def test_the_same_seed_gives_the_same_critic():
    dual = FDivergence(KullbackLeibler(), PI).dual({})
    first, again, other = (fit(dual, Critic(2, 8), rows(500), Adam(20, 100), seed=seed) for seed in (3, 3, 4))
    x = rows(10, 9)
    assert torch.equal(first(x), again(x))
    assert not torch.equal(first(x), other(x))


def test_a_gamma_that_does_not_cover_is_seen(caplog):
    """Uniform particles on a box twice as wide as Γ: no critic can be right outside, and its mass says so."""
    narrow = Entropy().dual({"mean": torch.zeros(1), "covariance": torch.full((1, 1), 0.05)})
    x = Box([-3.0], [3.0]).sample(20_000, torch.Generator().manual_seed(0))
    critic = fit(narrow, Critic(1, 32), x, QUICK)
    with caplog.at_level(logging.WARNING, "wgf.fitting"):
        found = worth(narrow, critic, x)
    assert not abs(found.mass - 1) < 0.1
    assert "does not cover them" in caplog.text
    caplog.clear()
    wide = Entropy().dual(Entropy().reference(Cloud(x)))
    with caplog.at_level(logging.WARNING, "wgf.fitting"):
        assert worth(wide, fit(wide, Critic(1, 32), x, QUICK), x).mass == pytest.approx(1, abs=0.05)
    assert caplog.text == ""


def test_a_value_that_few_draws_carry_is_announced(caplog):
    """χ² of Gaussians four apart is e¹⁶ − 1, and no sample of Γ knows it."""
    dual = FDivergence(PearsonChi2(), PI).dual({})

    def exact(x: torch.Tensor) -> torch.Tensor:
        return 2 * torch.expm1(4 * x[:, 0] - 8)

    with caplog.at_level(logging.WARNING, "wgf.fitting"):
        found = worth(dual, exact, rows(1000), 10_000)
    assert found.carried < 100
    assert "draws of its reference law" in caplog.text


def test_critics_that_tell_no_ratio_raise_no_alarm(caplog):
    with caplog.at_level(logging.WARNING, "wgf.fitting"):
        for term in (FDivergence(TotalVariation(), PI), Hinge(PI)):
            dual = term.dual({})
            assert worth(dual, fit(dual, Critic(2, 8), rows(2000), Adam(30, 256)), rows(2000)).mass == pytest.approx(1)
    assert caplog.text == ""


def test_a_penalty_is_part_of_the_fit_and_not_of_the_worth():
    term = Lipschitz(FDivergence(KullbackLeibler(), PI), L=0.1)
    dual = term.dual({})
    critic = fit(dual, Critic(2, 16), rows(5000), QUICK)
    found = worth(dual, critic, rows(50_000, 1), 50_000)
    assert 0.05 < found.value <= 0.1 * 0.9  # W₁ ≤ W₂ < 0.9
    x = zoo.randn(0, 500, 2).float().requires_grad_()
    slope = torch.autograd.grad(critic(x).sum(), x)[0].norm(dim=1)
    assert float(slope.mean()) < 0.12


def test_a_critic_that_nothing_keeps_lipschitz_is_refused():
    free = Lipschitz(FDivergence(KullbackLeibler(), PI), 2.0, weight=0.0)
    for critic in (Critic(2), LipschitzCritic(2, 2.1)):
        with pytest.raises(Incompatible, match=r"no penalty keeps h 2-Lipschitz.*take LipschitzCritic\(dim, 2\)"):
            fit(free.dual({}), critic, rows(100))
        for stepper in (SaddleJKO(Affine(2), critic, particles=100), CriticParticles(critic, particles=100)):
            with pytest.raises(Incompatible, match="no penalty keeps h 2-Lipschitz"):
                evolve(free, stepper, RHO, [0.1])
    fit(free.dual({}), LipschitzCritic(2, 2.0), rows(100), Adam(2, 50))
    half = Lipschitz(FDivergence(TotalVariation(), PI), 2.0, weight=0.0)  # its head halves slopes
    fit(half.dual({}), LipschitzCritic(2, 4.0), rows(100), Adam(2, 50))


def test_bad_input_is_refused():
    dual = FDivergence(KullbackLeibler(), PI).dual({})
    with pytest.raises(Incompatible, match="the critic has 3 dimensions, but the rows have 2"):
        fit(dual, Critic(3), rows(100))
    with pytest.raises(Incompatible, match="the law Γ has 2 dimensions, but the rows have 1"):
        fit(dual, Critic(1), rows(100)[:, :1])
    with pytest.raises(InputError, match="held must be below the number of rows, got 100 of 100"):
        fit(dual, Critic(2), rows(100), held=100)
    with pytest.raises(InputError, match="the rows x"):
        fit(dual, Critic(2), torch.full((10, 2), math.nan))
