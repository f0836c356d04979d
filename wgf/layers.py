"""The value of a multilayer perceptron as one node of autograd, its gradients by hand."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, cast

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.activations import Activation


def perceptron(
    x: Float[Tensor, "n inputs"], activation: Activation, weights: Sequence[Tensor], quadratic: Sequence[Tensor] = ()
) -> Float[Tensor, "n outputs"]:
    """W_L σ(… σ(W_1 x + b_1) …) + b_L, plus ½xᵀAx + bᵀx; `weights` are W_1, b_1, …, W_L, b_L, `quadratic` A, b or
    nothing.

    Where layers are small, one node costs less than a graph of 2L. Gradients of gradients are those of torch's own
    operations, carried out again when they are asked for.
    """
    if tracked(x, *weights, *quadratic):
        return _Perceptron.apply(x, activation, len(weights), *weights, *quadratic)
    return _with_quadratic(through(x, activation, weights)[0], x, quadratic)


def tracked(*inputs: Tensor) -> bool:
    """Whether gradients of these are wanted."""
    return torch.is_grad_enabled() and any(each.requires_grad for each in inputs)


class _Perceptron(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, activation: Activation, count: int, *parameters: Tensor) -> Tensor:
        y, kept = through(x, activation, parameters[:count])
        ctx.activation, ctx.count = activation, count
        ctx.save_for_backward(*parameters, *kept)
        return _with_quadratic(y, x, parameters[count:])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        wanted, count = ctx.needs_input_grad[:1] + ctx.needs_input_grad[3:], ctx.count
        saved = ctx.saved_tensors
        parameters, kept = saved[: len(wanted) - 1], saved[len(wanted) - 1 :]
        weights, quadratic = parameters[:count], parameters[count:]
        if torch.is_grad_enabled():
            found = _again(g, ctx.activation, kept[0], weights, quadratic, wanted)
        else:
            found = _pulled(g, ctx.activation, weights, quadratic, kept, wanted)
        to_x, *others = found
        return to_x, None, None, *others


def weight_gradients(
    x: Float[Tensor, "n inputs"],
    activation: Activation,
    weights: Sequence[Tensor],
    quadratic: Sequence[Tensor],
    rates: Callable[[Tensor], Tensor],
) -> list[Tensor]:
    """Gradients of a perceptron of one output y in its weights and then A, b, for g = rates(y) on it: no graph."""
    y, kept = through(x, activation, weights)
    g = rates(_with_quadratic(y, x, quadratic)[:, 0])[:, None]
    _, *found = _pulled(g, activation, weights, quadratic, kept, [False] + [True] * (len(weights) + len(quadratic)))
    return cast("list[Tensor]", found)


def input_gradients(
    x: Float[Tensor, "n inputs"],
    activation: Activation,
    weights: Sequence[Tensor],
    quadratic: Sequence[Tensor],
    rates: Callable[[Tensor], Tensor] | float,
) -> Float[Tensor, "n inputs"]:
    """g_i ∇y(x_i) of a perceptron of one output y, g = rates(y), or the same for all rows: no graph."""
    if callable(rates):
        y, kept = through(x, activation, weights)
        g = rates(_with_quadratic(y, x, quadratic)[:, 0])[:, None]
    else:  # nobody asks for y
        kept = hidden(x, activation, weights)
        g = x.new_full((len(x), 1), rates)
    wanted = [True] + [False] * (len(weights) + len(quadratic))
    return cast(Tensor, _pulled(g, activation, weights, quadratic, kept, wanted)[0])


def _pulled(
    g: Tensor,
    activation: Activation,
    weights: Sequence[Tensor],
    quadratic: Sequence[Tensor],
    kept: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    if len(weights) == 4 and g.shape[1] == 1:
        return _pulled_shallow(g, activation, weights, quadratic, kept, wanted)
    found = pulled(g, activation, weights, kept, wanted[: 1 + len(weights)])
    if quadratic:
        _pull_quadratic(found, g.sum(1, keepdim=True), kept[0], quadratic, wanted)
    return found


def _pulled_shallow(
    g: Tensor,
    activation: Activation,
    weights: Sequence[Tensor],
    quadratic: Sequence[Tensor],
    kept: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """What `_pulled` gives, for one hidden layer and one output wᵀσ(Wx + b) + c.

    With s_i = σ′ at row i, Σ g_i (w ∘ s_i) x_iᵀ = w ∘ Σ s_i (g_i x_i)ᵀ and Wᵀ(w ∘ s_i) = (w ∘ W)ᵀ s_i, so that no rows
    (n, width) are multiplied by g or w.
    """
    (W, _, last, _), (x, what, value) = weights, kept
    slope, found = activation.slope(what, value), list[Tensor | None]([None] * len(wanted))
    if wanted[0]:
        steepness = narrow(slope, last.T * W)
        if quadratic:
            steepness = steepness + torch.addmm(quadratic[1], x, quadratic[0] + quadratic[0].T, alpha=0.5)
        found[0] = g * steepness
    if any(wanted[1:]):
        g_x, row = g * x, g.T
        found[1:5] = outer(slope, g_x) * last.T, (row @ slope)[0] * last[0], row @ value, g.sum(0)
        found[5:] = [0.5 * outer(x, g_x), (row @ x)[0]] if quadratic else []
    return [each if is_wanted else None for each, is_wanted in zip(found, wanted, strict=True)]


def _with_quadratic(y: Tensor, x: Tensor, quadratic: Sequence[Tensor]) -> Tensor:
    """y plus ½xᵀAx + bᵀx; y, which nobody else holds, may be written on."""
    if not quadratic:
        return y
    bend, slope = quadratic
    bent = torch.addmm(slope, x, bend, alpha=0.5).mul_(x)
    return y.addmm_(bent, bent.new_ones(x.shape[1], y.shape[1]))


def _pull_quadratic(
    found: list[Tensor | None], g: Tensor, x: Tensor, quadratic: Sequence[Tensor], wanted: Sequence[bool]
) -> None:
    """Add to x's gradient, first in `found`, what is that of the quadratic part; append those in A and b."""
    bend, slope = quadratic
    if wanted[0]:
        to_x = torch.addmm(slope, x, bend + bend.T, alpha=0.5).mul_(g)
        found[0] = to_x if found[0] is None else found[0] + to_x
    pulled_x = g * x
    found.append(0.5 * outer(x, pulled_x) if wanted[-2] else None)
    found.append(pulled_x.sum(0) if wanted[-1] else None)


