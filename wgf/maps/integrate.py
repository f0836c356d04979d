"""How motions are integrated, over tuples of tensors: fixed-step Runge–Kutta schemes, adaptive ones by torchdiffeq."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias, cast

import torch
from torch import Tensor, nn

from wgf import checks
from wgf.errors import Diverged

Tuple: TypeAlias = tuple[Tensor, ...]
Field: TypeAlias = Callable[[Any, Tuple], Tuple]
"""d/dt of a state at a time, a number or, by adaptive schemes, a tensor that is differentiated."""


class Scheme(ABC):
    """How the end of a motion is found."""

    order: ClassVar[int]
    slack: float = 0.0
    """How far, relative to its size, the end may miss what the same scheme brings back to it."""

    def finer(self, times: int) -> "Scheme":
        """The scheme that goes with `times` as many steps: itself, where their number is not its own choice."""
        return self

    @abstractmethod
    def integrate(
        self, field: Field, state: Tuple, start: float, end: float, steps: int, parameters: Sequence[nn.Parameter] = ()
    ) -> Tuple:
        """The state at `end` from the state at `start`; end < start runs backwards. `parameters` are the field's."""


class RungeKutta(Scheme):
    """An explicit Runge–Kutta scheme by its tableau; nonnegative weights keep discrete costs above ½|y − x|²."""

    stages: ClassVar[tuple[tuple[float, ...], ...]]
    weights: ClassVar[tuple[float, ...]]

    @abstractmethod
    def quadrature(self, steps: int) -> list[tuple[float, float]]:
        """Points s in [0, steps] and weights, in steps, of an integral along the motion, to the scheme's order."""

    def integrate(
        self, field: Field, state: Tuple, start: float, end: float, steps: int, parameters: Sequence[nn.Parameter] = ()
    ) -> Tuple:
        h = (end - start) / steps
        for k in range(steps):
            state = self.step(field, start + k * h, h, state)
        return state

    def step(self, field: Field, t: float, h: float, state: Tuple, first: Tuple | None = None) -> Tuple:
        """The state after one step of size h (negative: backwards) from time t; `first` is field(t, state) if known."""
        slopes: list[Tuple] = [] if first is None else [first]
        for row in self.stages[len(slopes) :]:
            slopes.append(field(t + h * sum(row), _move(state, slopes, [h * a for a in row])))
        return _move(state, slopes, [h * b for b in self.weights])


@dataclass(frozen=True)
class Euler(RungeKutta):
    """Order 1, one evaluation a step."""

    order = 1
    stages = ((),)
    weights = (1.0,)

    def quadrature(self, steps: int) -> list[tuple[float, float]]:
        return [(float(k), 1.0) for k in range(steps)]


@dataclass(frozen=True)
class Heun(RungeKutta):
    """Order 2, two evaluations a step (explicit trapezoid)."""

    order = 2
    stages = ((), (1.0,))
    weights = (0.5, 0.5)

    def quadrature(self, steps: int) -> list[tuple[float, float]]:
        return [(k + 0.5, 1.0) for k in range(steps)]


@dataclass(frozen=True)
class RK4(RungeKutta):
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


MOST = 10_000
"""Adaptive steps after which a motion is given up."""


@dataclass(frozen=True)
class Adaptive(Scheme):
    """Dormand–Prince 5(4) by torchdiffeq, steps chosen so that the error of each is below atol + rtol·|x|.

    The number of steps a map was given is not used, and rows of one batch share their steps: what comes out depends on
    the batch, within the tolerance. Costs may be below ½|y − x|² by as much.

    Args: rtol and atol, above zero; adjoint, find gradients by integrating the adjoint equation backwards, in memory
    that does not grow with the number of steps (Chen et al. 2018, arXiv 1806.07366), in place of differentiating the
    steps taken. Raises: InputError for a tolerance that is not above zero.
    """

    rtol: float = 1e-5
    atol: float = 1e-5
    adjoint: bool = False

    order = 5

    def __post_init__(self) -> None:
        for name in ("rtol", "atol"):
            checks.positive(name, getattr(self, name))

    @property
    def slack(self) -> float:  # type: ignore[override]
        return 100 * max(self.rtol, self.atol)

    def finer(self, times: int) -> "Adaptive":
        return replace(self, rtol=self.rtol / times**self.order, atol=self.atol / times**self.order)

    def integrate(
        self, field: Field, state: Tuple, start: float, end: float, steps: int, parameters: Sequence[nn.Parameter] = ()
    ) -> Tuple:
        from torchdiffeq import odeint, odeint_adjoint

        ends = torch.tensor([start, end], dtype=torch.float64, device=state[0].device)
        own = {"rtol": self.rtol, "atol": self.atol, "method": "dopri5", "options": {"max_num_steps": MOST}}
        try:
            if self.adjoint and torch.is_grad_enabled():
                whole = odeint_adjoint(field, state, ends, adjoint_params=tuple(parameters), **own)
            else:
                whole = odeint(field, state, ends, **own)
        except AssertionError as error:  # how torchdiffeq says that steps vanish, or are too many
            raise Diverged(f"adaptive steps cannot follow this motion within {self.rtol:g}: {error}") from error
        return cast("Tuple", tuple(part[-1] for part in whole))


def _move(state: Tuple, slopes: list[Tuple], factors: list[float]) -> Tuple:
    used = [(factor, slope) for factor, slope in zip(factors, slopes, strict=True) if factor]
    moved = []
    for i, part in enumerate(state):
        for factor, slope in used:
            part = part.add(slope[i], alpha=factor)
        moved.append(part)
    return tuple(moved)
