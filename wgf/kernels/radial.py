"""What a radial kernel is: k(x − y) = κ(|x − y|²), κ with three derivatives; kernels add, and scale by real numbers."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from wgf import checks
from wgf.errors import InputError


class Radial(ABC):
    """A kernel k(x − y) = κ(r), r = |x − y|².

    Its derivatives follow from those of κ: ∇_x k = 2 κ′ (x − y), and the mixed trace that Stein kernels need is
    ∇_x·∇_y k = −4 r κ″ − 2 d κ′.

    Where κ or a derivative is unbounded at r = 0 it counts as zero there: under a singular kernel coincident points
    have no value for each other and exert no force, as symmetry asks.
    """

    @property
    def smooth(self) -> bool:
        """Whether k is analytic in z, so that its Fourier sums converge geometrically."""
        return False

    @property
    def exponential(self) -> bool:
        """Whether κ falls as an exponential does: far out, its relative error is then many times that of r."""
        return False

    def rate(self, dim: int) -> float | None:
        """The number c with κ′ = cκ, where there is one: values and gradients then take one product of matrices."""
        return None

    @abstractmethod
    def jet(self, squared: Tensor, dim: int, order: int) -> tuple[Tensor, ...]:
        """(κ, κ′, …, κ^(order)) at r = `squared`, any shape, order ≤ 3; `dim` is the dimension d of the space, which
        normalising constants need.
        """

    def value(self, squared: Tensor, dim: int) -> Tensor:
        """κ(r)."""
        return self.jet(squared, dim, 0)[0]

    def derivative(self, squared: Tensor, dim: int) -> Tensor:
        """κ′(r), so that ∇_x k(x − y) = 2 κ′(r) (x − y)."""
        return self.jet(squared, dim, 1)[1]

    def mixed_trace(self, squared: Tensor, dim: int) -> Tensor:
        """∇_x·∇_y k = −4 r κ″(r) − 2 d κ′(r)."""
        _, first, second = self.jet(squared, dim, 2)
        return -4 * squared * second - 2 * dim * first

    def parts(self) -> "list[tuple[float, Radial]]":
        """This kernel as Σ c_i k_i of kernels that are neither sums nor multiples."""
        return [(1.0, self)]

    @property
    def name(self) -> str:
        """What metrics and tables call this kernel, bandwidth included."""
        return " + ".join(repr(kernel) if c == 1 else f"{c:g} {kernel!r}" for c, kernel in self.parts())

    def __add__(self, other: "Radial") -> "Radial":
        return Sum(self, a_kernel("a sum of kernels", other))

    def __radd__(self, other: int) -> "Radial":
        """What `sum` of a list of kernels begins with."""
        return self if isinstance(other, int) and other == 0 else Sum(a_kernel("a sum of kernels", other), self)

    def __mul__(self, factor: float) -> "Radial":
        return Scaled(factor, self)

    def __truediv__(self, factor: float) -> "Radial":
        return Scaled(1 / checks.nonzero("what a kernel is divided by", factor), self)

    __rmul__ = __mul__

    def __neg__(self) -> "Radial":
        return Scaled(-1.0, self)

    def __sub__(self, other: "Radial") -> "Radial":
        return Sum(self, Scaled(-1.0, a_kernel("a sum of kernels", other)))


class Elementary(Radial):
    """A kernel written in elementary functions, once, for every engine.

    `profile(m, r, p)` yields κ, κ′, κ″, κ‴ in turn by m.exp, m.log, m.sqrt, m.pow and arithmetic: `m` is torch, or a
    module that writes source for a compiler; `p` are the numbers of `parameters(dim)`, so that kernels that differ in a
    bandwidth alone share what was compiled.
    """

    @abstractmethod
    def parameters(self, dim: int) -> tuple[float, ...]:
        """The constants of the profile in `dim` dimensions."""

    @abstractmethod
    def profile(self, m: Any, r: Any, p: Sequence[Any]) -> Iterator[Any]:
        """Yield κ, κ′, κ″, κ‴ at r."""

    @property
    @abstractmethod
    def bounded(self) -> int:
        """How many of κ, κ′, κ″, κ‴ are finite at r = 0; from there on, r = 0 counts as zero."""

    def jet(self, squared: Tensor, dim: int, order: int) -> tuple[Tensor, ...]:
        p = self.parameters(dim)
        if order < self.bounded:
            return tuple(islice(self.profile(torch, squared, p), order + 1))
        apart = squared > 0
        away = torch.where(apart, squared, torch.ones_like(squared))
        at_zero = islice(self.profile(torch, torch.zeros_like(squared), p), self.bounded)
        orders = list(islice(self.profile(torch, away, p), order + 1))
        known = list(at_zero)[: order + 1]
        return tuple(
            torch.where(apart, k, known[n] if n < len(known) else torch.zeros_like(k)) for n, k in enumerate(orders)
        )


def a_kernel(what: str, kernel: object) -> Radial:
    """`kernel` if it is one; raises InputError where a law or a rule of the same name was meant to be one."""
    if not isinstance(kernel, Radial):
        made = f"a {type(kernel).__module__}.{type(kernel).__name__}"
        raise InputError(f"{what} needs a kernel of wgf.kernels, such as wgf.kernels.Gaussian(1.0), got {made}")
    return kernel


@dataclass(frozen=True)
class Sum(Radial):
    """k₁ + k₂."""

    first: Radial
    second: Radial

    def jet(self, squared: Tensor, dim: int, order: int) -> tuple[Tensor, ...]:
        both = zip(self.first.jet(squared, dim, order), self.second.jet(squared, dim, order), strict=True)
        return tuple(one + other for one, other in both)

    def parts(self) -> list[tuple[float, Radial]]:
        return self.first.parts() + self.second.parts()


@dataclass(frozen=True)
class Scaled(Radial):
    """c k."""

    factor: float
    kernel: Radial

    def __post_init__(self) -> None:
        object.__setattr__(self, "factor", checks.finite("the factor of a kernel", self.factor))
        a_kernel("a multiple of a kernel", self.kernel)

    def jet(self, squared: Tensor, dim: int, order: int) -> tuple[Tensor, ...]:
        return tuple(self.factor * k for k in self.kernel.jet(squared, dim, order))

    def rate(self, dim: int) -> float | None:
        return self.kernel.rate(dim)

    def parts(self) -> list[tuple[float, Radial]]:
        return [(self.factor * c, kernel) for c, kernel in self.kernel.parts()]
