"""Derivatives the toolkit needs: gradients, Jacobians and Laplacians of batched functions, and log-determinants."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wgf.errors import InputError


def gradient(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "n d"], create_graph: bool = False
) -> Float[Tensor, "n d"]:
    """∇f(x_i) for a function (n, d) -> (n,) whose rows do not mix; InputError where autograd has no graph."""
    with torch.enable_grad():
        leaf = x if create_graph and x.requires_grad else x.detach().requires_grad_(True)
        value = function(leaf)
        if not value.requires_grad:
            raise InputError("a function is not differentiable by autograd; write it in torch, or pass its gradient")
        return torch.autograd.grad(value.sum(), leaf, create_graph=create_graph)[0]


def jacobian(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, "n e"], Float[Tensor, "n e d"]]:
    """f(x_i) and ∂f/∂x at x_i for a function (n, d) -> (n, e) whose rows do not mix, by one reverse pass per output.

    This is the reference that closed forms are tested against, and the route of maps that have no tangents.
    """
    with torch.enable_grad():
        leaf = x if x.requires_grad else x.detach().requires_grad_(True)
        y = function(leaf)
        if not y.requires_grad:
            return y, x.new_zeros(*y.shape, x.shape[1])
        parts = (
            torch.autograd.grad(y[:, i].sum(), leaf, create_graph=True, materialize_grads=True)[0]
            for i in range(y.shape[1])
        )
        return y, torch.stack(list(parts), 1)


TANGENTS = 32
"""How many tangents `forward_jacobian` carries at once: its memory is that of so many batches."""


def forward_jacobian(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "n d"]
) -> tuple[Float[Tensor, "n e"], Float[Tensor, "n e d"]]:
    """f(x_i) and ∂f/∂x at x_i for a function (n, d) -> (n, e) whose rows do not mix, by d tangents in forward mode.

    Autograd sees through it, to whatever weights the function has.
    """

    def along(tangent: Tensor) -> Tensor:
        return torch.func.jvp(function, (x,), (tangent,))[1]

    tangents = torch.func.vmap(along, chunk_size=TANGENTS)(identity_tangents(x))
    return function(x), from_tangents(tangents)


def identity_tangents(x: Float[Tensor, "n d"]) -> Float[Tensor, "d n d"]:
    """The unit tangents e_1 … e_d at every row: the starting value of a forward-mode Jacobian."""
    n, d = x.shape
    return torch.eye(d, dtype=x.dtype, device=x.device)[:, None, :].expand(d, n, d)


def from_tangents(tangents: Float[Tensor, "d n e"]) -> Float[Tensor, "n e d"]:
    """Jacobians (n, e, d) from the images (d, n, e) of the unit tangents."""
    return tangents.permute(1, 2, 0)


def log_abs_det(matrices: Float[Tensor, "n d d"]) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """log|det J_i| and whether det J_i ≤ 0 (a fold), with closed forms for d ≤ 2 where LAPACK calls would dominate."""
    d = matrices.shape[-1]
    if d == 1:
        det = matrices[..., 0, 0]
    elif d == 2:
        det = matrices[..., 0, 0] * matrices[..., 1, 1] - matrices[..., 0, 1] * matrices[..., 1, 0]
    else:
        sign, value = torch.linalg.slogdet(matrices)
        return value, sign <= 0
    return det.abs().log(), det <= 0
