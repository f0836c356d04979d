"""Mixtures of one covariance: their density, and laws of that form that cover a cloud of several modes."""

import pytest
import torch
import zoo

from wgf import autodiff
from wgf.errors import InputError
from wgf.functionals import Entropy
from wgf.law import Cloud, Gaussian, Mixture
from wgf.pooled import PooledMixture, covering, pooled
from wgf.targets import gaussian_mixture

MEANS = 8 * zoo.randn(0, 4, 12)


def cloud(n: int = 20_000) -> torch.Tensor:
    law = Mixture([Gaussian(mean, torch.eye(12, dtype=zoo.DOUBLE)) for mean in MEANS], [1, 2, 3, 4])
    return law.sample(n, torch.Generator().manual_seed(0))


def test_the_density_is_that_of_a_mixture_of_gaussians():
    S = zoo.randn(1, 12, 12)
    S = S @ S.T + torch.eye(12)
    weights = zoo.doubles(1, 2, 3, 4)
    x = cloud(500)
    known = Mixture([Gaussian(mean, S) for mean in MEANS], weights).log_prob(x)
    torch.testing.assert_close(PooledMixture(MEANS, S, weights).log_prob(x), known, rtol=1e-10, atol=1e-10)


def test_the_modes_of_a_cloud_are_found():
    found = pooled(cloud(), 4, 0.0)
    order = torch.cdist(MEANS, found["means"]).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2, 3]
    assert (found["means"][order] - MEANS).abs().max() < 0.1
    assert (found["within"] - torch.eye(12)).abs().max() < 0.1
    torch.testing.assert_close(found["weights"][order] / 20_000, zoo.doubles(0.1, 0.2, 0.3, 0.4), rtol=0, atol=0.01)


def test_more_centres_than_modes_are_a_law_all_the_same():
    found = pooled(torch.zeros(40, 3, dtype=zoo.DOUBLE).index_fill(0, torch.arange(20), 1.0), 7, 1e-3)
    law = PooledMixture(found["means"], found["within"], found["weights"])
    assert torch.isfinite(law.log_prob(law.sample(10))).all()


def test_a_cover_is_near_where_one_gaussian_is_far():
    """KL(ρ‖Γ) of four modes in twelve dimensions, by samples of ρ: what a critic has to learn, in nats."""
    x = cloud()
    rho = Mixture([Gaussian(mean, torch.eye(12, dtype=zoo.DOUBLE)) for mean in MEANS], [1, 2, 3, 4])
    term, fresh = Entropy(centres=4), rho.sample(20_000, torch.Generator().manual_seed(1))
    gaussian = Gaussian.fit(x)
    covered = covering(gaussian, term.reference(Cloud(x)))
    assert float((rho.log_prob(fresh) - gaussian.log_prob(fresh)).mean()) > 4
    assert float((rho.log_prob(fresh) - covered.log_prob(fresh)).mean()) < 0.12


def test_one_mode_needs_no_more_than_its_gaussian():
    x = Gaussian.standard(12, dtype=zoo.DOUBLE).sample(5000, torch.Generator().manual_seed(0))
    reference = Entropy(centres=4).reference(Cloud(x))
    assert isinstance(Entropy(centres=4).dual(reference).gamma, Gaussian)


def test_bad_mixtures_are_refused():
    with pytest.raises(InputError, match="weights of a PooledMixture must be positive"):
        PooledMixture(MEANS, torch.eye(12), [1, 1, 0, 1])
    with pytest.raises(InputError, match="centres must be an integer of at least 1"):
        Entropy(centres=0)


@pytest.mark.parametrize("seed", range(4))
def test_ten_modes_in_fifteen_dimensions_are_all_found(seed):
    target = gaussian_mixture(15, 10, seed=seed)
    means = torch.stack([law.mean for law in target.components])
    found = pooled(target.sample(20_000, torch.Generator().manual_seed(seed)), 10, 1e-6)
    assert float(torch.cdist(means, found["means"]).min(1).values.max()) < 0.5
    assert float(found["within"].diagonal().max()) < 1.2


def test_the_density_can_be_differentiated_twice():
    law = PooledMixture(MEANS[:, :2], torch.eye(2), torch.ones(4))
    x = zoo.randn(3, 6, 2)
    whole = Mixture([Gaussian(mean, torch.eye(2, dtype=zoo.DOUBLE)) for mean in MEANS[:, :2]])
    for ours, theirs in zip(
        *(autodiff.jacobian(lambda y, L=L: autodiff.gradient(L.log_prob, y, True), x) for L in (law, whole)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
