"""The hierarchical posterior: its formula and normalisation, its derivatives, its mode, its condensed form."""

import math

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor
from torch.distributions import Gamma, Normal

from wgf import autodiff
from wgf.errors import InputError
from wgf.law import Cloud, Gaussian
from wgf.targets import (
    Condensed,
    HierarchicalPosterior,
    LogisticLikelihood,
    Whitened,
    design,
    hierarchical_logistic,
)

DOUBLE = torch.float64


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


def data(rows: int = 60) -> tuple[Tensor, Tensor]:
    X = design(2 * randn(0, rows, 3) + 1)
    return X, torch.where(X @ randn(1, 4) + randn(2, rows) > 0, 1, -1)


def posterior(shape: float = 1.0, rate: float = 0.01, rows: int = 60) -> HierarchicalPosterior:
    return HierarchicalPosterior(*data(rows), shape, rate)


def plain(z: Tensor, shape: float, rate: float) -> Tensor:
    """The log-joint as its three factors and the Jacobian dα/da = α, each by torch's own normalised density."""
    X, y = data()
    w, alpha = z[:, :-1], z[:, -1].exp()
    on_alpha = Gamma(torch.tensor(shape, dtype=DOUBLE), torch.tensor(rate, dtype=DOUBLE)).log_prob(alpha)
    prior = Normal(0.0, alpha[:, None] ** -0.5).log_prob(w).sum(1) + on_alpha + alpha.log()
    return torch.sigmoid((w @ X.T) * y).log().sum(1) + prior


@pytest.mark.parametrize(("shape", "rate"), [(1.0, 0.01), (2.5, 0.7)])
def test_the_posterior_is_the_product_of_its_factors(shape, rate):
    z = randn(3, 20, 5)
    difference = posterior(shape, rate)(z) - plain(z, shape, rate)
    torch.testing.assert_close(difference, difference.mean().expand(20), rtol=0, atol=1e-10)


