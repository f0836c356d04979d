"""Stein variational gradient descent: particles without noise, which a kernel keeps apart."""

import math
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys
from wgf.errors import Diverged, Incompatible, InputError
from wgf.functionals.base import Functional, HasNoise, HasVariation, route
from wgf.functionals.potential import Potential
from wgf.kernels import Bandwidth, Gaussian, MedianLog, Radial, kernel_sum, kernel_sums
from wgf.kernels.sums import ACCURACY, FLOOR
from wgf.law import Cloud, Empirical, Law
from wgf.steppers.base import Info, State, Stepper, displacement, draw, observe
from wgf.steppers.updates import Plain, Update
from wgf.training import Progress, Watch

FEW = 3
"""In more dimensions than these d + 1 sums of a Gaussian kernel's values are cheaper than d of them and d of slopes."""

NEAR = 8.0
"""Up to so many bandwidths from the centre of the cloud: beyond, differences x_i − x_j of sums would lose digits."""


FARTHEST = 1e14  # where no kernel has a bandwidth any more


@dataclass(frozen=True)
class SVGD(Stepper):
    """x_i ← x_i + h v(x_i), v(x) = 1/n Σ_j [−k(x_j, x) ∇ψ(x_j) + T ∇_{x_j} k(x_j, x)], ψ = δ(F − T·entropy)/δρ.

    For F = T·Entropy + Potential(V), v is T times the direction φ of Liu & Wang (NeurIPS 2016, Algorithm 1) with score
    s = −∇V/T. So it is the gradient flow of F itself in the geometry where the kernel smooths velocities (Liu, NeurIPS
    2017): dF/dt = −T² KSD²(ρ, s), and c·F flows as F does in the time ct. Other terms with a first variation, such as
    interactions, drift along: ψ then is that of the cloud (the mean field), and F still decreases in that geometry.

    Noise-free: one particle climbs to a mode, and n particles settle at a set that is narrower than e^{−V/T} (in d = 2
    with n = 200 by 5 % in variance) by more the larger d is against n. The way there is not that of the Wasserstein
    flow, nor is its time: only the end is the same. Order 1 in h = τ/substeps.

    Args: particles; kernel, a rule that gives the positive definite kernel of a cloud, anew each sub-step: MedianLog(),
    that of the paper, Median(), Fixed(Gaussian(0.5)) …; update, Plain(), AdaGrad() as in the paper, AdamStep() or
    Optimiser(factory): with all but Plain τ is a learning rate, not a time; batch, rows of the data from which
    potentials that offer `sampled_gradient` estimate ∇V anew each sub-step, None for all; substeps, equal parts of each
    τ; engine and tolerance of the sums, as in `kernels.kernel_sum`.
    Cost: one pass over the n² pairs a sub-step. Energies are observed on all data; that of the entropy is not known.
    """

    particles: int = 1_000
    kernel: Bandwidth = MedianLog()
    update: Update = Plain()
    batch: int | None = None
    substeps: int = 1
    engine: str = "auto"
    tolerance: float | None = None

    accepts: ClassVar[tuple[type, ...]] = (HasNoise, HasVariation)
    instead: ClassVar[str] = "JKO or SaddleJKO, which can, or Blob(...), the entropy that particles see"
    keeps_density: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, Bandwidth):
            given = getattr(self.kernel, "name", repr(self.kernel))
            raise InputError(f"SVGD needs a rule for its bandwidth, such as Median() or Fixed({given}), got {given}")
        checks.at_least("particles", self.particles, 1)
        checks.at_least("substeps", self.substeps, 1)
        if self.batch is not None:
            checks.at_least("batch", self.batch, 1)

    @property
    def rows(self) -> int:
        return self.particles

    def init(self, F: Functional, law: Law, seed: int) -> State:
        self._split(F)
        return draw(law, self.particles, seed, 0)

    def check(self, F: Functional, state: State) -> None:
        _, drift = self._split(F)
        if self.batch is not None and not any(_sampled(term) for _, term in drift.terms):
            raise Incompatible(
                f"SVGD takes a batch of {self.batch} rows of the data at a time, but no Potential of F is a sum over"
                " rows with a sampled_gradient; leave batch out"
            )
        self._kernel(state.x)

    @torch.no_grad()
    def step(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[State, Info]:
        began, h = time.perf_counter(), tau / self.substeps
        temperature, drift = self._split(F)
        x, memory = state.x, state.memory
        generator = keys.generator(state.key, state.step, 4, device=x.device)
        kernel = None
        for k in range(self.substeps):
            kernel = self._kernel(x)
            slope = _finite("scores", self._slope(drift, x, generator))
            velocity = stein_velocity(kernel, x, -slope, temperature, self.engine, self.tolerance)
            x, memory = self.update(x, velocity, h, memory)
            watch(Progress(k + 1, self.substeps, math.nan, time.perf_counter() - began))  # time is counted: no stop
        after = replace(state, x=x, step=state.step + 1, logdet=None, log_base=None, memory=memory)
        width = getattr(kernel, "bandwidth", None)
        return after, Info(
            energy=observe(F, after, self.rows),
            moved=displacement(state.x, x),
            measures={} if width is None else {"bandwidth": width},
            seconds=time.perf_counter() - began,
        )

    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        return Empirical(state.x)

    def _split(self, F: Functional) -> tuple[float, Functional]:
        """The temperature, and the terms that drift."""
        routed = route(F, self.accepts, "SVGD", self.instead)
        temperature = math.fsum(weight * term.temperature for weight, term, _ in routed if isinstance(term, HasNoise))
        if temperature <= 0:
            raise Incompatible(
                f"SVGD needs an Entropy() of positive weight, got {temperature:g}: without one all particles fall to"
                " the minima; take Particles for a functional without entropy"
            )
        return temperature, Functional(tuple((w, term) for w, term, kind in routed if not issubclass(kind, HasNoise)))

    def _kernel(self, x: Tensor) -> Radial:
        """The kernel of the rule for these particles."""
        _finite("particles", x)
        kernel = self.kernel.kernel(x)
        peak = float(kernel.value(x.new_zeros(()), x.shape[1]))
        if not peak > 0:
            raise Incompatible(
                f"SVGD needs a positive definite kernel, and {kernel.name} has k(0) = {peak:g}; take Gaussian,"
                " InverseMultiquadric, Laplace or a Matérn kernel"
            )
        return kernel

    def _slope(self, drift: Functional, x: Tensor, generator: torch.Generator) -> Tensor:
        """∇ψ(x_i), on a batch of rows for the potentials that offer it."""
        total, cloud = torch.zeros_like(x), Cloud(x)
        for weight, term in drift.terms:
            if self.batch is not None and isinstance(term, Potential) and term.sampled_gradient is not None:
                total += weight * term.sampled_gradient(self.batch, generator)(x)
            elif isinstance(term, HasVariation):
                total += weight * term.first_variation(cloud).gradient(x)
        return total


def stein_velocity(
    kernel: Radial,
    x: Float[Tensor, "n d"],
    score: Float[Tensor, "n d"],
    temperature: float = 1.0,
    engine: str = "auto",
    tolerance: float | None = None,
) -> Float[Tensor, "n d"]:
    """1/n Σ_j [k(x_j, x_i) s(x_j) + T ∇_{x_j} k(x_j, x_i)], in one pass over the pairs.

    With T = 1 and s = ∇log π this is the direction in which KL(ρ‖π) falls fastest among the unit ball of the kernel's
    vector-valued functions (Liu & Wang, NeurIPS 2016, eq. (8)), and zero in the mean where ρ = π. Its error is within
    the tolerance (by default 1e-5 in float32 and 1e-11 in float64) of 1/n Σ_j |k| (|s_j| + T/h) for a Gaussian kernel
    of bandwidth h, and of 1/n Σ_j (|k| |s_j| + T |∇k|) for any other.
    Raises: as `kernels.kernel_sums`.
    """
    n, dim = x.shape
    if isinstance(kernel, Gaussian) and dim > FEW:
        y = x - x.mean(0)
        if float(y.norm(dim=1).max()) <= NEAR * kernel.bandwidth:
            finer = (ACCURACY[x.dtype] if tolerance is None else tolerance) / NEAR
            push = temperature / (n * kernel.bandwidth**2) * y  # ∇_{x_j} k = k (x_i − x_j)/h²
            weights = torch.cat([score / n - push, x.new_ones(n, 1)], 1)
            sums = kernel_sum(kernel, x, x, weights, engine=engine, tolerance=max(finer, FLOOR[x.dtype]))
            return sums[:, :dim] + push * sums[:, dim:]
    repulsion = x.new_full((n,), -temperature / n)  # ∇_{x_j} k = −∇_{x_i} k
    value, gradient = kernel_sums(kernel, x, x, score / n, repulsion, engine=engine, tolerance=tolerance)
    return value + gradient


def _sampled(term: object) -> bool:
    return isinstance(term, Potential) and term.sampled_gradient is not None


def _finite(what: str, rows: Tensor) -> Tensor:
    lost = int((~(rows.abs().amax(-1) < FARTHEST)).sum())
    if lost:
        raise Diverged(
            f"{lost} of the {len(rows)} {what} of SVGD are no longer finite, or beyond {FARTHEST:g}; take smaller steps"
        )
    return rows
