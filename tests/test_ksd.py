"""KSD²: zero in expectation under the target, its closed form for a shift, statistics, blocks, descent."""

import math

import pytest
import torch
import zoo

from validation.stein import ksd2_u, ksd2_v
from wgf import KSD2, Gaussian, Particles, Potential, Quadratic, autodiff, evolve
from wgf.errors import Incompatible, InputError
from wgf.functionals import score_of
from wgf.functionals.stein import stein_sum, stein_totals
from wgf.kernels import Energy, InverseMultiquadric, Laplace, Matern32, Matern52, Median
from wgf.kernels import Gaussian as GaussianKernel
from wgf.law import Cloud

KERNELS = [GaussianKernel(1.2), InverseMultiquadric(1.0), Matern52(1.5), GaussianKernel(0.7) + InverseMultiquadric(2.0)]


def normal(x: torch.Tensor) -> torch.Tensor:
    """The score of N(0, I)."""
    return -x


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("dim", [1, 3])
def test_the_unbiased_estimator_is_zero_on_average_under_the_target(kernel, dim):
    values = torch.tensor([float(ksd2_u(kernel, zoo.randn(seed, 25, dim), normal)) for seed in range(400)])
    assert abs(float(values.mean())) < 3.5 * float(values.std()) / len(values) ** 0.5
    shifted = torch.tensor([float(ksd2_u(kernel, 0.7 + zoo.randn(seed, 25, dim), normal)) for seed in range(200)])
    assert float(shifted.mean()) > 10 * float(shifted.std()) / len(shifted) ** 0.5


def test_a_shift_of_a_gaussian_has_a_closed_form():
    """KSD² = E ⟨s_π − s_ρ, s_π′ − s_ρ′⟩ k(X, X′), and s_π − s_ρ = −μ from N(μ, I) to N(0, I): |μ|² E k."""
    mu, h, dim = zoo.doubles(0.5, -0.3), 1.3, 2
    exact = float(mu.square().sum()) * (h**2 / (h**2 + 2)) ** (dim / 2)
    values = torch.tensor(
        [float(ksd2_u(GaussianKernel(h), mu + zoo.randn(seed, 400, dim), normal)) for seed in range(60)]
    )
    assert abs(float(values.mean()) - exact) < 3.5 * float(values.std()) / 60**0.5
    assert float(values.std()) / 60**0.5 < 0.03 * exact


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_the_stein_kernel_is_that_of_autograd(kernel):
    x, y = zoo.randn(0, 3, 2), zoo.randn(1, 4, 2)

    def score(x):
        return -x.pow(3) + 0.3

    def k(x, y):
        return kernel.value((x - y).square().sum(-1), 2)

    def u(x, y):
        by_x, by_y = torch.func.grad(k), torch.func.grad(k, 1)
        mixed = torch.func.jacrev(by_x, 1)(x, y).diagonal().sum()
        s, t = score(x), score(y)
        return s @ t * k(x, y) + s @ by_y(x, y) + t @ by_x(x, y) + mixed

    expected = torch.stack([torch.stack([u(a, b) for b in y]).mean() for a in x])
    torch.testing.assert_close(stein_sum(kernel, x, score(x), y, score(y)), expected, rtol=1e-11, atol=1e-12)


def test_sums_are_differentiable_in_all_four():
    inputs = [zoo.randn(seed, 4 + seed % 2, 2).requires_grad_() for seed in (0, 2, 1, 3)]
    assert torch.autograd.gradcheck(lambda *all: stein_sum(GaussianKernel(0.9), *all), inputs)


def test_second_derivatives_of_stein_sums_are_refused_and_not_left_out():
    x, score = (zoo.randn(k, 5, 2).requires_grad_() for k in (1, 2))
    slope = torch.autograd.grad(stein_sum(GaussianKernel(0.9), x, score, x, score).sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="gradients of these gradients are not known"):
        torch.autograd.grad(slope.sum() + x.pow(3).sum(), x)


