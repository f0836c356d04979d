"""What a closed-form target is: a log-density whose score is found beside its value."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.functionals.base import Pointwise


class Scored(ABC):
    """log π: (n, d) -> (n,), called on tracked rows, finds value and score together: the graph holds (n, d) numbers.

    Differentiable twice, the second time through `gradient`.
    """

    dim: int

    def __call__(self, z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return _Value.apply(z, self) if z.requires_grad and torch.is_grad_enabled() else self.value(z)

    @abstractmethod
    def value(self, z: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """log π(z_i) alone."""

    @abstractmethod
    def gradient(self, z: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The score ∇log π(z_i), differentiable in z."""

    @abstractmethod
    def value_and_score(self, z: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n d"]]:
        """Both, for the price of little more than one."""

    @abstractmethod
    def sampled_gradient(self, rows: int, generator: torch.Generator) -> Pointwise:
        """An unbiased estimate of the score from so many rows of the data."""


class _Value(torch.autograd.Function):
    """The value, with the score found beside it."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, target: Scored) -> Tensor:
        value, score = target.value_and_score(z)
        ctx.target = target
        ctx.save_for_backward(z, score)
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        z, score = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            score = ctx.target.gradient(z)
        return grads[0][:, None] * score, None
