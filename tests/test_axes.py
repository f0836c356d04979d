"""Moments along axes: Gaussians stay, scales and skewness are found."""

import pytest
import torch
import zoo

from wgf.errors import InputError
from wgf.law import Gaussian
from wgf.targets import along_axes

MEAN, S = zoo.doubles(1, -2, 0.5), zoo.doubles([2, 0.5, 0.1], [0.5, 1, -0.3], [0.1, -0.3, 0.7])


def test_a_gaussian_is_a_fixed_point():
    law = Gaussian(MEAN, S)
    found = along_axes(law.log_prob, law)
    torch.testing.assert_close(found.mean, law.mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.covariance, law.covariance, rtol=0, atol=1e-12)


def test_a_shift_along_the_axes_and_their_scales_are_found():
    law = Gaussian(MEAN, S)
    factor = torch.linalg.cholesky(S) * zoo.doubles(0.6, 1.7, 1.0)
    rough = Gaussian(MEAN + factor @ zoo.doubles(0.4, -0.3, 0.8), factor @ factor.T)
    found = along_axes(law.log_prob, rough, sweeps=30)
    torch.testing.assert_close(found.mean, law.mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.covariance, law.covariance, rtol=0, atol=1e-6)


def test_marginals_of_a_skewed_product_have_their_moments():
    """log of Gamma(3) variables: mean ψ(3), variance ψ′(3), mode log 3, curvature 3 there; e^{−12} of them lie out of
    the quadrature's reach.
    """
    known = torch.special.digamma(zoo.doubles(3)).item(), torch.special.polygamma(1, zoo.doubles(3)).item()
    laplace = Gaussian(torch.full((2,), 3.0).double().log(), torch.eye(2, dtype=zoo.DOUBLE) / 3)
    found = along_axes(lambda z: (3 * z - z.exp()).sum(-1), laplace, sweeps=30)
    torch.testing.assert_close(found.mean, torch.full((2,), known[0]).double(), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.covariance.diagonal(), torch.full((2,), known[1]).double(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("d", [5, 20, 50])
def test_correlated_axes_do_not_lead_away(d):
    """π = N(μ, (I + 11ᵀ)⁻¹) from independent coordinates one conditional deviation off: KL(q‖π) falls."""
    P = torch.eye(d, dtype=zoo.DOUBLE) + 1
    target = Gaussian(torch.zeros(d, dtype=zoo.DOUBLE), torch.linalg.inv(P))
    rough = Gaussian(torch.ones(d, dtype=zoo.DOUBLE), torch.eye(d, dtype=zoo.DOUBLE) / 2)

    def off(q: Gaussian) -> float:
        return float(0.5 * ((P @ q.covariance).trace() + q.mean @ P @ q.mean - torch.logdet(q.covariance)))

    assert off(along_axes(target.log_prob, rough)) < off(rough)


def test_a_target_much_narrower_than_the_law_is_refused():
    with pytest.raises(InputError, match="at the scale of the target"):
        along_axes(lambda z: -1e8 * z.square().sum(-1), Gaussian.standard(2, dtype=zoo.DOUBLE))
