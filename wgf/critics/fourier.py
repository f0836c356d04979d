"""A critic of many scales: a perceptron of sines and cosines."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.activations import Activation, Silu
from wgf.critics.base import ScalarField, spread
from wgf.errors import InputError
from wgf.networks import MLP


class FourierCritic(ScalarField):
    """u(x) = N(s, a_j cos⟨ω_j, s⟩, a_j sin⟨ω_j, s⟩), s = (x − m)/σ, (n, d) -> (n,), zero at the start.

    A perceptron of coordinates learns what is smooth first, and modes far narrower than their distance hardly at all;
    waves of all lengths between are there from the start. Directions of ω_j are uniform, their lengths log-uniform
    between `low` and `high` radians per standard deviation, and a_j = (low/|ω_j|)^decay: the larger `decay`, the later
    short waves are learnt; at 1 all are equally steep. m and σ, mean and standard deviation per coordinate, are fixed
    when the critic first meets particles and reference law, and are saved with its weights, as the waves are. Source:
    Tancik et al. 2020 (arXiv 2006.10739), where lengths are normal.

    Args: dim; waves, their number; low, high, 0 < low ≤ high; decay ≥ 0; width, depth, activation of N.
    """

    mean: Tensor
    scale: Tensor
    frequencies: Tensor
    amplitudes: Tensor

    def __init__(
        self,
        dim: int,
        waves: int = 32,
        low: float = 1.0,
        high: float = 16.0,
        decay: float = 1.0,
        width: int = 64,
        depth: int = 2,
        activation: Activation = Silu(),
    ) -> None:
        super().__init__()
        self.dim, self.waves = checks.at_least("dim", dim, 1), checks.at_least("waves", waves, 1)
        self.low, self.high = checks.positive("low", low), checks.positive("high", high)
        if low > high:
            raise InputError(f"the frequencies of a FourierCritic need low ≤ high, got {low!r} and {high!r}")
        self.decay = checks.not_negative("decay", decay)
        self.network = MLP(dim + 2 * waves, 1, width, depth, activation, zero_last=True)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(dim))
        self.register_buffer("frequencies", torch.zeros(waves, dim))
        self.register_buffer("amplitudes", torch.zeros(waves))
        self.reset(torch.Generator().manual_seed(0))

    def reset(self, generator: torch.Generator) -> None:
        """Draw waves and initial weights from `generator`."""
        self.network.reset(generator)
        direction = torch.randn(self.waves, self.dim, generator=generator, device=generator.device)
        share = torch.rand(self.waves, 1, generator=generator, device=generator.device)
        length = self.low * (self.high / self.low) ** share
        self.frequencies.copy_(length * direction / direction.norm(dim=1, keepdim=True).clamp_min(1e-12))
        self.amplitudes.copy_((self.low / length[:, 0]) ** self.decay)

    def standardise(self, x: Float[Tensor, "n d"]) -> None:
        """Fix m and σ to those of the rows."""
        self.mean.copy_(x.mean(0))
        self.scale.copy_(spread(x).clamp_min(1e-6))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        s = (x - self.mean) / self.scale
        phase = s @ self.frequencies.T
        return self.network(torch.cat([s, self.amplitudes * phase.cos(), self.amplitudes * phase.sin()], 1))[:, 0]
