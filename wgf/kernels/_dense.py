"""Sums in torch, tile by tile: the engine of every kernel, dimension and device, and of everything's gradient.

Distances are sums of squared differences, so tight clusters far from the origin keep their digits. In more than
`MATMUL` dimensions the matrix product |x|² + |y|² − 2xy takes over where a bound of its rounding allows it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.kernels.engines import Cost
from wgf.kernels.radial import Radial
from wgf.kernels.task import Answer, Task

MATMUL = 8
TILE = {"cpu": 2**17, "cuda": 2**24}  # pairs a tile: what stays in a cache


def refusal(task: Task) -> str | None:
    """None: it serves everything."""
    return None


def seconds(task: Task, cost: Cost) -> float:
    """start + pair · n·m · (d + k + l·d)/(2d + 1), the row's cost being that of one value and one gradient."""
    return cost.start + cost.pair * task.pairs * (task.dim + task.columns) / (2 * task.dim + 1)


def evaluate(task: Task) -> Answer:
    """The sums, by matrix products where they are safe and by differences otherwise."""
    if task.dim > MATMUL and _product_is_safe(task):
        answer = _Tiles(task, by_product=True).run()
        if answer is not None:
            return answer
    answer = _Tiles(task, by_product=False).run()
    assert answer is not None
    return answer


class _Tiles:
    """One pass over the pairs, tile by tile, sums kept in float64."""

    def __init__(self, task: Task, by_product: bool) -> None:
        self.task, self.by_product = task, by_product
        centre = task.y.mean(0) if by_product else task.y.new_zeros(task.dim)
        self.x, self.y = task.x - centre, task.y - centre
        self.order = 0 if task.gradient_weights is None else 1
        n, dtype = len(self.x), torch.float64
        a, b = task.value_weights, task.gradient_weights
        self.V = None if a is None else self.x.new_zeros(n, a.shape[1], dtype=dtype)
        self.G = None if b is None else self.x.new_zeros(n, b.shape[1], task.dim, dtype=dtype)

    def run(self) -> Answer | None:
        """The sums, or None where a matrix product lost too many digits of a gradient."""
        rows, columns = _tile(self.task)
        for i in range(0, len(self.x), rows):
            for j in range(0, len(self.y), columns):
                if not self._add(slice(i, i + rows), slice(j, j + columns)):
                    return None
        like = self.task.x
        return None if self.V is None else self.V.to(like), None if self.G is None else self.G.to(like)

    def _add(self, i: slice, j: slice) -> bool:
        x, y = self.x[i], self.y[j]
        squared = _by_product(x, y) if self.by_product else _by_difference(x, y)
        jet = self.task.kernel.jet(squared, self.task.dim, self.order)
        if not self.task.diagonal and _meet(i, j, len(x), len(y)):
            apart = torch.ones_like(squared)
            apart.diagonal(i.start - j.start).zero_()
            jet = tuple(k * apart for k in jet)
        a, b = self.task.value_weights, self.task.gradient_weights
        if a is not None and self.V is not None:
            self.V[i] += jet[0] @ a[j]
        if b is None or self.G is None:
            return True
        slope = 2 * jet[1]
        if not self.by_product:
            for c in range(self.task.dim):
                self.G[i, :, c] += (slope * (x[:, c, None] - y[None, :, c])) @ b[j]
            return True
        for column in range(b.shape[1]):
            weighted = slope * b[j, column]
            self.G[i, column] += weighted.sum(1, keepdim=True) * x - weighted @ y
        return self._kept_digits(slope, squared, x, y, b[j])

    def _kept_digits(self, slope: Tensor, squared: Tensor, x: Tensor, y: Tensor, b: Tensor) -> bool:
        """Whether Σ s x − Σ s y, both of rounding ε|x|Σ|s|, is within tolerance of Σ|s||x − y| on every row."""
        weight, slope = b.abs().sum(1), slope.abs()
        reach = x.norm(dim=1) + y.norm(dim=1).max()
        lost = 2 * torch.finfo(x.dtype).eps * reach * (slope @ weight)
        return bool((lost <= self.task.tolerance * ((slope * squared.sqrt()) @ weight)).all())


def _by_difference(x: Tensor, y: Tensor) -> Float[Tensor, "i j"]:
    squared = (x[:, 0, None] - y[None, :, 0]).square_()
    for c in range(1, x.shape[1]):
        delta = x[:, c, None] - y[None, :, c]
        squared.addcmul_(delta, delta)
    return squared


def _by_product(x: Tensor, y: Tensor) -> Float[Tensor, "i j"]:
    squared = torch.addmm(y.square().sum(1)[None, :], x, y.T, alpha=-2)
    return squared.add_(x.square().sum(1, keepdim=True)).clamp_min_(0)


def _tile(task: Task) -> tuple[int, int]:
    """Rows and columns of a tile: in the cache, and eight arrays of it within the budget."""
    pairs = max(1, min(TILE.get(task.x.device.type, 2**20), task.budget // (8 * task.x.element_size())))
    columns = min(len(task.y), max(1, min(2048, pairs)) if task.x.device.type == "cpu" else pairs)
    return max(1, pairs // columns), columns


def _meet(i: slice, j: slice, rows: int, columns: int) -> bool:
    return i.start < j.start + columns and j.start < i.start + rows


def _product_is_safe(task: Task) -> bool:
    """Whether the rounding δr of |x|² + |y|² − 2xy, times the largest relative slopes of κ and κ′, is within tolerance.

    Both are largest at r = 0 for the smooth kernels that decay; any other kernel is refused.
    """
    centre = task.y.mean(0)
    rounding = 4 * torch.finfo(task.x.dtype).eps * sum(_reach(points, centre) ** 2 for points in (task.x, task.y))
    return all(_rate(kernel, task) * rounding <= task.tolerance / 2 for _, kernel in task.kernel.parts())


def _reach(points: Tensor, centre: Tensor) -> float:
    return float((points - centre).square().sum(1).max().sqrt())


def _rate(kernel: Radial, task: Task) -> float:
    if not kernel.smooth:
        return float("inf")
    zero = torch.zeros((), dtype=torch.float64)
    value, first, second = (abs(float(k)) for k in kernel.jet(zero, task.dim, 2))
    return max(first / value, second / first) if value and first else float("inf")
