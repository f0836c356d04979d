"""Motion down a two-layer OT-Flow potential as one node of autograd, its gradients by hand."""

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from wgf.layers import regraphed
from wgf.maps.sweep import Field


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
    −K_xᵀ(D ∘ z) − A_xᵀAs − c_x, D = tanh(Ks + a), z = w + Lᵀ(w ∘ tanh(Lu + b)).
    """
    return _Descent.apply(x, t, K, a, L, b, w, A, c)


def activated(u: Tensor) -> tuple[Tensor, Tensor]:
    """σ(u) = log(1 + e^{2u}) − u and σ′(u) = tanh u."""
    twice = u + u
    return softplus(twice, threshold=40).sub_(u), torch.sigmoid(twice).mul_(2).sub_(1)


def smooth(u: Tensor) -> tuple[Tensor, Tensor]:
    """`activated` with a graph, for nothing is written over."""
    return softplus(2 * u, threshold=40) - u, torch.tanh(u)


def slope_of(u: Tensor) -> Tensor:
    """tanh u as 2/(1 + e^{−2u}) − 1, to rounding of 1: a sixth of torch's time on a CPU."""
    return torch.sigmoid(2 * u).mul_(2).sub_(1)


class Descent(Field):
    """`descent` with weights K, a, L, b, w, A, c: gradients of them, and of W = diag(w)L, are added up."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.weights = weights
        self.W = weights[4][:, None] * weights[2]

    def __call__(self, t: float, x: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        K, a, L, b, w, A, c = self.weights
        d = x.shape[1]
        K_x, A_x = K[:, :d], A[:, :d]
        u = torch.addmm(torch.add(a, K[:, d], alpha=t), x, K_x.T)
        u, D = activated(u)
        E = slope_of(torch.addmm(b, u, L.T))
        z, q = torch.addmm(w, E, self.W), torch.addmm(t * A[:, d], x, A_x.T)
        v = torch.addmm(c[:d], D * z, K_x, beta=-1, alpha=-1).addmm_(q, A_x, alpha=-1)
        return v, (x, u, D, E, z, q)

    def value(self, t: float, x: Tensor) -> Tensor:
        return _Descent.apply(x, t, *self.weights)

    @cached_property
    def _to(self) -> list[Tensor]:
        return [torch.zeros_like(weight) for weight in (*self.weights, self.W)]

    def pull(self, g: Tensor, t: float, kept: Sequence[Tensor]) -> Tensor:
        (K, _, L, _, _, A, _), (x, u, D, E, z, q) = self.weights, kept
        to_K, to_a, to_L, to_b, to_w, to_A, to_c, to_W = self._to
        d, g = x.shape[1], -g
        back = g @ K[:, :d].T
        to_z = back * D
        to_W.addmm_(E.T, to_z)
        to_E = torch.ops.aten.tanh_backward(to_z @ self.W.T, E)
        to_D = torch.ops.aten.tanh_backward(back.mul_(z), D).addcmul_(to_E @ L, D)
        to_L.addmm_(to_E.T, u)
        to_w += to_z.sum(0)
        to_b += to_E.sum(0)
        to_q, outer = g @ A[:, :d].T, to_D.sum(0)
        to_a += outer
        to_K[:, :d].addmm_((D * z).T, g).addmm_(to_D.T, x)
        to_K[:, d].add_(outer, alpha=t)
        to_A[:, :d].addmm_(q.T, g).addmm_(to_q.T, x)
        to_A[:, d].add_(to_q.sum(0), alpha=t)
        to_c[:d] += g.sum(0)
        return (to_D @ K[:, :d]).addmm_(to_q, A[:, :d])

    def finished(self) -> list[Tensor]:
        _, _, L, _, w, _, _ = self.weights
        *found, to_W = self._to
        found[2].addcmul_(w[:, None], to_W)
        found[4] += (to_W * L).sum(1)
        return found


class _Descent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, t: float, *weights: Tensor) -> Tensor:
        v, kept = Descent(weights)(t, x)
        ctx.t = t
        ctx.save_for_backward(*weights, *kept)
        return v

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        weights, kept = ctx.saved_tensors[:7], ctx.saved_tensors[7:]
        if torch.is_grad_enabled():
            to_x, *to_weights = regraphed(partial(_plain, ctx.t), (kept[0], *weights), g)
            return to_x, None, *to_weights
        field = Descent(weights)
        to_x = field.pull(g, ctx.t, kept)
        return to_x, None, *field.finished()


def _plain(t: float, x: Tensor, K: Tensor, a: Tensor, L: Tensor, b: Tensor, w: Tensor, A: Tensor, c: Tensor) -> Tensor:
    """The same as autograd would have it."""
    d = x.shape[1]
    u, D = smooth(torch.addmm(a + t * K[:, d], x, K[:, :d].T))
    z = w + (w * torch.tanh(torch.addmm(b, u, L.T))) @ L
    q = torch.addmm(t * A[:, d], x, A[:, :d].T)
    return -(D * z) @ K[:, :d] - q @ A[:, :d] - c[:d]
