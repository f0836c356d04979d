"""The radial kernels: positive definite ones with a bandwidth, and the potentials |z|^p and ln|z| of interactions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from wgf import checks
from wgf.errors import InputError
from wgf.kernels.radial import Elementary

NARROWEST, WIDEST = 1e-15, 1e15  # bandwidths whose squares, and theirs over a few units, float32 holds


def _bandwidth(whose: str, value: float) -> None:
    if not NARROWEST <= checks.positive(f"the bandwidth of {whose}", value) <= WIDEST:
        raise InputError(
            f"the bandwidth of {whose} must lie between {NARROWEST:g} and {WIDEST:g}, got {value!r}: choose other units"
        )


@dataclass(frozen=True)
class Gaussian(Elementary):
    """exp(−|z|²/2h²), h = `bandwidth`."""

    bandwidth: float

    smooth = True
    exponential = True
    bounded = 4

    def __post_init__(self) -> None:
        _bandwidth("a Gaussian kernel", self.bandwidth)

    def parameters(self, dim: int) -> tuple[float, ...]:
        return (-0.5 / self.bandwidth**2,)

    def rate(self, dim: int) -> float:
        return -0.5 / self.bandwidth**2

    def profile(self, m: Any, r: Any, p: Sequence[Any]) -> Iterator[Any]:
        (a,) = p
        k = m.exp(a * r)
        while True:
            yield k
            k = a * k


@dataclass(frozen=True)
class Mollifier(Elementary):
    """The normal density (2πε²)^{−d/2} exp(−|z|²/2ε²) of standard deviation ε = `bandwidth`: it integrates to one."""

    bandwidth: float

    smooth = True
    exponential = True
    bounded = 4

    def __post_init__(self) -> None:
        _bandwidth("a Mollifier", self.bandwidth)

    def rate(self, dim: int) -> float:
        return -0.5 / self.bandwidth**2

    def parameters(self, dim: int) -> tuple[float, ...]:
        return -0.5 / self.bandwidth**2, (2 * math.pi * self.bandwidth**2) ** (-dim / 2)

    def profile(self, m: Any, r: Any, p: Sequence[Any]) -> Iterator[Any]:
        a, mass = p
        k = mass * m.exp(a * r)
        while True:
            yield k
            k = a * k


@dataclass(frozen=True)
class Laplace(Elementary):
    """exp(−|z|/ℓ), ℓ = `bandwidth`: Matérn of smoothness ½; its gradient has no limit at z = 0 and counts as zero."""

    bandwidth: float

    exponential = True
    bounded = 1

    def __post_init__(self) -> None:
        _bandwidth("a Laplace kernel", self.bandwidth)

    def parameters(self, dim: int) -> tuple[float, ...]:
        return (1 / self.bandwidth,)

    def profile(self, m: Any, r: Any, p: Sequence[Any]) -> Iterator[Any]:
        (a,) = p
        s = m.sqrt(r)
        k = m.exp(-a * s)
        yield k
        slope = -0.5 * a * k / s
        yield slope
        yield -0.5 * slope * (1 + a * s) / r
        yield 0.25 * slope * (3 + 3 * a * s + a * a * r) / (r * r)


@dataclass(frozen=True)
class Matern32(Elementary):
    """(1 + √3|z|/ℓ) exp(−√3|z|/ℓ), ℓ = `bandwidth`: Matérn of smoothness 3/2."""

    bandwidth: float

    exponential = True
    bounded = 2

    def __post_init__(self) -> None:
        _bandwidth("a Matern32 kernel", self.bandwidth)

    def parameters(self, dim: int) -> tuple[float, ...]:
        return (math.sqrt(3) / self.bandwidth,)

    def profile(self, m: Any, r: Any, p: Sequence[Any]) -> Iterator[Any]:
        (a,) = p
        s = m.sqrt(r)
        e = _decay(m, a * s)
        yield (1 + a * s) * e
        slope = -0.5 * a * a * e
        yield slope
        yield -0.5 * a * slope / s
        yield 0.25 * a * slope * (1 + a * s) / (r * s)


@dataclass(frozen=True)
class Matern52(Elementary):
    """(1 + √5|z|/ℓ + 5|z|²/3ℓ²) exp(−√5|z|/ℓ), ℓ = `bandwidth`: Matérn of smoothness 5/2."""

    bandwidth: float

    exponential = True
    bounded = 3

    def __post_init__(self) -> None:
        _bandwidth("a Matern52 kernel", self.bandwidth)

    def parameters(self, dim: int) -> tuple[float, ...]:
        return (math.sqrt(5) / self.bandwidth,)

    def profile(self, m: Any, r: Any, p: Sequence[Any]) -> Iterator[Any]:
        (a,) = p
        s = m.sqrt(r)
        e = _decay(m, a * s)
        yield (1 + a * s + a * a * r * (1 / 3)) * e
        square = a * a
        yield -(1 / 6) * square * (1 + a * s) * e
        second = (1 / 12) * square * square * e
        yield second
        yield -0.5 * a * second / s


@dataclass(frozen=True)
class InverseMultiquadric(Elementary):
    """(1 + |z|²/c²)^{−β}, c = `bandwidth`, β = `exponent` > 0: ½ is the usual one of Stein discrepancies.

    Source: Gorham & Mackey, *Measuring sample quality with kernels*, ICML 2017, section 3.2, where the kernel is
    (c² + |z|²)^{−β}, β in (0, 1): c^{−2β} times ours.
    """

    bandwidth: float
    exponent: float = 0.5

    smooth = True
    bounded = 4

    def __post_init__(self) -> None:
        _bandwidth("an InverseMultiquadric kernel", self.bandwidth)
        checks.positive("the exponent of an InverseMultiquadric kernel", self.exponent)

    def parameters(self, dim: int) -> tuple[float, ...]:
        return (1 / self.bandwidth**2,)

    def profile(self, m: Any, r: Any, p: Sequence[Any]) -> Iterator[Any]:
        (a,) = p
        q, beta = 1 + a * r, self.exponent
        k = _power(m, q, -beta)
        while True:
            yield k
            k = -beta * a * k / q
            beta += 1


@dataclass(frozen=True)
class Power(Elementary):
    """|z|^p / p for p ≠ 0: W = κ Power(2) is quadratic attraction, Power(4) − Power(2) the ring, −Power(−1) … repels.

    Below p = 2 the gradient, and below p = 0 the value, is singular at coincident points and counts as zero there;
    `Smoothed(Power(p), ε)` is the regularised kernel. Sums over a law need p > −d.
    """

    exponent: float

    def __post_init__(self) -> None:
        if not isinstance(self.exponent, (int, float)) or not math.isfinite(self.exponent) or self.exponent == 0:
            raise InputError(f"the exponent of a Power kernel must be finite and not 0, got {self.exponent!r}")

    @property
    def smooth(self) -> bool:
        return self.exponent > 0 and self.exponent % 2 == 0

    @property
    def bounded(self) -> int:
        return _bounded(self.exponent)

    def parameters(self, dim: int) -> tuple[float, ...]:
        return ()

    def profile(self, m: Any, r: Any, p: Sequence[Any]) -> Iterator[Any]:
        return _powers(m, r, 1 / self.exponent, self.exponent)


@dataclass(frozen=True)
class Energy(Elementary):
    """−|z|^p, 0 < p < 2: the Riesz kernel of the energy distance, conditionally positive definite.

    MMD² with it is the (generalised) energy distance 2E|X−Y|^p − E|X−X′|^p − E|Y−Y′|^p (Székely & Rizzo, *Energy
    statistics*, J. Stat. Plan. Inference 2013). Its gradient counts as zero at coincident points.
    """

    exponent: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.exponent < 2:
            raise InputError(f"the exponent of an Energy kernel must lie between 0 and 2, got {self.exponent!r}")

    @property
    def bounded(self) -> int:
        return 1

    def parameters(self, dim: int) -> tuple[float, ...]:
        return ()

    def profile(self, m: Any, r: Any, p: Sequence[Any]) -> Iterator[Any]:
        return _powers(m, r, -1.0, self.exponent)


@dataclass(frozen=True)
class Log(Elementary):
    """ln|z|: W = −Log() is the Coulomb repulsion of the plane. Singular: coincident points count as zero.

    `Smoothed(Log(), ε)` is ln|·| convolved with a Gaussian of standard deviation ε: the regularised kernel.
    """

    bounded = 0

    def parameters(self, dim: int) -> tuple[float, ...]:
        return ()

    def profile(self, m: Any, r: Any, p: Sequence[Any]) -> Iterator[Any]:
        yield 0.5 * m.log(r)
        k = 0.5 / r
        for n in (1, 2, 3):
            yield k
            k = -n * k / r


def _decay(m: Any, t: Any) -> Any:
    """e^{−t} as a square, which is not yet zero where an exponential is below the smallest normal number and a
    polynomial of t times it is not.
    """
    root = m.exp(-0.5 * t)
    return root * root


def _powers(m: Any, r: Any, factor: float, exponent: float) -> Iterator[Any]:
    """factor·r^{p/2} and its derivatives."""
    half = exponent / 2
    while True:
        yield factor * _power(m, r, half) if factor else 0 * r
        factor, half = factor * half, half - 1


def _bounded(exponent: float) -> int:
    if exponent > 0 and exponent % 2 == 0:
        return 4
    return max(0, math.floor(exponent / 2) + 1)


def _power(m: Any, x: Any, exponent: float) -> Any:
    """x^exponent, by products and roots where the exponent is a small multiple of a half."""
    if exponent < 0:
        return 1 / _power(m, x, -exponent)
    whole = int(exponent)
    if exponent not in (whole, whole + 0.5) or exponent > 6:
        return m.pow(x, exponent)
    result = m.sqrt(x) if exponent != whole else 1 + 0 * x
    for _ in range(whole):
        result = result * x
    return result
