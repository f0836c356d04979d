"""What the study of W₁⊕W₂ flows makes of a trained potential flow: its measures, and what finer steps change."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wgf import Gaussian, keys
from wgf.maps import PotentialFlow
from wgf.optimality import optimality
from wgf.steppers.base import Live

FINER = 64
"""How many times the step h is cut."""


@dataclass(frozen=True)
class Motion:
    """Paths (k + 1, n, d) from fresh noise, the ends (n, d) of the same by finer steps, and what `optimality` measures.

    displaced = mean |x_fine(T) − x(T)| / mean |x(T) − x(0)|.
    """

    paths: Tensor
    finer: Tensor
    measures: Mapping[str, float]

    @property
    def displaced(self) -> float:
        moved = (self.paths[-1] - self.paths[0]).norm(dim=1).mean()
        return float((self.finer - self.paths[-1]).norm(dim=1).mean() / moved)

    @property
    def rows(self) -> dict[str, float]:
        """All of it, to be read."""
        return {**self.measures, f"displaced by steps {FINER} times finer": self.displaced}


@torch.no_grad()
def motion(map: PotentialFlow, noise: Gaussian, rows: int) -> Motion:
    """The motion of so many fresh rows of noise."""
    x = noise.sample(rows, keys.generator(5, device=noise.like.device))
    finer = map.refined(FINER).transport(x).y
    return Motion(map.trajectory(x).cpu(), finer.cpu(), optimality(Live(map, x, 1.0), rows))
