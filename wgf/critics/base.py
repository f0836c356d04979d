"""What a critic is: a scalar function that a dual takes its supremum over."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ScalarField(nn.Module, ABC):
    """u: R^d → R, (n, d) -> (n,), whose rows do not mix. A dual maps u into the domain of its conjugate (`Dual.head`).

    A critic is a *template*: steppers copy it, move it to the particles' dtype and device, and call `reset`.
    `constant`, where there is one, is a Lipschitz constant that holds for any weights.
    """

    dim: int
    constant: float | None = None

    @abstractmethod
    def reset(self, generator: torch.Generator) -> None:
        """Draw initial weights from `generator`."""

    @abstractmethod
    def standardise(self, x: Float[Tensor, "n d"]) -> None:
        """Fix what the function makes of location and scale of its inputs to those of the rows."""

    @abstractmethod
    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """u(x_i)."""

    def gradients(
        self, x: Float[Tensor, "n d"], weights: Sequence[nn.Parameter], rates: Callable[[Tensor], Tensor]
    ) -> list[Tensor]:
        """Σ_i g_i ∂u(x_i)/∂w, g = rates(u(x)), for each of these weights: here by autograd."""
        with torch.enable_grad():
            u = self(x)
        return list(torch.autograd.grad(u, weights, rates(u.detach()), materialize_grads=True))

    def slopes(self, x: Float[Tensor, "n d"], rates: Callable[[Tensor], Tensor] | float) -> Float[Tensor, "n d"]:
        """g_i ∇u(x_i), g = rates(u(x)), or the same for all rows: here by autograd."""
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            u = self(leaf)
        g = rates(u.detach()) if callable(rates) else torch.full_like(u, rates)
        return torch.autograd.grad(u, leaf, g, materialize_grads=True)[0] if u.requires_grad else torch.zeros_like(x)


BLOCK = 4096
"""Rows that stay in a processor's cache."""


def spread(x: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """The standard deviation of each coordinate, n − 1 below: in blocks, a tenth of the time of torch's."""
    mean = x.mean(0)
    squares = torch.stack([(part - mean).square_().sum(0) for part in x.split(BLOCK)])
    return (squares.sum(0) / (len(x) - 1)).sqrt()
