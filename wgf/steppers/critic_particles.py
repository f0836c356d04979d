"""Explicit particles driven by fitted critics: the velocity −∇δF/δρ where F is known through its dual alone."""

import time
from dataclasses import dataclass, replace
from typing import ClassVar

from wgf import checks, keys
from wgf.critics import ScalarField
from wgf.fitting import worth
from wgf.functionals.base import Functional, HasDual, HasVariation, route
from wgf.law import Empirical, Law
from wgf.steppers.base import Info, State, Stepper, displacement, draw, known, observe, unique
from wgf.steppers.fitted import Fitter
from wgf.steppers.jko import check_parts
from wgf.training import Adam, Recipe, Watch


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
        self._fitter.check(route(F, self.accepts, "CriticParticles", self.instead), state)

    def step(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[State, Info]:
        began, x = time.perf_counter(), state.x
        routed = route(F, self.accepts, "CriticParticles", self.instead)
        variation, fitted = self._fitter.variation(routed, state, watch)
        y = (x - tau * variation.gradient(x)).detach()
        seen: dict[str, float] = {}
        measures: dict[str, float] = {}
        for k, (weight, term, dual, critic) in enumerate(fitted):
            found = worth(dual, critic, y, seed=keys.fold(state.key, state.step, 5, k))
            name = unique(term.name, seen)
            seen[name] = weight * found.value
            measures |= found.measures(name)
        memory = self._fitter.memory(fitted)
        after = replace(state, x=y, step=state.step + 1, logdet=None, log_base=None, memory=memory)
        energy = known(observe(F, after, self.rows), seen)
        seconds = time.perf_counter() - began
        moved = displacement(x, y)
        return after, Info(energy, moved, dual=seen, measures=measures, seconds=seconds, variation=variation)

    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        return Empirical(state.x)

    @property
    def _fitter(self) -> Fitter:
        return Fitter(self.critic, self.training, self.held, self.first, "critics")
