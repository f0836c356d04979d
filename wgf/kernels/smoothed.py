"""Singular kernels convolved with a Gaussian: the regularised ln|z| and |z|^p, smooth at zero and exact far from it."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from scipy.special import digamma, gammaln
from torch import Tensor

from wgf import checks
from wgf.errors import Incompatible
from wgf.kernels.families import Energy, Log, Power
from wgf.kernels.radial import Radial

TERMS = 64
BLOCK = {"cpu": 2**15}  # numbers whose recurrence stays in a cache


@dataclass(frozen=True)
class Smoothed(Radial):
    """k ∗ N(0, ε²I), ε = `epsilon`, for k = Log(), Power(p) or Energy(p): E k(z + εg), g standard normal.

    With x = |z|²/2ε² and n ~ Poisson(x) it is ½[ln 2ε² + E ψ(d/2 + n)] for ln|z|, in the plane ½[ln|z|² + E₁(x)], and
    (2ε²)^{p/2} E Γ(d/2 + n + p/2)/Γ(d/2 + n) for |z|^p: the mean of a power of a noncentral χ² variable. It tends to k
    as |z|/ε grows, at a rate e^{−x} for harmonic k and ε²/|z|² for others, and is finite at zero: no softening of |z|².

    Relative accuracy 1e-13 in float64 (1e-12 for p below −1); summed in float64 whatever the dtype. Differentiable.
    Raises: InputError for ε not above 0; Incompatible for another kernel, and where p ≤ −d, for which |z|^p has no
    integral.
    Source: Gradshteyn & Ryzhik, 9.210 and 9.212.1 (Kummer).
    """

    kernel: Radial
    epsilon: float

    smooth = True

    def __post_init__(self) -> None:
        checks.positive("the width epsilon of a Smoothed kernel", self.epsilon)
        if not isinstance(self.kernel, (Log, Power, Energy)):
            raise Incompatible(f"Smoothed takes Log(), Power(p) or Energy(p), got {self.kernel!r}; they are singular")

    def jet(self, squared: Tensor, dim: int, order: int) -> tuple[Tensor, ...]:
        factor, half = _exponent(self.kernel)
        if half is not None and half <= -dim / 2:
            raise Incompatible(f"{self.kernel!r} has no integral at zero in {dim} dimensions: p must exceed {-dim}")
        rate = 0.5 / self.epsilon**2
        scale = factor * rate ** -(half or 0.0)
        x = rate * squared
        orders = [scale * rate**m * _Order.apply(x, half, dim, m) for m in range(order + 1)]
        if half is None:
            orders[0] = orders[0] - 0.5 * math.log(rate)
        return tuple(orders)


class _Order(torch.autograd.Function):
    """The m-th derivative in x of the mean, whose own gradient is the derivative of order m + 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, half: float | None, dim: int, m: int) -> Tensor:
        ctx.save_for_backward(x)
        ctx.settings = half, dim, m
        series = _series(half, dim, m)
        flat = x.detach().reshape(-1)
        blocks = flat.split(BLOCK.get(x.device.type, 2**24))
        return torch.cat([series(block.double()).to(x) for block in blocks]).reshape(x.shape)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (x,), (half, dim, m) = ctx.saved_tensors, ctx.settings
        return upstream * _Order.apply(x, half, dim, m + 1), None, None, None


@dataclass(frozen=True)
class _Series:
    """f(x) = (x + c)^power Σ_k a_k T_k(u), u = (x − c)/(x + c): one Chebyshev series for the whole half-line.

    logarithm: ½ ln(x + c) is added instead.
    """

    coefficients: tuple[float, ...]
    centre: float
    power: float
    logarithm: bool

    def __call__(self, x: Tensor) -> Tensor:
        twice = 2 - 4 * self.centre / (x + self.centre)
        one, two, sign, before = torch.zeros_like(x), torch.zeros_like(x), 1.0, -1.0
        # Clenshaw's b_k = a_k + 2u b_{k+1} − b_{k+2}, b signed + + − − in turn so that no update needs a new array
        for a in reversed(self.coefficients[1:]):
            one, two = two.addcmul_(twice, one, value=sign * before).add_(sign * a), one
            sign, before = -before, sign
        result = (self.coefficients[0] + before * 0.5 * twice * one).add_(two, alpha=sign)
        if self.logarithm:
            return result.add_(torch.log(x + self.centre), alpha=0.5)
        return result.mul_((x + self.centre).pow_(self.power))


