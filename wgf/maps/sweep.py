"""A whole motion ẋ = v(t, x) by a Runge–Kutta scheme as one node of autograd, its gradients by hand."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.layers import aliases
from wgf.maps.integrate import RungeKutta


class Field(ABC):
    """v(t, x) with given weights, evaluated point by point, and later pulled back point by point."""

    @abstractmethod
    def __call__(self, t: float, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Sequence[Tensor]]:
        """v(t, x_i), and what `pull` needs, as many tensors wherever it is asked; no graph is kept."""

    @abstractmethod
    def value(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """v(t, x_i) with a graph."""

    @abstractmethod
    def pull(self, g: Float[Tensor, "n d"], t: float, kept: Sequence[Tensor]) -> Float[Tensor, "n d"]:
        """What the gradient g of v(t, x) is in x; what it is in the weights is added up."""

    @abstractmethod
    def finished(self) -> list[Tensor]:
        """The gradients in the weights, once all evaluations were pulled back."""


Build: TypeAlias = Callable[[Sequence[Tensor]], Field]


class Course(NamedTuple):
    """How a motion is taken: by `scheme`, over times evenly apart, at a cost of `horizon` ∫½|v|²dt; whether it `ends`
    with the velocity at its last state."""

    scheme: RungeKutta
    times: Sequence[float]
    horizon: float
    ends: bool

    @property
    def steps(self) -> int:
        return len(self.times) - 1

    @property
    def step(self) -> float:
        return self.times[1] - self.times[0]


def swept(
    x: Float[Tensor, "n d"], build: Build, course: Course, *weights: Tensor
) -> tuple[list[Float[Tensor, "n d"]], list[Float[Tensor, "n d"]], Float[Tensor, " n"]]:
    """ẋ = v, v = `build(weights)`, along a course: the states, the velocities there, and the cost.

    Gradients are those of the steps taken, by their adjoints in reverse; gradients of gradients are those of the
    field's value, carried out again when they are asked for.
    """
    *found, cost = _Swept.apply(x, build, course, *weights)
    return [x, *found[: course.steps]], found[course.steps :], cost


class _Swept(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, build: Build, course: Course, *weights: Tensor) -> tuple[Tensor, ...]:
        field, scheme, h, start = build(weights), course.scheme, course.step, x
        kept: list[Tensor] = []
        states, slopes, cost = [], [], x.new_zeros(len(x))
        for t in course.times[:-1]:
            stages: list[Tensor] = []
            for row in scheme.stages:
                v, own = field(t + h * sum(row), _combined(x, stages, row, h))
                stages.append(v)
                kept += own
            rates = torch.stack(stages)
            cost += rates.new_tensor([h * course.horizon * b / 2 for b in scheme.weights]) @ rates.square().sum(-1)
            kept.append(rates)
            slopes.append(stages[0])
            x = _combined(x, stages, scheme.weights, h)
            states.append(x)
        if course.ends:
            v, own = field(course.times[-1], x)
            slopes.append(v)
            kept += own
        ctx.setting = build, course, len(own)
        ctx.save_for_backward(start, *weights, *kept)
        return *states, *slopes, cost

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        build, course, each = ctx.setting
        count = len(ctx.needs_input_grad) - 3
        x, weights, kept = ctx.saved_tensors[0], ctx.saved_tensors[1 : count + 1], ctx.saved_tensors[count + 1 :]
        if torch.is_grad_enabled():
            wanted = ctx.needs_input_grad[:1] + ctx.needs_input_grad[3:]
            to_x, *to_weights = _again(gradients, build, course, aliases(x, *weights), wanted)
        else:
            field = build(weights)
            to_x, to_weights = _pulled(gradients, field, course, kept, each), field.finished()
        return to_x, None, None, *to_weights


def _pulled(gradients: Sequence[Tensor], field: Field, course: Course, kept: Sequence[Tensor], each: int) -> Tensor:
    """What the gradients of states, velocities and cost are in x, the field's weights gathering theirs.

    `each` evaluation left so many tensors.
    """
    (scheme, times, horizon, ends), h, steps = course, course.step, course.steps
    g_states, g_slopes, g_cost = gradients[:steps], gradients[steps:-1], gradients[-1]
    shares, charge = g_cost.new_tensor(scheme.weights)[:, None, None] * h, (horizon * g_cost)[:, None]
    g = field.pull(g_slopes[-1], times[-1], kept[-each:]) if ends else torch.zeros_like(g_states[0])
    width = each * len(scheme.stages) + 1  # tensors kept of a step
    for k in reversed(range(steps)):
        own = kept[k * width : (k + 1) * width]
        g = g + g_states[k]
        to_v = list(torch.addcmul(g, own[-1], charge).mul_(shares).unbind())
        to_v[0] = to_v[0] + g_slopes[k]
        for i, row in reversed(list(enumerate(scheme.stages))):
            to_x = field.pull(to_v[i], times[k] + h * sum(row), own[each * i : each * (i + 1)])
            g = g + to_x
            for j, a in enumerate(row):
                if a:
                    to_v[j] = to_v[j].add(to_x, alpha=h * a)
    return g


def _again(
    gradients: Sequence[Tensor], build: Build, course: Course, inputs: Sequence[Tensor], wanted: Sequence[bool]
) -> list[Tensor | None]:
    """The same with a graph of its own."""
    field, scheme, h, x = build(inputs[1:]), course.scheme, course.step, inputs[0]
    states, slopes, cost = [], [], x.new_zeros(len(x))
    for t in course.times[:-1]:
        stages: list[Tensor] = []
        for row in scheme.stages:
            stages.append(field.value(t + h * sum(row), _combined(x, stages, row, h)))
        for b, v in zip(scheme.weights, stages, strict=True):
            cost = cost + h * course.horizon * b / 2 * v.square().sum(-1)
        slopes.append(stages[0])
        x = _combined(x, stages, scheme.weights, h)
        states.append(x)
    if course.ends:
        slopes.append(field.value(course.times[-1], x))
    outputs = *states, *slopes, cost
    chosen = [each for each, is_wanted in zip(inputs, wanted, strict=True) if is_wanted]
    found = iter(torch.autograd.grad(outputs, chosen, gradients, create_graph=True, materialize_grads=True))
    return [next(found) if is_wanted else None for is_wanted in wanted]


def _combined(x: Tensor, slopes: Sequence[Tensor], factors: Sequence[float], h: float) -> Tensor:
    """x + h Σ a_j k_j."""
    for a, slope in zip(factors, slopes, strict=True):
        if a:
            x = x.add(slope, alpha=h * a)
    return x