def through(x: Tensor, activation: Activation, weights: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """The value; what `hidden` gives."""
    kept = hidden(x, activation, weights)
    return torch.addmm(weights[-1], kept[-1], weights[-2].T), kept


def hidden(x: Tensor, activation: Activation, weights: Sequence[Tensor]) -> list[Tensor]:
    """What the first layer reads, then of every hidden one what its slope needs and what comes out."""
    kept = [x]
    for k in range(0, len(weights) - 2, 2):
        x, slope = activation.layer(x, weights[k], weights[k + 1])
        kept += [slope, x]
    return kept


def pulled(
    g: Tensor, activation: Activation, weights: Sequence[Tensor], kept: Sequence[Tensor], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """What the gradient g of the value is in x and in the weights, where it is wanted."""
    found: list[Tensor | None] = [None] * len(wanted)
    lowest = next((k for k, each in enumerate(wanted) if each), len(wanted))
    for k in range(len(weights) - 2, -1, -2):
        if wanted[k + 1]:
            found[k + 1] = outer(g, kept[k])
        if wanted[k + 2]:
            found[k + 2] = g.sum(0)
        if lowest > k:
            break
        if k:
            g = activation.backward(g @ weights[k] if g.shape[1] > 1 else g * weights[k], kept[k - 1], kept[k])
        else:
            found[0] = narrow(g, weights[0])
    return found


NARROW = 8
"""Products with no more columns than this, of factors with more, are taken transposed: on a CPU a fifth of the time."""


def outer(g: Tensor, x: Tensor) -> Tensor:
    """gᵀx."""
    return (x.T @ g).T.contiguous() if x.shape[1] <= NARROW < g.shape[1] else g.T @ x


def narrow(g: Tensor, W: Tensor) -> Tensor:
    """gW."""
    return (W.T @ g.T).T if W.shape[1] <= NARROW else g @ W


def _again(
    g: Tensor,
    activation: Activation,
    x: Tensor,
    weights: Sequence[Tensor],
    quadratic: Sequence[Tensor],
    wanted: Sequence[bool],
) -> list[Tensor | None]:
    """The same with a graph of its own."""
    count = len(weights)
    x, *parameters = aliases(x, *weights, *quadratic)
    weights = parameters[:count]
    y = x
    for k in range(0, len(weights) - 2, 2):
        y = activation.value(torch.addmm(weights[k + 1], y, weights[k].T))
    y = torch.addmm(weights[-1], y, weights[-2].T)
    if quadratic:
        bend, slope = parameters[count:]
        y = y + (torch.addmm(slope, x, bend, alpha=0.5) * x).sum(1, keepdim=True)
    chosen = [each for each, is_wanted in zip((x, *parameters), wanted, strict=True) if is_wanted]
    gradients = iter(torch.autograd.grad(y, chosen, g, create_graph=True))
    return [next(gradients) if is_wanted else None for is_wanted in wanted]


def regraphed(plain: Callable[..., Tensor], inputs: Sequence[Tensor], g: Tensor) -> list[Tensor | None]:
    """The gradients of ⟨g, plain(inputs)⟩ with a graph of their own, which those by hand do not have.

    torch's `once_differentiable` would not do: where g has no graph, gradients pass for constants without a word.
    """
    inputs = aliases(*inputs)
    chosen = [each for each in inputs if each.requires_grad]
    found = iter(torch.autograd.grad(plain(*inputs), chosen, g, create_graph=True, materialize_grads=True))
    return [next(found) if each.requires_grad else None for each in inputs]


def final(gradient: Tensor, *inputs: Tensor) -> Tensor:
    """A gradient that depends on these inputs, by a function whose derivatives are not known: asking for one raises."""
    return _Final.apply(gradient, *inputs) if tracked(*inputs) else gradient


class _Final(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: Tensor, *inputs: Tensor) -> Tensor:
        return gradient.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> NoReturn:
        raise RuntimeError("gradients of these gradients are not known")


def aliases(*tensors: Tensor) -> list[Tensor]:
    """The same tensors as new nodes: derivatives in these leave out how one of them may have come from another."""
    return [each.view_as(each) for each in tensors]
