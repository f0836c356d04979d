"""Planar laws that are drawn, not read: the pinwheel and the two moons, in the plane or in a plane of R^d."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from wgf import checks, keys
from wgf.data.table import Dataset, Table, numbered, signed
from wgf.errors import Unknown
from wgf.law import Law
from wgf.pooled import PooledMixture


@dataclass(frozen=True)
class Planar(Dataset):
    """Independent rows of a law on the plane of the first two coordinates of R^d; the others are zero.

    `parts` of equal weight make the law up; which one a row is from is its label.

    Args: rows, how many; dim, d ≥ 2; seed of the draws. Rows are float64.
    Raises: InputError for an argument outside these ranges.
    """

    rows: int = 100_000
    dim: int = 2
    seed: int = 0

    parts: ClassVar[int]

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

    def law(self) -> Law:
        """The law itself, with its density. Raises: Unknown where no closed form or quadrature gives one."""
        raise Unknown(f"the density of {type(self).__name__} is not known in closed form")

    @abstractmethod
    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        """Points (n, 2) from the part of each (n,), standard normal noise (n, 2), and what else is random."""

    def _planar(self) -> None:
        if self.dim != 2:
            raise Unknown(f"in dimension {self.dim} {type(self).__name__} has no density: it lies in a plane")


def nodes(count: int) -> Tensor:
    """Midpoints of so many equal parts of [0, 1]."""
    return (torch.arange(count, dtype=torch.float64) + 0.5) / count


def along(points: Tensor, noise: float) -> Law:
    """The even law on points of a curve, seen through noise: their distance must be well below it."""
    eye = torch.eye(2, dtype=points.dtype)
    return PooledMixture(points, noise**2 * eye, torch.ones(len(points), dtype=points.dtype))


@dataclass(frozen=True)
class Pinwheel(Planar):
    """Five blades: scale·(r, s) turned by 2πk/5 + ¼e^r, r ~ N(1, 0.3²), s ~ N(0, 0.1²), k the label.

    The blades of Johnson et al. 2016 (arXiv 1603.06277); at scale 1.4 those of Gu et al. 2024 (arXiv 2407.11901), at 2
    those of Grathwohl et al. 2019 (arXiv 1810.01367).
    """

    scale: float = 1.4

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("scale", self.scale)

    parts = 5

    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        r, s = 1 + 0.3 * noise[:, 0], 0.1 * noise[:, 1]
        angle = 2 * math.pi / self.parts * label + 0.25 * r.exp()
        cosine, sine = angle.cos(), angle.sin()
        return self.scale * torch.stack([r * cosine - s * sine, r * sine + s * cosine], 1)


@dataclass(frozen=True)
class Moons(Planar):
    """scale·(x − c), x on two half circles of radius 1, one the other turned about (½, ¼), plus N(0, noise² I).

    The points of scikit-learn's make_moons, c = (0.5, 0.2), at the scale 4.2 of Gu et al. 2024 (arXiv 2407.11901) with
    noise 0.05; Grathwohl et al. 2019 (arXiv 1810.01367) have 2 and 0.1, about c = (0.5, 0.1).
    """

    scale: float = 4.2
    noise: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive("scale", self.scale)
        checks.positive("noise", self.noise)

    parts = 2

    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        share = torch.rand(len(label), dtype=noise.dtype, generator=generator)
        return self.scale * self.noise * noise + self._arcs(label, share)

    def law(self) -> Law:
        self._planar()
        count = max(400, math.ceil(2 * math.pi / self.noise))  # to half a deviation apart, or nearer
        share, label = nodes(count).repeat(2), torch.arange(2).repeat_interleave(count)
        return along(self._arcs(label, share), self.scale * self.noise)

    def _arcs(self, label: Tensor, share: Tensor) -> Tensor:
        """Points of the half circles at these shares of their length."""
        first = torch.stack([(math.pi * share).cos(), (math.pi * share).sin()], 1)
        half_circle = torch.where(label[:, None] == 0, first, first.new_tensor([1.0, 0.5]) - first)
        return self.scale * (half_circle - first.new_tensor([0.5, 0.2]))
