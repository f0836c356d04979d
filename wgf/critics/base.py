"""What a critic is: a scalar function that a dual takes its supremum over."""

from abc import ABC, abstractmethod
from collections.abc import Callable

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

    def gradients(self, x: Float[Tensor, "n d"], rates: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Σ_i g_i ∇_θ u(x_i), g = rates(u(x)), for each of `trained`: here by autograd."""
        with torch.enable_grad():
            u = self(x)
        return list(torch.autograd.grad(u, self.trained, rates(u.detach()), materialize_grads=True))

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that are not frozen, in the order of `parameters()`."""
        return [p for p in self.parameters() if p.requires_grad]
