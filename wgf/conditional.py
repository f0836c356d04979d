"""Conditional laws: coordinates that are given, labels or covariates, and stand still while the others flow."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from wgf import checks
from wgf.errors import InputError
from wgf.functionals import Quadratic
from wgf.law import Law


class Given(Law):
    """Rows (u, c), u ~ ρ and c given: what a conditional flow is carried back from, `path.inverse(Given(π, c))`.

    Sample i has the context of row i, counted on from the first again where there are more samples than rows. The
    density is that of u given c: log ρ(u), for c has none.

    Args: law, ρ on R^d; context (m, k), labels or covariates as numbers.
    Raises: InputError for a context that is not finite rows.
    """

    def __init__(self, law: Law, context: Float[Tensor, "m k"]) -> None:
        self.law = law
        self.context = checks.rows("the context of a Given law", context).to(law.like)

    @property
    def like(self) -> Tensor:
        return torch.cat([self.law.like.reshape(-1, self.law.dim)[0], self.context[0]])

    @property
    def has_density(self) -> bool:
        return self.law.has_density

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d+k"]:
        rows = torch.arange(n, device=self.context.device) % len(self.context)
        return torch.cat([self.law.sample(n, generator), self.context[rows]], 1)

    def log_prob(self, x: Float[Tensor, "n d+k"]) -> Float[Tensor, " n"]:
        x = checks.rows("x", x, self.dim)
        return self.law.log_prob(x[:, : self.law.dim])

    def to(self, target: torch.dtype | torch.device | str) -> "Given":
        return Given(self.law.to(target), self.context.to(target))


class Leading:
    """x ↦ V of the first d coordinates of x, for `Potential`: the others are context, and no force acts on them.

    Args: dim, d ≥ 1; V, from (n, d) to (n,), by default ½|u|², that of N(0, I).
    Raises: InputError for rows of d columns or less.
    """

    def __init__(self, dim: int, V: Callable[[Tensor], Tensor] | None = None) -> None:
        self.dim = checks.at_least("dim", dim, 1)
        self.V = V or Quadratic(torch.eye(dim, dtype=torch.float64))

    def __call__(self, x: Float[Tensor, "n p"]) -> Float[Tensor, " n"]:
        if x.shape[1] <= self.dim:
            raise InputError(f"Leading({self.dim}) needs rows of more than {self.dim} columns, got {x.shape[1]}")
        return self.V(x[:, : self.dim])

    def gradient(self, x: Float[Tensor, "n p"]) -> Float[Tensor, "n p"]:
        """∇V in the first d coordinates, 0 in the others."""
        closed = getattr(self.V, "gradient", None)
        if closed is not None:
            return pad(closed(x[:, : self.dim]), (0, x.shape[1] - self.dim))
        with torch.enable_grad():
            u = x[:, : self.dim].detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.V(u).sum(), u)
        return pad(slope, (0, x.shape[1] - self.dim))
