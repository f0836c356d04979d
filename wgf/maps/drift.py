"""The velocity of a neural ODE with its gradients by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from wgf.activations import Activation
from wgf.layers import perceptron, pulled, through
from wgf.maps.sweep import Field


@dataclass
class Drift(Field):
    """N(x, t) of a perceptron N with weights W_1, b_1, …, W_L, b_L, and zero in the last `context` coordinates.

    The time is no column of rows: it moves the first bias by t times the last column of W_1.
    """

    activation: Activation
    context: int
    weights: Sequence[Tensor]
    to: list[Tensor] = field(default_factory=list)
    seen: dict[float, list[Tensor]] = field(default_factory=dict)

    def __call__(self, t: float, x: Tensor) -> tuple[Tensor, Sequence[Tensor]]:
        v, kept = through(x, self.activation, self._held(t))
        return self._padded(v), kept

    def value(self, t: float | Tensor, x: Tensor) -> Tensor:
        return self._padded(perceptron(x, self.activation, self._at(t)))

    def pull(self, g: Tensor, t: float, kept: Sequence[Tensor]) -> Tensor:
        moving = g[:, : g.shape[1] - self.context]
        wanted = [True] * (1 + len(self.weights))
        found = pulled(moving, self.activation, self._held(t), kept, wanted)
        to_x, to_first, to_bias, *others = cast("list[Tensor]", found)
        added = [to_first, t * to_bias, to_bias, *others]
        if self.to:
            torch._foreach_add_(self.to, added)
        else:
            self.to = added
        return to_x

    def finished(self) -> list[Tensor]:
        to_first, to_time, *others = self.to
        return [torch.cat([to_first, to_time[:, None]], 1), *others]

    def _held(self, t: float) -> list[Tensor]:
        """As `_at`, once for each time."""
        if t not in self.seen:
            self.seen[t] = self._at(t)
        return self.seen[t]

    def _at(self, t: float | Tensor) -> list[Tensor]:
        first, bias, *others = self.weights
        return [first[:, :-1], bias + t * first[:, -1], *others]

    def _padded(self, v: Tensor) -> Tensor:
        return pad(v, (0, self.context)) if self.context else v
