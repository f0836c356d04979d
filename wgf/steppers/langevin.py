"""Langevin dynamics: entropy as Brownian motion, unadjusted (any interaction) or Metropolis-adjusted (potentials)."""

import math
import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from wgf import checks, keys, shards
from wgf.errors import Incompatible
from wgf.functionals.base import (
    Functional,
    HasNoise,
    HasVariation,
    first_variation,
    route,
    weighted,
)
from wgf.functionals.potential import Potential
from wgf.law import Cloud, Empirical, Law
from wgf.steppers.base import Info, State, Stepper, displacement, draw, observe, share
from wgf.training import Progress, Watch


class _Diffusion(Stepper):
    """What both Langevin steppers share: particles, sub-steps, and the temperature of a functional."""

    particles: int
    substeps: int

    keeps_density: ClassVar[bool] = False
    sharded: ClassVar[bool] = True

    @property
    def rows(self) -> int:
        return self.particles

    @property
    def _name(self) -> str:
        return type(self).__name__

    def init(self, F: Functional, law: Law, seed: int) -> State:
        self._split(F)
        return share(draw(law, self.particles, seed, 0))

    def check(self, F: Functional, state: State) -> None:
        self._split(F)

    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        return Empirical(shards.join(state.x))

    def step(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[State, Info]:
        began = time.perf_counter()
        temperature, drift = self._split(F)
        with torch.no_grad():
            x, measures = self._run(state, temperature, drift, tau / self.substeps, watch)
        after = replace(state, x=x, step=state.step + 1, logdet=None, log_base=None)
        info = Info(
            energy=observe(F, after, self.rows),
            moved=displacement(state.x, x),
            measures=measures,
            seconds=time.perf_counter() - began,
        )
        return after, info

    @abstractmethod
    def _run(
        self, state: State, temperature: float, drift: Functional, h: float, watch: Watch
    ) -> tuple[Tensor, dict[str, float]]:
        """The particles after all sub-steps of size h, and what was measured."""

    def _split(self, F: Functional) -> tuple[float, Functional]:
        """The temperature, and the terms that drift."""
        routed = route(F, self.accepts, self._name, "JKO")
        temperature = math.fsum(weight * term.temperature for weight, term, _ in routed if isinstance(term, HasNoise))
        if temperature < 0:
            raise Incompatible(
                f"{self._name} needs a temperature of at least 0, but the entropies of F add up to {temperature:g}"
            )
        return temperature, Functional(tuple((w, term) for w, term, kind in routed if not issubclass(kind, HasNoise)))


@dataclass(frozen=True)
class Langevin(_Diffusion):
    """x ← x − h ∇δF/δρ(x) + √(2Th) ξ: Euler–Maruyama, the unadjusted Langevin algorithm, with mean-field interactions.

    Weak order 1 in h = τ/substeps; its stationary law is biased by O(h).
    """

    particles: int = 10_000
    substeps: int = 10

    accepts: ClassVar[tuple[type, ...]] = (HasNoise, HasVariation)

    def __post_init__(self) -> None:
        checks.at_least("particles", self.particles, 1)
        checks.at_least("substeps", self.substeps, 1)

    def _run(
        self, state: State, temperature: float, drift: Functional, h: float, watch: Watch
    ) -> tuple[Tensor, dict[str, float]]:
        x, began = state.x, time.perf_counter()
        generator = keys.generator(state.key, state.step, 3, device=x.device)
        for k in range(self.substeps):
            if drift.terms:
                x = x - h * first_variation(drift, shards.cloud(x)).gradient(x)
            if temperature:
                x = x + math.sqrt(2 * temperature * h) * _noise(x, generator)
            watch(Progress(k + 1, self.substeps, math.nan, time.perf_counter() - began))  # time is counted: no stop
        return x, {}


@dataclass(frozen=True)
class AdjustedLangevin(_Diffusion):
    """The Metropolis-adjusted Langevin algorithm for F = T·Entropy + Potential(V): e^{−V/T} is left exactly invariant.

    A Langevin proposal of size h = τ/substeps, accepted by its Metropolis–Hastings ratio; value and gradient at the
    current point are carried along, so that each sub-step costs one of each. Source: Roberts and Tweedie, Bernoulli
    1996.
    """

    particles: int = 10_000
    substeps: int = 10

    accepts: ClassVar[tuple[type, ...]] = (HasNoise, Potential)

    def __post_init__(self) -> None:
        checks.at_least("particles", self.particles, 1)
        checks.at_least("substeps", self.substeps, 1)

    def check(self, F: Functional, state: State) -> None:
        temperature, drift = self._split(F)
        if temperature == 0 or not drift.terms:
            raise Incompatible(
                "AdjustedLangevin needs an Entropy() and a Potential(V): without both there is no e^{−V/T}"
            )

    def _run(
        self, state: State, temperature: float, drift: Functional, h: float, watch: Watch
    ) -> tuple[Tensor, dict[str, float]]:
        psi = weighted(
            [
                (w / temperature, term.first_variation(Cloud(state.x)))
                for w, term in drift.terms
                if isinstance(term, Potential)
            ]
        )
        h, x, began = temperature * h, state.x, time.perf_counter()
        value, slope, accepted = psi(x), psi.gradient(x), x.new_zeros(len(x), dtype=torch.float64)
        generator = keys.generator(state.key, state.step, 3, device=x.device)
        for k in range(self.substeps):
            noise = _noise(x, generator)
            y = x - h * slope + math.sqrt(2 * h) * noise
            new_value, new_slope = psi(y), psi.gradient(y)
            back = (x - y + h * new_slope).square().sum(-1) / (4 * h)
            ratio = value - new_value + 0.5 * noise.square().sum(-1) - back
            accept = _uniform(x, generator).log() < ratio
            x, slope = (torch.where(accept[:, None], new, old) for new, old in ((y, x), (new_slope, slope)))
            value = torch.where(accept, new_value, value)
            accepted = accepted + accept
            watch(Progress(k + 1, self.substeps, math.nan, time.perf_counter() - began))  # time is counted: no stop
        return x, {"acceptance": shards.mean(accepted) / self.substeps}


def _noise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers for the rows of x: in a `shards.group` their share of those that one process draws."""
    return shards.draw(lambda n: torch.randn(n, x.shape[1], dtype=x.dtype, device=x.device, generator=generator), x)


def _uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    return shards.draw(lambda n: torch.rand(n, dtype=x.dtype, device=x.device, generator=generator), x)
