"""Singular kernels as a smooth part S, analytic in |z|², and a remainder k − S that dies like e^{−|z|²/2ε²} (Ewald).

Every kernel here is a mixture of Gaussians e^{−t|z|²}; S keeps those of t < 1/2ε², so its Fourier transform is that of
k times a factor that falls like e^{−ε²|ξ|²/2}. (For harmonic k it is k ∗ N(0, ε²I); for others that convolution leaves
a remainder of algebraic decay, and is no split.)
"""

import math

import numpy as np
import torch
from scipy.special import erfc, erfcx, exp1, rgamma

from wgf.kernels.families import Energy, Laplace, Log, Matern32, Matern52, Power
from wgf.kernels.radial import Radial

SINGULAR = (Log, Power, Energy, Laplace, Matern32, Matern52)
FAR = 38.0  # e^{−FAR} is nothing beside 1


def parts(kernel: Radial) -> tuple[list[tuple[float, Radial]], list[tuple[float, Radial]]]:
    """The smooth parts of a kernel, and those that have to be split."""
    every = kernel.parts()
    split: list[tuple[float, Radial]] = [(c, k) for c, k in every if not k.smooth and isinstance(k, SINGULAR)]
    return [(c, k) for c, k in every if k.smooth], split


def remainder(kernel: Radial, epsilon: float) -> list[tuple[float, Radial]]:
    """The parts that k − S is the remainder of: all of them if ε = ∞, for which S = 0."""
    return kernel.parts() if math.isinf(epsilon) else parts(kernel)[1]


def value(kernel: Radial, r: np.ndarray, dim: int) -> np.ndarray:
    """κ(r) in float64."""
    return kernel.value(torch.from_numpy(np.ascontiguousarray(r)), dim).numpy()


def smooth_value(kernel: Radial, r: np.ndarray, dim: int, epsilon: float) -> np.ndarray:
    """S(r): the kernel itself where it is smooth, and nothing for ε = ∞."""
    if math.isinf(epsilon):
        return np.zeros_like(r)
    smooth, split = parts(kernel)
    total = sum((c * value(k, r, dim) for c, k in smooth), np.zeros_like(r))
    return sum((c * _smooth_part(k, r, epsilon) for c, k in split), total)


def _smooth_part(kernel: Radial, r: np.ndarray, epsilon: float) -> np.ndarray:
    if isinstance(kernel, Log):
        return _log(r, epsilon)
    if isinstance(kernel, Power):
        return _power(r, epsilon, kernel.exponent) / kernel.exponent
    if isinstance(kernel, Energy):
        return -_power(r, epsilon, kernel.exponent)
    return _matern(kernel, r, epsilon)


def _log(r: np.ndarray, epsilon: float) -> np.ndarray:
    """½[ln r + E₁(x)], x = r/2ε²; near zero ½[ln 2ε² − γ + Σ (−1)^{n+1} xⁿ/(n n!)]."""
    rate = 0.5 / epsilon**2
    x, near = rate * r, rate * r < 1
    S = np.empty_like(x)
    S[~near] = np.log(x[~near]) + exp1(x[~near])
    total, term = np.full(int(near.sum()), -np.euler_gamma), np.ones(int(near.sum()))
    for n in range(1, 20):
        term *= -x[near] / n
        total -= term / n
    S[near] = total
    return 0.5 * (S - math.log(rate))


def _power(r: np.ndarray, epsilon: float, exponent: float) -> np.ndarray:
    """r^{p/2} P(a, x), a = −p/2, P the regularised lower incomplete γ: (2ε²)^{p/2} e^{−x} Σ xⁿ/Γ(a+n+1) near zero."""
    rate, a = 0.5 / epsilon**2, -exponent / 2
    x = rate * r
    near = x < FAR
    S = np.empty_like(x)
    S[~near] = x[~near] ** -a
    total, term = np.zeros(int(near.sum())), np.exp(-x[near])
    for n in range(140):
        total += term * rgamma(a + n + 1)
        term *= x[near]
    S[near] = total
    return rate**a * S


def _matern(kernel: Radial, r: np.ndarray, epsilon: float) -> np.ndarray:
    """½[e^{−as} erfc(v − w) + e^{as} erfc(v + w)], v = aε/√2, w = s/√2ε, s = √r, and its derivatives in a.

    Matérn 3/2 is (1 − a∂_a) e^{−as}, and 5/2 is (1 − a∂_a + a²∂²_a/3) e^{−as}.
    """
    assert isinstance(kernel, (Laplace, Matern32, Matern52))
    (a,) = kernel.parameters(1)
    s, width = np.sqrt(r), math.sqrt(2) * epsilon
    v, w = a * width / 2, s / width
    E = np.exp(-v * v - w * w)
    A = np.where(v > w, E * erfcx(np.maximum(v - w, 0)), np.exp(-a * s) * erfc(np.minimum(v - w, 0)))
    B = E * erfcx(v + w)
    S = 0.5 * (A + B)
    if isinstance(kernel, Laplace):
        return S
    first = 0.5 * s * (B - A) - width / math.sqrt(math.pi) * E
    if isinstance(kernel, Matern32):
        return S - a * first
    second = r * S + 0.5 * a * width**3 / math.sqrt(math.pi) * E
    return S - a * first + a * a / 3 * second
