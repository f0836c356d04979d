"""Neural ODE blocks: ẋ = N(x, t), with the exact trace or Hutchinson's estimate of it while training."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from wgf import checks, keys
from wgf.activations import Activation, Tanh
from wgf.errors import InputError
from wgf.layers import tracked
from wgf.maps.drift import Drift
from wgf.maps.dynamic import Dynamic, at_time, at_times
from wgf.maps.integrate import RK4, RungeKutta, Scheme
from wgf.maps.sweep import Build, Course, swept
from wgf.networks import MLP


class Trace(ABC):
    """How the divergence is found while training; evaluation is always exact."""

    @property
    @abstractmethod
    def directions(self) -> int:
        """How many random directions a row needs."""

    @abstractmethod
    def __call__(self, network: MLP, rows: Float[Tensor, "n i"], probes: Float[Tensor, "k n i"]) -> Float[Tensor, " n"]:
        """The divergence at rows of inputs."""


@dataclass(frozen=True)
class Exact(Trace):
    """Σ_a ∂v_a/∂x_a in closed form."""

    @property
    def directions(self) -> int:
        return 0

    def __call__(self, network: MLP, rows: Float[Tensor, "n i"], probes: Float[Tensor, "k n i"]) -> Float[Tensor, " n"]:
        return network.trace(rows)


@dataclass(frozen=True)
class Hutchinson(Trace):
    """(1/k) Σ ⟨ε, ∇v ε⟩ with Rademacher ε, one draw for each sub-interval, k = `probes` (Hutchinson 1990; FFJORD)."""

    probes: int = 1

    def __post_init__(self) -> None:
        checks.at_least("probes", self.probes, 1)

    @property
    def directions(self) -> int:
        return self.probes

    def __call__(self, network: MLP, rows: Float[Tensor, "n i"], probes: Float[Tensor, "k n i"]) -> Float[Tensor, " n"]:
        return network.quadratic(rows, probes) / self.probes


@dataclass(frozen=True)
class FiniteDifference(Trace):
    """(1/k) Σ ⟨ε, v(x + σε) − v(x − σε)⟩/2σ: two passes of the network a probe, and no tangents.

    JKO-iFlow's estimate (Xu, Cheng, Xie 2023, arXiv 2212.14424, eq. (12)) by a central difference, whose error is σ²
    where a one-sided one has σ; below σ ~ 10⁻³/√d float32 cancels.
    Args: probes, k; step, σ√d > 0.
    """

    probes: int = 1
    step: float = 1e-2

    def __post_init__(self) -> None:
        checks.at_least("probes", self.probes, 1)
        checks.positive("step", self.step)

    @property
    def directions(self) -> int:
        return self.probes

    def __call__(self, network: MLP, rows: Float[Tensor, "n i"], probes: Float[Tensor, "k n i"]) -> Float[Tensor, " n"]:
        outputs = network.outputs
        sigma = self.step / math.sqrt(outputs)
        difference = network((rows + sigma * probes).flatten(0, 1)) - network((rows - sigma * probes).flatten(0, 1))
        along = (difference.view(*probes.shape[:2], outputs) * probes[..., :outputs]).sum((0, 2))
        return along / (2 * sigma * self.probes)


class NeuralODE(Dynamic):
    """x(0) ↦ x(T) along ẋ = N(x, t), N a multilayer perceptron whose last layer starts at zero: the identity.

    With `context` = k the last k coordinates of x stand still, labels or covariates c: u̇ = N(u, c, t), and the
    divergence is that of u, so that log-determinants are those of the conditional law of u given c.

    Args: width and depth of N; trace, of the divergence while training; context, 0 ≤ k < d; the others as in `Dynamic`.
    """

    def __init__(
        self,
        dim: int,
        width: int = 64,
        depth: int = 2,
        horizon: float = 1.0,
        steps: int = 4,
        scheme: Scheme = RK4(),
        trace: Trace = Exact(),
        activation: Activation = Tanh(),
        evaluation_steps: int | None = None,
        checkpoint: bool = False,
        context: int = 0,
        frequency: float = 1.0,
        random_times: bool = False,
    ) -> None:
        super().__init__(dim, horizon, steps, scheme, evaluation_steps, checkpoint, random_times)
        self.context = checks.at_least("context", context, 0)
        if context >= dim:
            raise InputError(f"context must be less than the dimension {dim}, got {context}: nothing would move")
        self.network = MLP(dim + 1, dim - context, width, depth, activation, zero_last=True, frequency=frequency)
        self.trace = trace

    def reset(self, generator: torch.Generator) -> None:
        self.network.reset(generator)

    def velocity(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self._drift(self.network.weights).value(t.to(x) if isinstance(t, Tensor) else t, x)

    def _swept(self, x: Tensor, ends: bool) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor]:
        weights, another = self.network.weights, type(self).velocity is not NeuralODE.velocity
        if another or self._thrifty or not tracked(x, *weights) or not isinstance(self.scheme, RungeKutta):
            return super()._swept(x, ends)
        course = Course(self.scheme, self._times, self.end - self.start, ends)
        return swept(x, self._drift, course, *weights)

    @property
    def _drift(self) -> Build:
        return partial(Drift, self.network.activation, self.context)

    def divergences(self, times: Sequence[float], points: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, "k n"]:
        rows = at_times(times, points)
        trace = self.trace if self.training else Exact()
        drawn = [self._probes(trace.directions, t, x) for t, x in zip(times, points, strict=True)]
        return trace(self.network, rows, torch.cat(drawn, 1)).view(len(times), -1)

    def velocity_tangents(
        self, t: float, x: Float[Tensor, "n d"], dx: Float[Tensor, "k n d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "k n d"]]:
        v, dv = self.network.tangents(at_time(t, x), pad(dx, (0, 1)))
        return pad(v, (0, self.context)), pad(dv, (0, self.context))

    def _probes(self, count: int, t: float, x: Tensor) -> Tensor:
        """Rademacher directions (count, n, d + 1) of the sub-interval that t lies in, none in context and time."""
        moving = self.dim - self.context
        if not count:
            return x.new_empty(0, len(x), self.dim + 1)
        width = (self.end - self.start) / self.steps
        interval = min(int((float(t) - self.start) / width + 1e-9), self.steps - 1)
        generator = keys.generator(self._key, interval, device=x.device)
        draw = torch.rand(count, len(x), moving, generator=generator, device=x.device)
        return pad((2 * (draw < 0.5) - 1).to(x), (0, self.context + 1))
