"""The velocity of a two-layer OT-Flow potential as one node of autograd: few passes forward, few back."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus


def descent(
    x: Float[Tensor, "n d"],
    t: float,
    K: Float[Tensor, "m d+1"],
    a: Float[Tensor, " m"],
    L: Float[Tensor, "m m"],
    b: Float[Tensor, " m"],
    w: Float[Tensor, " m"],
    A: Float[Tensor, "r d+1"],
    c: Float[Tensor, " d+1"],
) -> Float[Tensor, "n d"]:
    """−∇_x(wᵀ(u + σ(Lu + b)) + ½|As|² + ⟨c, s⟩), u = σ(Ks + a), s = (x, t), σ = log 2cosh:
    −K_xᵀ(D ∘ z) − A_xᵀAs − c_x, D = tanh(Ks + a), z = w + Lᵀ(w ∘ tanh(Lu + b)). Differentiable once.
    """
    return _Descent.apply(x, t, K, a, L, b, w, A, c)


def slope_of(u: Tensor) -> Tensor:
    """tanh u as 2/(1 + e^{−2u}) − 1, to rounding of 1: a sixth of torch's time on a CPU."""
    return torch.sigmoid(2 * u).mul_(2).sub_(1)


class _Descent(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, t: float, K: Tensor, a: Tensor, L: Tensor, b: Tensor, w: Tensor, A: Tensor, c: Tensor
    ) -> Tensor:
        d = x.shape[1]
        K_x, A_x = K[:, :d], A[:, :d]
        u = torch.addmm(a + t * K[:, d], x, K_x.T)
        D = slope_of(u)
        u = softplus(u, beta=2, threshold=40).mul_(2).sub_(u)
        E = slope_of(torch.addmm(b, u, L.T))
        W = w[:, None] * L
        z, q = torch.addmm(w, E, W), torch.addmm(t * A[:, d], x, A_x.T)
        ctx.t = t
        ctx.save_for_backward(x, K, L, w, A, u, D, E, W, z, q)
        return torch.addmm(c[:d], D * z, K_x, beta=-1, alpha=-1).addmm_(q, A_x, alpha=-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, K, L, w, A, u, D, E, W, z, q = ctx.saved_tensors
        d, g = x.shape[1], -g
        back = g @ K[:, :d].T
        to_z = back * D
        to_W = E.T @ to_z
        to_E = torch.ops.aten.tanh_backward(to_z @ W.T, E)
        to_D = torch.ops.aten.tanh_backward(back.mul_(z), D).addcmul_(to_E @ L, D)
        to_L = (to_E.T @ u).addcmul_(w[:, None], to_W)
        to_w = to_z.sum(0) + (to_W * L).sum(1)
        to_q, to_a = g @ A[:, :d].T, to_D.sum(0)
        to_K = _with_time(((D * z).T @ g).addmm_(to_D.T, x), ctx.t * to_a)
        to_A = _with_time((q.T @ g).addmm_(to_q.T, x), ctx.t * to_q.sum(0))
        to_x = (to_D @ K[:, :d]).addmm_(to_q, A[:, :d]) if ctx.needs_input_grad[0] else None
        return to_x, None, to_K, to_a, to_L, to_E.sum(0), to_w, to_A, _with_time(g.sum(0), g.new_zeros(()))


def _with_time(space: Tensor, time: Tensor) -> Tensor:
    """One column more, that of time."""
    return torch.cat([space, time[..., None]], -1)
