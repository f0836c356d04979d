"""Between points and Fourier modes by finufft: two real columns of weights, or two real answers, in one array."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wgf.kernels._series import Axis, Series
from wgf.kernels.task import Task

BLOCK = 2**16  # modes multiplied at a time
LATEST = 8  # columns that a new one is compared with
LOOSEST = 1e-2  # relative error of a transform: beyond it finufft keeps no promise


@dataclass(frozen=True)
class Grid:
    """finufft's grid: oversampling, the smallest relative error it reaches, the width of its kernel at 1e-7."""

    upsampling: float
    least: float
    width: int


FINE = Grid(2.0, 5e-14, 8)
COARSE = Grid(1.25, 1e-9, 11)


def columns(task: Task) -> tuple[list[Tensor], list[int], list[int]]:
    """The different columns of the weights, and which of them V and G take."""
    different: list[Tensor] = []
    taken: list[list[int]] = [[], []]
    for one, weights in zip(taken, (task.value_weights, task.gradient_weights), strict=True):
        for column in () if weights is None else weights.unbind(1):
            first = max(0, len(different) - LATEST)
            same = (n for n in range(first, len(different)) if torch.equal(different[n], column))
            one.append(next(same, len(different)))
            if one[-1] == len(different):
                different.append(column)
    return different, taken[0], taken[1]


def outputs(values: list[int], slopes: list[int], dim: int) -> int:
    """How many complex transforms back to the points the columns in pairs take."""
    pairs = {c // 2 for c in values + slopes}
    last = max(values + slopes, default=0)
    total = 0
    for pair in pairs:
        both = {2 * pair, 2 * pair + 1}
        kinds = bool(both & set(values)) + dim * bool(both & set(slopes))
        total += kinds if 2 * pair < last else math.ceil(kinds / 2)
    return total


def sums(task: Task, series: Series, grid: Grid, error: float, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """V (k, n) and G (l, d, n) of the function that the series is of, to this relative error of each transform."""
    different, values, slopes = columns(task)
    sizes = [float(column.abs().sum(dtype=torch.float64)) or 1.0 for column in different]
    V, G = np.zeros((len(values), len(task.x))), np.zeros((len(slopes), task.dim, len(task.x)))
    transform = _Transform(task, series.axes, grid, error, threads)

    def put(column: int, kind: int | None, answer: np.ndarray) -> None:
        answer = answer * sizes[column]
        if kind is None:
            V[[k for k, c in enumerate(values) if c == column]] = answer
        else:
            G[[k for k, c in enumerate(slopes) if c == column], kind] = answer

    for first in range(0, len(different), 2):
        # of one size, or the errors of the larger would be the smaller's too
        pair = [column.double().numpy() / sizes[first + c] for c, column in enumerate(different[first : first + 2])]
        modes = transform.to_modes(pair[0] + 1j * pair[1] if len(pair) == 2 else pair[0])
        steps = list(_steps(first, len(pair), set(values), set(slopes), task.dim))
        for step in steps:
            product = modes if step is steps[-1] else modes.copy()
            _multiply(product, series, list(dict.fromkeys(kind for _, kind in step)))
            both = transform.to_points(product)
            for (column, kind), answer in zip(step, (both.real, both.imag), strict=False):
                put(column, kind, answer)
    return V, G


Step = tuple[tuple[int, int | None], ...]
"""Two real answers of one transform: a column each, and None for values or the axis of a slope."""


def _steps(first: int, count: int, values: set[int], slopes: set[int], dim: int) -> Iterator[Step]:
    """The transforms that the columns `first` and, if count is 2, the next one need."""
    wanted = set(range(first, first + count))
    kinds: list[int | None] = [None] if wanted & values else []
    kinds += list(range(dim)) if wanted & slopes else []
    if count == 2:
        yield from (((first, kind), (first + 1, kind)) for kind in kinds)
        return
    for one, other in zip_longest(kinds[::2], kinds[1::2], fillvalue=-1):
        yield ((first, one),) if other == -1 else ((first, one), (first, other))


def _multiply(modes: np.ndarray, series: Series, kinds: list[int | None]) -> None:
    """modes times c_k, or times iξ_k c_k for a slope; of two different answers the first plus i times the second."""
    axes = series.axes
    rows = max(1, BLOCK // max(1, modes[0].size))
    centred = [np.arange(-axis.modes, axis.modes + 1) for axis in axes]
    for start in range(0, len(modes), rows):
        part = [centred[0][start : start + rows], *centred[1:]]
        c = series.coefficients[np.ix_(*(np.abs(k) for k in part))]
        factor: Any = 0.0
        for kind, turn in zip(kinds, (1.0, 1j), strict=False):
            if kind is None:
                factor = factor + turn * c
                continue
            frequency = 2j * math.pi / axes[kind].period * part[kind]
            factor = factor + (turn * frequency).reshape(-1, *[1] * (len(axes) - 1 - kind)) * c
        modes[start : start + rows] *= factor


class _Transform:
    """finufft's plans; one plan where x and y are the same points."""

    def __init__(self, task: Task, axes: tuple[Axis, ...], grid: Grid, error: float, threads: int) -> None:
        import finufft

        y = task.y.double()
        centre = 0.5 * (y.amin(0) + y.amax(0))
        scale = torch.tensor([2 * math.pi / axis.period for axis in axes], dtype=torch.float64)
        modes = tuple(2 * axis.modes + 1 for axis in axes)

        def plan(points: Tensor) -> Any:
            made = finufft.Plan(
                2, modes, 1, min(max(error, grid.least), LOOSEST), 1, nthreads=threads, upsampfac=grid.upsampling
            )
            made.setpts(*((points - centre) * scale).T.contiguous().numpy())
            return made

        self.sources = plan(y)
        same = task.x.shape == task.y.shape and torch.equal(task.x, task.y)
        self.targets = self.sources if same else plan(task.x.double())
        self.modes = modes

    def to_modes(self, weights: np.ndarray) -> np.ndarray:
        """Σ_j w_j e^{−iξ_k·y_j}."""
        return self.sources.execute_adjoint(weights.astype(np.complex128)).reshape(self.modes)

    def to_points(self, modes: np.ndarray) -> np.ndarray:
        """Σ_k f_k e^{iξ_k·x_i}."""
        return self.targets.execute(modes)
