"""The compiled loops: their exp and log, all kernels against differences in float64, passes, threads, weak rows."""

import importlib
import math

import numpy as np
import pytest
import torch
import zoo

from wgf.errors import Incompatible
from wgf.kernels import (
    Energy,
    Gaussian,
    Laplace,
    Log,
    Matern32,
    Matern52,
    Mollifier,
    Power,
    _compiled,
    _dense,
    _numba,
    kernel_sums,
)
from wgf.kernels._single import FEW, in_double, mended
from wgf.kernels.radial import Elementary
from wgf.kernels.task import Task

ELEMENTARY = [kernel for kernel in zoo.KERNELS if all(isinstance(part, Elementary) for _, part in kernel.parts())]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-11}
both = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])


def errors(task: Task) -> tuple[float, float]:
    """Of values and gradients, each beside its row's sum of sizes, no smaller than the dtype can hold."""
    V, G = _numba.evaluate(task)
    whole = in_double(task)
    v, g = _dense._Differences(whole).run()
    least = torch.finfo(task.x.dtype).tiny / 1e-5
    terms = [
        _dense._Differences(Task(part, whole.x, whole.y, whole.value_weights.abs(), None, task.diagonal)).run()[0].abs()
        for part in (c * k for c, k in task.kernel.parts())
    ]
    delta = whole.x[:, None] - whole.y
    slope = 2 * whole.kernel.derivative(delta.square().sum(-1), task.dim).abs() * delta.norm(dim=-1)
    if not task.diagonal:
        slope.fill_diagonal_(0)
    size = (slope @ whole.gradient_weights.abs()).clamp_min(least)
    return (
        float(((V - v).abs() / sum(terms).clamp_min(least)).max()),
        float(((G - g).norm(dim=-1) / size).max()),
    )


@both
def test_exp_and_log_are_those_of_the_library(dtype):
    arithmetic = importlib.import_module("wgf.kernels._arithmetic")
    numba = importlib.import_module("numba")
    bits = "32" if dtype == torch.float32 else "64"
    kind = np.float32 if dtype == torch.float32 else np.float64
    functions = {name: getattr(arithmetic, name + bits) for name in ("exp", "log")}

    def over(function):
        return numba.vectorize(nopython=True)(lambda x: function(x))

    eps = np.finfo(kind).eps
    low, high = (-87.0, 88.0) if dtype == torch.float32 else (-707.0, 708.0)
    x = np.linspace(low, high, 100_001).astype(kind)
    true = np.exp(x.astype(np.longdouble))
    assert (np.abs(over(functions["exp"])(x) / true - 1) <= eps * (3 + np.abs(x))).all()
    edges = over(functions["exp"])(np.array([-1e4, -np.inf, 1e4, np.nan, 0.0], dtype=kind))
    np.testing.assert_array_equal(edges, [0, 0, np.inf, np.nan, 1])
    x = np.concatenate([np.geomspace(1e-37, 1e37, 100_000), 1 + np.linspace(-0.3, 0.4, 1001)]).astype(kind)
    true = np.log(x.astype(np.longdouble))
    assert (np.abs(over(functions["log"])(x) - true) <= 3 * eps * np.abs(true)).all()


@both
@pytest.mark.parametrize("kernel", ELEMENTARY, ids=lambda kernel: kernel.name)
def test_every_kernel_within_the_promised_error(kernel, dtype):
    x = zoo.randn(0, FEW + 44, 2)
    x[7] = x[8]
    x[20:40] = 1000 + 1e-3 * x[20:40]
    x = x.to(dtype)
    a, b = zoo.randn(1, len(x), 2, dtype=dtype), zoo.randn(2, len(x), 1, dtype=dtype)
    for diagonal in (True, False):
        value, slope = errors(Task(kernel, x, x, a, b, diagonal))
        assert value < TOLERANCE[dtype]
        assert slope < TOLERANCE[dtype]


@both
@pytest.mark.parametrize("dim", [1, 7, 16])
def test_dimensions_cross_sums_and_passes_of_columns(dim, dtype):
    x, y = zoo.randn(0, 70, dim, dtype=dtype), zoo.randn(1, FEW + 1, dim, dtype=dtype)
    a, b = zoo.randn(2, len(y), 27, dtype=dtype), zoo.randn(3, len(y), 5, dtype=dtype)
    value, slope = errors(Task(Matern52(2.0), x, y, a, b))
    assert value < TOLERANCE[dtype]
    assert slope < TOLERANCE[dtype]


@pytest.mark.parametrize("k", [0, 1, 30])
@pytest.mark.parametrize("l", [0, 1, 7])
@pytest.mark.parametrize("dim", [1, 10, 16])
def test_every_column_is_in_one_pass(k, l, dim):
    passes = list(_numba._passes(k, l, dim))
    assert [c for v, _ in passes for c in range(v.start, v.stop)] == list(range(k))
    assert [c for _, g in passes for c in range(g.start, g.stop)] == list(range(l))
    assert all(v.stop - v.start + (g.stop - g.start) * dim <= _numba.COLUMNS for v, g in passes)


