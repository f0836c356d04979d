"""Targets: gradients against autograd, densities against laws, the logistic posterior against published moments."""

import os

import pytest
import torch
from torch import Tensor

from wgf import autodiff
from wgf.data import BreastCancer, Dataset, GermanCredit, Table
from wgf.errors import InputError
from wgf.law import Cloud
from wgf.targets import (
    Design,
    LogisticPosterior,
    UnitGaussians,
    design,
    gaussian_mixture,
    gaussian_mixture_flow,
    likelihood,
    logistic_regression,
)


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def posterior(prior_scale: float = 0.7) -> LogisticPosterior:
    X = design(2 * randn(0, 60, 3) + 1)
    y = torch.where(X @ randn(1, 4) + randn(2, 60) > 0, 1, -1)
    return LogisticPosterior(X, y, prior_scale)


def plain(posterior: LogisticPosterior, w: Tensor) -> Tensor:
    """log π as the docstring writes it."""
    return torch.sigmoid(w @ posterior.likelihood.signed.T).log().sum(-1) - w.square().sum(-1) / (
        2 * posterior.prior_scale**2
    )


def test_the_posterior_is_its_formula():
    w = randn(3, 20, 4)
    torch.testing.assert_close(posterior()(w), plain(posterior(), w), rtol=1e-12, atol=1e-12)


