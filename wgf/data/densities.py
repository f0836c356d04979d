"""The planar laws of Grathwohl et al. 2019 (FFJORD, arXiv 1810.01367), at their scales, with densities where known."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from wgf.data.planar import Planar, along, nodes
from wgf.law import Box, Gaussian, Law, Mixture
from wgf.ring import Ring


@dataclass(frozen=True)
class Checkerboard(Planar):
    """Uniform on eight of the sixteen squares of side 2 of [−4, 4]², no two of which share a side."""

    parts = 8

    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        return self._corners()[label] + 2 * torch.rand(len(label), 2, dtype=noise.dtype, generator=generator)

    def law(self) -> Law:
        self._planar()
        return Mixture([Box(corner, corner + 2) for corner in self._corners()])

    def _corners(self) -> Tensor:
        column = torch.arange(4, dtype=torch.float64).repeat_interleave(2)
        row = torch.tensor([-2.0, 0.0], dtype=torch.float64).repeat(4) + column % 2
        return 2 * torch.stack([column - 2, row], 1)


@dataclass(frozen=True)
class TwoSpirals(Planar):
    """±(u − t cos t, u′ + t sin t)/3 + N(0, 0.1² I), t = 3π√v, with v uniform on [0, 1] and u, u′ on [0, ½]."""

    parts = 2

    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        v, u, w = torch.rand(3, len(label), dtype=noise.dtype, generator=generator)
        t = 3 * math.pi * v.sqrt()
        arm = torch.stack([0.5 * u - t * t.cos(), 0.5 * w + t * t.sin()], 1) / 3
        return torch.where(label[:, None] == 0, arm, -arm) + 0.1 * noise


@dataclass(frozen=True)
class SwissRoll(Planar):
    """(t cos t, t sin t)/5 + N(0, 0.2² I), t uniform on [3π/2, 9π/2]."""

    parts = 1

    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        return self._roll(torch.rand(len(label), dtype=noise.dtype, generator=generator)) + 0.2 * noise

    def law(self) -> Law:
        self._planar()
        return along(self._roll(nodes(1000)), 0.2)

    def _roll(self, share: Tensor) -> Tensor:
        t = 1.5 * math.pi * (1 + 2 * share)
        return torch.stack([t * t.cos(), t * t.sin()], 1) / 5


@dataclass(frozen=True)
class EightGaussians(Planar):
    """N(c_k, I/8), the centres c_k on a circle of radius √8."""

    parts = 8

    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        return self._centres()[label] + math.sqrt(0.125) * noise

    def law(self) -> Law:
        self._planar()
        return Mixture([Gaussian(centre, 0.125 * torch.eye(2)) for centre in self._centres()])

    def _centres(self) -> Tensor:
        angle = math.pi / 4 * torch.arange(8, dtype=torch.float64)
        return math.sqrt(8) * torch.stack([angle.cos(), angle.sin()], 1)


@dataclass(frozen=True)
class Circles(Planar):
    """As many points on each of two circles of radius 3 and 1.5, plus N(0, 0.24² I)."""

    parts = 2

    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        angle = 2 * math.pi * torch.rand(len(label), dtype=noise.dtype, generator=generator)
        radius = torch.where(label == 0, 3.0, 1.5)[:, None]
        return radius * torch.stack([angle.cos(), angle.sin()], 1) + 0.24 * noise

    def law(self) -> Law:
        self._planar()
        return Mixture([Ring(3.0, 0.24), Ring(1.5, 0.24)])
