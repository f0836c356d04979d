"""Functionals of probability laws: weighted sums of terms, and the kinds that say how a term can be used.

A stepper lists the kinds it can use; each term of a sum is taken by the first of them that it is. Kinds are classes,
not flags, so a term that lacks what a stepper needs is refused before the first step and never silently misread.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import autodiff
from wgf.errors import Incompatible, InputError
from wgf.law import Cloud
from wgf.tree import Tree

if TYPE_CHECKING:
    from wgf.functionals.dual import Dual

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
