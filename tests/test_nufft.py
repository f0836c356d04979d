"""Fourier sums, splits of singular kernels, sums over neighbours, against dense float64 sums and exact transforms."""

import math
import resource
from dataclasses import replace

import numpy as np
import pytest
import torch
import zoo
from scipy.integrate import quad
from scipy.special import exp1, j0, sici
from torch import Tensor

from wgf.errors import Incompatible, InputError
from wgf.kernels import (
    Energy,
    Gaussian,
    InverseMultiquadric,
    Laplace,
    Log,
    Matern32,
    Matern52,
    Mollifier,
    Power,
    Radial,
    Smoothed,
    _dense,
    _nufft,
    _split,
    engines,
    kernel_sum,
    kernel_sum_gradient,
    kernel_sums,
)
from wgf.kernels.costs import Cost
from wgf.kernels.task import Task

KERNELS: list[Radial] = [
    Gaussian(0.8),
    Mollifier(0.7),
    InverseMultiquadric(2.0),
    Smoothed(Log(), 0.5),
    Smoothed(Energy(), 0.5),
    Log(),
    Energy(),
    Energy(1.3),
    Power(-0.5),
    Power(3),
    Laplace(0.8),
    Matern32(0.8),
    Matern52(0.8),
    Log() - 2 * Gaussian(0.9),
]
every = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)


def scales(task: Task) -> tuple[Tensor, Tensor]:
    """Σ|a k| and Σ|b ∇k| of the largest row, for each column."""
    r = (task.x.double()[:, None] - task.y.double()[None]).square().sum(-1)
    k, slope = task.kernel.jet(r, task.dim, 1)
    if not task.diagonal:
        k = k.clone().fill_diagonal_(0)
    a, b = task.value_weights, task.gradient_weights
    assert a is not None
    assert b is not None
    return (k.abs() @ a.double().abs()).amax(0), ((2 * slope * r.sqrt()).abs() @ b.double().abs()).amax(0)


def errors(task: Task) -> tuple[float, float]:
    """Of the values and the gradients, relative to the largest row."""
    assert _nufft.refusal(task) is None, _nufft.refusal(task)
    a, b = task.value_weights, task.gradient_weights
    assert a is not None
    assert b is not None
    V, G = _nufft.evaluate(task)
    truth = replace(task, x=task.x.double(), y=task.y.double(), value_weights=a.double(), gradient_weights=b.double())
    v, g = _dense.evaluate(truth)
    assert V is not None
    assert G is not None
    value, slope = scales(task)
    assert (V.dtype, G.dtype) == (task.x.dtype, task.x.dtype)
    return float(((V - v).abs() / value).max()), float(((G - g).norm(dim=2) / slope).max())


def task_of(kernel: Radial, dim: int, tolerance: float, **changes: object) -> Task:
    x, y = zoo.randn(0, 200, dim), zoo.randn(1, 230, dim)
    return replace(Task(kernel, x, y, zoo.randn(2, 230, 2), zoo.randn(3, 230, 1), True, tolerance), **changes)


@every
@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_errors_stay_below_the_tolerance(kernel, dim, tolerance):
    assert max(errors(task_of(kernel, dim, tolerance))) < tolerance


@pytest.mark.parametrize("kernel", [Gaussian(0.8), InverseMultiquadric(1.0), Log(), Laplace(0.8)], ids=lambda k: k.name)
@pytest.mark.parametrize("dim", [1, 2])
def test_a_tolerance_of_almost_every_digit_is_met(kernel, dim):
    assert max(errors(task_of(kernel, dim, 2e-12))) < 2e-12


@every
def test_single_precision_points_far_from_the_origin_keep_their_digits(kernel):
    task = task_of(kernel, 2, 1e-5)
    a, b = task.value_weights, task.gradient_weights
    assert a is not None
    assert b is not None
    x, y = 300 + task.x.float(), 300 + task.y.float()
    assert max(errors(replace(task, x=x, y=y, value_weights=a.float(), gradient_weights=b.float()))) < 1e-5


@every
def test_sums_without_the_diagonal_and_with_columns_of_any_number(kernel):
    x = zoo.randn(0, 150, 2)
    columns = zoo.randn(1, 150, 5)
    for a, b in ((columns[:, :1], columns[:, :1]), (columns[:, :3], columns[:, 1:]), (columns, columns[:, :2])):
        assert max(errors(Task(kernel, x, x.clone(), a, b, False, 1e-7))) < 1e-7


