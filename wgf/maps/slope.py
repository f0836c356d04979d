"""Motion down a two-layer OT-Flow potential, and its divergence, each one node of autograd with gradients by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from wgf.maps.integrate import RungeKutta


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


@dataclass
class _Pull:
    """Gradients of the weights, added up over evaluations of −∇Φ: of K, a, L, b, w, A, c, and of W = diag(w)L."""

    weights: Sequence[Tensor]
    W: Tensor
    to: list[Tensor] = field(init=False)
    to_W: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.to, self.to_W = [torch.zeros_like(weight) for weight in self.weights], torch.zeros_like(self.W)

    def __call__(self, g: Tensor, t: float, kept: Sequence[Tensor]) -> Tensor:
        """What the gradient g of −∇Φ(x, t) is in x."""
        (K, _, L, _, _, A, _), (x, u, D, E, z, q) = self.weights, kept
        to_K, to_a, to_L, to_b, to_w, to_A, to_c = self.to
        d, g = x.shape[1], -g
        back = g @ K[:, :d].T
        to_z = back * D
        self.to_W.addmm_(E.T, to_z)
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
        """The gradients, once all evaluations were pulled back."""
        _, _, L, _, w, _, _ = self.weights
        self.to[2].addcmul_(w[:, None], self.to_W)
        self.to[4] += (self.to_W * L).sum(1)
        return self.to


def _evaluated(x: Tensor, t: float, weights: Sequence[Tensor], W: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
    """−∇_xΦ(x, t), and what its gradients need."""
    K, a, L, b, w, A, c = weights
    d = x.shape[1]
    K_x, A_x = K[:, :d], A[:, :d]
    u = torch.addmm(torch.add(a, K[:, d], alpha=t), x, K_x.T)
    D = slope_of(u)
    u = softplus(u, beta=2, threshold=40).mul_(2).sub_(u)
    E = slope_of(torch.addmm(b, u, L.T))
    z, q = torch.addmm(w, E, W), torch.addmm(t * A[:, d], x, A_x.T)
    v = torch.addmm(c[:d], D * z, K_x, beta=-1, alpha=-1).addmm_(q, A_x, alpha=-1)
    return v, (x, u, D, E, z, q)


class _Descent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, t: float, *weights: Tensor) -> Tensor:
        W = weights[4][:, None] * weights[2]
        v, kept = _evaluated(x, t, weights, W)
        ctx.t = t
        ctx.save_for_backward(W, *weights, *kept)
        return v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        W, *rest = ctx.saved_tensors
        pull = _Pull(rest[:7], W)
        to_x = pull(g, ctx.t, rest[7:])
        return to_x, None, *pull.finished()


def swept(
    x: Float[Tensor, "n d"], scheme: RungeKutta, times: Sequence[float], horizon: float, ends: bool, *weights: Tensor
) -> tuple[list[Float[Tensor, "n d"]], list[Float[Tensor, "n d"]], Float[Tensor, " n"]]:
    """ẋ = `descent` by `scheme` over `times`: the states, the velocities there (of the last if `ends`), and the cost.

    All of it is one node of autograd, its gradients those of the steps taken, by their adjoints in reverse.
    """
    states, slopes, cost = _Swept.apply(x, scheme, times, horizon, ends, *weights)
    return [x, *states.unbind()], list(slopes.unbind()), cost


class _Swept(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        scheme: RungeKutta,
        times: Sequence[float],
        horizon: float,
        ends: bool,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        W, h = weights[4][:, None] * weights[2], times[1] - times[0]
        ctx.setting = scheme, times, horizon, ends
        kept: list[Tensor] = []
        states, slopes, cost = [], [], x.new_zeros(len(x))
        for t in times[:-1]:
            stages: list[Tensor] = []
            for row in scheme.stages:
                place = _combined(x, stages, row, h)
                v, own = _evaluated(place, t + h * sum(row), weights, W)
                stages.append(v)
                kept += own
            rates = torch.stack(stages)
            cost += rates.new_tensor([h * horizon * b / 2 for b in scheme.weights]) @ rates.square().sum(-1)
            kept.append(rates)
            slopes.append(stages[0])
            x = _combined(x, stages, scheme.weights, h)
            states.append(x)
        if ends:
            v, own = _evaluated(x, times[-1], weights, W)
            slopes.append(v)
            kept += own
        ctx.save_for_backward(W, *weights, *kept)
        return torch.stack(states), torch.stack(slopes), cost

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_states: Tensor, g_slopes: Tensor, g_cost: Tensor) -> tuple[Tensor | None, ...]:
        scheme, times, horizon, ends = ctx.setting
        W, *rest = ctx.saved_tensors
        weights, kept, h = rest[:7], rest[7:], times[1] - times[0]
        pull, steps, stages = _Pull(weights, W), len(times) - 1, len(scheme.stages)
        g = pull(g_slopes[-1], times[-1], kept[-6:]) if ends else None
        width = 6 * stages + 1  # tensors kept of a step
        for k in reversed(range(steps)):
            own = kept[k * width : (k + 1) * width]
            g = g_states[k] if g is None else g + g_states[k]
            charged = own[-1] * g_cost[:, None]
            to_v = [h * b * (g + horizon * charged[i]) for i, b in enumerate(scheme.weights)]
            to_v[0] = to_v[0] + g_slopes[k]
            for i in reversed(range(stages)):
                row = scheme.stages[i]
                to_x = pull(to_v[i], times[k] + h * sum(row), own[6 * i : 6 * i + 6])
                g = g + to_x
                for j, a in enumerate(row):
                    if a:
                        to_v[j] = to_v[j].add(to_x, alpha=h * a)
        return g, None, None, None, None, *pull.finished()


def _combined(x: Tensor, slopes: Sequence[Tensor], factors: Sequence[float], h: float) -> Tensor:
    """x + h Σ a_j k_j."""
    for a, slope in zip(factors, slopes, strict=True):
        if a:
            x = x.add(slope, alpha=h * a)
    return x


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
    H_a = (D ∘ K_a)Lᵀ for the columns K_a of K_x, E = tanh(Lu + b), D and z as there. Differentiable once.
    """
    return _Spreading.apply(s, K, a, L, b, w, A)


