"""Step sizes as sequences: constant and geometric."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from wgf import checks


class Schedule(Sequence[float], ABC):
    """Step sizes τ_0 … τ_{steps−1}, all above zero: what `evolve` takes as `taus`."""

    steps: int

    @abstractmethod
    def size(self, k: int) -> float:
        """τ_k, 0 ≤ k < steps."""

    def __len__(self) -> int:
        return self.steps

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> list[float]: ...
    def __getitem__(self, index: int | slice) -> float | list[float]:
        chosen = range(self.steps)[index]
        return self.size(chosen) if isinstance(chosen, int) else [self.size(k) for k in chosen]


@dataclass(frozen=True)
class Constant(Schedule):
    """τ_k = tau. Raises: InputError unless tau is above 0 and steps at least 1."""

    tau: float
    steps: int

    def __post_init__(self) -> None:
        checks.positive("tau", self.tau)
        checks.at_least("steps", self.steps, 1)

    def size(self, k: int) -> float:
        return self.tau


@dataclass(frozen=True)
class Geometric(Schedule):
    """τ_k = min(first · ratio^k, cap): growing steps for ratio > 1, shrinking ones below.

    Raises: InputError unless first, ratio and cap are above 0, steps at least 1, and every τ_k finite and above 0.
    """

    first: float
    ratio: float
    steps: int
    cap: float | None = None

    def __post_init__(self) -> None:
        for name in ("first", "ratio", "cap"):
            if getattr(self, name) is not None:
                checks.positive(name, getattr(self, name))
        checks.at_least("steps", self.steps, 1)
        checks.positive("the last step of a Geometric schedule", self[-1])  # sizes are monotone

    def size(self, k: int) -> float:
        try:
            free = self.first * float(self.ratio) ** k
        except OverflowError:
            free = math.inf
        return free if self.cap is None else min(free, self.cap)
