"""Step sizes as sequences: constant, geometric, evened out, refined."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from scipy.interpolate import PchipInterpolator

from wgf import checks
from wgf.errors import InputError


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


def refined(taus: Sequence[float], parts: int) -> list[float]:
    """Every step cut in `parts` equal ones."""
    checks.at_least("parts", parts, 1)
    return [tau / parts for tau in taus for _ in range(parts)]


def evened(taus: Sequence[float], moved: Sequence[float], damping: float = 1.0) -> list[float]:
    """As many step sizes of the same sum, at which steps are expected to move the law equally far.

    With s_k = moved_1 + … + moved_k the length of the path by the time t_k = τ_1 + … + τ_k, the new times are t(s) at
    even shares s of the whole, t the monotone cubic through (s_k, t_k) (Fritsch and Carlson 1980): a flow is fast where
    it starts and slow where it ends, inside a step too. It takes two rounds or so; by straight lines, as in Xu, Cheng,
    Xie 2023 (arXiv 2212.14424), section 4.2, it takes several.

    Args: taus, all above 0, and moved, how far each step went, W₂ or √E|x⁺ − x|², 0 where it stood still, but not
    throughout; damping in (0, 1], the share of the way to the new times.
    Raises: InputError for lists of other lengths, and for numbers outside these ranges.
    """
    if len(taus) != len(moved) or not len(taus):
        raise InputError(f"evened needs a length moved for each step size, got {len(moved)} for {len(taus)}")
    if not 0 < damping <= 1:
        raise InputError(f"damping must lie in (0, 1], got {damping!r}")
    for tau, length in zip(taus, moved, strict=True):
        checks.positive("tau", tau)
        checks.not_negative("moved", length)
    if not sum(moved):
        raise InputError(f"evened needs a step that moved the law, but none of {len(moved)} did")
    times, lengths = (np.concatenate([[0.0], np.cumsum(values)]) for values in (taus, moved))
    went = np.concatenate([[0], 1 + np.flatnonzero(np.diff(lengths))])  # a step at rest lends its time to the next
    ends = np.append(times[went[:-1]], times[-1])
    even = PchipInterpolator(lengths[went], ends)(np.linspace(0, lengths[-1], len(lengths)))
    return np.diff(times + damping * (even - times)).tolist()
