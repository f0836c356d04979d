"""First variations that particles cannot evaluate: of terms with a dual, by critics fitted to the particles."""

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from torch import nn

from wgf import keys
from wgf.critics import ScalarField
from wgf.errors import Incompatible
from wgf.fitting import fit, settle, suits
from wgf.functionals.base import HasDual, HasVariation, Term, Variation, weighted
from wgf.functionals.dual import Dual
from wgf.law import Cloud
from wgf.steppers.base import State
from wgf.steppers.jko import remember
from wgf.training import Adam, Recipe, Watch
from wgf.tree import Tree

Routed = Sequence[tuple[float, Term, type]]


class Fitted(NamedTuple):
    """A term of a sum with its weight, its dual, and the critic at which that is nearly reached."""

    weight: float
    term: Term
    dual: Dual
    critic: ScalarField

    @property
    def variation(self) -> Variation:
        """a(u(x), x): δF/δρ at the particles that the critic was fitted to, by the envelope theorem, to a constant."""
        descended, slopes = (functools.partial(how, self.critic) for how in (self.dual.descended, self.dual.slopes))
        return Variation(descended, slopes)


@dataclass(frozen=True)
class Fitter:
    """Fits one critic for each term that was routed by its dual, warm-started from those that a state remembers.

    Args: critic, a template; training, of a critic in each step, that of a fresh one for `first` times as many
    iterations where it is an `Adam`; held, rows that choose a critic's weights; saved, their name in the memory.
    """

    critic: ScalarField
    training: Recipe
    held: int | None
    first: int
    saved: str

    def fit(self, routed: Routed, state: State, watch: Watch) -> list[Fitted]:
        """The critics at the particles of `state`, in the order of the terms."""
        terms = _by_dual(routed)
        critics = nn.ModuleList(copy.deepcopy(self.critic).to(state.x) for _ in terms)
        fresh = not remember(critics, state.memory, self.saved)
        recipe = self.training
        if fresh and isinstance(recipe, Adam):
            recipe = replace(recipe, iterations=self.first * recipe.iterations)
        found = []
        for k, ((weight, term), critic) in enumerate(zip(terms, critics, strict=True)):
            assert isinstance(critic, ScalarField)
            assert isinstance(term, HasDual)
            reference, seed = term.reference(Cloud(state.x)), keys.fold(state.key, state.step, k)
            dual = term.dual(reference)
            if reference and not fresh:  # Γ has moved, and the critic with it
                settle(critic, dual, state.x, keys.fold(seed, 4))
            fitted = fit(dual, critic, state.x, recipe, seed=seed, held=self.held, fresh=fresh, watch=watch)
            found.append(Fitted(weight, term, dual, fitted))
        return found

    def variation(self, routed: Routed, state: State, watch: Watch) -> tuple[Variation, list[Fitted]]:
        """Σ w δF/δρ at the particles, closed where particles can evaluate it, and the critics of the other terms."""
        closed, cloud = [], Cloud(state.x)
        for weight, term, kind in routed:
            if kind is HasVariation and isinstance(term, HasVariation):
                closed.append((weight, term.first_variation(cloud)))
        fitted = self.fit(routed, state, watch)
        return weighted([*closed, *((each.weight, each.variation) for each in fitted)]), fitted

    def memory(self, fitted: Sequence[Fitted]) -> Tree:
        """The critics' weights, to be remembered."""
        return {self.saved: dict(nn.ModuleList(each.critic for each in fitted).state_dict())}

    def check(self, routed: Routed, state: State) -> None:
        """Raise Incompatible where critic, duals and particles do not fit together."""
        for _, term in _by_dual(routed):
            assert isinstance(term, HasDual)
            dual = term.dual(term.reference(Cloud(state.x)))
            suits(dual, self.critic)
            for name, dim in (("the critic reads", self.critic.dim), (f"{term.name} compares with", dual.gamma.dim)):
                if dim != state.x.shape[1]:
                    raise Incompatible(f"{name} {dim} dimensions, but the particles have {state.x.shape[1]}")


def _by_dual(routed: Routed) -> list[tuple[float, Term]]:
    return [(weight, term) for weight, term, kind in routed if kind is HasDual]
