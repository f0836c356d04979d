"""Duals: suprema reached at the known critic and nowhere else, conjugates exact over sixty decades, no overflow.

Expectations are taken by quadrature on the line, so that equalities hold to rounding and inequalities have no noise.
"""

import math
from collections.abc import Callable

import pytest
import torch
import zoo
from torch import Tensor

from wgf import autodiff
from wgf.functionals import Dual, Entropy, FDivergence, HasDual, JensenShannon, KullbackLeibler, PowerEntropy
from wgf.law import Box, Cloud, Gaussian
from wgf.tree import load_tree, save_tree

STEP = 0.005
GRID = torch.arange(-12, 12, STEP, dtype=zoo.DOUBLE)[:, None]
RHO = Gaussian(zoo.doubles(0.3), zoo.doubles([0.5]))
PI = Gaussian(zoo.doubles(-0.4), zoo.doubles([0.9]))
TERMS = [
    Entropy(), PowerEntropy(1.5), PowerEntropy(2), PowerEntropy(3), *[FDivergence(f, PI) for f in zoo.DIVERGENCES]
]  # fmt: skip

every_term = pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
every_f = pytest.mark.parametrize("f", zoo.DIVERGENCES, ids=zoo.names(zoo.DIVERGENCES))


def fitted(term: HasDual) -> Dual:
    """The dual at a cloud that is not distributed as ρ, but whose box holds ρ."""
    return term.dual(term.reference(Cloud(torch.linspace(-4, 5, 10, dtype=zoo.DOUBLE)[:, None])))


def density(law) -> Tensor:
    return law.log_prob(GRID).exp()


def mean(law, values: Tensor) -> Tensor:
    return (density(law) * values).sum() * STEP


def value(dual: Dual, u: Tensor) -> float:
    return float(mean(RHO, dual.a(u, GRID)) - mean(dual.gamma, dual.b(u, GRID)) + dual.const)


def log_ratio(dual: Dual) -> Tensor:
    if isinstance(dual.gamma, Box):  # zero outside, where the critic is not asked
        return RHO.log_prob(GRID) + dual.gamma.log_volume
    return RHO.log_prob(GRID) - dual.gamma.log_prob(GRID)


def best(term: HasDual, dual: Dual) -> Tensor:
    """The critic's raw output at the optimum: log ρ/Γ, or where h = softplus(u), log(e^{ρ/Γ} − 1)."""
    return log_ratio(dual).exp().expm1().log() if isinstance(term, PowerEntropy) else log_ratio(dual)


def exact(term: HasDual) -> float:
    """F(ρ) from its definition."""
    rho, pi = density(RHO), density(PI)
    log_rho, log_pi, log_middle = rho.log(), pi.log(), ((rho + pi) / 2).log()
    if isinstance(term, Entropy):
        return float(mean(RHO, log_rho))
    if isinstance(term, PowerEntropy):
        return float(mean(RHO, rho.pow(term.m - 1))) / (term.m - 1)
    if isinstance(term.f, KullbackLeibler):
        return float(mean(RHO, log_rho - log_pi))
    return float(mean(RHO, log_rho - log_middle) + mean(PI, log_pi - log_middle))


def variation(term: HasDual) -> Tensor:
    """δF/δρ up to a constant, from calculus."""
    rho, log_ratio = density(RHO), RHO.log_prob(GRID) - PI.log_prob(GRID)
    if isinstance(term, Entropy):
        return rho.log()
    if isinstance(term, PowerEntropy):
        return term.m / (term.m - 1) * rho.pow(term.m - 1)
    return log_ratio if isinstance(term.f, KullbackLeibler) else -torch.log1p(torch.exp(-log_ratio))


def test_closed_forms_between_gaussians():
    kl = 0.5 * (0.5 / 0.9 + 0.7**2 / 0.9 - 1 + math.log(0.9 / 0.5))
    assert exact(FDivergence(KullbackLeibler(), PI)) == pytest.approx(kl, rel=1e-10)
    assert exact(Entropy()) == pytest.approx(-0.5 * math.log(2 * math.pi * math.e * 0.5), rel=1e-10)
    assert exact(PowerEntropy(2)) == pytest.approx(1 / math.sqrt(4 * math.pi * 0.5), rel=1e-10)


