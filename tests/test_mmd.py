"""MMD²: closed forms between Gaussians, bias and its absence, the level and the power of the permutation test."""

import math

import pytest
import torch
import zoo
from torch import Tensor

from wgf import MMD2, Gaussian, Particles, evolve
from wgf.errors import InputError
from wgf.kernels import Energy, Median, MultiScale
from wgf.kernels import Gaussian as GaussianKernel
from wgf.law import Cloud
from wgf.two_sample import mmd2_biased, mmd2_unbiased, mmd_test, permuted


def between_gaussians(shift: float, scale: float, bandwidth: float, dim: int) -> float:
    """MMD² of N(0, I) and N(shift e, scale² I): E exp(−|Z|²/2h²), Z of variance v, is (h²/(h² + v))^{d/2} e^{…}."""

    def mean(variance: float, squared: float) -> float:
        whole = bandwidth**2 + variance
        return (bandwidth**2 / whole) ** (dim / 2) * math.exp(-squared / (2 * whole))

    return mean(2, 0) + mean(2 * scale**2, 0) - 2 * mean(1 + scale**2, shift**2)


def draws(seed: int, shift: float, scale: float, n: int, m: int, dim: int) -> tuple[Tensor, Tensor]:
    x, y = zoo.randn(2 * seed, n, dim), scale * zoo.randn(2 * seed + 1, m, dim)
    y[:, 0] += shift
    return x, y


def test_the_unbiased_estimator_has_the_exact_mean_and_the_biased_one_has_not():
    exact = between_gaussians(0.7, 1.3, 0.9, 2)
    samples = [draws(seed, 0.7, 1.3, 12, 9, 2) for seed in range(1500)]
    unbiased, biased = (
        torch.tensor([float(estimate(GaussianKernel(0.9), x, y, "dense")) for x, y in samples])
        for estimate in (mmd2_unbiased, mmd2_biased)
    )
    error = float(unbiased.std()) / len(samples) ** 0.5
    assert abs(float(unbiased.mean()) - exact) < 3.5 * error
    assert float(biased.mean()) - exact > 10 * error
    assert float(biased.min()) >= 0 > float(unbiased.min())


def test_both_estimators_are_their_double_sums():
    x, y = draws(0, 1.0, 1.0, 6, 4, 3)
    k = {
        name: GaussianKernel(1.1).value(torch.cdist(a, b).square(), 3)
        for name, a, b in (("xx", x, x), ("yy", y, y), ("xy", x, y))
    }
    off = {name: (k[name].sum() - k[name].trace()) / (n * (n - 1)) for name, n in (("xx", 6), ("yy", 4))}
    assert float(mmd2_unbiased(GaussianKernel(1.1), x, y)) == pytest.approx(
        float(off["xx"] + off["yy"] - 2 * k["xy"].mean()), rel=1e-12
    )
    expected = k["xx"].mean() + k["yy"].mean() - 2 * k["xy"].mean()
    assert float(mmd2_biased(GaussianKernel(1.1), x, y)) == pytest.approx(float(expected), rel=1e-11)
    assert float(MMD2(GaussianKernel(1.1), y).energy(Cloud(x)).mean()) == pytest.approx(float(expected), rel=1e-11)


def test_each_pair_once_is_each_pair_twice(monkeypatch):
    x, y = draws(1, 0.5, 1.0, 45, 38, 5)
    whole = [float(estimate(GaussianKernel(1.1), x, y)) for estimate in (mmd2_unbiased, mmd2_biased)]
    monkeypatch.setattr("wgf.two_sample.HALVED", 7)
    halved = [float(estimate(GaussianKernel(1.1), x, y)) for estimate in (mmd2_unbiased, mmd2_biased)]
    assert halved == pytest.approx(whole, rel=1e-11)


def test_with_the_energy_kernel_it_is_the_energy_distance():
    x, y = zoo.doubles([0.0], [1.0]), zoo.doubles([3.0])
    assert float(mmd2_biased(Energy(), x, y)) == pytest.approx(2 * 2.5 - 0.5)


