"""The Gaussian sums of the benches by others: KeOps on a CPU, and torch in blocks, the best of several."""

import itertools
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from validation.race import Contestant, Truth
from wgf import keys

Thunk = Callable[[], np.ndarray]
ROWS, COLUMNS = (64, 256, 1024), (1024, 4096, 2**20)
FLAGS = "-march=native -ffast-math"
"""With which KeOps was fastest of those tried; its own add -O3 after them, which ends an -Ofast."""


def keops_by_flags() -> dict[str, Contestant]:
    """KeOps with its own compiler flags and with the best, each with a cache of its own: one does not see the flags."""
    return {
        "KeOps (CPU)": _keops("default", ""),
        f"KeOps (CPU, {FLAGS})": _keops("fast", FLAGS),
    }


def cloud(case: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Standard normal points and weights, in the case's dtype."""
    generator = keys.generator(0)
    dtype = getattr(torch, case["dtype"])
    x = torch.randn(case["points"], case["dim"], generator=generator, dtype=torch.float64)
    return x.to(dtype), torch.rand(case["points"], generator=generator, dtype=torch.float64).to(dtype)


def keops(case: Mapping[str, Any]) -> Thunk:
    """One formula for the value, or for the value and the gradient."""
    from pykeops.torch import Genred

    x, w = cloud(case)
    d, a = case["dim"], x.new_tensor([-0.5 / case["bandwidth"] ** 2])
    value = "w*Exp(a*SqDist(x,y))"  # once, for its compiler does not see that two exponentials are the same
    formula = f"({value})*Concat(IntCst(1),IntCst(2)*a*(x-y))" if case["gradient"] else value
    names = [f"x=Vi({d})", f"y=Vj({d})", "w=Vj(1)", "a=Pm(1)"]
    run = Genred(formula, names, reduction_op="Sum", axis=1)
    return lambda: run(x, x, w[:, None], a, backend="CPU").numpy()


def blocked_torch(case: Mapping[str, Any]) -> Thunk:
    """The fastest of several sizes of block, with distances by a matrix product and by differences.

    Those are taken whose error on some rows is at most half the case's `tolerance`: sums of float32 over all columns at
    once are not good enough at 10⁴ points.
    """
    x, w = cloud(case)
    known = Truth(*truth({**case, "rows": min(1000, len(x))}))
    ways: tuple[Callable[..., Tensor], ...] = (by_product, by_difference) if case["dim"] <= 16 else (by_product,)
    seconds = {}
    blocked(x, w, case, ways[0], ROWS[0], COLUMNS[0])
    for way, rows, columns in itertools.product(ways, ROWS, COLUMNS):
        started = time.perf_counter()
        answer = blocked(x, w, case, way, rows, columns)
        spent = time.perf_counter() - started
        seconds[known.error(answer.numpy()) > case["tolerance"] / 2, spent] = way, rows, columns
    best = seconds[min(seconds)]
    return lambda: blocked(x, w, case, *best).numpy()


def blocked(
    x: Tensor, w: Tensor, case: Mapping[str, Any], way: Callable[..., Tensor], rows: int, columns: int
) -> Tensor:
    """A block at a time: one product K [w, w y] gives the values and, with a factor, the gradients."""
    a, d = -0.5 / case["bandwidth"] ** 2, case["dim"]
    weights = torch.cat([w[:, None], w[:, None] * x], 1) if case["gradient"] else w[:, None]
    squares, out = x.square().sum(1), x.new_empty(len(x), d + 1 if case["gradient"] else 1)
    for start in range(0, len(x), rows):
        at, sums = slice(start, start + rows), x.new_zeros(min(rows, len(x) - start), weights.shape[1])
        for first in range(0, len(x), columns):
            of = slice(first, first + columns)
            sums += way(x[at], x[of], squares[at], squares[of]).mul_(a).exp_() @ weights[of]
        out[at, :1] = sums[:, :1]
        if case["gradient"]:
            out[at, 1:] = 2 * a * (sums[:, :1] * x[at] - sums[:, 1:])
    return out


def by_product(x: Tensor, y: Tensor, x_squares: Tensor, y_squares: Tensor) -> Tensor:
    """|x|² + |y|² − 2xy."""
    return torch.addmm(y_squares[None, :], x, y.T, alpha=-2).add_(x_squares[:, None])


def by_difference(x: Tensor, y: Tensor, *squares: Tensor) -> Tensor:
    """Σ_c (x_c − y_c)²."""
    total = (x[:, 0, None] - y[None, :, 0]).square_()
    for c in range(1, x.shape[1]):
        delta = x[:, c, None] - y[None, :, c]
        total.addcmul_(delta, delta)
    return total


def truth(case: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Float64 sums by differences of the points as cast, of all rows or of `rows` random ones, with Σ|w k|, Σ|w ∇k|."""
    x, w = (part.double() for part in cloud(case))
    n = len(x)
    picked = torch.randperm(n, generator=keys.generator(1))[: case.get("rows", n)].sort().values
    a, values, scales = -0.5 / case["bandwidth"] ** 2, [], []
    for i in picked.split(max(1, 2**22 // n)):
        k = by_difference(x[i], x).mul_(a).exp_() * w
        steep = (k * by_difference(x[i], x).sqrt_()).sum(1, keepdim=True) * (-2 * a)
        total = k.sum(1, keepdim=True)
        values.append(torch.cat([total, 2 * a * (total * x[i] - k @ x)], 1))
        scales.append(torch.cat([total, steep.expand(-1, x.shape[1])], 1))
    columns = slice(None, None if case["gradient"] else 1)
    return torch.cat(values)[:, columns].numpy(), torch.cat(scales)[:, columns].numpy(), picked.numpy()


def _keops(name: str, flags: str) -> Contestant:
    folder = Path.home() / ".cache" / "wgf" / f"keops-{name}"
    return Contestant(f"{__name__}:keops", environment={"CXXFLAGS": flags, "KEOPS_CACHE_FOLDER": str(folder)})
