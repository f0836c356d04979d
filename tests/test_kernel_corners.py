"""Sums where an engine could lose digits without a word: many clusters, huge points, columns apart, heavy weights."""

import math
import resource

import numpy as np
import pytest
import torch
import zoo

from wgf import evolve
from wgf import law as laws
from wgf.errors import Diverged, Incompatible, InputError
from wgf.functionals import KL, KSD2, MMD2, Blob, Entropy, Interaction
from wgf.kernels import (
    Energy,
    Fixed,
    Gaussian,
    InverseMultiquadric,
    Laplace,
    Log,
    Matern32,
    Median,
    Power,
    kernel_sum,
    kernel_sum_gradient,
    kernel_sums,
)
from wgf.kernels.sums import BYTES
from wgf.steppers import SVGD


def exact(kernel, x, y, w):
    """Sums by differences in float64, of the points as given, with Σ|w k| beside."""
    x, y, w = x.double(), y.double(), w.double()
    k = kernel.value((x[:, None] - y[None]).square().sum(-1), x.shape[1])
    return k @ w, k.abs() @ w.abs()


@pytest.mark.parametrize("kernel", [Gaussian(0.01), Laplace(0.01), Matern32(0.01)])
@pytest.mark.parametrize("dim", [5, 20, 64])
def test_a_hundred_tight_clusters_keep_their_neighbours(kernel, dim):
    """Their squared distances come out of a product with an error far above the bandwidth's square."""
    for spread in (30.0, 300.0, 3e3, 3e4):
        x = (spread * zoo.randn(0, 100, dim).repeat_interleave(8, 0) + 0.003 * zoo.randn(1, 800, dim)).float()
        w = torch.ones(800)
        truth, size = exact(kernel, x, x, w)
        assert float(((kernel_sum(kernel, x, x, w) - truth) / size).abs().max()) < 1e-5, spread


@pytest.mark.parametrize("kernel", [Gaussian(2.0), InverseMultiquadric(1.0)])
@pytest.mark.parametrize("size", [1e10, 1e18, 1e25])
def test_a_point_out_of_all_proportion_spoils_no_other(kernel, size):
    x, w = zoo.randn(0, 400, 8).float(), torch.ones(400)
    x[7] = size
    truth, scale = exact(kernel, x, x, w)
    assert float(((kernel_sum(kernel, x, x, w) - truth) / scale).abs().max()) < 1e-5
    slopes = kernel_sum_gradient(kernel, x, x, w)
    others = torch.cat([x[:7], x[8:]])
    apart = kernel_sum_gradient(kernel, others, others, w[1:])
    torch.testing.assert_close(torch.cat([slopes[:7], slopes[8:]]), apart, rtol=1e-3, atol=1e-3)


def by_fourier(kernel, x, y, w):
    """By nufft, or where that needs more digits than a double has, by another."""
    try:
        return kernel_sum(kernel, x, y, w, engine="nufft")
    except Incompatible:
        return kernel_sum(kernel, x, y, w)


