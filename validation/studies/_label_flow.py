"""A flow of rows given their label, one of ten: densities with the labels summed, and samples of each digit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from wgf import Entropy, Gaussian, Path, Potential, evolve
from wgf.conditional import Given, Leading
from wgf.law import Law
from wgf.maps import NeuralODE
from wgf.methods import jko_iflow
from wgf.scoring import log_density
from wgf.training import Adam

CLASSES = 10


def encoded(labels: Int[Tensor, " n"]) -> Float[Tensor, "n 10"]:
    """One-hot, as the context of a flow."""
    return one_hot(labels, CLASSES).double()


@dataclass(frozen=True)
class Training:
    """How a flow of blocks is trained: their step sizes, recipe, width, and the pool's share of held rows, 1/held."""

    taus: Sequence[float]
    recipe: Adam
    width: int
    held: int


@dataclass(frozen=True)
class LabelFlow:
    """JKO-iFlow from rows (u, label) to (N(0, I), label), the label standing still."""

    path: Path

    @classmethod
    def trained(cls, start: Law, pool: int, training: Training) -> "LabelFlow":
        """In float32, from `start`, the law of rows followed by encoded labels."""
        block = NeuralODE(start.dim, training.width, steps=2, evaluation_steps=4, context=CLASSES)
        stepper = replace(jko_iflow(start.dim, block, training.recipe, pool), held=pool // training.held)
        F = Entropy() + Potential(Leading(start.dim - CLASSES))
        return cls(evolve(F, stepper, start.to(torch.float32), training.taus, seed=0))

    def model(self, labels: Int[Tensor, " m"]) -> Law:
        """The law of rows given labels, in float64; sample i has label i mod m."""
        dim = self.path.laws[0].dim - CLASSES
        noise = Gaussian.standard(dim, dtype=torch.float64)
        return self.path.inverse(Given(noise, encoded(labels))).to(torch.float64)

    @torch.no_grad()
    def given(self, u: Float[Tensor, "n d"]) -> Float[Tensor, "n 10"]:
        """log p(u_i | label), of every label."""
        model = self.model(torch.arange(CLASSES))
        columns = [torch.full((len(u),), k) for k in range(CLASSES)]
        return torch.stack([log_density(model, torch.cat([u, encoded(k)], 1)) for k in columns], 1)

    @torch.no_grad()
    def sample(self, labels: Int[Tensor, " n"], generator: torch.Generator) -> Float[Tensor, "n d"]:
        """A row of each label."""
        return self.model(labels).sample(len(labels), generator)[:, :-CLASSES]


def summed(given: Float[Tensor, "n 10"], labels: Int[Tensor, " m"]) -> Float[Tensor, " n"]:
    """log Σ_c p(c) p(u|c), p(c) as often as labels come in training."""
    weights = torch.bincount(labels, minlength=CLASSES).double() / len(labels)
    return torch.logsumexp(given + weights.log(), 1)
