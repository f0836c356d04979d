"""Kernels and the entrance to their sums: derivatives, gradients of gradients, blocks, which engine, bad input."""

import logging
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import zoo
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from wgf import autodiff
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
    _dense,
    engines,
    kernel_sum,
    kernel_sum_gradient,
    kernel_sums,
)
from wgf.kernels.task import Task, Unavailable

every_kernel = pytest.mark.parametrize("kernel", zoo.KERNELS, ids=lambda kernel: kernel.name)
SMOOTH_AT_ZERO = [Gaussian(0.8), Mollifier(0.5), InverseMultiquadric(0.8), Matern52(1.0), Matern32(1.0), Power(4)]


@every_kernel
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_each_derivative_is_that_of_the_one_before(kernel, dim):
    r = torch.linspace(0.1, 4, 50, dtype=zoo.DOUBLE)
    for n, (_, derivative) in enumerate(pairwise(kernel.jet(r, dim, 3))):
        slope = autodiff.gradient(lambda r, n=n: kernel.jet(r[:, 0], dim, n)[n], r[:, None])[:, 0]
        torch.testing.assert_close(derivative, slope, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kernel", SMOOTH_AT_ZERO, ids=lambda kernel: kernel.name)
def test_the_mixed_trace_is_that_of_autograd(kernel):
    x, y = zoo.randn(0, 4, 3), zoo.randn(1, 4, 3)

    def k(x: Tensor, y: Tensor) -> Tensor:
        return kernel.value((x - y).square().sum(-1), 3)

    def mixed(x: Tensor, y: Tensor) -> Tensor:
        slopes = torch.func.jacrev(torch.func.grad(k), argnums=1)
        return slopes(x, y).diagonal().sum()

    expected = torch.stack([mixed(a, b) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(kernel.mixed_trace((x - y).square().sum(-1), 3), expected, rtol=1e-11, atol=1e-12)


def test_kernels_are_one_at_zero_where_they_have_a_bandwidth_and_fall_to_the_same_value_at_it():
    values = {
        Gaussian(0.7): math.exp(-0.5),
        Laplace(0.7): math.exp(-1),
        Matern32(0.7): (1 + 3**0.5) * math.exp(-(3**0.5)),
        Matern52(0.7): (1 + 5**0.5 + 5 / 3) * math.exp(-(5**0.5)),
        InverseMultiquadric(0.7): 2**-0.5,
        InverseMultiquadric(0.7, 1.0): 0.5,
    }
    for kernel, value in values.items():
        at = kernel.value(zoo.doubles(0.0, 0.49), 2)
        torch.testing.assert_close(at, zoo.doubles(1.0, value), rtol=1e-14, atol=0)
    torch.testing.assert_close(Log().value(zoo.doubles(4.0), 2), zoo.doubles(math.log(2)))
    torch.testing.assert_close(Energy(1.5).value(zoo.doubles(4.0), 2), zoo.doubles(-(2**1.5)))
    torch.testing.assert_close(Power(-1).value(zoo.doubles(4.0), 3), zoo.doubles(-0.5))


@pytest.mark.parametrize("kernel", [Log(), Power(-1), Energy(), Laplace(1.0), Power(1)], ids=lambda k: k.name)
def test_coincident_points_of_a_singular_kernel_exert_no_force(kernel):
    x = zoo.doubles([0, 0], [0, 0], [1, 0])
    V, G = kernel_sums(kernel, x, x, torch.ones(3, dtype=zoo.DOUBLE), torch.ones(3, dtype=zoo.DOUBLE))
    at = kernel.value(zoo.doubles(0.0, 1.0), 2)
    slope = 2 * kernel.derivative(zoo.doubles(1.0), 2)
    torch.testing.assert_close(V, torch.stack([2 * at[0] + at[1]] * 2 + [2 * at[1] + at[0]]))
    torch.testing.assert_close(G[:, 0], torch.cat([-slope, -slope, 2 * slope]))
    if not isinstance(kernel, Laplace):
        assert float(at[0]) == 0


@pytest.mark.parametrize("kernel", [Gaussian(0.7), Energy(), Log(), Power(4) - 2 * Matern52(1.0)], ids=lambda k: k.name)
def test_sums_are_differentiable_and_so_are_their_gradients(kernel):
    x, y, a, b = (zoo.randn(seed, *shape) for seed, shape in enumerate([(5, 2), (4, 2), (4, 2), (4, 3)]))
    inputs = [tensor.requires_grad_() for tensor in (x, y, a, b)]
    assert gradcheck(lambda x, y, a, b: kernel_sums(kernel, x, y, a, b), inputs)
    assert gradgradcheck(lambda x, y, a: kernel_sum(kernel, x, y, a), inputs[:3])
    assert gradcheck(
        lambda x, b: kernel_sums(kernel, x, x, None, b, diagonal=False)[1], [x, zoo.randn(7, 5).requires_grad_()]
    )


@every_kernel
def test_leaving_out_the_diagonal_leaves_out_each_points_own_term(kernel):
    x, w = zoo.randn(0, 9, 2), zoo.randn(1, 9)
    V, G = kernel_sums(kernel, x, x, w, w, diagonal=False)
    for i in range(9):
        others = torch.arange(9) != i
        one, slope = kernel_sums(kernel, x[i : i + 1], x[others], w[others], w[others])
        torch.testing.assert_close(V[i : i + 1], one, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(G[i : i + 1], slope, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dim", [2, 20])
def test_tiles_of_any_size_give_the_same_sums(dim, monkeypatch):
    x, y, a, b = zoo.randn(0, 50, dim), zoo.randn(1, 40, dim), zoo.randn(2, 40, 2), zoo.randn(3, 40, 3)
    task = Task(Gaussian(2.0), x, y, a, b, tolerance=1e-11)
    V, G = _dense.evaluate(task)
    for budget in (1, 3000, 30_000):
        v, g = _dense.evaluate(replace(task, budget=budget))
        torch.testing.assert_close(v, V, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(g, G, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("clusters", [1, 3])
@pytest.mark.parametrize("dim", [3, 30])
def test_tight_clusters_far_away_keep_their_digits(clusters, dim):
    centres = 1e3 * zoo.randn(0, clusters, dim, dtype=torch.float32)
    x = (centres[:, None] + 0.01 * zoo.randn(1, clusters, 20, dim, dtype=torch.float32)).reshape(-1, dim)
    w, kernel = zoo.randn(2, len(x), dtype=torch.float32), Gaussian(0.05)
    V, G = kernel_sums(kernel, x, x, w, w, engine="dense")
    v, g = kernel_sums(kernel, x.double(), x.double(), w.double(), w.double(), engine="dense")
    scale, slope = kernel_sums(kernel, x.double(), x.double(), w.double().abs(), None, engine="dense")[0], 1 / 0.05
    assert float(((V - v).abs() / scale).max()) < 1e-5
    assert float(((G - g).abs().amax(1) / scale).max()) < 1e-5 * slope


def test_products_take_over_in_many_dimensions_only_where_they_are_safe():
    x = zoo.randn(0, 30, 20, dtype=torch.float32)
    close, far = torch.cat([x, x + 1e-4]), torch.cat([x, x + 100])
    ones = torch.ones(60, 1)
    assert _dense.near_pairs(Task(Gaussian(5.0), close, close, ones, None)) == 0
    unsafe = Task(Gaussian(5.0), far, far, ones, None)
    near = _dense.near_pairs(unsafe)
    assert near is None or _dense._Products(unsafe, near).run() is None
    assert 0 < _dense.near_pairs(Task(Energy(), x, x, ones[:30], None)) < 10


@every_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_agree_with_differences_near_pairs_included(kernel, dtype):
    x = zoo.randn(0, 300, 20)
    x[1:40:2] = x[0:39:2] + 1e-3 * zoo.randn(1, 20, 20)
    x[50] = x[51]
    x, a, b = x.to(dtype), zoo.randn(2, 300, 2, dtype=dtype), zoo.randn(3, 300, 2, dtype=dtype)
    for diagonal in (True, False):
        task = Task(kernel, x, x, a, b, diagonal, tolerance=1e-5 if dtype == torch.float32 else 1e-11)
        V, G = _dense.evaluate(task)
        whole = _dense.in_double(replace(task, value_weights=a.abs()))
        scale = _dense._Differences(whole).run()[0].abs().clamp_min(torch.finfo(dtype).tiny / task.tolerance)
        v, g = _dense._Differences(_dense.in_double(task)).run()
        assert float(((V - v).abs() / scale).max()) < task.tolerance
        assert float((G - g).abs().max()) < task.tolerance * float(g.abs().max())


def test_memory_stays_within_its_budget_forwards_and_backwards():
    import resource

    x = zoo.randn(0, 6000, 3, dtype=torch.float32).requires_grad_()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kernel_sum(Gaussian(1.0), x, x, engine="dense").sum().backward()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 100 * 2**20  # all pairs at once: 144 MB an array


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_quadratic_attraction_needs_moments_alone(dtype):
    x, y = (100 + zoo.randn(seed, 50, 3, dtype=dtype) for seed in (0, 1))
    a, b = zoo.randn(2, 50, 2, dtype=dtype), zoo.randn(3, 50, 1, dtype=dtype)
    kernel = 0.5 * Power(2) - 3 * Power(2)
    V, G = kernel_sums(kernel, x, y, a, b, engine="moments")
    v, g = kernel_sums(kernel, x.double(), y.double(), a.double(), b.double(), engine="dense")
    scale = kernel_sum(Power(2), x.double(), y.double(), a.double().abs(), engine="dense")
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13
    assert float(((V - v).abs() / scale).max()) < tolerance
    assert float((G - g).abs().max()) < tolerance * float(g.abs().max())
    with pytest.raises(Incompatible, match="low degree"):
        kernel_sum(Power(4), x, y, engine="moments")


def test_weights_need_no_gradient_of_points_and_the_other_way_round():
    x, y, w = zoo.randn(0, 5, 2), zoo.randn(1, 4, 2), zoo.randn(2, 4).requires_grad_()
    kernel_sum(Gaussian(1.0), x, y, w).sum().backward()
    torch.testing.assert_close(w.grad, Gaussian(1.0).value(torch.cdist(y, x).square(), 2).sum(1))
    y.requires_grad_()
    (slope,) = torch.autograd.grad(kernel_sum(Gaussian(1.0), x, y).sum(), y)
    torch.testing.assert_close(
        slope, kernel_sum_gradient(Gaussian(1.0), y, x, torch.full((5,), 0.25, dtype=zoo.DOUBLE))
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_task_has_an_engine_and_the_log_says_which(dtype, caplog):
    engines._announce.cache_clear()
    x = zoo.randn(0, 10, 5, dtype=dtype)
    with caplog.at_level(logging.INFO, "wgf.kernels"):
        kernel_sum(Matern32(1.0), x, x)
        kernel_sum(Matern32(1.0), x, x)
    (record,) = caplog.records
    assert "Matern32(bandwidth=1.0)" in record.message
    assert "dense" in record.message


def test_a_missing_engine_is_replaced_and_said_so(monkeypatch, caplog):
    x = zoo.randn(0, 10, 2)
    task = Task(Gaussian(1.0), x, x, torch.ones(10, 1, dtype=zoo.DOUBLE), None)
    expected = kernel_sum(Gaussian(1.0), x, x, torch.ones(10, dtype=zoo.DOUBLE))
    answers = iter(["keops", "dense"])
    monkeypatch.setattr(engines, "choose", lambda task: next(answers))

    class Broken:
        def evaluate(self, task: Task) -> None:
            raise Unavailable("no compiler was found")

    whole = engines.engine
    monkeypatch.setattr(engines, "engine", lambda name: Broken() if name == "keops" else whole(name))
    with caplog.at_level(logging.WARNING, "wgf.kernels"):
        V, _ = engines.run(task)
    assert V is not None
    torch.testing.assert_close(V[:, 0], expected)
    assert "no compiler was found; taking another engine" in caplog.text


def test_the_table_of_costs_names_engines_and_decides_by_size():
    assert {row.engine for row in engines.table()} <= set(engines.NAMES)
    assert all(row.start >= 0 and row.pair >= 0 for row in engines.table())


X = zoo.randn(0, 4, 2)
HOLED = torch.where(X > 1e9, X, float("nan"))
BAD = {
    "x has 8 entries that are NaN": lambda: kernel_sum(Gaussian(1.0), HOLED, X),
    "y has 1 entries that are NaN or infinite": lambda: kernel_sum(Energy(), X, zoo.doubles([0, math.inf])),
    "the weights has 1 entries": lambda: kernel_sum(Energy(), X, X, zoo.doubles(1, 2, 3, math.nan)),
    "bandwidth of a Gaussian kernel must be a finite number above 0, got 0": lambda: Gaussian(0),
    "bandwidth of a Laplace": lambda: Laplace(-1.0),
    "bandwidth of a Matern32": lambda: Matern32(math.nan),
    "bandwidth of a Matern52": lambda: Matern52(math.inf),
    "exponent of an InverseMultiquadric": lambda: InverseMultiquadric(1.0, 0.0),
    "exponent of an Energy kernel must lie between 0 and 2, got 2": lambda: Energy(2),
    "exponent of a Power": lambda: Power(0),
    "the factor of a kernel": lambda: math.nan * Gaussian(1.0),
    "y must have 2 columns": lambda: kernel_sum(Gaussian(1.0), X, zoo.randn(0, 4, 3)),
    "y is torch.float32 on cpu, but x is torch.float64": lambda: kernel_sum(Gaussian(1.0), X, X.float()),
    "the weights is torch.float32": lambda: kernel_sum(Gaussian(1.0), X, X, torch.ones(4)),
    r"shape \(m,\) or \(m, k\) with m = 4": lambda: kernel_sum(Gaussian(1.0), X, X, zoo.doubles(1, 2)),
    "float32 or float64": lambda: kernel_sum(Gaussian(1.0), X.half(), X.half()),
    "diagonal=False": lambda: kernel_sum(Gaussian(1.0), X, X[:2], diagonal=False),
    "tolerance must be a finite number above 0": lambda: kernel_sum(Gaussian(1.0), X, X, tolerance=0.0),
    "convert the points to float64": lambda: kernel_sum(Gaussian(1.0), X.float(), X.float(), tolerance=1e-9),
    "no engine sums torch.float64 to 1e-14": lambda: kernel_sum(Gaussian(1.0), X, X, tolerance=1e-14),
    "engine must be one of auto, moments": lambda: kernel_sum(Gaussian(1.0), X, X, engine="fast"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_a_sentence(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()


def test_an_engine_that_cannot_serve_says_why_and_names_one_that_can():
    with pytest.raises(Incompatible, match=r"the engine 'moments' cannot take this sum of Gaussian.*dense can"):
        kernel_sum(Gaussian(1.0), X, X, engine="moments")


def test_points_that_are_not_finite_give_nan_where_a_recipe_answers_them():
    x = HOLED.clone().requires_grad_()
    V, G = kernel_sums(Gaussian(1.0), x, X, torch.ones(4, 2, dtype=zoo.DOUBLE), X[:, 0], strict=False)
    assert (V.shape, G.shape) == ((4, 2), (4, 2))
    assert V.isnan().all()
    assert G.isnan().all()
    assert V.requires_grad


@pytest.mark.parametrize("diagonal", [True, False])
def test_hessians_of_gradients_are_summed_tile_by_tile(diagonal, monkeypatch):
    x, b, g = zoo.randn(0, 23, 2), zoo.randn(1, 23, 2), zoo.randn(2, 23, 2, 2)

    def slopes() -> list[Tensor]:
        inputs = [tensor.clone().requires_grad_() for tensor in (x, b)]
        G = kernel_sums(Matern52(1.0), inputs[0], inputs[0], None, inputs[1], diagonal=diagonal)[1]
        return list(torch.autograd.grad((G * g).sum(), inputs))

    whole = slopes()
    monkeypatch.setattr("wgf.kernels.sums.TILE", 6 * 4 * 8 * 10)  # ten pairs
    torch.testing.assert_close(slopes(), whole, rtol=1e-13, atol=1e-14)