def clouds(dim: int) -> dict[str, Tensor]:
    spread = zoo.randn(0, 200, dim)
    return {
        "two points": zoo.randn(1, 2, dim),
        "far away": 1e6 + spread,
        "tight clusters": (5 * zoo.randn(2, 3, 1, dim) + 1e-3 * zoo.randn(3, 3, 60, dim)).reshape(-1, dim),
        "a far outlier": torch.cat([spread, 30 + zoo.randn(4, 1, dim)]),
        "pairs that all but coincide": torch.cat([spread, spread + 1e-12]),
        "coincident pairs": torch.cat([spread, spread]),
        "a line": spread * torch.eye(dim, dtype=zoo.DOUBLE)[0],
        "a lattice": torch.cartesian_prod(*[torch.linspace(-1, 1, 14, dtype=zoo.DOUBLE)] * dim).reshape(-1, dim),
    }


@pytest.mark.parametrize("cloud", clouds(1))
@pytest.mark.parametrize("dim", [1, 2])
def test_clouds_of_every_shape(cloud, dim):
    x = clouds(dim)[cloud]
    w = zoo.randn(5, len(x), 1)
    for kernel in (Gaussian(1.0), Smoothed(Log(), 0.3), Log(), Energy(), Laplace(0.5)):
        for diagonal in (True, False):
            assert max(errors(Task(kernel, x, x, w, w, diagonal, 1e-7))) < 1e-7, kernel.name


