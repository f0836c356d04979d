"""The sliced Wasserstein distance between two empirical laws."""

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.kernels.sorting import in_threads, sort_rows_, worth_compiling

BYTES = 2**26
"""What the projections that are sorted at a time may take."""


def sliced_wasserstein2(
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    projections: int | Float[Tensor, "p d"],
    generator: torch.Generator | None = None,
) -> float:
    """(E_θ W₂²(θ·x, θ·y))^½, in units of x, over `projections` draws of θ uniform on the sphere, or over its rows.

    Each one-dimensional distance is exact, ∫₀¹|F⁻¹ − G⁻¹|²: sorted rows are paired, and for n ≠ m the two quantile step
    functions are compared on their common levels. Cost O(projections (n + m) log(n + m)). Rows of float32 are projected
    and sorted as such, and their differences summed in float64.

    Raises: InputError for rows of different dimension or dtype, no projections, or directions that are no unit vectors.
    """
    checks.rows("x", x)
    checks.alike("y", checks.rows("y", y, x.shape[1]), "x", x)
    first, second = x.detach(), y.detach()
    theta = _directions(projections, first, generator)
    if worth_compiling(first.T, len(theta) * (len(first) + len(second))) and _bounded(first) and _bounded(second):
        return float(_compiled(first, second, theta).mean().sqrt())
    return float(_squared(first, second, theta).mean().sqrt())


def _compiled(x: Tensor, y: Tensor, theta: Tensor) -> Float[Tensor, " p"]:
    """W₂² of the projections along each row of theta, compiled; what buckets cannot sort, by torch."""
    from validation import _slices  # here, because numba takes its time to import

    squared, done = np.empty(len(theta)), np.zeros(len(theta), dtype=bool)
    points = [np.ascontiguousarray(rows.numpy().T) for rows in (x, y)]
    along, run = theta.numpy(), cast(Callable[..., None], _slices.squared_distances)
    in_threads(lambda part: run(*points, along[part], squared[part], done[part]), len(theta))
    if not done.all():
        squared[~done] = _squared(x, y, theta[torch.from_numpy(~done)]).numpy()
    return torch.from_numpy(squared)


def _squared(x: Tensor, y: Tensor, theta: Tensor) -> Float[Tensor, " p"]:
    """W₂² of the projections along each row of theta, in blocks of directions."""
    i, j, mass = _common_levels(len(x), len(y), x.device)
    block = max(1, BYTES // (8 * (len(x) + len(y))))
    parts = []
    for some in theta.split(block):
        u, v = (sort_rows_((points @ some.T).T.contiguous()) for points in (x, y))
        parts.append((u[:, i].double() - v[:, j].double()).square() @ mass)
    return torch.cat(parts)


def _bounded(x: Tensor) -> bool:
    """Whether no projection overflows."""
    return float(x.abs().max()) < torch.finfo(x.dtype).max / (4 * x.shape[1])


def _directions(projections: int | Tensor, x: Tensor, generator: torch.Generator | None) -> Tensor:
    if isinstance(projections, Tensor):
        theta = checks.alike("projections", checks.rows("projections", projections, x.shape[1]), "x", x)
        if float((theta.norm(dim=1) - 1).abs().max()) > 1e-3:
            raise InputError("the rows of projections must be unit vectors")
        return theta
    checks.at_least("projections", projections, 1)
    device = x.device if generator is None else generator.device
    theta = torch.randn(projections, x.shape[1], dtype=torch.float64, device=device, generator=generator)
    return (theta / theta.norm(dim=1, keepdim=True)).to(x)


def _common_levels(n: int, m: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Which order statistics meet on each interval of the merged levels i/n, j/m, and the length of the interval."""
    levels = torch.cat([torch.arange(1, n + 1, device=device) * m, torch.arange(1, m + 1, device=device) * n]).unique()
    start = torch.cat([levels.new_zeros(1), levels[:-1]])  # in units of 1/nm, so exact
    return start // m, start // n, (levels - start).double() / (n * m)
