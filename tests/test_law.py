"""Laws: samples have the moments of their densities, densities are normalised, generators are obeyed."""

import math

import pytest
import torch
import zoo
from torch import Tensor, distributions

from wgf.errors import InputError, Unknown
from wgf.law import Adapted, Box, Cloud, Empirical, Gaussian, Law, Mixture, Pushforward, advance
from wgf.maps.base import Static

MEAN, COVARIANCE = zoo.MEAN, zoo.COVARIANCE
ENTRIES = {entry.name: entry for entry in zoo.LAWS}

every_law = pytest.mark.parametrize("entry", zoo.LAWS, ids=zoo.names(zoo.LAWS))


def gaussian() -> Law:
    return ENTRIES["Gaussian"].build()


def mixture() -> Law:
    return ENTRIES["Mixture"].build()


def box() -> Law:
    return ENTRIES["Box"].build()


def empirical() -> Law:
    return ENTRIES["Empirical"].build()


class Shear(Static):
    """x ↦ (2x_1, x_2 + x_1² / 4): determinant 2."""

    dim = 2

    def move(self, x: Tensor) -> Tensor:
        return torch.stack([2 * x[:, 0], x[:, 1] + x[:, 0].square() / 4], 1)

    def jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        zero = torch.zeros_like(x[:, 0])
        rows = [torch.stack([zero + 2, zero], 1), torch.stack([x[:, 0] / 2, zero + 1], 1)]
        return self.move(x), torch.stack(rows, 1)


@every_law
def test_samples_have_the_moments_of_the_law(entry):
    seed, n, mean, covariance = 0, 40_000, entry.mean, entry.covariance
    x = entry.build().sample(n, torch.Generator().manual_seed(seed))
    assert ((x.mean(0) - mean).abs() < 5 * (covariance.diagonal() / n).sqrt()).all()
    centred = x - mean
    products = centred[:, :, None] * centred[:, None, :]
    error = products.std(0) / math.sqrt(n)
    assert ((products.mean(0) - covariance).abs() < 5 * error).all()


