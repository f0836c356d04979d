"""Fixed-step Runge–Kutta schemes over tuples of tensors: position, cost and log-determinant in one sweep."""

from abc import ABC
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
    quadrature: ClassVar[tuple[float, float, float]]
    """Weights of start, middle and end of a step, for integrals along the motion: of the same order as the scheme."""

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
    quadrature = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Heun(Scheme):
    """Order 2, two evaluations a step (explicit trapezoid)."""

    order = 2
    stages = ((), (1.0,))
    weights = (0.5, 0.5)
    quadrature = (0.5, 0.0, 0.5)


@dataclass(frozen=True)
class RK4(Scheme):
    """Order 4, four evaluations a step (Kutta 1901)."""

    order = 4
    stages = ((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0))
    weights = (1 / 6, 1 / 3, 1 / 3, 1 / 6)
    quadrature = (1 / 6, 2 / 3, 1 / 6)


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
