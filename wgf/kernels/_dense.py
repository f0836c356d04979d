"""Sums in torch, tile by tile: the engine of every kernel, dimension and device, and of everything's gradient.

Squared distances come from the matrix product |x|² + |y|² − 2xy in more than `MATMUL` dimensions, where its rounding δr
changes κ and κ′ by less than the tolerance; pairs too near for that are taken out and summed by differences. Where no
precision allows it, and in few dimensions, all are sums of squared differences, which keep their digits anywhere.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.kernels._single import in_double, mended
from wgf.kernels.engines import Cost
from wgf.kernels.radial import Radial
from wgf.kernels.task import Answer, Task

MATMUL = 4
TILE = {"cpu": 2**17, "cuda": 2**24}  # pairs a tile: what stays in a cache
COLUMNS = 1024  # of a tile, on a CPU
CROWDED = 0.02  # a share of near pairs with which differences alone are cheaper


def refusal(task: Task) -> str | None:
    """None: it serves everything."""
    return None


def seconds(task: Task, cost: Cost) -> float:
    """start + pair · n·m · (d + k + l·d)/(2d + 1), the row's cost being that of one value and one gradient."""
    return cost.start + cost.pair * task.pairs * (task.dim + task.columns) / (2 * task.dim + 1)


def evaluate(task: Task) -> Answer:
    """The sums, by matrix products where they are safe and by differences otherwise."""
    return mended(task, _sums) if task.x.dtype == torch.float32 else _sums(task)


