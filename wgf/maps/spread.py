"""The divergence of the motion down a two-layer OT-Flow potential as one node of autograd, its gradients by hand."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.layers import regraphed, tracked
from wgf.maps.slope import activated, slope_of, smooth


def spreading(
    s: Float[Tensor, "n d+1"],
    K: Float[Tensor, "m d+1"],
    a: Float[Tensor, " m"],
    L: Float[Tensor, "m m"],
    b: Float[Tensor, " m"],
    w: Float[Tensor, " m"],
    A: Float[Tensor, "r d+1"],
) -> Float[Tensor, " n"]:
    """The divergence of `descent` by d tangents: −⟨(1 − D²) ∘ z, |rows of K_x|²⟩ − ⟨w ∘ (1 − E²), Σ_a H_a²⟩ − |A_x|²,
    H_a = (D ∘ K_a)Lᵀ for the columns K_a of K_x, E = tanh(Lu + b), D and z as there.
    """
    return _Spreading.apply(tracked(s, K, a, L, b, w, A), s, K, a, L, b, w, A)


CACHE = 2**20
"""Bytes of tangents that are made at once: what stays in a core's cache."""


class _Spreading(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, graph: bool, s: Tensor, K: Tensor, a: Tensor, L: Tensor, b: Tensor, w: Tensor, A: Tensor
    ) -> Tensor:
        d, m = s.shape[1] - 1, len(w)
        K_x, W = K[:, :d].T.contiguous(), w[:, None] * L
        widths = K_x.square().sum(0)
        total, kept, start = s.new_empty(len(s)), [], 0
        size = max(1, (CACHE << 6 if s.is_cuda else CACHE) // (s.element_size() * m * max(d, 2)))
        for rows in s.split(size):
            u = torch.addmm(a, rows, K.T)
            u, D = activated(u)
            E = slope_of(torch.addmm(b, u, L.T))
            z, bend, c = torch.addmm(w, E, W), torch.addcmul(w.new_ones(()), D, D, value=-1), w - w * E * E
            H = ((D * K_x[:, None, :]).flatten(0, 1) @ L.T).view(d, len(rows), m)
            forms = H.square().sum(0)
            torch.addmv((c * forms).sum(1), bend * z, widths, out=total[start : start + len(rows)])
            start += len(rows)
            kept += [rows, u, D, E, z, bend, c, H, forms] if graph else []
        ctx.save_for_backward(s, a, b, K_x, W, widths, K, L, w, A, *kept)
        return total.add_(A[:, :d].square().sum()).neg_()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        s, a, b, K_x, W, widths, K, L, w, A, *flat = ctx.saved_tensors
        if torch.is_grad_enabled():
            return None, *regraphed(_plain, (s, K, a, L, b, w, A), g)
        d = len(K_x)
        to_K, to_L, to_W, to_K_x = (torch.zeros_like(each) for each in (K, L, W, K_x))
        to_a, to_b, to_w, to_widths = (torch.zeros_like(w) for _ in range(4))
        to_s, start = [], 0
        for k in range(0, len(flat), 9):
            rows, u, D, E, z, bend, c, H, forms = flat[k : k + 9]
            back = -g[start : start + len(rows), None]
            start += len(rows)
            to_widths.addmv_((bend * z).T, back[:, 0])
            to_z = back * (bend * widths)
            to_D = (back * (z * widths)).mul_(D).mul_(-2)
            to_H = (H * (2 * back * c)).flatten(0, 1)
            to_L.addmm_(to_H.T, (D * K_x[:, None, :]).flatten(0, 1))
            to_tangents = (to_H @ L).view_as(H)
            to_K_x += (to_tangents * D).sum(1)
            to_D += (to_tangents * K_x[:, None, :]).sum(0)
            to_c = back * forms
            to_E = torch.addmm((to_c * E).mul_(-2 * w), to_z, W.T)
            to_w += (to_c - to_c * E * E).sum(0) + to_z.sum(0)
            to_W.addmm_(E.T, to_z)
            to_inner = torch.ops.aten.tanh_backward(to_E, E)
            to_L.addmm_(to_inner.T, u)
            to_b += to_inner.sum(0)
            to_outer = torch.ops.aten.tanh_backward(to_D, D).addcmul_(to_inner @ L, D)
            to_K.addmm_(to_outer.T, rows)
            to_a += to_outer.sum(0)
            to_s.append(to_outer @ K)
        to_K[:, :d] += (to_K_x + 2 * K_x * to_widths).T
        to_L.addcmul_(w[:, None], to_W)
        to_w += (to_W * L).sum(1)
        to_A = torch.zeros_like(A)
        to_A[:, :d] = -2 * g.sum() * A[:, :d]
        return None, torch.cat(to_s), to_K, to_a, to_L, to_b, to_w, to_A


def _plain(s: Tensor, K: Tensor, a: Tensor, L: Tensor, b: Tensor, w: Tensor, A: Tensor) -> Tensor:
    """The same as autograd would have it."""
    d = s.shape[1] - 1
    u, D = smooth(torch.addmm(a, s, K.T))
    E = torch.tanh(torch.addmm(b, u, L.T))
    z = w + (w * E) @ L
    H = (D * K[:, :d].T[:, None, :]) @ L.T
    forms = (w * (1 - E * E) * H.square().sum(0)).sum(1)
    return -(((1 - D * D) * z) @ K[:, :d].square().sum(1) + forms + A[:, :d].square().sum())