@every_term
def test_the_supremum_is_the_functional(term):
    dual = fitted(term)
    assert value(dual, best(term, dual)) == pytest.approx(exact(term), abs=1e-6)  # ρ's tails past Γ's box: 1e-7


@every_term
def test_every_other_critic_has_less(term):
    """And less by the square of how far it is off: the optimum is stationary."""
    dual = fitted(term)
    top = value(dual, best(term, dual))
    for wave in (GRID[:, 0].sin(), (2 * GRID[:, 0]).cos(), torch.tanh(GRID[:, 0]), torch.ones_like(GRID[:, 0])):
        far, near = (top - value(dual, best(term, dual) + size * wave) for size in (0.02, 0.01))
        assert near > 1e-9
        assert far / near == pytest.approx(4, rel=0.15)
    assert value(dual, torch.zeros(len(GRID)).double()) < top


@every_term
def test_at_the_optimum_the_duals_derivatives_tell_the_density(term):
    """b′(u)/a′(u) = dρ/dΓ, so that E_Γ[(f*)′(h)] = 1: the cheap check that Γ covers and h has converged."""
    dual = fitted(term)
    inside = density(dual.gamma) > 1e-8
    u, x = best(term, dual)[inside, None], GRID[inside]
    ratio = autodiff.gradient(lambda u: dual.b(u[:, 0], x), u) / autodiff.gradient(lambda u: dual.a(u[:, 0], x), u)
    torch.testing.assert_close(ratio[:, 0], log_ratio(dual).exp()[inside], rtol=1e-9, atol=1e-12)
    assert float((ratio[:, 0] * density(dual.gamma)[inside]).sum() * STEP) == pytest.approx(1, abs=1e-5)


@every_term
def test_the_optimal_critic_is_the_first_variation(term):
    dual = fitted(term)
    near = (GRID[:, 0] - 0.3).abs() < 3
    gap = (dual.a(best(term, dual), GRID) - variation(term))[near]
    assert float(gap.max() - gap.min()) < 1e-9


@every_term
def test_the_head_is_the_function_of_the_literature(term):
    dual = fitted(term)
    h, near = dual.head(best(term, dual)), (GRID[:, 0] - 0.3).abs() < 3
    expected = log_ratio(dual).exp()
    if isinstance(term, FDivergence):
        expected = log_ratio(dual) if isinstance(term.f, KullbackLeibler) else (2 * expected / (1 + expected)).log()
    torch.testing.assert_close(h[near], expected[near], rtol=1e-9, atol=1e-12)


@every_term
def test_values_on_samples_agree(term):
    """`Dual.value` with Γ's own samples, against quadrature, within four standard errors."""
    dual, n = fitted(term), 40_000
    x, z = (law.sample(n, torch.Generator().manual_seed(seed)) for law, seed in ((RHO, 0), (dual.gamma, 1)))

    def critic(y: Tensor) -> Tensor:
        return torch.tanh(y[:, 0]) - 0.3

    a, b = dual.a(critic(x), x), dual.b(critic(z), z)
    error = math.sqrt(float(a.var() + b.var()) / n)
    assert error < 0.02
    assert float(dual.value(critic, x, z)) == pytest.approx(value(dual, critic(GRID)), abs=4 * error)


@every_term
def test_a_reloaded_reference_is_the_same_dual(term, tmp_path):
    reference = term.reference(Cloud(zoo.randn(0, 50, 1)))
    save_tree(reference, tmp_path / "reference.safetensors")
    before, after = term.dual(reference), term.dual(load_tree(tmp_path / "reference.safetensors"))
    u = GRID[:, 0].sin()
    assert torch.equal(before.a(u, GRID), after.a(u, GRID))
    assert torch.equal(before.b(u, GRID), after.b(u, GRID))
    assert torch.equal(before.gamma.log_prob(GRID), after.gamma.log_prob(GRID))


