"""Sums by non-uniform Fourier transforms: O(n + m) points and the modes of a smooth kernel in at most three dimensions.

V_i = Σ_k c_k e^{iξ_k·x_i} Σ_j w_j e^{−iξ_k·y_j}: weights to modes, a product, modes to points; gradients have iξ_k c_k.
Kernels that are singular at zero are split (`_split`), the remainder summed over neighbours (`_cells`).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from wgf.kernels import _box, _split, _transforms
from wgf.kernels._box import FOURIER, Box
from wgf.kernels._series import Axis
from wgf.kernels._transforms import COARSE, FINE, Grid
from wgf.kernels.engines import Cost
from wgf.kernels.families import Power
from wgf.kernels.radial import Radial
from wgf.kernels.task import Answer, Task

TINY = 1e-300
FEWEST, MODES_A_PAIR = {1: 2**14, 2: 2**18, 3: 2**20}, 0.1  # with more modes, sums over all pairs take less time
ALONE = 10_000  # points and modes, fewer of which one thread does sooner than several
POLYNOMIAL = 2e-12  # error of S′, relative to S over the length of its polynomial
ROUNDING = 2e-17  # of a phase, relative to its size: errors of 2⁻⁵⁴ in x_i and y_j, of random signs
LONGEST = 2**19  # modes an axis


@dataclass(frozen=True)
class _Plan:
    """A task's box and modes, and the grid of its transforms."""

    box: Box
    axes: tuple[Axis, ...]
    grid: Grid

    @property
    def modes(self) -> int:
        return math.prod(2 * a.modes + 1 for a in self.axes)

    def error(self, value: float, slope: float) -> float:
        """What a transform may err by, relative, where Σ|c_k| and Σ|ξ_k c_k| are these."""
        return FOURIER * min(self.box.value / max(value, TINY), self.box.slope / max(slope, TINY))

    @property
    def lost(self) -> bool:
        """Whether rounding, of phases ξ_k·x_i or of the polynomial for S′, is more than what is allowed."""
        turned = ROUNDING * max(a.period * a.slope for a in self.axes)
        steep = turned * max(a.slope / max(a.value, TINY) for a in self.axes)
        if self.box.epsilon:
            steep = max(steep, POLYNOMIAL * max(a.value for a in self.axes) / self.box.cutoff)
        return turned > self.box.value or steep > self.box.slope

    @property
    def expected_error(self) -> float:
        """The same from the sums along the axes, smaller than those of the whole by a factor of about two."""
        return self.error(max(a.value for a in self.axes), max(a.slope for a in self.axes))


def refusal(task: Task) -> str | None:
    """None for d ≤ 3 on a CPU, kernels that are smooth or split, and modes that fit the budget and double precision."""
    if not task.diagonal and len(task.y) == 1:
        return "one point without itself has no pairs, and a Fourier sum has its own term to take out"
    plan = _planned(task)
    return plan if isinstance(plan, str) else None


def seconds(task: Task, cost: Cost) -> float:
    """start + point · points · transforms · (digits/8)^d + mode · grid · transforms + pair · pairs at short range."""
    plan = _planned(task)
    assert isinstance(plan, _Plan)
    near = cost.start + cost.pair * plan.box.pairs
    if not plan.axes:
        return near
    different, values, slopes = _transforms.columns(task)
    out, into = _transforms.outputs(values, slopes, task.dim), math.ceil(len(different) / 2)
    digits = 2 - math.log10(plan.expected_error)
    points = (out * len(task.x) + into * len(task.y)) * (digits / 8) ** task.dim
    grid = (out + into) * plan.modes * plan.grid.upsampling**task.dim
    return near + cost.point * points + cost.mode * grid


def evaluate(task: Task) -> Answer:
    """The sums, in float64."""
    plan = _planned(task)
    assert isinstance(plan, _Plan)
    V, G = _smooth_sums(task, plan)
    if plan.box.epsilon:
        near_v, near_g = _near(task, plan.box)
        V += near_v
        G += near_g
    values = slopes = None
    if task.value_weights is not None:
        values = torch.from_numpy(V.T)
        if not task.diagonal:
            own = task.value_weights if task.own is None else task.value_weights[task.own]
            values = values - _at_zero(task) * own.double()
        values = values.to(task.x).contiguous()
    if task.gradient_weights is not None:
        slopes = torch.from_numpy(G).permute(2, 0, 1).to(task.x).contiguous()
    return values, slopes


def _planned(task: Task) -> _Plan | str:
    """How the task is summed, or why it is not."""
    if "nufft" not in task.plans:
        task.plans["nufft"] = _plan(task)
    found: _Plan | str = task.plans["nufft"]
    return found


