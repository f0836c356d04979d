"""Functionals of probability laws: weighted sums of terms, and the kinds that say how a term can be used.

A stepper lists the kinds it can use; each term of a sum is taken by the first of them that it is. Kinds are classes,
not flags, so a term that lacks what a stepper needs is refused before the first step and never silently misread.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import autodiff
from wgf.errors import Incompatible, InputError
from wgf.law import Box, Cloud, Law
from wgf.pearson import PearsonII
from wgf.tree import Tree

Pointwise: TypeAlias = Callable[[Tensor], Tensor]


class _Summable:
    """The algebra: F + G, c * F, F − G, for terms and their sums alike."""

    def __add__(self, other: "Functional | Term") -> "Functional":
        return Functional(functional(self).terms + functional(other).terms)

    def __mul__(self, factor: float) -> "Functional":
        if isinstance(factor, bool) or not isinstance(factor, (int, float)) or not math.isfinite(factor):
            raise InputError(f"a functional can be multiplied by a finite real number, got {factor!r}")
        return Functional(tuple((factor * weight, term) for weight, term in functional(self).terms))

    __rmul__ = __mul__

    def __neg__(self) -> "Functional":
        return self * -1.0

    def __sub__(self, other: "Functional | Term") -> "Functional":
        return self + (-1.0) * other


class Term(_Summable, ABC):
    """One summand of a functional. Subclasses also inherit at least one kind."""

    @property
    def name(self) -> str:
        """What tables call this term."""
        return type(self).__name__


@dataclass(frozen=True)
class Functional(_Summable):
    """Σ_i w_i F_i as a tuple of (weight, term)."""

    terms: tuple[tuple[float, Term], ...]

    def __repr__(self) -> str:
        return " + ".join(term.name if weight == 1 else f"{weight:g} {term.name}" for weight, term in self.terms)


def functional(F: "Functional | Term | _Summable") -> Functional:
    """`F` as a sum; raises InputError for anything that is not a functional or a term."""
    if isinstance(F, Functional):
        return F
    if isinstance(F, Term):
        return Functional(((1.0, F),))
    raise InputError(f"expected a functional such as Entropy() + Potential(V), got {type(F).__name__}")


class Kind:
    """A way in which a term can be used."""


class OnSamples(Kind, ABC):
    """Known from particles alone."""

    @abstractmethod
    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        """Per-particle energies whose mean is F(ρ_n), differentiable in `cloud.x`."""

    def slopes(self, cloud: Cloud, factor: float = 1.0) -> Float[Tensor, "n d"]:
        """`factor` times the gradient of the sum of the energies in the particles: by autograd, unless known."""
        with torch.enable_grad():
            x = cloud.x.detach().requires_grad_()
            energies = self.energy(replace(cloud, x=x))
            if not energies.requires_grad:  # constant
                return torch.zeros_like(x)
            return torch.autograd.grad(energies, x, torch.full_like(energies, factor), materialize_grads=True)[0]


class OnDensity(Kind, ABC):
    """Known from particles and log-determinants: up to a constant of the path where the base density is unknown."""

    @abstractmethod
    def density_energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        """Per-particle energies whose mean is F(ρ), differentiable in `cloud.x` and `cloud.logdet`."""


class OnAbsoluteDensity(OnDensity):
    """As `OnDensity`, but meaningless without the base density."""


class HasVariation(Kind, ABC):
    """Has a first variation that particles can evaluate."""

    @abstractmethod
    def first_variation(self, cloud: Cloud) -> "Variation":
        """δF/δρ at the empirical law of the cloud, as a function x (m, d) -> (m,)."""


class OnShards(Kind):
    """Takes its energies at the rows `cloud.x`, and `cloud.whole` for the empirical law: a process may own a part.

    Any other term is given all particles by every process: right as well, but its energies, and what it sums before it
    is asked for the rows of one process, are then no faster than in one.
    """


class HasNoise(Kind):
    """Equals temperature · ∫ρ log ρ, which Langevin turns into Brownian motion."""

    temperature: float


class HasDual(Kind, ABC):
    """A supremum over functions h: F(ρ) = sup_h E_ρ a(h) − E_Γ b(h) + const."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What tables call this term."""

    @abstractmethod
    def reference(self, cloud: Cloud) -> Tree:
        """What Γ is fitted to the cloud: saved with the state, so that a reloaded critic keeps its meaning."""

    @abstractmethod
    def dual(self, reference: Tree) -> "Dual":
        """The dual with that Γ."""


