"""Explicit particles: ẋ = −∇δF/δρ(x), by Euler or Heun."""

import time
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from wgf import checks, shards
from wgf.functionals.base import Functional, HasVariation, first_variation, route
from wgf.law import Empirical, Law
from wgf.maps.integrate import Euler, RungeKutta
from wgf.steppers.base import Info, State, Stepper, displacement, draw, observe, share
from wgf.training import Progress, Watch


@dataclass(frozen=True)
class Particles(Stepper):
    """Every particle follows −∇δF/δρ of the cloud: the forward Euler scheme in Wasserstein space, or Heun's.

    Order 1 (Euler) or 2 (Heun) in τ/substeps. For terms with a first variation that particles can evaluate: potentials,
    interactions, mollified entropies.
    Args: particles; scheme, Euler() or Heun(); substeps, equal parts of each τ.

    In a `shards.group` each process moves its rows, and all are gathered once a stage.
    """

    particles: int = 10_000
    scheme: RungeKutta = Euler()
    substeps: int = 1

    accepts: ClassVar[tuple[type, ...]] = (HasVariation,)
    instead: ClassVar[str] = "Langevin or JKO, which can, or Blob(...), the entropy that particles see"
    keeps_density: ClassVar[bool] = False
    sharded: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checks.at_least("particles", self.particles, 1)
        checks.at_least("substeps", self.substeps, 1)

    @property
    def rows(self) -> int:
        return self.particles

    def init(self, F: Functional, law: Law, seed: int) -> State:
        route(F, self.accepts, "Particles", self.instead)
        return share(draw(law, self.particles, seed, 0))

    def check(self, F: Functional, state: State) -> None:
        route(F, self.accepts, "Particles", self.instead)

    @torch.no_grad()
    def step(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[State, Info]:
        began = time.perf_counter()

        def velocity(t: float, moving: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (-first_variation(F, shards.cloud(moving[0])).gradient(moving[0]),)

        x = state.x
        for k in range(self.substeps):
            (x,) = self.scheme.integrate(velocity, (x,), 0.0, tau / self.substeps, 1)
            watch(Progress(k + 1, self.substeps, float("nan"), time.perf_counter() - began))  # time is counted: no stop
        after = replace(state, x=x, step=state.step + 1, logdet=None, log_base=None)
        variation = first_variation(F, shards.cloud(x))
        energy = observe(F, after, self.rows)
        return after, Info(
            energy=energy, moved=displacement(state.x, x), seconds=time.perf_counter() - began, variation=variation
        )

    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        return Empirical(shards.join(state.x))