@every_law
def test_the_generator_decides_and_the_global_state_is_left_alone(entry):
    law = entry.build()
    before = torch.random.get_rng_state()
    first, again, other = (law.sample(50, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)
    entry.build()
    assert torch.equal(torch.random.get_rng_state(), before)


@every_law
def test_densities_integrate_to_one(entry):
    law = entry.build()
    assert law.has_density == entry.density
    if not entry.density:
        with pytest.raises(Unknown):
            law.log_prob(entry.mean[None])
        return
    side = torch.linspace(-12, 12, 1601, dtype=torch.float64)
    side = (side[1:] + side[:-1]) / 2  # midpoints: the box's faces fall on cell faces to within its step
    density = law.log_prob(torch.cartesian_prod(side, side)).exp()
    assert float(density.sum()) * 0.015**2 == pytest.approx(1, abs=2e-2 if isinstance(law, Box) else 1e-9)


def test_the_densities_agree_with_torch_distributions():
    x = 3 * torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    one = distributions.MultivariateNormal(MEAN, COVARIANCE)
    torch.testing.assert_close(gaussian().log_prob(x), one.log_prob(x), rtol=1e-12, atol=1e-12)
    parts = distributions.MultivariateNormal(
        torch.stack([-MEAN, MEAN]), torch.stack([torch.eye(2, dtype=torch.float64), COVARIANCE])
    )
    weights = distributions.Categorical(torch.tensor([0.25, 0.75], dtype=torch.float64))
    torch.testing.assert_close(
        mixture().log_prob(x), distributions.MixtureSameFamily(weights, parts).log_prob(x), rtol=1e-12, atol=1e-12
    )
    assert torch.equal(ENTRIES["Adapted"].build().log_prob(x), one.log_prob(x))


def test_a_far_mixture_has_finite_log_density():
    x = torch.full((1, 2), 1e3, dtype=torch.float64)
    assert torch.isfinite(mixture().log_prob(x)).all()


def test_a_box_is_flat_inside_and_empty_outside():
    law = box()
    inside = law.log_prob(law.sample(100, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(inside, torch.full((100,), -math.log(1.5)).double())
    assert law.log_prob(torch.tensor([[3.0, 0.2]]).double()).item() == -math.inf


def test_a_fitted_gaussian_has_the_moments_of_its_rows():
    x = torch.randn(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    law = Gaussian.fit(x, ridge=0.1)
    torch.testing.assert_close(law.mean, x.mean(0))
    torch.testing.assert_close(law.covariance, x.T.cov(correction=0) + 0.1 * torch.eye(3, dtype=torch.float64))


def test_single_precision_whitens_a_smooth_covariance_as_far_as_it_goes():
    at = torch.linspace(0, 1, 100, dtype=torch.float64)
    covariance = torch.exp(-((at[:, None] - at) ** 2) / 0.02) + 1e-4 * torch.eye(100)
    law = Gaussian(torch.zeros(100), covariance.float())
    x = law.sample(50, torch.Generator().manual_seed(0))
    factor = torch.linalg.cholesky(law.covariance).double()
    exact = torch.linalg.solve_triangular(factor, x.double().T, upper=False).T
    solved = torch.linalg.solve_triangular(factor.float(), x.T, upper=False).T
    allowed = 2 * (solved - exact).abs().max()
    assert (law.whiten(x) - exact).abs().max() <= allowed


def test_a_covariance_has_its_gradient_whatever_came_first():
    root = zoo.randn(0, 3, 3).requires_grad_()
    law, x = Gaussian(torch.zeros(3).double(), root @ root.T + torch.eye(3)), zoo.randn(1, 4, 3)
    with torch.no_grad():
        law.log_prob(x)
    (found,) = torch.autograd.grad(law.log_prob(x).sum(), root, retain_graph=True)
    other = torch.distributions.MultivariateNormal(law.mean, root @ root.T + torch.eye(3))
    torch.testing.assert_close(found, torch.autograd.grad(other.log_prob(x).sum(), root)[0])


def test_whitened_samples_are_standard():
    torch.testing.assert_close(gaussian().whiten(MEAN[None]), torch.zeros(1, 2).double())
    factor = gaussian().whiten(MEAN + torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(factor.T @ COVARIANCE @ factor, torch.eye(2).double(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("law", [gaussian(), Mixture([gaussian(), Gaussian.standard(2, dtype=torch.float64)])])
def test_the_score_is_the_slope_of_the_log_density(law):
    x = zoo.randn(0, 20, 2)
    at = x.clone().requires_grad_()
    expected = torch.autograd.grad(law.log_prob(at).sum(), at)[0]
    torch.testing.assert_close(law.score(x), expected, rtol=1e-12, atol=1e-12)


def test_laws_without_a_density_have_no_score():
    with pytest.raises(Unknown):
        empirical().score(zoo.randn(0, 3, 2))


def test_an_empirical_law_repeats_its_rows_and_has_no_density():
    law = empirical()
    x = law.sample(200, torch.Generator().manual_seed(0))
    assert {tuple(row) for row in x.tolist()} == {tuple(row) for row in law.x.tolist()}
    assert not law.has_density
    with pytest.raises(Unknown, match="no density"):
        law.log_prob(x)


@pytest.mark.parametrize("name", [name for name in ENTRIES if name != "Adapted"])
def test_a_law_changes_dtype_with_its_samples(name):
    law: Law = ENTRIES[name].build().to(torch.float32)
    assert law.sample(3).dtype == law.like.dtype == torch.float32
    assert law.dim == 2


def test_a_pushforward_carries_the_density_that_inversion_finds():
    law = Pushforward(Pushforward(gaussian(), Shear()), Shear())
    cloud = law.cloud(500, torch.Generator().manual_seed(0))
    torch.testing.assert_close(cloud.log_density, law.log_prob(cloud.x), rtol=1e-9, atol=1e-9)
    assert torch.equal(cloud.x, law.sample(500, torch.Generator().manual_seed(0)))


def test_a_pushforward_density_integrates_to_one():
    side = torch.linspace(-14, 14, 141, dtype=torch.float64)
    law = Pushforward(Gaussian.standard(2, dtype=torch.float64), Shear())
    density = law.log_prob(torch.cartesian_prod(side, side)).exp()
    assert float(density.sum()) * 0.2**2 == pytest.approx(1, abs=1e-8)


def test_a_folded_pushforward_refuses_its_density():
    law = Pushforward(gaussian(), Shear(), folded=0.25)
    assert not law.has_density
    with pytest.raises(Unknown, match=r"25\.00%"):
        law.log_prob(law.sample(3))


def test_clouds_carry_what_they_know():
    x = gaussian().sample(10, torch.Generator().manual_seed(0))
    with pytest.raises(Unknown, match="no density"):
        _ = Cloud(x).log_density
    moved = advance(Cloud(x, x.new_zeros(10), gaussian().log_prob(x)), Shear(), block=3)
    torch.testing.assert_close(moved.log_density, gaussian().log_prob(x) - math.log(2))
    torch.testing.assert_close(moved[2:4].log_density, moved.log_density[2:4])
    assert advance(Cloud(x), Shear()).logdet is None


NAN = math.nan
BAD = {
    "must be an array of numbers": lambda: Gaussian("ab", torch.eye(2)),
    "must be real, got dtype torch.complex64": lambda: Gaussian(torch.zeros(2, dtype=torch.complex64), torch.eye(2)),
    r"must have shape \(d,\), got \(2, 2\)": lambda: Gaussian(torch.eye(2), torch.eye(2)),
    "mean of a Gaussian": lambda: Gaussian([NAN, 0.0], torch.eye(2)),
    "NaN or infinite": lambda: Gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, math.inf]]),
    r"square matrix of shape \(2, 2\)": lambda: Gaussian([0.0, 0.0], torch.eye(3)),
    "must be symmetric": lambda: Gaussian([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]]),
    "positive definite": lambda: Gaussian([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]),
    "scale must be": lambda: Gaussian.standard(2, -1.0),
    "at least one component": lambda: Mixture([]),
    r"one dimension, got \[1, 2\]": lambda: Mixture([Gaussian.standard(1), Gaussian.standard(2)]),
    "weights of a Mixture must be positive": lambda: Mixture([Gaussian.standard(1)] * 2, [1.0, 0.0]),
    "low < high": lambda: Box([0.0, 1.0], [1.0, 1.0]),
    r"shape \(n, d\)": lambda: Empirical(torch.zeros(3)),
    "event_shape": lambda: Adapted(distributions.Normal(torch.zeros(2), 1.0)),
}


def test_whole_numbers_are_taken_for_real_ones():
    law = Gaussian(torch.tensor([1, 2]), [[2, 0], [0, 1]])
    assert law.mean.dtype == law.covariance.dtype == torch.get_default_dtype()
    assert law.sample(3).shape == (3, 2)


@pytest.mark.parametrize("message", BAD)
def test_bad_laws_are_refused_by_name(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()
