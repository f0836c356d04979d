"""Planar laws that are drawn, not read: the pinwheel and the two moons, in the plane or in a plane of R^d."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from wgf import checks, keys
from wgf.data.table import Dataset, Table, numbered, signed


@dataclass(frozen=True)
class Planar(Dataset):
    """Independent rows of a law on the plane of the first two coordinates of R^d; the others are zero.

    Args: rows, how many; dim, d ≥ 2; seed of the draws. Rows are float64.
    Raises: InputError for an argument outside these ranges.
    """

    rows: int = 100_000
    dim: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        checks.at_least("rows", self.rows, 1)
        checks.at_least("dim", self.dim, 2)
        checks.at_least("seed", self.seed, 0)

    def load(self) -> Table:
        generator = keys.generator(self.seed)
        label = torch.randint(self.parts, (self.rows,), generator=generator)
        points = self.draw(label, torch.randn(self.rows, 2, dtype=torch.float64, generator=generator), generator)
        y = signed(label == 1) if self.parts == 2 else label
        return Table(pad(points, (0, self.dim - 2)), y, numbered("x", self.dim))

    @property
    @abstractmethod
    def parts(self) -> int:
        """How many parts the law has, of equal weight: the labels."""

    @abstractmethod
    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Points (n, 2) from the part of each (n,), standard normal noise (n, 2), and what else is random."""


@dataclass(frozen=True)
class Pinwheel(Planar):
    """Five blades: 1.4·(r, s) turned by 2πk/5 + ¼e^r, r ~ N(1, 0.3²), s ~ N(0, 0.1²), k the label.

    The blades of Johnson et al. 2016 (arXiv 1603.06277) at the scale of Gu et al. 2024 (arXiv 2407.11901).
    """

    @property
    def parts(self) -> int:
        return 5

    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        r, s = 1 + 0.3 * noise[:, 0], 0.1 * noise[:, 1]
        angle = 2 * math.pi / self.parts * label + 0.25 * r.exp()
        cosine, sine = angle.cos(), angle.sin()
        return 1.4 * torch.stack([r * cosine - s * sine, r * sine + s * cosine], 1)


@dataclass(frozen=True)
class Moons(Planar):
    """4.2·(x − c), x on two half circles of radius 1, one the other turned about (½, ¼), plus N(0, 0.05² I).

    The points of scikit-learn's make_moons, c = (0.5, 0.2), at the scale of Gu et al. 2024 (arXiv 2407.11901).
    """

    @property
    def parts(self) -> int:
        return 2

    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        angle = math.pi * torch.rand(len(label), dtype=noise.dtype, generator=generator)
        first = torch.stack([angle.cos(), angle.sin()], 1)
        half_circle = torch.where(label[:, None] == 0, first, first.new_tensor([1.0, 0.5]) - first)
        return 4.2 * (half_circle + 0.05 * noise - first.new_tensor([0.5, 0.2]))