def test_its_derivatives_agree_with_autograd():
    target, w = posterior(), randn(3, 20, 4)
    expected = autodiff.gradient(lambda v: plain(target, v), w)
    torch.testing.assert_close(target.gradient(w), expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(autodiff.gradient(target, w), expected, rtol=1e-11, atol=1e-11)
    hessian = torch.autograd.functional.hessian(lambda v: plain(target, v[None])[0], w[0])
    torch.testing.assert_close(target.hessian(w[0]), hessian, rtol=1e-11, atol=1e-11)
    _, through_score = autodiff.jacobian(target.gradient, w[:1])
    torch.testing.assert_close(through_score[0], hessian, rtol=1e-11, atol=1e-11)
    assert torch.autograd.gradcheck(target, w[:3].requires_grad_())
    assert torch.autograd.gradgradcheck(target, w[:3].detach().requires_grad_())


def test_blocks_change_nothing(monkeypatch):
    target, w = posterior(), randn(3, 50, 4).requires_grad_()
    whole = (target(w), target.gradient(w), target.predict(w, target.likelihood.signed))
    slope = torch.autograd.grad(whole[0].sum(), w)[0]
    monkeypatch.setattr(likelihood, "BYTES", 7 * 60 * 8)
    blocked = (target(w), target.gradient(w), target.predict(w, target.likelihood.signed))
    torch.testing.assert_close(blocked, whole, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(torch.autograd.grad(target(w).sum(), w)[0], slope, rtol=1e-13, atol=1e-13)


def test_far_from_the_mode_nothing_overflows():
    w = torch.full((1, 4), 1e4, dtype=torch.float32).requires_grad_()
    value = posterior()(w)
    value.backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(w.grad).all()


def test_dtype_follows_the_weights():
    target = posterior()
    for dtype in (torch.float32, torch.float64):
        w = randn(0, 5, 4).to(dtype)
        assert target(w).dtype == target.gradient(w).dtype == target.predict(w, target.likelihood.signed).dtype == dtype
    torch.testing.assert_close(target(randn(0, 5, 4).float()).double(), target(randn(0, 5, 4)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prior_scale", [0.1, 1.0, 100.0])
def test_the_laplace_mode_is_critical_and_its_covariance_the_inverse_hessian(prior_scale):
    target = posterior(prior_scale)
    law = target.laplace()
    assert float(target.gradient(law.mean[None]).norm()) < 1e-8
    torch.testing.assert_close(-target.hessian(law.mean) @ law.covariance, torch.eye(4).double(), rtol=1e-8, atol=1e-8)


def test_separable_data_still_have_a_mode():
    X = design(torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None])
    target = LogisticPosterior(X, torch.where(X[:, 0] > 0, 1, -1), prior_scale=1e3)
    assert float(target.gradient(target.laplace().mean[None]).norm()) < 1e-8


def test_prediction_is_the_mean_probability():
    target, w, X = posterior(), randn(0, 30, 4), randn(1, 9, 4)
    torch.testing.assert_close(target.predict(w, X), torch.sigmoid(X @ w.T).mean(1))


def test_the_design_is_standardised_with_the_intercept_last():
    X = 5 * randn(0, 40, 3) + 100
    D = design(X)
    torch.testing.assert_close(D[:, :3].mean(0), torch.zeros(3).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(D[:, :3].square().mean(0), torch.ones(3).double())
    assert (D[:, 3] == 1).all()
    torch.testing.assert_close(Design.fit(X)(X[:5]), D[:5])
    X[:, 1] = 0.1
    with pytest.raises(InputError, match="constant: age"):
        design(X, ("height", "age", "weight"))


def test_bad_posteriors_are_refused_by_name():
    X = torch.eye(3)
    with pytest.raises(InputError, match="−1 or \\+1"):
        LogisticPosterior(X, torch.tensor([0, 1, 1]))
    with pytest.raises(InputError, match="3 labels"):
        LogisticPosterior(X, torch.tensor([1, -1]))
    with pytest.raises(InputError, match="prior_scale must be"):
        LogisticPosterior(X, torch.tensor([1, -1, 1]), prior_scale=0)


class Three(Dataset):
    def load(self) -> Table:
        return Table(randn(0, 6, 2), torch.arange(6) % 3, ("a", "b"))


def test_the_logistic_problem_descends_from_its_prior():
    pytest.importorskip("sklearn", reason="BreastCancer comes with scikit-learn")
    problem = logistic_regression(BreastCancer(), prior_scale=2.0)
    assert problem.dim == 31
    torch.testing.assert_close(problem.initial.covariance, 4 * torch.eye(31).double())
    potential = problem.F.terms[1][1]
    w = problem.initial.sample(4, torch.Generator().manual_seed(0)) / 10
    closed = potential.first_variation(Cloud(w)).gradient(w)
    torch.testing.assert_close(closed, autodiff.gradient(potential.V, w), rtol=1e-10, atol=1e-10)
    with pytest.raises(InputError, match="Three has others"):
        logistic_regression(Three())


@pytest.mark.skipif(not os.environ.get("WGF_DATA"), reason="the environment variable WGF_DATA is not set")
def test_the_german_credit_posterior_is_the_published_one():
    n = 40_000
    table, published = GermanCredit().load(), GermanCredit().reference()
    target = LogisticPosterior(design(table.X, table.names), table.y)
    law = target.laplace()
    w = law.sample(n, torch.Generator().manual_seed(0))
    weights = torch.softmax(target(w) - law.log_prob(w), 0)  # importance sampling corrects what Laplace misses
    effective = 1 / float(weights.square().sum())
    assert effective > 0.4 * n
    mean = weights @ w
    sd = (weights @ (w - mean).square()).sqrt()
    assert ((mean - published.mean).abs() / published.sd < 5 / effective**0.5).all()
    assert ((sd / published.sd - 1).abs() < 5 / effective**0.5).all()


@pytest.mark.parametrize("dim", [1, 2, 15])
def test_the_mixture_density_is_that_of_the_mixture_law(dim):
    law, target = gaussian_mixture(dim, components=4, seed=3), UnitGaussians(gaussian_mixture_means(dim))
    x = law.sample(50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(target(x), law.log_prob(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(target.gradient(x), autodiff.gradient(law.log_prob, x), rtol=1e-10, atol=1e-10)
    assert target(x.float()).dtype == target.gradient(x.float()).dtype == torch.float32


def gaussian_mixture_means(dim: int) -> Tensor:
    return torch.stack([part.mean for part in gaussian_mixture(dim, components=4, seed=3).components])


@pytest.mark.parametrize(("dim", "width"), [(2, 5), (8, 5), (15, 3), (32, 3), (64, 2), (128, 1.5)])
def test_the_means_fill_the_published_cube(dim, width):
    means = torch.stack([part.mean for part in gaussian_mixture(dim, components=400 // dim + 2).components])
    assert 0.95 * width < float(means.abs().max()) <= width
    assert float(means.square().mean()) == pytest.approx(width**2 / 3, rel=0.1)


def test_the_mixture_flow_aims_at_the_mixture():
    problem = gaussian_mixture_flow(dim=2, seed=1)
    law = gaussian_mixture(2, seed=1)
    x = law.sample(100, torch.Generator().manual_seed(0))
    entropy, potential = (term for _, term in problem.F.terms)
    cloud = Cloud(x, x.new_zeros(100), law.log_prob(x))
    energy = entropy.density_energy(cloud) + potential.energy(cloud)
    torch.testing.assert_close(energy, torch.zeros(100).double(), rtol=0, atol=1e-12)  # KL is zero at the target
    assert float(problem.initial.covariance[0, 0]) == 16
    with pytest.raises(InputError, match="half_width must be"):
        gaussian_mixture(2, half_width=-1)
    with pytest.raises(InputError, match="components must be"):
        gaussian_mixture(2, components=0)