CACHE = 2**20
"""Bytes of tangents that are made at once: what stays in a core's cache."""


class _Spreading(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s: Tensor, K: Tensor, a: Tensor, L: Tensor, b: Tensor, w: Tensor, A: Tensor) -> Tensor:
        d, m = s.shape[1] - 1, len(w)
        K_x, W = K[:, :d].T.contiguous(), w[:, None] * L
        widths = K_x.square().sum(0)
        total, kept, start = s.new_empty(len(s)), [], 0
        size = max(1, (CACHE << 6 if s.is_cuda else CACHE) // (s.element_size() * m * max(d, 2)))
        for rows in s.split(size):
            u = torch.addmm(a, rows, K.T)
            D = slope_of(u)
            u = softplus(u, beta=2, threshold=40).mul_(2).sub_(u)
            E = slope_of(torch.addmm(b, u, L.T))
            z, bend, c = torch.addmm(w, E, W), torch.addcmul(w.new_ones(()), D, D, value=-1), w - w * E * E
            tangents = D * K_x[:, None, :]
            H = (tangents.flatten(0, 1) @ L.T).view(d, len(rows), m)
            forms = H.square().sum(0)
            torch.addmv((c * forms).sum(1), bend * z, widths, out=total[start : start + len(rows)])
            start += len(rows)
            kept += [rows, u, D, E, z, bend, c, tangents, H, forms]
        ctx.save_for_backward(K_x, W, widths, K, L, w, A, *kept)
        return total.add_(A[:, :d].square().sum()).neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        K_x, W, widths, K, L, w, A, *flat = ctx.saved_tensors
        d = len(K_x)
        to_K, to_L, to_W, to_K_x = (torch.zeros_like(each) for each in (K, L, W, K_x))
        to_a, to_b, to_w, to_widths = (torch.zeros_like(w) for _ in range(4))
        to_s, start = [], 0
        for k in range(0, len(flat), 10):
            rows, u, D, E, z, bend, c, tangents, H, forms = flat[k : k + 10]
            back = -g[start : start + len(rows), None]
            start += len(rows)
            to_widths.addmv_((bend * z).T, back[:, 0])
            to_z = back * (bend * widths)
            to_D = (back * (z * widths)).mul_(D).mul_(-2)
            to_H = (H * (2 * back * c)).flatten(0, 1)
            to_L.addmm_(to_H.T, tangents.flatten(0, 1))
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
        return torch.cat(to_s), to_K, to_a, to_L, to_b, to_w, to_A