@pytest.mark.parametrize("kernel", [Gaussian(0.05), Laplace(0.02), Gaussian(0.05) + Gaussian(0.03)])
@pytest.mark.parametrize("evaluate", [_numba.evaluate, _dense.evaluate])
def test_rows_whose_terms_are_all_tiny_are_summed_in_float64(kernel, evaluate):
    y = zoo.randn(0, 500, 2, dtype=torch.float32) * 0.01
    x = torch.tensor([[0.0, 0.0], [0.5, 0.3], [0.0, 0.55]])  # at exponents of 0, 68 and 60 and their like
    w = zoo.randn(1, 500, 2, dtype=torch.float32)
    V, G = evaluate(Task(kernel, x, y, w, w))
    task = in_double(Task(kernel, x, y, w, w))
    v, g = _dense._Differences(task).run()
    scale = _dense._Differences(Task(kernel, task.x, task.y, task.value_weights.abs(), None)).run()[0]
    assert float(((V - v).abs() / scale).max()) < 1.2e-7  # the rounding of the answer alone
    assert float(((G - g).norm(dim=-1) / g.norm(dim=-1)).max()) < 1e-4


def test_a_column_far_from_a_row_is_mended_for_that_row_alone():
    y = torch.cat([zoo.randn(0, 400, 2, dtype=torch.float32), 10 + zoo.randn(1, 400, 2, dtype=torch.float32)])
    near = (torch.arange(800) < 400).float()  # more terms than are always taken in float64
    calls: list[int] = []

    def sums(task: Task):
        calls.append(len(task.x) if task.x.dtype == torch.float64 else 0)
        return _numba._sums(task)

    mended(Task(Gaussian(1.0), y[:200], y, torch.stack([near, 1 - near], 1), None), sums)
    assert calls == [0, 200]
    calls.clear()
    mended(Task(Gaussian(1.0), y[:200], y, near[:, None], None), sums)
    assert calls == [0]
    calls.clear()
    mended(Task(Gaussian(1.0), y[:200], y, near[:, None].cumprod(0) * 1e-6 ** torch.arange(800)[:, None], None), sums)
    assert calls == [200]  # nearly all of the weight on one point


def test_threads_change_no_bit(monkeypatch):
    x, w = zoo.randn(0, 1000, 3), zoo.randn(1, 1000, 1)
    one = _numba.evaluate(Task(Log(), x, x, w, w))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    many = _numba.evaluate(Task(Log(), x, x, w, w))
    assert torch.equal(one[0], many[0])
    assert torch.equal(one[1], many[1])


def test_bandwidths_and_factors_share_what_was_compiled():
    shape = _compiled.Shape(2, 1, 1, True)
    first, numbers = _compiled.written(2.0 * Gaussian(1.0) - Power(3), shape)
    second, others = _compiled.written(-0.3 * Gaussian(0.2) + 7.0 * Power(3), shape)
    assert first == second
    assert numbers != others
    assert _compiled.written(Energy(), shape)[0] != first


def test_a_cache_folder_that_cannot_be_written_is_replaced(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("WGF_CACHE", str(blocked / "below"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    _compiled._folder.cache_clear()
    try:
        assert _compiled._folder().is_dir()
        monkeypatch.setenv("WGF_CACHE", str(tmp_path / "mine"))
        _compiled._folder.cache_clear()
        assert _compiled._folder() == tmp_path / "mine"
    finally:
        _compiled._folder.cache_clear()


def test_what_it_cannot_serve_it_refuses():
    wide = zoo.randn(0, 5, 17)
    with pytest.raises(Incompatible, match=r"at most 16 dimensions, not 17;.*dense can"):
        kernel_sums(Mollifier(1.0), wide, wide, torch.ones(5, dtype=zoo.DOUBLE), None, engine="numba")
    assert math.isfinite(float(kernel_sums(Energy(), wide, wide, torch.ones(5, dtype=zoo.DOUBLE), None)[0].sum()))


@both
@pytest.mark.parametrize("kernel", [Matern32(1.0), Matern52(1.0)], ids=lambda kernel: kernel.name)
def test_a_polynomial_keeps_what_its_exponential_alone_would_lose(kernel, dtype):
    """κ = polynomial · e^{−t} is a normal number where e^{−t} no longer is."""
    least = torch.finfo(dtype).tiny
    t = torch.linspace(0.999, 1.012, 200, dtype=torch.float64) * -math.log(least)
    x = (t / kernel.parameters(1)[0])[:, None].to(dtype)
    y, w = torch.zeros(FEW + 1, 1, dtype=dtype), torch.ones(FEW + 1, 1, dtype=dtype) / (FEW + 1)
    V, _ = _numba.evaluate(Task(kernel, x, y, w, w))
    v, _ = _dense._Differences(in_double(Task(kernel, x, y, w, None))).run()
    assert float(v.max()) > 5 * least
    assert bool(((V - v).abs() <= TOLERANCE[dtype] * v + least).all())
