"""Explicit particles driven by fitted critics: the velocity −∇δF/δρ where F is known through its dual alone."""

import copy
import time
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor, nn

from wgf import checks, keys
from wgf.critics import ScalarField
from wgf.errors import Incompatible
from wgf.fitting import fit, suits, worth
from wgf.functionals.base import (
    Dual,
    Functional,
    HasDual,
    HasVariation,
    Pointwise,
    Term,
    Variation,
    first_variation,
    route,
    weighted,
)
from wgf.law import Cloud, Empirical, Law
from wgf.steppers.base import Info, State, Stepper, displacement, draw, known, observe, unique
from wgf.steppers.jko import check_parts, remember
from wgf.training import Adam, Recipe, Watch
from wgf.tree import Tree


@dataclass(frozen=True)
class CriticParticles(Stepper):
    """x ← x − τ∇δF/δρ(x): forward Euler, with δF/δρ = a(u(x), x) of a critic fitted to the particles in every step.

    Terms with a variation that particles can evaluate enter as they are; the others by one critic each, warm-started.
    With `Lipschitz(...)` terms no particle is faster than L times the weight: the generative particles of Gu, Birmpa,
    Pantazis, Rey-Bellet, Katsoulakis (arXiv 2210.17230). Order 1 in τ, up to the critics' errors.

    Args: critic, a template; training, of a critic in each step, the first one for `first` times as many iterations
    where that is an `Adam`; particles; held, rows that choose a critic's weights and score it.
    """

    critic: ScalarField
    training: Recipe = Adam(200, 2048, 3e-3)
    particles: int = 10_000
    held: int | None = None
    first: int = 5

    accepts: ClassVar[tuple[type, ...]] = (HasVariation, HasDual)
    instead: ClassVar[str] = "JKO"
    keeps_density: ClassVar[bool] = False

    def __post_init__(self) -> None:
        checks.at_least("particles", self.particles, 2)
        checks.at_least("first", self.first, 1)
        if self.held is not None:
            checks.at_least("held", self.held, 1)
        check_parts("CriticParticles", (self.critic, ScalarField), (self.training, Recipe))

    @property
    def rows(self) -> int:
        return self.particles

    def init(self, F: Functional, law: Law, seed: int) -> State:
        route(F, self.accepts, "CriticParticles", self.instead)
        return draw(law, self.particles, seed, 0)

    def check(self, F: Functional, state: State) -> None:
        for _, term, kind in route(F, self.accepts, "CriticParticles", self.instead):
            if kind is HasDual and isinstance(term, HasDual):
                dual = term.dual(term.reference(Cloud(state.x)))
                suits(dual, self.critic)
                width = dual.gamma.dim
                for name, other in (("the critic reads", self.critic.dim), (f"{term.name} compares with", width)):
                    if other != state.x.shape[1]:
                        raise Incompatible(f"{name} {other} dimensions, but the particles have {state.x.shape[1]}")

    def step(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[State, Info]:
        began, x = time.perf_counter(), state.x
        routed = route(F, self.accepts, "CriticParticles", self.instead)
        plain = Functional(tuple((weight, term) for weight, term, kind in routed if kind is HasVariation))
        parts: list[tuple[float, Variation]] = [(1.0, first_variation(plain, Cloud(x)))] if plain.terms else []
        terms = [(weight, term) for weight, term, kind in routed if kind is HasDual]
        fitted = [self._fitted(term, state, k, len(terms), watch) for k, (_, term) in enumerate(terms)]
        for (weight, _), (dual, critic) in zip(terms, fitted, strict=True):
            parts.append((weight, Variation(_descended(dual, critic))))
        variation = weighted(parts)
        y = (x - tau * variation.gradient(x)).detach()
        seen: dict[str, float] = {}
        measures: dict[str, float] = {}
        for k, ((weight, term), (dual, critic)) in enumerate(zip(terms, fitted, strict=True)):
            found = worth(dual, critic, y, seed=keys.fold(state.key, state.step, 5, k))
            name = unique(term.name, seen)
            seen[name], measures[f"mass, {name}"] = weight * found.value, found.mass
        memory: Tree = {"critics": dict(nn.ModuleList(critic for _, critic in fitted).state_dict())}
        after = replace(state, x=y, step=state.step + 1, logdet=None, log_base=None, memory=memory)
        energy = known(observe(F, after, self.rows), seen)
        seconds = time.perf_counter() - began
        moved = displacement(x, y)
        return after, Info(energy, moved, dual=seen, measures=measures, seconds=seconds, variation=variation)

    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        return Empirical(state.x)

    def _fitted(self, term: Term, state: State, k: int, count: int, watch: Watch) -> tuple[Dual, ScalarField]:
        assert isinstance(term, HasDual)
        dual = term.dual(term.reference(Cloud(state.x)))
        critics = nn.ModuleList(copy.deepcopy(self.critic).to(state.x) for _ in range(count))
        remember(critics, state.memory, "critics")
        fresh, critic = state.memory is None, critics[k]
        assert isinstance(critic, ScalarField)
        recipe, seed = self.training, keys.fold(state.key, state.step, k)
        if fresh and isinstance(recipe, Adam):
            recipe = replace(recipe, iterations=self.first * recipe.iterations)
        return dual, fit(dual, critic, state.x, recipe, seed=seed, held=self.held, fresh=fresh, watch=watch)


def _descended(dual: Dual, critic: ScalarField) -> Pointwise:
    def value(x: Tensor) -> Tensor:
        return dual.descended(critic, x)

    return value
