"""Neural ODE blocks: ẋ = N(x, t), with the exact trace or Hutchinson's estimate of it while training."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys
from wgf.maps.dynamic import Dynamic, at_time, at_times
from wgf.maps.integrate import RK4, Scheme
from wgf.networks import MLP, Activation, Tanh


class Trace:
    """How the divergence is found while training; evaluation is always exact."""


@dataclass(frozen=True)
class Exact(Trace):
    """Σ_a ∂v_a/∂x_a by d tangents."""


@dataclass(frozen=True)
class Hutchinson(Trace):
    """(1/k) Σ ⟨ε, ∇v ε⟩ with Rademacher ε, one draw for each sub-interval, k = `probes` (Hutchinson 1990; FFJORD)."""

    probes: int = 1

    def __post_init__(self) -> None:
        checks.at_least("probes", self.probes, 1)


class NeuralODE(Dynamic):
    """x(0) ↦ x(T) along ẋ = N(x, t), N a multilayer perceptron whose last layer starts at zero: the identity."""

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
    ) -> None:
        super().__init__(dim, horizon, steps, scheme)
        self.network = MLP(dim + 1, dim, width, depth, activation, zero_last=True)
        self.trace, self._key = trace, 0

    def reset(self, generator: torch.Generator) -> None:
        self.network.reset(generator)

    def redraw(self, key: int) -> None:
        self._key = key

    def velocity(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self.network(at_time(t, x))

    def divergences(self, times: Sequence[float], points: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, "k n"]:
        rows = at_times(times, points)
        if isinstance(self.trace, Hutchinson) and self.training:
            probes = torch.cat([self._probes(t, x) for t, x in zip(times, points, strict=True)], 1)
            return self.network.divergence(rows, probes)[1].view(len(times), -1) / self.trace.probes
        return self.network.divergence(rows)[1].view(len(times), -1)

    def velocity_tangents(
        self, t: float, x: Float[Tensor, "n d"], dx: Float[Tensor, "k n d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "k n d"]]:
        return self.network.tangents(at_time(t, x), torch.nn.functional.pad(dx, (0, 1)))

    def _probes(self, t: float, x: Tensor) -> Tensor:
        assert isinstance(self.trace, Hutchinson)
        width = (self.end - self.start) / self.steps
        interval = min(int((t - self.start) / width + 1e-9), self.steps - 1)
        draw = torch.rand(
            self.trace.probes, *x.shape, generator=keys.generator(self._key, interval, device=x.device), device=x.device
        )
        return torch.nn.functional.pad((2 * (draw < 0.5) - 1).to(x), (0, 1))