@dataclass(frozen=True)
class Variation:
    """A first variation ψ: its value (m, d) -> (m,), and where there is a closed form its gradient (m, d) -> (m, d)."""

    value: Pointwise
    closed_gradient: Pointwise | None = None

    def __call__(self, x: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
        return self.value(x)

    def gradient(self, x: Float[Tensor, "m d"], create_graph: bool = False) -> Float[Tensor, "m d"]:
        """∇ψ(x_i): minus the velocity of a particle at x_i.

        Where it must be differentiated again and the closed form has no graph, by autograd of the value.
        """
        if self.closed_gradient is not None:
            slope = self.closed_gradient(x)
            if slope.requires_grad or not (create_graph and x.requires_grad):
                return slope
        return autodiff.gradient(self.value, x, create_graph)


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

    def slopes(self, x: Float[Tensor, "n d"], rates: Pointwise) -> Float[Tensor, "n d"]:
        """g_i ∇u(x_i), g = rates(u(x))."""


@dataclass(frozen=True)
class Dual:
    """F(ρ) = sup_u E_ρ a(u(x), x) − E_Γ b(u(z), z) + const, u the raw output of a critic.

    `head` maps u to the function h of the literature, inside its domain; a and b take u, because only in terms of u do
    f*(h) and log h have forms that neither overflow nor cancel. At the optimum x ↦ a(u(x), x) is δF/δρ, by the envelope
    theorem, up to a constant.

    `penalty(critic, x, z, key)`, where there is one, is added to the critic's loss; `key` seeds what it draws. `merge`
    is what becomes of the values of b where that is not their mean: log ∘ mean ∘ exp in Donsker and Varadhan's form.
    `push` is what the map descends where that is not a. `steepness` is sup |d head/du|;
    `slope`, where there is one, is the L of an h that must be L-Lipschitz; `support`, where there is one, the box or
    ball that must hold ρ, outside of which nothing keeps the critic down; `felt`, where it is less work than a, is a up
    to what no critic changes; `derivatives`, where they are known in closed form and `merge` is a mean, are ∂a/∂u at
    u(x) and ∂b/∂u at u(z), either of them a number where it is constant; `pushes` (u, x) ↦ ∂p/∂u (n,) or a number and
    ∂p/∂x (n, d), where they are known and p, what the map descends, is a. Who replaces a replaces these three as well.
    Raises: InputError for derivatives with another `merge`, and for pushes with a `push`.
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
    pushes: Callable[[Tensor, Tensor], tuple[Tensor | float, Tensor]] | None = None

    def __post_init__(self) -> None:
        if self.derivatives is not None and self.merge is not average:
            raise InputError("a Dual takes derivatives only where merge is a mean; leave them out: autograd finds them")
        if self.pushes is not None and self.push is not None:
            raise InputError("a Dual takes pushes only where the map descends a; leave them out: autograd finds them")

    def value(self, critic: Pointwise, x: Float[Tensor, "n d"], z: Float[Tensor, "m d"]) -> Float[Tensor, ""]:
        """The dual's value at this critic: never above F(ρ), up to sampling error."""
        at_x, at_z = critic(torch.cat([x, z])).split((len(x), len(z)))
        return self.a(at_x, x).mean() - self.merge(self.b(at_z, z)) + self.const

    def rates(
        self, u: Float[Tensor, " n+m"], x: Float[Tensor, "n d"], z: Float[Tensor, "m d"], factor: float = 1.0
    ) -> Float[Tensor, " n+m"]:
        """`factor` times the gradient of `value` in the critic's outputs u, at the rows of x and then at those of z."""
        n, m = len(x), len(z)
        if self.derivatives is not None:
            found, (up, down) = torch.empty_like(u), self.derivatives(u[:n], u[n:])
            for part, slope, share in ((found[:n], up, factor / n), (found[n:], down, -factor / m)):
                torch.mul(slope, share, out=part) if isinstance(slope, Tensor) else part.fill_(slope * share)
            return found
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            at_x, at_z = u.split((n, m))
            gained = (self.felt or self.a)(at_x, x).mean() - self.merge(self.b(at_z, z))
            return factor * torch.autograd.grad(gained, u)[0]

    def descended(self, critic: Pointwise, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """What a map lowers, a(u(x), x) unless said otherwise: up to a constant δF/δρ at the optimum."""
        return (self.push or self.a)(critic(x), x)

    def slopes(self, critic: "Differentiable", x: Float[Tensor, "n d"], factor: float = 1.0) -> Float[Tensor, "n d"]:
        """`factor` times the gradient in x of `descended`, without a graph."""
        x = x.detach()
        explicit: list[Tensor] = []

        def rates(u: Tensor) -> Tensor:
            if self.pushes is not None:
                to_u, to_x = self.pushes(u, x)
                explicit.append(factor * to_x)
                return factor * to_u if isinstance(to_u, Tensor) else torch.full_like(u, factor * to_u)
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
            down, up = (
                part if isinstance(part, Tensor) else torch.full_like(u, part) for part in self.derivatives(u, u)
            )
        else:
            with torch.enable_grad():
                u.requires_grad_()
                down = torch.autograd.grad((self.felt or self.a)(u, z).sum(), u)[0]
                up = torch.autograd.grad(self.merge(self.b(u, z)), u)[0] * len(z)
        return torch.where(down == 0, torch.ones_like(up), up / down)


def route(F: Functional, accepts: Sequence[type], stepper: str, instead: str = "") -> list[tuple[float, Term, type]]:
    """Each term of `F` with the first kind in `accepts` that it is.

    Raises: Incompatible, naming the term, the stepper and what the term would need, where there is none.
    """
    routed = []
    for weight, term in F.terms:
        kind = next((kind for kind in accepts if isinstance(term, kind)), None)
        if kind is None:
            raise Incompatible(_no_route(term, accepts, stepper, instead))
        if weight < 0 and issubclass(kind, HasDual):
            raise Incompatible(
                f"{stepper} takes {term.name} through its dual, a supremum, so its weight must not be negative,"
                f" got {weight:g}"
            )
        routed.append((weight, term, kind))
    return routed


def _no_route(term: Term, accepts: Sequence[type], stepper: str, instead: str) -> str:
    needs = " or ".join(kind.__name__ for kind in accepts)
    has = ", ".join(
        kind.__name__
        for kind in type(term).__mro__
        if issubclass(kind, Kind) and kind is not Kind and kind is not type(term)
    )
    advice = f"; try {instead}" if instead else ""
    return f"{stepper} cannot run {term.name}: it needs {needs}, and {term.name} is {has or 'none of these'}{advice}"


def first_variation(F: Functional, cloud: Cloud) -> Variation:
    """δF/δρ of a sum whose terms all have one: Σ w_i δF_i/δρ."""
    parts = []
    for weight, term in F.terms:
        if not isinstance(term, HasVariation):
            raise Incompatible(f"{term.name} has no first variation that particles can evaluate")
        parts.append((weight, term.first_variation(cloud if isinstance(term, OnShards) else Cloud(cloud.whole))))
    return weighted(parts)


def weighted(parts: Sequence[tuple[float, Variation]]) -> Variation:
    """Σ w_i ψ_i."""

    def value(x: Tensor) -> Tensor:
        return torch.stack([weight * part(x) for weight, part in parts]).sum(0) if parts else x.new_zeros(len(x))

    def closed_gradient(x: Tensor) -> Tensor:
        return torch.stack([weight * part.gradient(x, x.requires_grad) for weight, part in parts]).sum(0)

    if not parts or any(part.closed_gradient is None for _, part in parts):
        return Variation(value)
    return Variation(value, closed_gradient)
