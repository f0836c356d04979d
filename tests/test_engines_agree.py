"""A quick part of the study kernel-engines, and its measure of errors: it sees what is wrong, and nothing else."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import zoo

from validation.pairwise import errors, truths
from validation.studies import kernel_engines as study
from wgf.kernels import Energy, Gaussian, Log, Power, kernel_sums
from wgf.kernels.task import Task

FEW = ("Gaussian", "Energy 1", "log", "ring")  # a compiled loop each


def broken(dims: Sequence[int], engines: Sequence[str], names: Sequence[str] | None = None) -> list[str]:
    found = study.Found()
    for case in study.cases(quick=True):
        if case.task.dim in dims and case.task.pairs < 10**6:
            kept = {name: k for name, k in case.kernels.items() if names is None or name in names}
            found.take(replace(case, kernels=kept), engines)
    checks = [check for check in study.checks(found) if "fast engine" not in check.quantity]
    assert len(checks) >= 2
    return [f"{check.quantity}: {check.value:.1e} > {check.bound:.0e}" for check in checks if not check.holds]


@pytest.mark.parametrize(
    ("dims", "engines", "names"),
    [((1, 33), ("moments", "sorted", "dense"), None), ((1, 2), ("nufft",), FEW), ((2,), ("numba", "dense"), FEW)],
    ids=["uncompiled", "nufft", "numba"],
)
def test_engines_agree_with_sums_over_all_pairs(dims, engines, names):
    assert not broken(dims, engines, names)


def test_clouds_have_what_their_names_say():
    draw = {name: cloud(100, 3, torch.Generator().manual_seed(0)) for name, (cloud, _) in study.CLOUDS.items()}
    assert all(x.shape == (100, 3) for x in draw.values())
    tight = draw["a tight cluster far away"]
    assert float(tight.mean(0).norm()) > 1e3 > 1 > float(tight.std(0).max())
    assert len(draw["coincident points"].unique(dim=0)) == 50
    assert float(draw["far outliers"].norm(dim=1).max()) > 1e3
    assert 0 < float(draw["four tight clusters"][::4].std(0).max()) < 1


@pytest.mark.parametrize("kernel", [Gaussian(0.7), Energy(), Log(), Power(4) - Power(2)], ids=lambda k: k.name)
@pytest.mark.parametrize("diagonal", [True, False])
def test_the_truth_is_the_sum_and_its_slope(kernel, diagonal):
    x, a, b = zoo.randn(0, 6, 2), zoo.randn(1, 6, 2), zoo.randn(2, 6, 2)
    (truth,) = truths([kernel], Task(kernel, x, x, a, b, diagonal))
    for i in range(6):
        others = [j for j in range(6) if diagonal or j != i]
        k = {j: float(kernel.value((x[i] - x[j]).square().sum(), 2)) for j in others}
        slope = {j: 2 * float(kernel.derivative((x[i] - x[j]).square().sum(), 2)) * (x[i] - x[j]) for j in others}
        torch.testing.assert_close(truth.V[i], sum(k[j] * a[j] for j in others))
        torch.testing.assert_close(truth.G[i], sum(b[j][:, None] * slope[j] for j in others))
        if len(kernel.parts()) == 1:
            torch.testing.assert_close(truth.value_size[i], sum(abs(k[j]) * a[j].abs() for j in others))
            torch.testing.assert_close(truth.slope_size[i], sum(b[j].abs() * slope[j].norm() for j in others))
    assert (truth.longer_size >= truth.slope_size).all()


def test_an_error_is_seen_and_what_is_not_finite_is_an_infinite_one():
    kernel, x, w = Gaussian(0.7), zoo.randn(0, 20, 2), zoo.randn(1, 20, 1)
    (truth,) = truths([kernel], Task(kernel, x, x, w, w))
    V, G = kernel_sums(kernel, x, x, w, w, engine="dense")
    assert max(errors((V, G), truth, zoo.DOUBLE)) < 1e-14
    wrong = V.clone()
    wrong[3] += 1e-6 * truth.value_size[3]
    value, slope = errors((wrong, G), truth, zoo.DOUBLE)
    assert value == pytest.approx(1e-6, rel=1e-6)
    assert slope < 1e-14
    assert errors((wrong, G), truth, zoo.DOUBLE, largest=True)[0] <= value
    for bad in (math.nan, math.inf):
        wrong[3] = bad
        assert errors((wrong, G), truth, zoo.DOUBLE) == (math.inf, math.inf)
    assert errors((V, None), truth, zoo.DOUBLE) == (math.inf, math.inf)


def test_a_sum_without_terms_must_be_zero():
    x, one = zoo.randn(0, 1, 2), torch.ones(1, 1, dtype=zoo.DOUBLE)
    (truth,) = truths([Log()], Task(Log(), x, x, one, one))
    nothing = torch.zeros(1, 1, 2, dtype=zoo.DOUBLE)
    assert errors((0 * one, nothing), truth, zoo.DOUBLE) == (0, 0)
    assert errors((1e-300 * one, nothing), truth, zoo.DOUBLE)[0] == math.inf