def test_each_row_leaves_out_its_own_point():
    x, w, own = zoo.randn(0, 90, 2), zoo.randn(1, 90, 2), torch.arange(0, 90, 3)
    for kernel in (Gaussian(0.8), Energy(), Laplace(0.8)):
        task = Task(kernel, x, x, w, w, False, 1e-8)
        V, _ = _nufft.evaluate(task)
        rows, _ = _nufft.evaluate(replace(task, x=x[own], own=own))
        assert V is not None
        torch.testing.assert_close(rows, V[own], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kernel", [Gaussian(0.7), Log(), Energy(), Laplace(0.7)], ids=lambda kernel: kernel.name)
def test_points_that_are_all_one(kernel):
    for n in (1, 4):
        x, w = zoo.doubles([0.3, -0.2]).expand(n, 2), zoo.randn(0, n)
        V, G = kernel_sums(kernel, x, x, w, w, engine="nufft")
        at_zero = kernel.value(zoo.doubles(0.0), 2)
        torch.testing.assert_close(V, (at_zero * w.sum()).expand(n))
        assert float(G.abs().max()) == 0
    V, _ = kernel_sums(kernel, x, x, w, w, engine="nufft", diagonal=False)
    torch.testing.assert_close(V, at_zero * (w.sum() - w), rtol=1e-12, atol=1e-14)


def test_a_narrow_kernel_is_summed_over_neighbours_alone():
    x, w = zoo.randn(0, 400, 3), zoo.randn(1, 400, 1)
    for kernel in (Gaussian(0.03), Mollifier(0.03) + Laplace(0.02), Matern32(0.02)):
        task = Task(kernel, x, x, w, w, True, 1e-9)
        plan = _nufft._planned(task)
        assert isinstance(plan, _nufft._Plan)
        assert plan.modes <= 3**3
        assert max(errors(task)) < 1e-9


# The smooth kernels and the splits


def transformed(x: Tensor, y: Tensor, w: Tensor, period: float, most: int, slope: object) -> np.ndarray:
    """Σ_k s_k e^{iξ_k·x_i} Σ_j w_j e^{−iξ_k·y_j} / period^d by brute force, s the transform of the gradient."""
    dim = x.shape[1]
    k = np.stack(np.meshgrid(*[np.arange(-most, most + 1)] * dim, indexing="ij"), -1).reshape(-1, dim)
    xi = 2 * math.pi / period * k[np.any(k != 0, 1)]
    modes = np.exp(-1j * xi @ y.numpy().T) @ w.numpy()
    return np.real(np.exp(1j * x.numpy() @ xi.T) @ (slope(xi) * modes[:, None])) / period**dim


def test_smoothed_logarithms_have_the_truncated_transforms():
    """Against −2i Si(kL) e^{−ε²k²/2} in one dimension and −2πi k (1 − J₀(|k|L)) e^{−ε²|k|²/2}/|k|² in two."""
    epsilon = 0.2
    for dim, most in ((1, 300), (2, 110)):
        x = torch.rand(60, dim, dtype=zoo.DOUBLE, generator=torch.Generator().manual_seed(0))
        w = zoo.randn(1, 60)
        L = math.sqrt(dim) + 7 * epsilon

        def slope(xi: np.ndarray, L: float = L) -> np.ndarray:
            size = np.linalg.norm(xi, axis=1, keepdims=True)
            fall = np.exp(-0.5 * (epsilon * size) ** 2)
            if xi.shape[1] == 1:
                return -2j * sici(xi * L)[0] * fall
            return -2j * math.pi * xi * (1 - j0(size * L)) / size**2 * fall

        exact = transformed(x, x, w, 2 * L + 14 * epsilon, most, slope)
        G = kernel_sum_gradient(Smoothed(Log(), epsilon), x, x, w, engine="nufft", tolerance=1e-10)
        np.testing.assert_allclose(G.numpy(), exact, rtol=0, atol=1e-8 * np.abs(exact).max())


@pytest.mark.parametrize(
    "kernel", [Log(), Power(-0.4), Power(1), Energy(1.3), Power(4)], ids=lambda kernel: kernel.name
)
def test_smoothed_kernels_are_convolutions(kernel):
    epsilon, z = 0.3, (0.0, 0.05, 0.4, 2.0)

    def k(u: float) -> float:
        return float(kernel.value(zoo.doubles(u * u), 1))

    def density(u: float) -> float:
        return math.exp(-0.5 * (u / epsilon) ** 2) / (epsilon * math.sqrt(2 * math.pi))

    def convolved(at: float) -> float:
        sides = (quad(lambda u, s=s: k(s * u) * density(at - s * u), 0, 6, points=[1e-3, 0.1, at]) for s in (1, -1))
        return sum(value for value, _ in sides)

    values = Smoothed(kernel, epsilon).value(zoo.doubles(*z).square(), 1)
    torch.testing.assert_close(values, zoo.doubles(*[convolved(at) for at in z]), rtol=1e-8, atol=1e-9)


def test_smoothed_kernels_have_their_closed_forms():
    s, epsilon = torch.logspace(-3, 3, 40, dtype=zoo.DOUBLE), 0.7
    x = (s.square() / (2 * epsilon**2)).numpy()
    plane = torch.from_numpy(0.5 * (np.log(s.numpy() ** 2) + exp1(x)))
    torch.testing.assert_close(Smoothed(Log(), epsilon).value(s.square(), 2), plane, rtol=1e-12, atol=1e-13)
    coulomb = -torch.erf(s / (math.sqrt(2) * epsilon)) / s
    torch.testing.assert_close(Smoothed(Power(-1), epsilon).value(s.square(), 3), coulomb, rtol=2e-13, atol=0)
    line = -s * torch.erf(s / (math.sqrt(2) * epsilon)) - epsilon * math.sqrt(2 / math.pi) * torch.from_numpy(
        np.exp(-x)
    )
    torch.testing.assert_close(Smoothed(Energy(), epsilon).value(s.square(), 1), line, rtol=2e-13, atol=0)
    square = 0.5 * (s.square() + 5 * epsilon**2)
    torch.testing.assert_close(Smoothed(Power(2), epsilon).value(s.square(), 5), square, rtol=2e-13, atol=0)


def test_smoothed_kernels_keep_single_precision_and_any_shape():
    kernel, r = Smoothed(Power(-1.5), 0.2), torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    for single, double in zip(kernel.jet(r, 2, 3), kernel.jet(r.double(), 2, 3), strict=True):
        assert single.shape == r.shape
        torch.testing.assert_close(single.double(), double, rtol=3e-7, atol=0)
    assert kernel.value(r[:0], 2).shape == (0, 4, 5)
    assert kernel.value(torch.tensor(0.0), 2).shape == ()


@pytest.mark.parametrize(
    "kernel", [Log(), Power(-1.2), Energy(), Power(3), Laplace(0.8), Matern32(0.8), Matern52(0.8)], ids=lambda k: k.name
)
def test_splits_are_analytic_at_zero_and_leave_a_short_remainder(kernel):
    epsilon = 0.3
    s = epsilon * np.array([8.0, 10.0, 15.0])
    k = _split.value(kernel, s**2, 2)
    np.testing.assert_allclose(_split.smooth_value(kernel, s**2, 2, epsilon), k, rtol=2e-13, atol=1e-14)
    nodes = np.cos(math.pi * (np.arange(64) + 0.5) / 64)
    f = _split.smooth_value(kernel, 0.5 * (1 + nodes) * (6 * epsilon) ** 2, 2, epsilon)
    c = np.abs(np.cos(np.outer(np.arange(64), np.arccos(nodes))) @ f)
    assert c[36:].max() < 1e-13 * c.max()  # |z| itself, not a function of |z|², falls like 1/k²


def test_splits_of_mixtures_keep_their_wide_gaussians():
    """e^{−as} = (a/2√π) ∫ t^{−3/2} e^{−a²/4t − ts²} dt, of which S keeps t < 1/2ε²."""
    kernel, epsilon = Laplace(0.8), 0.4
    (a,) = kernel.parameters(2)
    for s in (0.0, 0.3, 1.0):

        def mixture(t: float, s: float = s) -> float:
            return a / (2 * math.sqrt(math.pi)) * t**-1.5 * math.exp(-(a**2) / (4 * t) - t * s * s)

        kept, _ = quad(mixture, 0, 0.5 / epsilon**2)
        S = _split.smooth_value(kernel, np.array([s**2]), 2, epsilon)[0]
        assert abs(S - kept) < 1e-8


# The entrance


def test_the_entrance_reaches_it_and_its_sums_are_differentiable():
    x, w = zoo.randn(0, 80, 2), zoo.randn(1, 80)
    slopes = []
    for engine in ("nufft", "dense"):
        inputs = [tensor.clone().requires_grad_() for tensor in (x, w)]
        V = kernel_sum(Gaussian(0.7), inputs[0], inputs[0], inputs[1], engine=engine)
        slopes.append(torch.autograd.grad(V.square().sum(), inputs))
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_sums_have_the_same_bits(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        task = task_of(Energy(), 2, 1e-8)
        for one, other in zip(_nufft.evaluate(task), _nufft.evaluate(task), strict=True):
            assert one is not None
            assert other is not None
            if threads == 1:  # finufft's threads add to a grid in the order that they come
                assert torch.equal(one, other)
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    finally:
        torch.set_num_threads(before)


def test_memory_stays_within_its_budget():
    x, w = zoo.randn(0, 20_000, 2), torch.full((20_000, 1), 5e-5, dtype=zoo.DOUBLE)
    task = Task(Gaussian(0.02), x, x, w, w, True, 1e-6, 2**27)
    engines.engine("nufft").evaluate(replace(task, kernel=Gaussian(0.5)))  # what the library itself takes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plan = _nufft._planned(task)
    assert isinstance(plan, _nufft._Plan)
    assert plan.modes > 300_000
    _nufft.evaluate(task)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 1.2 * task.budget


REFUSED = {
    "d ≤ 3, got 4": (Gaussian(1.0), 4, 1e-5),
    "p > −1": (Power(-1.0), 1, 1e-5),
    "lost in rounding": (Gaussian(1e-4), 2, 1e-5),
    "more digits than a double has": (Power(8), 1, 1e-12),
}


@pytest.mark.parametrize("clause", REFUSED)
def test_what_it_cannot_serve_is_refused_in_a_clause(clause):
    kernel, dim, tolerance = REFUSED[clause]
    x, y = zoo.randn(0, 30, dim), 9 + zoo.randn(1, 30, dim)
    with pytest.raises(Incompatible, match=f"'nufft' cannot take this sum.*{clause}.* can"):
        kernel_sum(kernel, x, y, engine="nufft", tolerance=tolerance)


def test_a_value_below_the_rounding_of_a_points_own_term_is_refused():
    far, w = torch.tensor([[0.0], [40.0]], dtype=zoo.DOUBLE), torch.ones(2, 1, dtype=zoo.DOUBLE)
    alone = Task(Laplace(1.0), far, far, w, None, False, 1e-6)
    reason = _nufft.refusal(alone)
    assert reason is not None
    assert "lost in rounding" in reason
    assert _nufft.refusal(replace(alone, diagonal=True)) is None


def test_a_task_is_planned_once(monkeypatch):
    planned = []
    monkeypatch.setattr(_nufft, "_plan", lambda task, plan=_nufft._plan: (planned.append(task), plan(task))[1])
    task = task_of(Gaussian(0.5), 2, 1e-6)
    engine = engines.engine("nufft")
    assert engine.refusal(task) is None
    assert engine.seconds(task, Cost("nufft", "cpu", "float64", 2, start=1e-3)) > 0
    engine.evaluate(task)
    assert len(planned) == 1


def test_modes_beyond_the_budget_are_refused():
    x, w = torch.cat([zoo.randn(0, 50, 3), 1e4 + zoo.randn(1, 50, 3)]), torch.ones(100, 1, dtype=zoo.DOUBLE)
    reason = _nufft.refusal(Task(InverseMultiquadric(1.0), x, x, w, None, True, 1e-6))
    assert reason is not None
    assert "modes" in reason


def test_bad_smoothed_kernels_are_refused_in_a_sentence():
    with pytest.raises(InputError, match="width epsilon of a Smoothed kernel must be a finite number above 0, got 0"):
        Smoothed(Log(), 0)
    with pytest.raises(Incompatible, match=r"takes Log\(\), Power\(p\) or Energy\(p\), got Gaussian"):
        Smoothed(Gaussian(1.0), 0.1)
    with pytest.raises(Incompatible, match="no integral at zero in 2 dimensions: p must exceed -2"):
        Smoothed(Power(-2.5), 0.1).value(zoo.doubles(1.0), 2)
