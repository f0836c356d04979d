"""Radial kernels k(z) = κ(|z|²), by their value and derivative in the squared distance."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from wgf import checks
from wgf.errors import InputError


class Radial(ABC):
    """A kernel k(x − y) = κ(r), r = |x − y|². Kernels add, and scale by real numbers."""

    @abstractmethod
    def value(self, squared: Tensor, dim: int) -> Tensor:
        """κ(r), any shape; `dim` is the dimension of the space, which normalising constants need."""

    @abstractmethod
    def derivative(self, squared: Tensor, dim: int) -> Tensor:
        """κ′(r), so that ∇_x k(x − y) = 2 κ′(r) (x − y)."""

    def __add__(self, other: "Radial") -> "Radial":
        return Sum(self, other)

    def __mul__(self, factor: float) -> "Radial":
        return Scaled(factor, self)

    __rmul__ = __mul__

    def __neg__(self) -> "Radial":
        return Scaled(-1.0, self)

    def __sub__(self, other: "Radial") -> "Radial":
        return Sum(self, Scaled(-1.0, other))


@dataclass(frozen=True)
class Sum(Radial):
    """k₁ + k₂."""

    first: Radial
    second: Radial

    def value(self, squared: Tensor, dim: int) -> Tensor:
        return self.first.value(squared, dim) + self.second.value(squared, dim)

    def derivative(self, squared: Tensor, dim: int) -> Tensor:
        return self.first.derivative(squared, dim) + self.second.derivative(squared, dim)


@dataclass(frozen=True)
class Scaled(Radial):
    """c k."""

    factor: float
    kernel: Radial

    def value(self, squared: Tensor, dim: int) -> Tensor:
        return self.factor * self.kernel.value(squared, dim)

    def derivative(self, squared: Tensor, dim: int) -> Tensor:
        return self.factor * self.kernel.derivative(squared, dim)


@dataclass(frozen=True)
class Power(Radial):
    """|z|^p / p, p ≥ 2: W = κ Power(2) is quadratic attraction, Power(4) − Power(2) the ring.

    Raises: InputError for p < 2, whose gradient is singular at coincident points.
    """

    exponent: float

    def __post_init__(self) -> None:
        if not self.exponent >= 2:
            raise InputError(f"the exponent of a Power kernel must be at least 2, got {self.exponent!r}")

    def value(self, squared: Tensor, dim: int) -> Tensor:
        return squared.pow(self.exponent / 2) / self.exponent

    def derivative(self, squared: Tensor, dim: int) -> Tensor:
        away = squared.clamp_min(torch.finfo(squared.dtype).tiny)  # for p < 4 autograd would make 0·∞ of r = 0
        return 0.5 * away.pow(self.exponent / 2 - 1)


@dataclass(frozen=True)
class Gaussian(Radial):
    """The normal density (2πε²)^{−d/2} exp(−|z|²/2ε²) of standard deviation ε = `bandwidth`: it integrates to one."""

    bandwidth: float

    def __post_init__(self) -> None:
        checks.positive("the bandwidth of a Gaussian kernel", self.bandwidth)

    def value(self, squared: Tensor, dim: int) -> Tensor:
        scale = (2 * math.pi * self.bandwidth**2) ** (-dim / 2)
        return scale * torch.exp(squared / (-2 * self.bandwidth**2))

    def derivative(self, squared: Tensor, dim: int) -> Tensor:
        return self.value(squared, dim) / (-2 * self.bandwidth**2)
