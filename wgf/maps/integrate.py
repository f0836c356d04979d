"""Fixed-step Runge–Kutta schemes over tuples of tensors: position, cost and log-determinant in one sweep."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from torch import Tensor

Tuple: TypeAlias = tuple[Tensor, ...]
Field: TypeAlias = Callable[[float, Tuple], Tuple]


class Scheme(ABC):
    """An explicit Runge–Kutta scheme by its tableau; nonnegative weights keep discrete costs above ½|y − x|²."""

    order: ClassVar[int]
    stages: ClassVar[tuple[tuple[float, ...], ...]]
    weights: ClassVar[tuple[float, ...]]

    @abstractmethod
    def quadrature(self, steps: int) -> list[tuple[float, float]]:
        """Points s in [0, steps] and weights, in steps, of an integral along the motion, to the scheme's order."""

    def step(self, field: Field, t: float, h: float, state: Tuple, first: Tuple | None = None) -> Tuple:
        """The state after one step of size h (negative: backwards) from time t; `first` is field(t, state) if known."""
        slopes: list[Tuple] = [] if first is None else [first]
        for row in self.stages[len(slopes) :]:
            slopes.append(field(t + h * sum(row), _move(state, slopes, [h * a for a in row])))
        return _move(state, slopes, [h * b for b in self.weights])


@dataclass(frozen=True)
class Euler(Scheme):
    """Order 1, one evaluation a step."""

    order = 1
    stages = ((),)
    weights = (1.0,)

    def quadrature(self, steps: int) -> list[tuple[float, float]]:
        return [(float(k), 1.0) for k in range(steps)]


@dataclass(frozen=True)
class Heun(Scheme):
    """Order 2, two evaluations a step (explicit trapezoid)."""

    order = 2
    stages = ((), (1.0,))
    weights = (0.5, 0.5)

    def quadrature(self, steps: int) -> list[tuple[float, float]]:
        return [(k + 0.5, 1.0) for k in range(steps)]


@dataclass(frozen=True)
class RK4(Scheme):
    """Order 4, four evaluations a step (Kutta 1901)."""

    order = 4
    stages = ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0))
    weights = (1 / 6, 1 / 3, 1 / 3, 1 / 6)

    def quadrature(self, steps: int) -> list[tuple[float, float]]:
        """Gauss–Legendre: three points for every two steps, two points for one left over."""
        inner, outer = math.sqrt(1 / 3), math.sqrt(3 / 5)
        three = ((-outer, 5 / 9), (0.0, 8 / 9), (outer, 5 / 9))
        points = [(k + 1 + x, w) for k in range(0, steps - 1, 2) for x, w in three]
        return points + [(steps - 0.5 + 0.5 * x, 0.5) for x in (-inner, inner)] * (steps % 2)


def integrate(scheme: Scheme, field: Field, state: Tuple, start: float, end: float, steps: int) -> Tuple:
    """The state at `end` from the state at `start`, in equal steps; end < start runs backwards."""
    h = (end - start) / steps
    for k in range(steps):
        state = scheme.step(field, start + k * h, h, state)
    return state


def _move(state: Tuple, slopes: list[Tuple], factors: list[float]) -> Tuple:
    used = [(factor, slope) for factor, slope in zip(factors, slopes, strict=True) if factor]
    moved = []
    for i, part in enumerate(state):
        for factor, slope in used:
            part = part.add(slope[i], alpha=factor)
        moved.append(part)
    return tuple(moved)