@cache
def _series(half: float | None, dim: int, m: int) -> _Series:
    """The series of the m-th derivative, from its values at Chebyshev points: 35 to 60 terms are left."""
    b = dim / 2
    centre, logarithm = b + 6, half is None and m == 0
    power = 0.0 if logarithm else (half or 0.0) - m
    angles = math.pi * (np.arange(TERMS) + 0.5) / TERMS
    x = centre * (1 + np.cos(angles)) / (1 - np.cos(angles))
    f = _mean(x, half, b, m)
    f = f - 0.5 * np.log(x + centre) if logarithm else f * (x + centre) ** -power
    a = 2 / TERMS * np.cos(np.outer(np.arange(TERMS), angles)) @ f
    a[0] /= 2
    kept = np.flatnonzero(np.abs(a) > 4e-15 * np.abs(a).max()).max(initial=0)
    return _Series(tuple(a[: kept + 1].tolist()), centre, power, logarithm)


def _mean(x: np.ndarray, half: float | None, b: float, m: int) -> np.ndarray:
    """E Δᵐφ(n), n ~ Poisson(x), φ(n) = Γ(b+n+q)/Γ(b+n), q = `half`, or ½ψ(b+n): the m-th derivative in x of E φ(n).

    All terms are of one sign. From 60 + 4b on by the expansion of 1F1 in 1/x, exact there.
    """
    near = x <= 60 + 4 * b
    return np.concatenate([_far(x[~near], half, b, m), _near(x[near], half, b, m)])


def _near(x: np.ndarray, half: float | None, b: float, m: int) -> np.ndarray:
    cut = 60 + 4 * b
    n = np.arange(int(cut + 12 * cut**0.5 + 60))[:, None]
    weight = np.exp(n * np.log(x) - x - gammaln(n + 1))
    if half is not None:
        phi = np.exp(gammaln(b + n + half) - gammaln(b + n + m))
    elif m == 0:
        phi = digamma(b + n)
    else:
        phi = np.exp(gammaln(b + n) - gammaln(b + n + m))
    return _leading(half, m) * (weight * phi).sum(0) / weight.sum(0)


def _far(x: np.ndarray, half: float | None, b: float, m: int) -> np.ndarray:
    q, total, term = half or 0.0, np.zeros_like(x), np.ones_like(x)
    if half is None and m == 0:
        for n in range(1, 60):
            term = term * (n - b) / x
            total += term / n
        return 0.5 * (np.log(x) - total)
    for n in range(60):
        total += term
        term = term * (m - q + n) * (1 - q - b + n) / ((n + 1) * x)
    return _leading(half, m) * x ** (q - m) * total


def _leading(half: float | None, m: int) -> float:
    """q(q−1)…(q−m+1), or for ln|z|, ½ of its limit ratio to q as q → 0."""
    if half is None:
        return 0.5 if m == 0 else 0.5 * (-1) ** (m - 1) * math.factorial(m - 1)
    return math.prod(half - i for i in range(m))


def _exponent(kernel: Radial) -> tuple[float, float | None]:
    """c and p/2 of c|z|^p; None for ln|z|."""
    if isinstance(kernel, Power):
        return 1 / kernel.exponent, kernel.exponent / 2
    if isinstance(kernel, Energy):
        return -1.0, kernel.exponent / 2
    return 1.0, None
