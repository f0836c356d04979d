"""The divergence of a perceptron with at most two hidden layers as one node of autograd, its gradients by hand."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.activations import Activation
from wgf.layers import aliases, narrow, outer, tracked


def short_trace(x: Float[Tensor, "n inputs"], activation: Activation, weights: Sequence[Tensor]) -> Float[Tensor, " n"]:
    """Σ_a ∂f_a/∂x_a over the first outputs of the inputs; `weights` are W_1, b_1, …, W_L, b_L with L = 2 or 3.

    tr(W_2 D_1 W_1) is linear in the slopes D_1, and tr(W_3 D_2 W_2 D_1 W_1) bilinear in D_1 and D_2, with coefficients
    W_2 ∘ (W_1 W_3)ᵀ that no row changes: its cost is free of d. Gradients of gradients are those of torch's own
    operations, carried out again when they are asked for.
    """
    used = weights[:-1]  # the last bias moves nothing
    if tracked(x, *used):
        return _Trace.apply(x, activation, *used)
    return _through(x, activation, used)[0]


class _Trace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: Activation, *weights: Tensor) -> Tensor:
        value, kept = _through(x, activation, weights)
        ctx.activation = activation
        ctx.save_for_backward(*weights, x, *kept)
        return value

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[:1] + ctx.needs_input_grad[2:]
        saved = ctx.saved_tensors
        weights, x, kept = saved[: len(wanted) - 1], saved[len(wanted) - 1], saved[len(wanted) :]
        found: Sequence[Tensor | None]
        if torch.is_grad_enabled():
            found = _again(g, ctx.activation, x, weights, wanted)
        else:
            found = (_pulled_one if len(weights) == 3 else _pulled_two)(g, ctx.activation, weights, x, *kept)
        to_x, *to_weights = (each if is_wanted else None for each, is_wanted in zip(found, wanted, strict=True))
        return to_x, None, *to_weights


def _through(x: Tensor, activation: Activation, weights: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The divergence, and of every hidden layer its value, its slope and what its curvature needs."""
    value, slope, bend = activation.slopes(x, weights[0], weights[1])
    inwards = weights[0][:, : len(weights[-1])]
    if len(weights) == 3:
        return slope @ (inwards * weights[2].T).sum(1), [value, slope, bend]
    kept = [value, slope, bend]
    coefficients = weights[2] * (inwards @ weights[4]).T
    across = slope @ coefficients.T
    value, slope, bend = activation.slopes(value, weights[2], weights[3])
    return (across * slope).sum(1), [*kept, slope, bend, across, coefficients]


def _pulled_one(
    g: Tensor, activation: Activation, weights: Sequence[Tensor], x: Tensor, value: Tensor, slope: Tensor, bend: Tensor
) -> list[Tensor]:
    """What the gradient g of the divergence is in x, W_1, b_1 and W_2."""
    W_1, _, W_2 = weights
    inwards = W_1[:, : len(W_2)]
    coefficients = (inwards * W_2.T).sum(1)
    back = activation.bent(g[:, None] * coefficients, bend)
    to_coefficients = (g @ slope)[:, None]
    to_W_1 = outer(back, x)
    to_W_1[:, : len(W_2)] += to_coefficients * W_2.T
    return [narrow(back, W_1), to_W_1, back.sum(0), (to_coefficients * inwards).T]


def _pulled_two(
    g: Tensor,
    activation: Activation,
    weights: Sequence[Tensor],
    x: Tensor,
    value: Tensor,
    slope: Tensor,
    bend: Tensor,
    outer_slope: Tensor,
    outer_bend: Tensor,
    across: Tensor,
    coefficients: Tensor,
) -> list[Tensor]:
    """What the gradient g of the divergence is in x, W_1, b_1, W_2, b_2 and W_3."""
    W_1, _, W_2, _, W_3 = weights
    inwards, g = W_1[:, : len(W_3)], g[:, None]
    to_across = g * outer_slope
    back = activation.bent(g * across, outer_bend)
    to_coefficients = to_across.T @ slope
    to_W_2, to_b_2 = back.T @ value, back.sum(0)
    to_W_2.addcmul_(to_coefficients, (inwards @ W_3).T)
    back = activation.bent(to_across @ coefficients, bend).addcmul_(back @ W_2, slope)
    to_product = to_coefficients.mul_(W_2)
    to_W_1 = outer(back, x)
    to_W_1[:, : len(W_3)] += (W_3 @ to_product).T
    return [narrow(back, W_1), to_W_1, back.sum(0), to_W_2, to_b_2, (to_product @ inwards).T]


def _again(
    g: Tensor, activation: Activation, x: Tensor, weights: Sequence[Tensor], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The same with a graph of its own."""
    x, *weights = aliases(x, *weights)
    inwards = weights[0][:, : len(weights[-1])]
    value, slope = activation.pair(torch.addmm(weights[1], x, weights[0].T))
    if len(weights) == 3:
        trace = slope @ (inwards * weights[2].T).sum(1)
    else:
        outer_slope = activation.pair(torch.addmm(weights[3], value, weights[2].T))[1]
        trace = ((slope @ (weights[2] * (inwards @ weights[4]).T).T) * outer_slope).sum(1)
    chosen = [each for each, is_wanted in zip((x, *weights), wanted, strict=True) if is_wanted]
    if not trace.requires_grad:  # slopes in pieces, weights held
        return [torch.zeros_like(each) for each in (x, *weights)]
    gradients = iter(torch.autograd.grad(trace, chosen, g, create_graph=True, materialize_grads=True))
    return [next(gradients) if is_wanted else None for is_wanted in wanted]
