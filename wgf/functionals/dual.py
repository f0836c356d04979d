"""A functional as a supremum over critics: its value at one, and the slopes that critics and maps need of it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.errors import InputError
from wgf.functionals.base import Pointwise
from wgf.law import Box, Law
from wgf.pearson import PearsonII


class Merge(Protocol):
    """What becomes of the values of b at draws of Γ, each of weight 1/m unless said otherwise."""

    def __call__(self, values: Tensor, weights: Tensor | None = None) -> Tensor: ...


def average(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """Σ w_i b_i."""
    return values.mean() if weights is None else weights @ values


def log_mean_exp(values: Tensor, weights: Tensor | None = None) -> Tensor:
    """log Σ w_i e^{b_i}."""
    if weights is None:
        return values.logsumexp(0) - math.log(len(values))
    return (values + weights.log()).logsumexp(0)


class Differentiable(Protocol):
    """A critic as a map sees it."""

    def slopes(self, x: Float[Tensor, "n d"], rates: Pointwise | float) -> Float[Tensor, "n d"]:
        """g_i ∇u(x_i), g = rates(u(x)), or the same for all rows."""


@dataclass(frozen=True)
class Dual:
    """F(ρ) = sup_u E_ρ a(u(x), x) − E_Γ b(u(z), z) + const, u the raw output of a critic.

    `head` maps u to the function h of the literature, inside its domain; a and b take u, because only in terms of u do
    f*(h) and log h have forms that neither overflow nor cancel. At the optimum x ↦ a(u(x), x) is δF/δρ, by the envelope
    theorem, up to a constant.

    `penalty(critic, x, z, key)`, where there is one, is added to the critic's loss; `key` seeds what it draws, and
    x and z may be views that are not to be written on. `merge` is what becomes of the values of b where that is not
    their mean: log ∘ mean ∘ exp in Donsker and Varadhan's form.
    `push` is what the map descends where that is not a. `steepness` is sup |d head/du|;
    `slope`, where there is one, is the L of an h that must be L-Lipschitz; `support`, where there is one, the box or
    ball that must hold ρ, outside of which nothing keeps the critic down; `felt`, where it is less work than a, is a up
    to what no critic changes; `derivatives`, where they are known in closed form and `merge` is a mean, are ∂a/∂u at
    u(x) and ∂b/∂u at u(z), either of them a number where it is constant; `drift`, where the map descends a = u + c(x),
    is ∇c, (n, d) -> (n, d). Who replaces a replaces these three as well.
    Raises: InputError for derivatives with another `merge`, and for a drift with a `push`.
    """

    gamma: Law
    a: Callable[[Tensor, Tensor], Tensor]
    b: Callable[[Tensor, Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
    penalty: Callable[[Pointwise, Tensor, Tensor, int], Tensor] | None = None
    const: float = 0.0
    merge: Merge = average
    push: Callable[[Tensor, Tensor], Tensor] | None = None
    steepness: float = math.inf
    slope: float | None = None
    support: Box | PearsonII | None = None
    felt: Callable[[Tensor, Tensor], Tensor] | None = None
    derivatives: Callable[[Tensor, Tensor], tuple[Tensor | float, Tensor | float]] | None = None
    drift: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        if self.derivatives is not None and self.merge is not average:
            raise InputError("a Dual takes derivatives only where merge is a mean; leave them out: autograd finds them")
        if self.drift is not None and self.push is not None:
            raise InputError("a Dual takes a drift only where the map descends a; leave it out: autograd finds it")

    def value(self, critic: Pointwise, x: Float[Tensor, "n d"], z: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """The dual's value at this critic: never above F(ρ), up to sampling error."""
        at_x, at_z = critic(torch.cat([x, z])).split((len(x), len(z)))
        return self.a(at_x, x).mean() - self.merge(self.b(at_z, z)) + self.const

    def rates(
        self, u: Float[Tensor, " n+m"], points: Float[Tensor, "n+m d"], n: int, factor: float = 1.0
    ) -> Float[Tensor, " n+m"]:
        """`factor` times the gradient of `value` in the critic's outputs u, at n rows of x and then at those of z."""
        m = len(points) - n
        if self.derivatives is not None:
            found, (up, down) = torch.empty_like(u), self.derivatives(u[:n], u[n:])
            for part, slope, share in ((found[:n], up, factor / n), (found[n:], down, -factor / m)):
                torch.mul(slope, share, out=part) if isinstance(slope, Tensor) else part.fill_(slope * share)
            return found
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            at_x, at_z = u.split((n, m))
            gained = (self.felt or self.a)(at_x, points[:n]).mean() - self.merge(self.b(at_z, points[n:]))
            return factor * torch.autograd.grad(gained, u)[0]

    def descended(self, critic: Pointwise, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """What a map lowers, a(u(x), x) unless said otherwise: up to a constant δF/δρ at the optimum."""
        return (self.push or self.a)(critic(x), x)

    def slopes(self, critic: "Differentiable", x: Float[Tensor, "n d"], factor: float = 1.0) -> Float[Tensor, "n d"]:
        """`factor` times the gradient in x of `descended`, without a graph."""
        x = x.detach()
        if self.drift is not None:
            return critic.slopes(x, factor).add(self.drift(x), alpha=factor)
        explicit: list[Tensor] = []

        def rates(u: Tensor) -> Tensor:
            with torch.enable_grad():
                at_u, at_x = u.detach().requires_grad_(), x.clone().requires_grad_()
                value = (self.push or self.a)(at_u, at_x)
                found = torch.autograd.grad(value, [at_u, at_x], torch.full_like(value, factor), allow_unused=True)
            explicit.extend(each for each in found[1:] if each is not None)
            return torch.zeros_like(u) if found[0] is None else found[0]

        slope = critic.slopes(x, rates)
        return slope + explicit[0] if explicit else slope

    def ratio(self, critic: Pointwise, z: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
        """dρ/dΓ at draws of Γ as the critic has it, b′(u)/a′(u), with the weights of `merge` in place of a mean's.

        Its mean is 1 at the optimum, and off it where Γ does not cover ρ. Where a is flat (the hinge) it is given as 1.
        """
        u = critic(z).detach()
        if self.derivatives is not None:
            of_a, of_b = (
                part if isinstance(part, Tensor) else torch.full_like(u, part) for part in self.derivatives(u, u)
            )
        else:
            with torch.enable_grad():
                u.requires_grad_()
                of_a = torch.autograd.grad((self.felt or self.a)(u, z).sum(), u)[0]
                of_b = torch.autograd.grad(self.merge(self.b(u, z)), u)[0] * len(z)
        return torch.where(of_a == 0, torch.ones_like(of_b), of_b / of_a)
