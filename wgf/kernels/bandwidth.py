"""Rules that give a kernel its bandwidth from points: fixed, the median of distances, several scales at once."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.kernels.families import Gaussian
from wgf.kernels.radial import Radial, Scaled, Sum


class Bandwidth(ABC):
    """A rule by which points choose their kernel; its name is part of the name of whatever is measured with it."""

    @abstractmethod
    def kernel(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"] | None = None) -> Radial:
        """The kernel for the points x, or x ∪ y."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What metrics and tables call this rule."""


@dataclass(frozen=True)
class Fixed(Bandwidth):
    """The same kernel for all points."""

    radial: Radial

    def kernel(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"] | None = None) -> Radial:
        return self.radial

    @property
    def name(self) -> str:
        return self.radial.name


@dataclass(frozen=True)
class Median(Bandwidth):
    """A kernel of `family` with bandwidth = factor · the median of the distances between the points.

    Of more than `rows` points, so many evenly spaced rows of x ∪ y are taken. Raises: InputError for a family without a
    bandwidth, for a single point, and where half of the points coincide.
    """

    family: type[Radial] = Gaussian
    factor: float = 1.0
    rows: int = 1_000

    def __post_init__(self) -> None:
        checks.positive("factor", self.factor)
        checks.at_least("rows", self.rows, 2)
        if "bandwidth" not in getattr(self.family, "__dataclass_fields__", {}):
            raise InputError(f"Median needs a family of kernels with a bandwidth, as Gaussian has, got {self.family!r}")

    def kernel(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"] | None = None) -> Radial:
        made: Any = self.family
        return made(bandwidth=self.factor * median_distance(x, y, self.rows))

    @property
    def name(self) -> str:
        return f"{self.family.__name__}({self.factor:g} median of {self.rows} rows)"


@dataclass(frozen=True)
class MultiScale(Bandwidth):
    """The mean of the kernels of `rule` at each of `scales` times its bandwidth."""

    rule: Bandwidth
    scales: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.scales:
            raise InputError("MultiScale needs at least one scale, got ()")
        for scale in self.scales:
            checks.positive("a scale of MultiScale", scale)

    def kernel(self, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"] | None = None) -> Radial:
        base: Any = self.rule.kernel(x, y)
        if not hasattr(base, "bandwidth"):
            raise InputError(f"MultiScale needs a kernel with one bandwidth, got {base.name}")
        first, *others = (replace(base, bandwidth=scale * base.bandwidth) for scale in self.scales)
        total: Radial = first
        for kernel in others:
            total = Sum(total, kernel)
        return total if not others else Scaled(1 / len(self.scales), total)

    @property
    def name(self) -> str:
        return f"{self.rule.name} at scales {', '.join(f'{scale:g}' for scale in self.scales)}"


def median_distance(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"] | None, rows: int) -> float:
    """The median of |x_i − x_j|, i < j, among at most `rows` evenly spaced rows of x ∪ y."""
    points = checks.rows("x", x) if y is None else torch.cat([checks.rows("x", x), checks.rows("y", y, x.shape[1])])
    if len(points) < 2:
        raise InputError("the median of distances needs two points or more, got 1")
    if len(points) > rows:
        points = points[torch.linspace(0, len(points) - 1, rows, dtype=torch.float64).round().long().to(x.device)]
    median = float(torch.pdist(points.detach()).median())
    if median == 0:
        raise InputError("the median distance between these points is 0: half of them coincide; give a Fixed kernel")
    return median