def test_the_box_of_a_power_entropy_extends_past_the_cloud():
    x = zoo.randn(0, 200, 2)
    gamma = PowerEntropy(2, margin=0.5).dual(PowerEntropy(2, margin=0.5).reference(Cloud(x))).gamma
    width = x.amax(0) - x.amin(0)
    torch.testing.assert_close(gamma.low, x.amin(0) - 0.5 * width)
    torch.testing.assert_close(gamma.high, x.amax(0) + 0.5 * width)


def test_the_gaussian_of_an_entropy_is_fitted_to_the_cloud():
    x = 3 + zoo.randn(0, 400, 2) @ torch.linalg.cholesky(zoo.COVARIANCE).T
    gamma = Entropy().dual(Entropy().reference(Cloud(x))).gamma
    torch.testing.assert_close(gamma.mean, x.mean(0))
    torch.testing.assert_close(gamma.covariance, x.T.cov(correction=0), rtol=1e-5, atol=1e-5)


# The family of f-divergences

RATIOS = torch.logspace(-30, 30, 241, dtype=zoo.DOUBLE)


@every_f
def test_conjugates_are_exact(f):
    """f*(f′(r)) = r f′(r) − f(r), relative to the larger of its two terms."""
    h, value = f.head(RATIOS.log()), f.value(RATIOS)
    error = (f.conjugate(RATIOS.log()) - (RATIOS * h - value)).abs()
    assert (error <= 1e-13 * torch.maximum((RATIOS * h).abs(), value.abs()) + 1e-15).all()


@every_f
def test_heads_are_derivatives(f):
    r = torch.logspace(-4, 4, 81, dtype=zoo.DOUBLE)[:, None]
    slope = autodiff.gradient(lambda r: f.value(r[:, 0]), r)
    torch.testing.assert_close(f.head(r.log()), slope, rtol=1e-10, atol=1e-10)


@every_f
def test_members_are_convex_and_vanish_at_one(f):
    assert float(f.value(zoo.doubles(1.0))) == pytest.approx(0, abs=1e-15)
    assert float(f.head(zoo.doubles(0.0))) == pytest.approx(0, abs=1e-15)  # f is normalised: f′(1) = 0
    assert torch.isfinite(f.value(zoo.doubles(0.0)))
    slopes = f.head(RATIOS.log())
    assert (slopes.diff() >= 0).all()


@every_f
def test_the_inequality_of_fenchel_and_young(f):
    r, u = RATIOS[60:180:7, None], torch.linspace(-20, 20, 41, dtype=zoo.DOUBLE)
    gap = f.value(r) + f.conjugate(u) - r * f.head(u)
    assert (gap >= -1e-12 * (1 + r * u.abs())).all()


def test_jensen_shannon_lies_between_zero_and_two_log_two():
    dual = FDivergence(JensenShannon(), PI).dual({})
    assert exact(FDivergence(JensenShannon(), PI)) < 2 * math.log(2)
    assert (dual.head(torch.linspace(-1e3, 1e3, 101)) <= math.log(2) + 1e-7).all()
    # uniform on [0, 1] against uniform on [0, 2], by hand
    r, weight = zoo.doubles(2.0, 0.0), zoo.doubles(0.5, 0.5)
    by_hand = math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    assert float((weight * JensenShannon().value(r)).sum()) == pytest.approx(by_hand)


def extremes(function: Callable[[Tensor], Tensor]) -> None:
    u = torch.linspace(-80, 80, 641).requires_grad_()
    value = function(u)
    assert value.dtype == torch.float32
    assert torch.isfinite(value).all()
    assert torch.isfinite(torch.autograd.grad(value.sum(), u)[0]).all()


@every_term
def test_nothing_overflows_in_float32(term):
    rows = torch.linspace(-4, 5, 641)[:, None]
    dual = term.dual(term.reference(Cloud(rows)))
    if isinstance(term, FDivergence):
        dual = FDivergence(term.f, PI.to(torch.float32)).dual({})
    extremes(lambda u: dual.a(u, rows))
    extremes(lambda u: dual.b(u, rows))
    extremes(dual.head)