def _sums(task: Task) -> Answer:
    """Of as many gradients at once as the budget has room for: each takes (n + m)(d + 1) numbers, and copies."""
    b = task.gradient_weights
    room = max(1, task.budget // (24 * (task.dim + 1) * (len(task.x) + len(task.y))))
    if b is None or b.shape[1] <= room:
        return _together(task)
    first, *others = b.split(room, 1)
    V, G = _together(replace(task, gradient_weights=first))
    rest = [_together(replace(task, value_weights=None, gradient_weights=part))[1] for part in others]
    return V, torch.cat([part for part in (G, *rest) if part is not None], 1)


def _together(task: Task) -> Answer:
    double = in_double(task)
    for tried in [task, double] if task.dim > MATMUL else []:
        near = near_pairs(tried)
        answer = None if near is None else _Products(tried, near).run()
        if answer is not None:
            return _to(answer, task.x)
        if tried.x.dtype == torch.float64:
            break
    return _Differences(task).run()


class _Tiles:
    """One pass over the pairs, tile by tile, sums kept in float64."""

    def __init__(self, task: Task, centre: Tensor) -> None:
        self.task, self.x, self.y = task, task.x - centre, task.y - centre
        self.order = 0 if task.gradient_weights is None else 1
        n, dtype = len(self.x), torch.float64
        a, b = task.value_weights, task.gradient_weights
        self.V = None if a is None else self.x.new_zeros(n, a.shape[1], dtype=dtype)
        self.G = None if b is None else self.x.new_zeros(n, b.shape[1], task.dim, dtype=dtype)

    def tiles(self, scale: int = 1) -> list[tuple[slice, slice]]:
        """Rows and columns of the tiles: in the cache, and eight arrays of one within the budget."""
        task, n, m, device = self.task, len(self.x), len(self.y), self.task.x.device.type
        pairs = max(1, min(scale * TILE.get(device, 2**20), task.budget // (8 * task.x.element_size())))
        columns = min(m, pairs, COLUMNS) if device == "cpu" else min(m, pairs)
        rows = max(1, pairs // columns)
        starts = ((i, j) for i in range(0, n, rows) for j in range(0, m, columns))
        return [(slice(i, min(i + rows, n)), slice(j, min(j + columns, m))) for i, j in starts]

    def left_out(self, i: slice, j: slice) -> tuple[Tensor, Tensor] | None:
        """Where in a tile the pairs lie that `diagonal=False` leaves out."""
        if self.task.diagonal:
            return None
        own = torch.arange(i.start, i.stop, device=self.x.device) if self.task.own is None else self.task.own[i]
        rows = ((own >= j.start) & (own < j.stop)).nonzero()[:, 0]
        return rows, own[rows] - j.start

    def answer(self) -> Answer:
        """V and G in the dtype of the points."""
        return _to((self.V, self.G), self.task.x)


class _Differences(_Tiles):
    """Distances as sums of squared differences."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, task.y.new_zeros(task.dim))

    def run(self) -> Answer:
        """The sums."""
        for i, j in self.tiles():
            self._add(i, j)
        return self.answer()

    def _add(self, i: slice, j: slice) -> None:
        x, y, a, b = self.x[i], self.y[j], self.task.value_weights, self.task.gradient_weights
        jet = self.task.kernel.jet(_by_difference(x, y), self.task.dim, self.order)
        left_out = self.left_out(i, j)
        if left_out is not None:
            jet = tuple(k.index_put(left_out, k.new_zeros(())) for k in jet)
        if a is not None and self.V is not None:
            self.V[i] += jet[0] @ a[j]
        if b is not None and self.G is not None:
            slope = 2 * jet[1]
            for c in range(self.task.dim):
                self.G[i, :, c] += (slope * (x[:, c, None] - y[None, :, c])) @ b[j]


class _Products(_Tiles):
    """Distances by a matrix product about the mean, and gradients as (Σ s b) x − Σ s b y; near pairs by differences.

    A product of rows (x, |x|², 1) and (−2y, 1, |y|²) is r. Where κ(r) = κ(0) exp(rate·r), one of the former by rate
    times the latter is what exp takes, and its values serve as slopes.
    """

    def __init__(self, task: Task, near: float) -> None:
        super().__init__(task, task.y.mean(0))
        rate = task.kernel.rate(task.dim)
        self.exponential, self.scale = rate is not None, 1.0 if rate is None else rate
        self.near = near
        one = self.x.new_ones(())
        x_squared, y_squared = (part.square().sum(1, keepdim=True) for part in (self.x, self.y))
        self.rows = torch.cat([self.x, x_squared, one.expand_as(x_squared)], 1)
        self.columns = self.scale * torch.cat([-2 * self.y, one.expand_as(y_squared), y_squared], 1).T
        self.tile = self.x.new_empty(0)
        self.weights = self._weights()
        self.sums = [self.x.new_zeros(len(self.x), w.shape[1], dtype=torch.float64) for w in self.weights]

    def run(self) -> Answer | None:
        """The sums, or None where too many pairs are near for this to pay."""
        if not all(self._add(i, j) for i, j in self.tiles(8)):
            return None
        self._collect()
        return self.answer()

    def _weights(self) -> list[Tensor]:
        """What κ is multiplied by, and κ′ where it is not a multiple of κ: the latter b and b y."""
        a, b = self.task.value_weights, self.task.gradient_weights
        values = self.y[:, :0] if a is None else a
        slopes = self.y[:, :0] if b is None else torch.cat([b, (b[:, :, None] * self.y[:, None, :]).flatten(1)], 1)
        return [torch.cat([values, self.scale * slopes], 1)] if self.exponential else [values, slopes][: self.order + 1]

    def _add(self, i: slice, j: slice) -> bool:
        left_out, r = self.left_out(i, j), self._squared(i, j)
        near = None
        if self.near > 0:
            far = 2 * self.near * self.scale  # any value that makes no trouble: it is taken out below
            if left_out is not None:
                r[left_out] = far
            near = (r / self.scale <= self.near).nonzero(as_tuple=True)
            if len(near[0]) > CROWDED * r.numel() + len(r):
                return False
            r[near] = far
        jet = (r.exp_(),) if self.exponential else self.task.kernel.jet(r.clamp_min_(0), self.task.dim, self.order)
        for k, w, total in zip(jet, self.weights, self.sums, strict=True):
            for out in (left_out, near):
                if out is not None and len(out[0]):
                    k[out] = 0
            total[i] += k @ w[j]
        if near is not None and len(near[0]):
            self._add_near(near[0] + i.start, near[1] + j.start)
        return True

    def _squared(self, i: slice, j: slice) -> Tensor:
        """scale·r, in an array that the next tile overwrites."""
        shape = i.stop - i.start, j.stop - j.start
        if self.tile.shape != shape:
            self.tile = self.x.new_empty(shape)
        return torch.mm(self.rows[i], self.columns[:, j], out=self.tile)

    def _collect(self) -> None:
        if self.exponential:
            self.sums[0] *= float(self.task.kernel.value(self.x.new_zeros((), dtype=torch.float64), self.task.dim))
        k = 0 if self.V is None else self.V.shape[1]
        if self.V is not None:
            self.V += self.sums[0][:, :k]
        if self.G is not None:
            slopes, l = self.sums[0][:, k:] if self.exponential else self.sums[1], self.G.shape[1]
            self.G += 2 * (slopes[:, :l, None] * self.x[:, None, :] - slopes[:, l:].unflatten(1, (l, -1)))

    def _add_near(self, i: Tensor, j: Tensor) -> None:
        delta = self.task.x[i] - self.task.y[j]
        jet = self.task.kernel.jet(delta.square().sum(1), self.task.dim, 0 if self.G is None else 1)
        a, b = self.task.value_weights, self.task.gradient_weights
        if a is not None and self.V is not None:
            self.V.index_add_(0, i, (jet[0][:, None] * a[j]).double())
        if b is not None and self.G is not None:
            self.G.index_add_(0, i, ((2 * jet[1])[:, None, None] * b[j][:, :, None] * delta[:, None, :]).double())


@dataclass(frozen=True)
class _Rounding:
    """What a matrix product loses: an error `squared` of r, and `length` of a difference of points."""

    squared: float
    length: float


def near_pairs(task: Task) -> float | None:
    """The r up to which pairs must be summed by differences, so that all is within tolerance; None if no r is enough.

    δr changes κ by |κ′|δr and κ′ by |κ″|δr, beside the sizes |κ| (of a kernel that changes sign, r|κ′| where that is
    more) and |κ′|; a gradient also loses δz|κ′|, beside |κ′|·max(|z|, ℓ), ℓ the length over which κ falls at zero.
    """
    eps, centre = torch.finfo(task.x.dtype).eps, task.y.mean(0)
    reach = [float((points - centre).square().sum(1).max()) for points in (task.x, task.y)]
    if not math.isfinite(sum(reach)):
        return None
    lost = _Rounding(4 * eps * sum(reach), 2 * eps * sum(r**0.5 for r in reach))
    r = torch.logspace(-24, 0, 193, dtype=torch.float64) * max(4 * max(reach), 1e-300)
    near = [_near(kernel, task, r, lost) for _, kernel in task.kernel.parts()]
    found = [r for r in near if r is not None]
    if len(found) < len(near):
        return None
    return max(found) + 2 * lost.squared if max(found) > 0 else 0.0  # what it is compared with has such rounding


def _near(kernel: Radial, task: Task, r: Tensor, lost: _Rounding) -> float | None:
    order = 1 if task.gradient_weights is None else 2
    jet = [k.abs() for k in kernel.jet(r, task.dim, order)]
    at_zero = abs(float(kernel.value(r.new_zeros(()), task.dim)))
    if float(jet[0][0]) < at_zero / 2:
        return None  # κ falls before the grid begins
    allowed = task.tolerance / 2
    size = jet[0] if kernel.exponential else torch.maximum(jet[0], r * jet[1])
    bad = lost.squared * jet[1] > allowed * size
    if order == 2:
        bad |= lost.squared * jet[2] > allowed * jet[1]
        value, slope = (float(k.abs()) for k in kernel.jet(r.new_zeros(()), task.dim, 1))
        length = (value / (2 * slope)) ** 0.5 if slope else 0.0
        bad |= lost.length > 2 * allowed * r.sqrt().clamp_min(length)
    if not bad.any():
        return 0.0
    last = int(bad.nonzero()[-1])
    return float(r[last + 1]) if last + 1 < len(r) else None


def _by_difference(x: Tensor, y: Tensor) -> Float[Tensor, "i j"]:
    squared = (x[:, 0, None] - y[None, :, 0]).square_()
    for c in range(1, x.shape[1]):
        delta = x[:, c, None] - y[None, :, c]
        squared.addcmul_(delta, delta)
    return squared


def _to(answer: Answer, like: Tensor) -> Answer:
    V, G = answer
    return None if V is None else V.to(like), None if G is None else G.to(like)
