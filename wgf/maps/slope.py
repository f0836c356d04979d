"""Motion down a two-layer OT-Flow potential as one node of autograd, its gradients by hand."""

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


def tracked(*inputs: Tensor) -> bool:
    """Whether gradients of these are wanted."""
    return torch.is_grad_enabled() and any(each.requires_grad for each in inputs)


def activated(u: Tensor) -> tuple[Tensor, Tensor]:
    """σ(u) = log(1 + e^{2u}) − u and σ′(u) = tanh u."""
    twice = u + u
    return softplus(twice, threshold=40).sub_(u), torch.sigmoid(twice).mul_(2).sub_(1)


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
    u, D = activated(u)
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