def test_its_derivatives_agree_with_autograd():
    target, z = posterior(), randn(3, 20, 5)
    expected = autodiff.gradient(lambda v: plain(v, 1.0, 0.01), z)
    torch.testing.assert_close(target.gradient(z), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(autodiff.gradient(target, z), expected, rtol=1e-10, atol=1e-10)
    hessian = torch.autograd.functional.hessian(lambda v: plain(v[None], 1.0, 0.01)[0], z[0])
    torch.testing.assert_close(target.hessian(z[0]), hessian, rtol=1e-10, atol=1e-10)
    assert torch.autograd.gradcheck(target, z[:3].requires_grad_())
    assert torch.autograd.gradgradcheck(target, z[:3].detach().requires_grad_())


@pytest.mark.parametrize(("shape", "rate"), [(1.0, 0.01), (3.0, 2.0)])
def test_alpha_given_the_weights_is_the_conjugate_gamma(shape, rate):
    """On a line in a = log α, by quadrature: mass and mean of α are those of Gamma(d_w/2 + shape, rate + |w|²/2)."""
    target, w = posterior(shape, rate), 0.3 * randn(4, 4)
    at = lambda a: torch.cat([w, torch.tensor([a], dtype=DOUBLE)])[None]  # noqa: E731
    known = Gamma(torch.tensor(2 + shape, dtype=DOUBLE), rate + 0.5 * w.square().sum())
    centre = float(known.mean.log())
    top = float(target(at(centre)))
    density = lambda a: math.exp(float(target(at(a))) - top)  # noqa: E731
    mass, mean = (quad(lambda a, k=k: density(a) * math.exp(k * a), centre - 25, centre + 5)[0] for k in (0, 1))
    assert mean / mass == pytest.approx(float(known.mean), rel=1e-7)
    normalised = float(known.log_prob(known.mean) + known.mean.log())  # of a, with the Jacobian
    assert math.log(mass) == pytest.approx(-normalised, abs=1e-7)


def test_sampled_scores_are_unbiased():
    target, z = posterior(), randn(3, 5, 5)
    whole = target.sampled_gradient(60, torch.Generator().manual_seed(0))(z)
    torch.testing.assert_close(whole, target.gradient(z), rtol=1e-11, atol=1e-11)
    generator = torch.Generator().manual_seed(1)
    some = torch.stack([target.sampled_gradient(12, generator)(z) for _ in range(4000)])
    error = some.std(0) / 4000**0.5
    assert ((some.mean(0) - target.gradient(z)).abs() <= 5 * error + 1e-11).all()  # that of log α is exact


def test_the_laplace_mode_is_critical_and_its_covariance_the_inverse_hessian():
    target = posterior()
    law = target.laplace()
    assert float(target.gradient(law.mean[None]).norm()) < 1e-8
    torch.testing.assert_close(-target.hessian(law.mean) @ law.covariance, torch.eye(5, dtype=DOUBLE))


def test_separable_data_still_have_a_mode():
    X = design(torch.linspace(-1, 1, 40, dtype=DOUBLE)[:, None])
    target = HierarchicalPosterior(X, torch.where(X[:, 0] > 0, 1, -1))
    assert float(target.gradient(target.laplace().mean[None]).norm()) < 1e-6


def test_too_few_turns_are_said():
    with pytest.raises(InputError, match="no mode of this posterior was found in 2 turns"):
        posterior().laplace(2)


def test_dtype_follows_the_parameters():
    target, z = posterior(), randn(3, 20, 5)
    for found in (target(z.float()), target.gradient(z.float()), target.predict(z.float(), data()[0])):
        assert found.dtype == torch.float32
    torch.testing.assert_close(target(z.float()).double(), target(z), rtol=1e-5, atol=1e-4)


def test_predictions_may_be_weighted():
    target, z, X = posterior(), randn(3, 4, 5), data()[0][:7]
    even = target.predict(z, X)
    torch.testing.assert_close(even, torch.sigmoid(X @ z[:, :-1].T).mean(1))
    first = target.predict(z, X, torch.tensor([1.0, 0, 0, 0], dtype=DOUBLE))
    torch.testing.assert_close(first, torch.sigmoid(X @ z[0, :-1]))


def test_whitening_changes_coordinates_only():
    target = posterior()
    law = target.laplace()
    whitened, y = Whitened(target, law), randn(3, 6, 5)
    torch.testing.assert_close(law.whiten(whitened.coordinates(y)), y)
    torch.testing.assert_close(whitened(y), target(whitened.coordinates(y)))
    torch.testing.assert_close(whitened.gradient(y), autodiff.gradient(whitened.value, y), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(autodiff.gradient(whitened, y), whitened.gradient(y), rtol=1e-9, atol=1e-9)
    whole = whitened.sampled_gradient(60, torch.Generator().manual_seed(0))(y)
    torch.testing.assert_close(whole, whitened.gradient(y), rtol=1e-9, atol=1e-9)
    zero = torch.zeros(1, 5, dtype=DOUBLE)
    assert float(whitened.gradient(zero).norm()) < 1e-8
    _, information = autodiff.jacobian(whitened.gradient, zero)
    torch.testing.assert_close(-information[0], torch.eye(5, dtype=DOUBLE))


def condensed(sample: int, leverage: float) -> tuple[HierarchicalPosterior, HierarchicalPosterior, Gaussian]:
    full = posterior(rows=4000)
    law = full.laplace()
    return full, full.condensed(law, sample, leverage), law


def test_a_condensed_likelihood_of_all_rows_is_the_likelihood():
    full, few, law = condensed(4000, 1e9)
    z = law.sample(10, torch.Generator().manual_seed(0))
    torch.testing.assert_close(few(z), full(z), rtol=1e-10, atol=1e-9)
    full, few, law = condensed(1, 1e-12)  # every row above the leverage
    torch.testing.assert_close(few(z), full(z), rtol=1e-10, atol=1e-9)


def test_a_condensed_likelihood_agrees_to_second_order_at_its_centre_and_nearly_beyond():
    full, few, law = condensed(200, 0.02)
    assert few.likelihood.kept.rows < 1000
    at = law.mean[None]
    torch.testing.assert_close(few(at), full(at), rtol=1e-11, atol=1e-9)
    torch.testing.assert_close(few.gradient(at), full.gradient(at), rtol=0, atol=1e-8)
    torch.testing.assert_close(few.hessian(law.mean), full.hessian(law.mean), rtol=1e-10, atol=1e-8)
    z = law.sample(500, torch.Generator().manual_seed(0))
    change = few(z) - full(z)
    assert float(change.std()) < 0.05  # the log-density itself varies by √(5/2) over these draws
    torch.testing.assert_close(few.gradient(z), autodiff.gradient(few.value, z), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(autodiff.gradient(few, z), few.gradient(z), rtol=1e-9, atol=1e-9)
    whole = few.sampled_gradient(few.likelihood.kept.rows, torch.Generator().manual_seed(0))(z[:5])
    torch.testing.assert_close(whole, few.gradient(z[:5]), rtol=1e-9, atol=1e-9)


def test_bad_input_is_refused_by_name():
    X, y = data()
    with pytest.raises(InputError, match="rate must be"):
        HierarchicalPosterior(X, y, rate=0)
    with pytest.raises(InputError, match="shape must be"):
        HierarchicalPosterior(X, y, shape=-1)
    full = LogisticLikelihood(X, y)
    with pytest.raises(InputError, match="4 dimensions, one a weight, got 5"):
        Condensed(full, posterior().laplace())
    with pytest.raises(InputError, match="leverage must be"):
        Condensed(full, Gaussian.standard(4, dtype=DOUBLE), leverage=0)
    with pytest.raises(InputError, match="60"):
        LogisticLikelihood(X, y, weights=torch.ones(3))


def test_the_problem_starts_wide_of_the_mode():
    pytest.importorskip("sklearn", reason="BreastCancer comes with scikit-learn")
    problem = hierarchical_logistic(spread=3.0)
    assert problem.dim == 32
    torch.testing.assert_close(problem.initial.covariance, 9 * torch.eye(32, dtype=DOUBLE))
    potential = problem.F.terms[1][1]
    y = 0.1 * randn(0, 4, 32)
    closed = potential.first_variation(Cloud(y)).gradient(y)
    torch.testing.assert_close(closed, autodiff.gradient(potential.V, y), rtol=1e-9, atol=1e-9)