@pytest.mark.parametrize("gap", [2.0, 4.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_on_disjoint_parts_of_y_are_each_as_good_as_alone(dtype, gap):
    x, y = (torch.rand(4000, 2, dtype=dtype, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    half = torch.arange(4000) % 2 == 0
    y[half, 0] += gap
    w = torch.stack([~half, half], 1).to(dtype)
    together, allowed = by_fourier(Gaussian(0.5), x, y, w), {torch.float32: 1e-5, torch.float64: 1e-11}
    for c in range(2):
        truth, size = exact(Gaussian(0.5), x, y, w[:, c])
        error = (together[:, c] - truth).abs().max() / size.max()
        assert float(error) < allowed[dtype]


@pytest.mark.parametrize("kernel", [Gaussian(0.3), Laplace(0.5)])
@pytest.mark.parametrize("heavy", [1e6, 1e10])
def test_a_heavy_weight_is_not_overlooked(kernel, heavy):
    x = zoo.randn(0, 3000, 2)
    y, w = zoo.randn(1, 3000, 2), torch.ones(3000, dtype=zoo.DOUBLE)
    y[1], w[1] = zoo.doubles(12, 12), heavy
    truth, size = exact(kernel, x, y, w)
    found = by_fourier(kernel, x, y, w)
    assert float((found - truth).abs().max() / size.max()) < 1e-11


@pytest.mark.parametrize("dim", [2, 10])
def test_autocast_does_not_reach_the_sums(dim):
    x = zoo.randn(0, 500, dim).float()
    truth, size = exact(Gaussian(1.0), x, x, torch.ones(500))
    with torch.autocast("cpu", torch.bfloat16):
        found = kernel_sum(Gaussian(1.0), x, x, torch.ones(500))
    assert found.dtype == torch.float32
    assert float(((found - truth) / size).abs().max()) < 1e-5


def test_the_precision_of_products_is_put_back():
    x, before = zoo.randn(0, 300, 8).float(), torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        kernel_sum(Gaussian(1.0), x, x)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_many_gradients_stay_within_the_budget():
    """Their weights b ⊗ y alone would be two budgets."""
    x, y, b = zoo.randn(0, 50, 64).float(), zoo.randn(1, 40_000, 64).float(), zoo.randn(2, 40_000, 96).float()
    few = kernel_sum_gradient(Gaussian(8.0), x, y, b[:, :2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    slopes = kernel_sum_gradient(Gaussian(8.0), x, y, b)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 1.3 * BYTES
    torch.testing.assert_close(slopes[:, :2], few, rtol=1e-4, atol=1e-3)


# What is given


def test_arrays_lists_and_integers_are_points():
    x = [[0, 1], [2, 3], [5, 5]]
    truth = kernel_sum(Gaussian(1.0), torch.tensor(x).float(), torch.tensor(x).float(), torch.tensor([1.0, 2.0, 3.0]))
    for points in (x, torch.tensor(x), np.array(x)):
        torch.testing.assert_close(kernel_sum(Gaussian(1.0), points, points, torch.tensor([1, 2, 3])), truth)
        torch.testing.assert_close(kernel_sum(Gaussian(1.0), points, points, [1, 2, 3]), truth)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 8])
def test_sums_of_no_columns_are_empty(dtype, dim):
    x = zoo.randn(0, 300, dim, dtype=dtype)
    V, G = kernel_sums(Gaussian(1.0), x, x, None, None)
    assert V.shape == (300, 0)
    assert G.shape == (300, 0, dim)
    assert kernel_sum(Gaussian(1.0), x, x, x.new_zeros(300, 0)).shape == (300, 0)


def test_kernels_add_up_and_divide():
    r = zoo.doubles(0.3, 2.0)
    torch.testing.assert_close(sum([Gaussian(1.0), Energy()]).value(r, 2), (Gaussian(1.0) + Energy()).value(r, 2))
    torch.testing.assert_close((Gaussian(1.0) / 4).value(r, 2), Gaussian(1.0).value(r, 2) / 4)
    assert Gaussian(np.float32(0.5)).value(r, 2).shape == r.shape


Y = zoo.randn(0, 20, 2)
REFUSED = {
    "a law for a kernel": (
        lambda: MMD2(laws.Gaussian.standard(2), Y),
        "MMD2 needs a kernel.*got a wgf.law",
    ),
    "a function": (lambda: Interaction(lambda z: z), "Interaction needs a kernel of wgf.kernels"),
    "a rule without points": (lambda: KSD2(Median(), lambda x: -x), "KSD2 needs a kernel"),
    "scores of points": (lambda: KSD2(Gaussian(1.0), -Y), "KSD2 needs the score as a function of points.*got Tensor"),
    "no mollifier": (lambda: Blob(Entropy(), Log()), r"Blob needs a kernel with K\(0\) > 0"),
    "a kernel for a rule": (lambda: SVGD(10, kernel=Gaussian(0.5)), r"such as Median\(\) or Fixed\(Gaussian"),
    "a number added": (lambda: Gaussian(1.0) + 1, "a sum of kernels needs a kernel"),
    "a tensor times": (lambda: Gaussian(1.0) * torch.tensor(2.0), "the factor of a kernel must be a finite number"),
    "divided by zero": (lambda: Gaussian(1.0) / 0, "other than 0, got 0"),
    "no exponent": (lambda: Power("a"), "the exponent of a Power kernel must be finite and not 0, got 'a'"),
    "too narrow": (lambda: Gaussian(1e-20), "must lie between 1e-15 and 1e\\+15, got 1e-20"),
    "too wide": (lambda: Laplace(1e200), "must lie between 1e-15 and 1e\\+15"),
    "not points": (lambda: kernel_sum(Gaussian(1.0), "x", Y), "x must be an array of numbers"),
    "not a kernel": (lambda: kernel_sum(Median(), Y, Y), "a kernel sum needs a kernel"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(case):
    build, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        build()


def test_a_rule_chooses_the_kernel_of_a_discrepancy_by_its_target():
    assert MMD2(Median(), Y).kernel == Median().kernel(Y)
    assert MMD2(Fixed(Energy()), Y).kernel == Energy()


def test_svgd_that_flies_off_says_so():
    F = KL(lambda x: -x.square().sum(1).square())
    with pytest.raises(Diverged, match="no longer finite"):
        evolve(F, SVGD(20), laws.Gaussian.standard(2), [1e6] * 20)
    assert math.isfinite(float(Y.sum()))