def _plan(task: Task) -> _Plan | str:
    reason = _unsuited(task)
    if reason is not None:
        return reason
    room = min(_room(task, COARSE), FEWEST[task.dim] + MODES_A_PAIR * task.pairs)
    boxes = _box.boxes(task, room)
    if isinstance(boxes, str):
        return boxes
    for box in boxes:
        axes = box.axes(int(min(LONGEST, 0.5 * room if task.dim == 1 else 4 * room ** (1 / task.dim))))
        for grid in () if axes is None else _grids(task, axes):
            assert axes is not None
            plan = _Plan(box, axes, grid)
            if not axes or (
                plan.modes <= min(room, _room(task, grid)) and plan.expected_error >= grid.least and not plan.lost
            ):
                return plan
    return (
        "it would need more modes than pairs or the memory budget are worth, or more digits than a double has: the"
        " kernel is narrow, or the tolerance small, for the extent of the points"
    )


def _unsuited(task: Task) -> str | None:
    if task.dim > 3:
        return f"a Fourier sum needs d ≤ 3, got {task.dim}"
    if task.x.device.type != "cpu":
        return "finufft runs on a CPU"
    smooth, split = _split.parts(task.kernel)
    if len(smooth) + len(split) < len(task.kernel.parts()):
        return "it has a part that is neither smooth nor split for a Fourier sum"
    if any(isinstance(kernel, Power) and kernel.exponent <= -task.dim for _, kernel in split):
        return f"a Fourier sum of |z|^p needs p > −{task.dim}"
    return None


def _room(task: Task, grid: Grid) -> float:
    """How many modes the budget has room for: weights' modes, their product unless it is the last one, and the grid."""
    different, values, slopes = _transforms.columns(task)
    arrays = 1 if _transforms.outputs(values, slopes, task.dim) <= math.ceil(len(different) / 2) else 2
    return task.budget / (16 * arrays + 16 * grid.upsampling**task.dim + 10)


def _grids(task: Task, axes: tuple[Axis, ...]) -> list[Grid]:
    """That of least work first: the coarser grid has a wider kernel but a smaller transform."""
    modes, points = math.prod(2 * a.modes + 1 for a in axes), len(task.x) + len(task.y)

    def work(grid: Grid) -> float:
        return 60 * modes * grid.upsampling**task.dim + points * grid.width**task.dim

    return sorted((FINE, COARSE), key=work)


def _at_zero(task: Task) -> float:
    """κ(0), zero where it has no limit."""
    return float(task.kernel.value(torch.zeros((), dtype=torch.float64), task.dim))


def _smooth_sums(task: Task, plan: _Plan) -> tuple[np.ndarray, np.ndarray]:
    """V (k, n) and G (l, d, n) of the smooth part, which is all of them where all points are one."""
    box, threads = plan.box, torch.get_num_threads()
    if plan.axes and plan.modes + len(task.x) + len(task.y) < ALONE:
        threads = 1
    if plan.axes:
        series = _box.series(box.kernel, box.dim, box.epsilon, plan.axes, threads)
        return _transforms.sums(task, series, plan.grid, plan.error(*series.weight), threads)
    k, m = (0 if w is None else w.shape[1] for w in (task.value_weights, task.gradient_weights))
    V, G = np.zeros((k, len(task.x))), np.zeros((m, task.dim, len(task.x)))
    if task.value_weights is not None and not box.epsilon:
        V += _at_zero(task) * task.value_weights.double().sum(0).numpy()[:, None]
    return V, G


def _near(task: Task, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """The remainder of a split kernel, over neighbours."""
    from wgf.kernels import _cells

    x, y = (np.ascontiguousarray(points.double().numpy().T) for points in (task.x, task.y))
    none = np.zeros((0, len(task.y)))
    a = none if task.value_weights is None else task.value_weights.double().numpy().T
    b = none if task.gradient_weights is None else task.gradient_weights.double().numpy().T
    short = _remainder(box.kernel, box.dim, box.epsilon, box.cutoff, min(box.value, box.slope * box.epsilon))
    return _cells.sums(short, x, y, a, b, torch.get_num_threads())


@lru_cache(16)
def _remainder(kernel: Radial, dim: int, epsilon: float, cutoff: float, error: float) -> Any:
    from wgf.kernels import _cells

    def smooth(r: np.ndarray) -> np.ndarray:
        return sum((c * _split.smooth_value(k, r, dim, epsilon) for c, k in parts), np.zeros_like(r))

    parts = _split.remainder(kernel, epsilon)
    at_zero = sum(c * float(_split.value(k, np.zeros(1), dim)[0]) for c, k in parts)
    return _cells.short(parts, dim, smooth, cutoff, at_zero, error)