def test_the_level_of_the_permutation_test():
    draws_, rejected = 1_000, 0
    for seed in range(draws_):
        x, y = draws(seed, 0.0, 1.0, 15, 10, 2)
        rejected += mmd_test(Median(), x, y, permutations=99, seed=seed).p <= 0.05
    assert 0.03 <= rejected / draws_ <= 0.07


def test_the_permutation_test_sees_a_shift_and_its_p_is_never_zero():
    x, y = draws(0, 1.5, 1.0, 60, 50, 2)
    found = mmd_test(Median(), x, y, permutations=199)
    assert found.p == 1 / 200
    assert float(found.statistic) == pytest.approx(float(mmd2_unbiased(Median(), x, y)), rel=1e-10)


def test_permutations_by_a_matrix_and_by_sums_are_the_same(monkeypatch):
    pooled = zoo.randn(0, 40, 3)
    whole = permuted(GaussianKernel(1.0), pooled, 15, 20, seed=1)
    monkeypatch.setattr("wgf.two_sample.BYTES", 8 * 40 * 4 * 21)
    torch.testing.assert_close(permuted(GaussianKernel(1.0), pooled, 15, 20, seed=1), whole, rtol=1e-10, atol=1e-13)


def test_the_kernel_and_its_bandwidth_are_in_the_name():
    x, y = draws(0, 0.0, 1.0, 5, 5, 2)
    assert mmd2_unbiased(GaussianKernel(0.5), x, y).name == "unbiased MMD², Gaussian(bandwidth=0.5)"
    assert "median" in mmd2_biased(MultiScale(Median(), (0.5, 1, 2)), x, y).name
    assert MMD2(GaussianKernel(0.5), y).name == "MMD2(Gaussian(bandwidth=0.5))"


def test_the_flow_goes_to_its_target():
    target = zoo.randn(0, 300, 2) @ torch.diag(zoo.doubles(1.0, 0.5)) + zoo.doubles(2.0, 0.0)
    path = evolve(MMD2(Energy(), target), Particles(300), Gaussian.standard(2, dtype=zoo.DOUBLE), [1.0] * 60)
    energy = torch.tensor(path.energy)
    assert (energy[:20].diff() < 0).all()  # then steps of this size step over the cusp of |z|
    assert float(energy[-1]) < 2e-3 * float(energy[0])
    assert float((path.state.x.mean(0) - target.mean(0)).norm()) < 0.02


def test_rules_follow_the_points():
    x = zoo.randn(0, 400, 3)
    median = float(torch.pdist(x).median())
    assert Median(rows=400).kernel(x).bandwidth == pytest.approx(median)
    assert Median(factor=2.0).kernel(10 * x).bandwidth == pytest.approx(20 * median)
    assert Median(rows=100).kernel(x).bandwidth == pytest.approx(median, rel=0.1)
    weights, scales = zip(*MultiScale(Median(), (0.5, 2.0)).kernel(x).parts(), strict=True)
    assert weights == (0.5, 0.5)
    assert [kernel.bandwidth for kernel in scales] == pytest.approx([0.5 * median, 2 * median])


X = zoo.randn(0, 4, 2)
BAD = {
    "same number of columns, got 2 and 3": lambda: mmd2_unbiased(Energy(), X, zoo.randn(0, 4, 3)),
    "at least 2 points in each sample, got 4 and 1": lambda: mmd2_unbiased(Energy(), X, X[:1]),
    "x has 8 entries that are NaN": lambda: mmd2_biased(Energy(), X * math.nan, X),
    "permutations must be an integer of at least 1": lambda: mmd_test(Energy(), X, X, permutations=0),
    "half of them coincide": lambda: mmd_test(Median(), 0 * X, 0 * X),
    "y is torch.float32": lambda: mmd2_biased(Energy(), X, X.float()),
    "the target of MMD2 has 3 columns, but the particles have 2": lambda: MMD2(Energy(), zoo.randn(0, 4, 3)).energy(
        Cloud(X)
    ),
    "the target has 8 entries": lambda: MMD2(Energy(), X * math.inf),
    "rows must be an integer": lambda: MMD2(Energy(), Gaussian.standard(2), rows=0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_input_is_refused_in_a_sentence(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()