def test_u_and_v_differ_by_the_diagonal_and_blocks_change_nothing(monkeypatch):
    x, kernel = 3 + zoo.randn(0, 70, 3), InverseMultiquadric(1.5)
    total, own = stein_totals(kernel, x, normal(x))
    assert float(ksd2_v(kernel, x, normal)) == pytest.approx(total / 70**2)
    assert float(ksd2_u(kernel, x, -x)) == pytest.approx((total - own) / (70 * 69))
    assert float(KSD2(kernel, normal).energy(Cloud(x)).mean()) == pytest.approx(total / 70**2)
    monkeypatch.setattr("wgf.functionals.stein.PAIRS", 100)
    assert stein_totals(kernel, x, normal(x)) == pytest.approx((total, own), rel=1e-12)


def test_float32_points_are_summed_in_float64():
    x = zoo.randn(0, 200, 8).float()
    single, double = (float(ksd2_v(Median(), points, normal)) for points in (x, x.double()))
    assert single == pytest.approx(double, rel=1e-5)  # Median's own bandwidth and the scores are float32


def test_descent_goes_to_the_target():
    F = KSD2(GaussianKernel(1.0), Potential(Quadratic([[1.0, 0.3], [0.3, 0.6]], [1.0, -1.0])))
    path = evolve(F, Particles(100), Gaussian(zoo.doubles(0, 0), 0.5 * zoo.EYE), [0.2] * 500)
    energy = torch.tensor(path.energy)
    assert (energy.diff() < 0).all()
    assert float(energy[-1]) < 0.01 * float(energy[0])
    assert float((path.state.x.mean(0) - zoo.doubles(1, -1)).norm()) < 0.1


@pytest.mark.parametrize("kernel", [GaussianKernel(0.9), InverseMultiquadric(1.3)], ids=lambda kernel: kernel.name)
def test_the_gradient_of_the_first_variation_is_differentiable(kernel):
    """As an explicit move along it with its log-determinant needs."""
    psi = KSD2(kernel, lambda x: -x.pow(3)).first_variation(Cloud(zoo.randn(0, 9, 2)))
    at, steps = zoo.randn(1, 4, 2), 1e-5 * zoo.EYE
    _, J = autodiff.jacobian(lambda x: psi.gradient(x, create_graph=True), at)
    differences = torch.stack([(psi.gradient(at + e) - psi.gradient(at - e)) / 2e-5 for e in steps], -1)
    torch.testing.assert_close(J, differences, rtol=1e-7, atol=1e-8)


def test_the_score_of_a_density_is_its_gradient():
    V = Potential(Quadratic([[2.0, 0.5], [0.5, 1.0]]))
    x = zoo.randn(0, 5, 2)
    torch.testing.assert_close(score_of(V)(x), -x @ zoo.doubles([2.0, 0.5], [0.5, 1.0]))
    torch.testing.assert_close(score_of(lambda x: -x.pow(4).sum(-1))(x), -4 * x.pow(3))


@pytest.mark.parametrize("kernel", [Laplace(1.0), Matern32(1.0), Energy(), GaussianKernel(1.0) + Energy()])
def test_kernels_that_are_not_smooth_are_refused(kernel):
    with pytest.raises(Incompatible, match=r"twice differentiable.*try Gaussian"):
        KSD2(kernel, normal)
    with pytest.raises(Incompatible, match="twice differentiable"):
        ksd2_u(kernel, zoo.randn(0, 4, 2), normal)


def test_scores_of_another_shape_or_not_finite_are_refused():
    x = zoo.randn(0, 4, 2)
    with pytest.raises(InputError, match=r"\(4, 2\) here; got \(4,\)"):
        ksd2_u(GaussianKernel(1.0), x, lambda x: x.sum(1))
    with pytest.raises(InputError, match="the scores has 8 entries that are NaN"):
        ksd2_v(GaussianKernel(1.0), x, lambda x: x * math.nan)
    with pytest.raises(InputError, match="at least 2 points, got 1"):
        ksd2_u(GaussianKernel(1.0), x[:1], normal)
