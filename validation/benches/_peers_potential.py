"""A JKO-Flow iteration's loss and gradient as published: RK4 of position, cost and log-determinant together."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from validation.ot_flow import potential, published, scatter, with_time
from wgf import OTFlow, keys
from wgf.maps.base import Transport

Thunk = Callable[[], np.ndarray]
Rates = tuple[Tensor, Tensor, Tensor]
TAU, SCALE = 1.0, 0.5
"""The step, and the size of the weights (`validation.ot_flow.scatter`): nothing is at its start any more."""

FINER, PART, LEAN = 2, 128, 256
"""The truth's steps, how many times finer than the case's, the rows it takes at once, and those of reverse passes."""


def setting(case: Mapping[str, Any]) -> tuple[OTFlow, Tensor]:
    """The potential of case["dim"] and case["width"], and case["rows"] standard normal rows."""
    generator = keys.generator(0)
    map = OTFlow(case["dim"], case["width"], horizon=1.0, steps=case["steps"])
    scatter(map, generator, SCALE)
    x = torch.randn(case["rows"], case["dim"], generator=generator)
    dtype = getattr(torch, case.get("dtype", "float32"))
    return map.to(dtype), x.to(dtype)


def loss_and_gradient(map: OTFlow, moved: Transport) -> np.ndarray:
    """E[cost]/τ + E[½|y|² − log det], KL to N(0, I) up to a constant; then its slopes in all weights but c."""
    assert moved.logdet is not None
    loss = moved.cost.mean() / TAU + 0.5 * moved.y.square().sum(1).mean() - moved.logdet.mean()
    map.zero_grad()
    loss.backward()  # into the weights, as checkpoints want it
    slopes = [weight.grad.flatten() for weight in map.parameters() if weight.grad is not None]
    return torch.cat([loss.detach()[None], *slopes]).double().numpy()


def layer_by_layer(case: Mapping[str, Any], rows: Tensor | None = None) -> Thunk:
    """Trace and gradient by the closed forms of arXiv 2006.00104, at every stage; of `rows` where they are given."""
    map, x = setting(case)
    x = x if rows is None else rows

    def rates(t: float, y: Tensor) -> Rates:
        gradient, trace = published(map, with_time(t, y))
        return -gradient[:, : map.dim], 0.5 * gradient[:, : map.dim].square().sum(1), -trace

    return lambda: loss_and_gradient(map, augmented(rates, x, map.steps))


def truth(case: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Layer by layer in float64 and `FINER` times smaller steps; scales: the loss, and the largest of all slopes."""
    fine = {**case, "dtype": "float64", "steps": FINER * case["steps"]}
    values = by_parts(layer_by_layer, fine, PART)()
    return values, np.where(np.arange(len(values)) == 0, abs(values[0]), np.abs(values[1:]).max())


def by_parts(factory: Callable[..., Thunk], case: Mapping[str, Any], size: int) -> Thunk:
    """The means over parts of so many rows, averaged: where the graphs of all would not fit at once."""
    parts = setting(case)[1].split(size)
    thunks, shares = [factory(case, part) for part in parts], [len(part) for part in parts]
    return lambda: np.average(np.stack([thunk() for thunk in thunks]), axis=0, weights=shares)


def reverse_passes(case: Mapping[str, Any]) -> Thunk:
    """∇Φ by one reverse pass and its d derivatives by one each, with graphs to go back through again.

    Above d = 10, where the graphs of all stages would take tens of gigabytes, each is made anew on the way back, and
    `LEAN` rows are taken at once.
    """
    return by_parts(_reverse_passes, case, LEAN if case["dim"] > 10 else case["rows"])


def _reverse_passes(case: Mapping[str, Any], rows: Tensor) -> Thunk:
    map = setting(case)[0]

    def rates(t: float, y: Tensor) -> Rates:
        with torch.enable_grad():
            slope = torch.autograd.grad(potential(map, with_time(t, y)).sum(), y, create_graph=True)[0]
            columns = enumerate(slope.T)
            trace = sum(torch.autograd.grad(column.sum(), y, create_graph=True)[0][:, a] for a, column in columns)
        return -slope, 0.5 * slope.square().sum(1), -torch.as_tensor(trace)

    def lean(t: float, y: Tensor) -> Rates:
        return checkpoint(rates, t, y, use_reentrant=True)

    leaf = rows.detach().requires_grad_()
    return lambda: loss_and_gradient(map, augmented(lean if map.dim > 10 else rates, leaf, map.steps))


def augmented(rates: Callable[[float, Tensor], Rates], x: Tensor, steps: int) -> Transport:
    """x(1), the cost and the log-determinant by RK4 in equal steps, all four stages of each."""
    y, cost, logdet = x, x.new_zeros(len(x)), x.new_zeros(len(x))
    h = 1 / steps
    for k in range(steps):
        t = k * h
        first = rates(t, y)
        second = rates(t + h / 2, y + h / 2 * first[0])
        third = rates(t + h / 2, y + h / 2 * second[0])
        fourth = rates(t + h, y + h * third[0])
        parts = zip(first, second, third, fourth, strict=True)
        moves = [h / 6 * (a + 2 * b + 2 * c + d) for a, b, c, d in parts]
        y, cost, logdet = y + moves[0], cost + moves[1], logdet + moves[2]
    return Transport(y, cost, logdet)
