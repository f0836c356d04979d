"""The one entrance to sums over pairs: Σ_j w_j k(x_i − y_j) and its gradient in x, by whichever engine is fastest.

Memory is bounded, forwards and backwards: gradients are closed forms, and no graph holds the n·m pairs.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.kernels import engines
from wgf.kernels.radial import Radial, a_kernel
from wgf.kernels.task import Task

BYTES = 2**29
"""What the intermediate arrays of one sum may take."""

TILE = 2**25
"""Of which bytes a tile of the Hessians takes these: what stays near the processor."""

ACCURACY = {torch.float32: 1e-5, torch.float64: 1e-11}
"""The tolerance taken where none is given: what every engine reaches in that dtype, relative to Σ_j |w_j k|."""

FLOOR = {torch.float32: 1e-6, torch.float64: 1e-12}


def kernel_sum(
    kernel: Radial,
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    weights: Float[Tensor, "m ..."] | None = None,
    *,
    diagonal: bool = True,
    engine: str = "auto",
    tolerance: float | None = None,
    strict: bool = True,
) -> Float[Tensor, "n ..."]:
    """Σ_j w_j k(x_i − y_j), w = 1/m by default; a column of sums for each column of weights.

    `diagonal=False` leaves out the pairs i = j, where x and y are the same points. engine: auto, or one of
    `engines.NAMES`. tolerance: error allowed relative to Σ_j |w_j k(x_i − y_j)|, or for nufft to the largest of these
    sums; 1e-5 in float32 and 1e-11 in float64 by default. strict=False: points that are not finite give NaN and no
    error, so that a training that blows up is answered by its recipe. Differentiable in x, y and w.

    Raises: InputError for points or weights that are not finite, of other shapes, dtypes or devices, and a tolerance
    below what the dtype can give; Incompatible for an engine that cannot serve the kernel, naming one that can.
    """
    w = _uniform(y) if weights is None else weights
    return kernel_sums(kernel, x, y, w, None, diagonal=diagonal, engine=engine, tolerance=tolerance, strict=strict)[0]


def kernel_sum_gradient(
    kernel: Radial,
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    weights: Float[Tensor, "m ..."] | None = None,
    *,
    diagonal: bool = True,
    engine: str = "auto",
    tolerance: float | None = None,
    strict: bool = True,
) -> Float[Tensor, "n ... d"]:
    """∇_x Σ_j w_j k(x_i − y_j) = Σ_j 2 w_j κ′(|x_i − y_j|²) (x_i − y_j), in closed form; else as `kernel_sum`."""
    w = _uniform(y) if weights is None else weights
    return kernel_sums(kernel, x, y, None, w, diagonal=diagonal, engine=engine, tolerance=tolerance, strict=strict)[1]


def kernel_sums(
    kernel: Radial,
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    value_weights: Float[Tensor, "m ..."] | None,
    gradient_weights: Float[Tensor, "m ..."] | None,
    *,
    diagonal: bool = True,
    engine: str = "auto",
    tolerance: float | None = None,
    strict: bool = True,
) -> tuple[Float[Tensor, "n ..."], Float[Tensor, "n ... d"]]:
    """Σ_j a_j k(x_i − y_j) and Σ_j b_j ∇k(x_i − y_j) in one pass over the pairs, as `kernel_sum` in all else.

    A sum whose weights are None is empty: (n, 0) or (n, 0, d).
    """
    if not strict and not (_tensor(x).isfinite().all() and _tensor(y).isfinite().all()):
        lost = x.sum(1) * y.sum() * float("nan")
        return _lost(lost, value_weights), _lost(lost, gradient_weights, x.shape[1])
    x, y = _points(x, y, diagonal)
    a, b = _weights("the weights", value_weights, x, y), _weights("the gradient's weights", gradient_weights, x, y)
    settings = _Settings(a_kernel("a kernel sum", kernel), diagonal, engine, _tolerance(tolerance, x.dtype))
    V, G = _Pass.apply(settings, x, y, _columns(a), _columns(b))
    return V[:, 0] if a is not None and a.ndim == 1 else V, G[:, 0] if b is not None and b.ndim == 1 else G


class _Settings:
    """What a pass is told besides its tensors."""

    def __init__(self, kernel: Radial, diagonal: bool, engine: str, tolerance: float) -> None:
        self.kernel, self.diagonal, self.engine, self.tolerance = kernel, diagonal, engine, tolerance

    def swapped(self, x: Tensor, y: Tensor, a: Tensor | None, b: Tensor | None) -> tuple[Tensor, Tensor]:
        """The sums the other way round, differentiable."""
        return _Pass.apply(self, x, y, a, b)


class _Pass(torch.autograd.Function):
    """V and G with their gradients in closed form: those of V are sums of the same kind, those of G need κ″."""

    @staticmethod
    def forward(
        ctx: Any, settings: _Settings, x: Tensor, y: Tensor, a: Tensor | None, b: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        ctx.settings = settings
        ctx.save_for_backward(x, y, a, b)
        ctx.set_materialize_grads(False)
        task = Task(settings.kernel, x, y, a, b, settings.diagonal, settings.tolerance, BYTES)
        V, G = engines.run(task, settings.engine)
        return x.new_empty(len(x), 0) if V is None else V, x.new_empty(len(x), 0, x.shape[1]) if G is None else G

    @staticmethod
    def backward(ctx: Any, gV: Tensor | None, gG: Tensor | None) -> tuple[Tensor | None, ...]:
        x, y, a, b = ctx.saved_tensors
        grads: list[Tensor | None] = [None, None, None, None]
        needs = ctx.needs_input_grad[1:]
        if gV is not None and a is not None:
            grads = _value_grads(ctx.settings, x, y, a, gV, needs)
        if gG is not None and b is not None:
            from_g = _gradient_grads(ctx.settings, x, y, b, gG, needs)
            grads = [_plus(one, other) for one, other in zip(grads, from_g, strict=True)]
        return None, *grads


def _value_grads(
    settings: _Settings, x: Tensor, y: Tensor, a: Tensor, gV: Tensor, needs: tuple[bool, ...]
) -> list[Tensor | None]:
    """Of Σ_ik g_ik V_ik: with respect to x Σ_k g_ik ∇V_ik, to y and a sums with the roles of x and y exchanged."""
    gx = gy = ga = None
    if needs[0]:
        _, slope = settings.swapped(x, y, None, a)
        gx = torch.einsum("nk,nkd->nd", gV, slope)
    if needs[1] or needs[2]:
        ga, slope = settings.swapped(y, x, gV if needs[2] else None, gV if needs[1] else None)
        gy = torch.einsum("mk,mkd->md", a, slope) if needs[1] else None
        ga = ga if needs[2] else None
    return [gx, gy, ga, None]


def _gradient_grads(
    settings: _Settings, x: Tensor, y: Tensor, b: Tensor, gG: Tensor, needs: tuple[bool, ...]
) -> list[Tensor | None]:
    """Of Σ_il g_il·G_il, by Hessians of k: 2κ′ g + 4κ″ (g·δ) δ, δ = x_i − y_j, a tile of pairs at a time."""
    gx, gy, gb = torch.zeros_like(x), torch.zeros_like(y), torch.zeros_like(b)
    pairs = max(1, TILE // ((4 + b.shape[1]) * (x.shape[1] + 2) * x.element_size()))
    columns = min(len(y), pairs)
    rows = max(1, pairs // columns)
    for i in range(0, len(x), rows):
        for j in range(0, len(y), columns):
            at, of = slice(i, i + rows), slice(j, j + columns)
            delta = x[at, None, :] - y[None, of, :]
            _, first, second = settings.kernel.jet(delta.square().sum(-1), x.shape[1], 2)
            if not settings.diagonal:
                apart = torch.ones_like(first)
                apart.diagonal(i - j).zero_()
                first, second = first * apart, second * apart
            along = torch.einsum("nld,nmd->nml", gG[at], delta)
            spread = torch.einsum("ml,nld->nmd", b[of], gG[at])
            push = 2 * first[..., None] * spread + (4 * second * (along * b[of]).sum(-1))[..., None] * delta
            gx[at] += push.sum(1)
            gy[of] -= push.sum(0)
            gb[of] += (2 * first[..., None] * along).sum(0)
    return [gx if needs[0] else None, gy if needs[1] else None, None, gb if needs[3] else None]


def _plus(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one + other


def _lost(rows: Tensor, weights: Tensor | None, *dim: int) -> Tensor:
    """NaN in the shape of the sums, on the graph of the points."""
    columns = () if weights is None else weights.shape[1:]
    return rows.reshape(-1, *(1 for _ in (*columns, *dim))).expand(-1, *columns, *dim)


def _tensor(x: Tensor) -> Tensor:
    return torch.as_tensor(x)


def _uniform(y: Tensor) -> Tensor:
    y = checks.real("y", y)
    return y.new_full((len(y),), 1 / max(1, len(y))) if y.ndim else y


def _columns(weights: Tensor | None) -> Tensor | None:
    return weights[:, None] if weights is not None and weights.ndim == 1 else weights


def _points(x: Tensor, y: Tensor, diagonal: bool) -> tuple[Tensor, Tensor]:
    """Both as tensors; raises InputError, in a sentence, for points that do not fit each other."""
    x = checks.rows("x", x)
    y = checks.alike("y", checks.rows("y", y, x.shape[1]), "x", x)
    if x.dtype not in ACCURACY:
        raise InputError(f"kernel sums take float32 or float64, got {x.dtype}")
    if not diagonal and len(x) != len(y):
        raise InputError(f"diagonal=False needs x and y to be the same points, got {len(x)} and {len(y)} rows")
    return x, y


def _weights(name: str, weights: Tensor | None, x: Tensor, y: Tensor) -> Tensor | None:
    if weights is None:
        return None
    weights = checks.alike(name, checks.real(name, weights, x), "x", x)
    if weights.ndim not in (1, 2) or len(weights) != len(y):
        shape = tuple(weights.shape)
        raise InputError(f"{name} must have shape (m,) or (m, k) with m = {len(y)} rows of y, got {shape}")
    return weights


def _tolerance(tolerance: float | None, dtype: torch.dtype) -> float:
    if tolerance is None:
        return ACCURACY[dtype]
    if checks.positive("tolerance", tolerance) < FLOOR[dtype]:
        better = "; convert the points to float64" if dtype == torch.float32 else ""
        raise InputError(f"no engine sums {dtype} to {tolerance:g}: ask for {FLOOR[dtype]:g} or more{better}")
    return float(tolerance)
