"""Toy laws: where their modes and circles lie, and densities that stay exact however small the noise."""

import math

import pytest
import torch
from scipy.stats import rice

from wgf.data import grid_of_gaussians, two_circles
from wgf.errors import InputError
from wgf.ring import Ring


def drawn(law, n: int = 50_000) -> torch.Tensor:
    return law.sample(n, torch.Generator().manual_seed(0))


def test_the_grid_has_its_centres_and_each_its_share():
    x = drawn(grid_of_gaussians())
    nearest = (x / 3).round()
    assert float((x - 3 * nearest).std()) == pytest.approx(0.005, rel=0.02)
    places, counts = nearest.unique(dim=0, return_counts=True)
    assert places.tolist() == torch.cartesian_prod(*2 * [torch.arange(-2.0, 3).double()]).tolist()
    assert (counts.double() / len(x) - 0.04).abs().max() < 5 * (0.04 * 0.96 / len(x)) ** 0.5
    even = drawn(grid_of_gaussians(2, 1.0, 0.01))
    assert (2 * even).round().abs().eq(1).all()


def test_both_circles_have_the_radii_of_rice():
    r = drawn(two_circles()).norm(dim=1)
    grid = torch.linspace(2, 10, 200).double()
    exact = torch.from_numpy(0.5 * sum(rice.cdf(grid, b=R / 0.2, scale=0.2) for R in (4, 8)))
    assert ((r[:, None] <= grid).double().mean(0) - exact).abs().max() < 1.7 / len(r) ** 0.5


@pytest.mark.parametrize("noise", [1.0, 0.1, 1e-3])
def test_the_density_of_a_ring_is_that_of_rice_on_its_radius(noise):
    r = 2 + noise * torch.linspace(-1.9, 5, 40).double()
    x = torch.stack([r, torch.zeros_like(r)], 1)
    exact = rice.logpdf(r, b=2 / noise, scale=noise) - (2 * math.pi * r).log().numpy()
    torch.testing.assert_close(Ring(2.0, noise).log_prob(x), torch.from_numpy(exact), rtol=1e-9, atol=1e-9)


def test_a_ring_is_finite_in_single_precision_and_at_its_centre():
    x = torch.tensor([[0.0, 0.0], [8.0, 0.0], [30.0, -40.0]], requires_grad=True)
    value = Ring(8.0, 1e-3).to(torch.float32).log_prob(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    assert value.dtype == torch.float32
    assert torch.isfinite(value).all()
    assert torch.isfinite(slope).all()


def test_bad_toys_are_refused():
    for build, message in (
        (lambda: grid_of_gaussians(0), "side must be an integer of at least 1"),
        (lambda: grid_of_gaussians(spacing=0.0), "spacing must be a finite number above 0"),
        (lambda: grid_of_gaussians(noise=-1.0), "noise must be a finite number above 0"),
        (lambda: two_circles(inner=0.0), "the radius of a Ring must be a finite number above 0"),
        (lambda: Ring(1.0, 0.0), "the noise of a Ring must be a finite number above 0"),
        (lambda: Ring(1.0, 1.0).log_prob(torch.zeros(3, 3)), r"shape \(n, 2\), got \(3, 3\)"),
    ):
        with pytest.raises(InputError, match=message):
            build()
