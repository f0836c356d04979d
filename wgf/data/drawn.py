"""Planar laws given by images: a rose and a tree drawn from formulas, and pictures of your own. Dark is mass."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.data.planar import Planar
from wgf.errors import InputError
from wgf.pixels import Pixels

SIDE = 8.0
"""The longer side of an image, which lies about the origin."""

PIXELS = 256
"""Pixels along a side of our own drawings."""


@dataclass(frozen=True)
class Drawn(Planar, ABC):
    """Rows of the law of an image, whose longer side is [−4, 4]: its `law()` has the density, exactly."""

    parts = 1

    @abstractmethod
    def ink(self) -> Float[Tensor, "h w"]:
        """How heavy each pixel is, in [0, 1], float64; row 0 is the upper edge."""

    def draw(self, label: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
        return self._pixels().sample(len(label), generator)

    def law(self) -> Pixels:
        self._planar()
        return self._pixels()

    def _pixels(self) -> Pixels:
        ink = self.ink()
        height, width = ink.shape
        corner = ink.new_tensor([width, height]) * (SIDE / 2 / max(height, width))
        return Pixels(ink, -corner, corner)


@dataclass(frozen=True)
class Rose(Drawn):
    """Rose curves r = R|cos(5φ/2)| of five petals, R = 3.8, 2.8 and 1.8, the second turned by π/5, in thick lines.

    In the manner of the rose of Xu, Cheng, Xie 2023 (JKO-iFlow, arXiv 2212.14424), an image; the drawing is ours.
    """

    def ink(self) -> Float[Tensor, "h w"]:
        turned = [_rose(radius, 5, turn) for radius, turn in ((3.8, 0.0), (2.8, math.pi / 5), (1.8, 0.0))]
        start, end = (torch.cat(ends) for ends in zip(*turned, strict=True))
        return strokes(start, end, torch.full((len(start),), 0.08, dtype=start.dtype))


@dataclass(frozen=True)
class Tree(Drawn):
    """A tree of ten generations: each branch bears two, turned by ±27°, 0.72 times as long and 0.75 times as thick.

    In the manner of the tree of Xu, Cheng, Xie 2023 (JKO-iFlow, arXiv 2212.14424), an image; the drawing is ours.
    """

    def ink(self) -> Float[Tensor, "h w"]:
        return strokes(*_tree(generations=10))


@dataclass(frozen=True, kw_only=True)
class Picture(Drawn):
    """A greyscale image of your own: each pixel weighs 1 − its brightness; colours by their luma, clear on white.

    Args: file, anything that matplotlib reads, a .png say; rows, dim and seed as for other planar laws.
    Raises: InputError, at `load` and `law`, for a file that is missing, no image, or white throughout.
    """

    file: str

    def ink(self) -> Float[Tensor, "h w"]:
        ink = _darkness(Path(self.file))
        if not (ink > 0).any():
            raise InputError(f"{self.file} is white throughout; what is dark in a picture is where the mass is")
        return ink


def strokes(
    start: Float[Tensor, "m 2"], end: Float[Tensor, "m 2"], half: Float[Tensor, " m"]
) -> Float[Tensor, "256 256"]:
    """The image on [−4, 4]² of lines from start to end with round ends, of these half widths.

    A pixel's ink is clamp(½ + (half − distance)/pixel, 0, 1) of the line nearest to its centre.
    """
    pixel = SIDE / PIXELS
    side = (torch.arange(PIXELS, dtype=start.dtype) + 0.5) * pixel - SIDE / 2
    grid = torch.stack(torch.meshgrid(side, side.flip(0), indexing="xy"), -1)
    ink = torch.zeros(PIXELS, PIXELS, dtype=start.dtype)
    low, high = torch.minimum(start, end) - half[:, None] - pixel, torch.maximum(start, end) + half[:, None] + pixel
    first, last = (((corner + SIDE / 2) / pixel).long().clamp(0, PIXELS).tolist() for corner in (low, high))
    for a, b, h, (left, below), (right, above) in zip(start, end, half, first, last, strict=True):
        box = slice(max(0, PIXELS - 1 - above), PIXELS - below), slice(left, right + 1)
        cover = (0.5 + (h - _distance(grid[box], a, b)) / pixel).clamp(0, 1)
        ink[box] = torch.maximum(ink[box], cover)
    return ink


def _distance(points: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """From points (…, 2) to the line between a and b."""
    along = b - a
    share = ((points - a) @ along / along.square().sum()).clamp(0, 1)
    return (points - a - share[..., None] * along).norm(dim=-1)


def _rose(radius: float, petals: int, turn: float, pieces: int = 100) -> tuple[Tensor, Tensor]:
    """The ends of pieces of r = R|cos(kφ/2)|, one petal upright."""
    angle = 2 * math.pi * torch.linspace(0, 1, petals * pieces + 1, dtype=torch.float64)
    r, up = radius * (petals / 2 * angle).cos().abs(), angle + turn + math.pi / 2
    curve = torch.stack([r * up.cos(), r * up.sin()], 1)
    return curve[:-1], curve[1:]


def _tree(generations: int, length: float = 2.05, half: float = 0.17) -> tuple[Tensor, Tensor, Tensor]:
    foot, angle = torch.tensor([[0.0, -3.7]], dtype=torch.float64), torch.tensor([math.pi / 2], dtype=torch.float64)
    starts, ends, halves = [], [], []
    for k in range(generations):
        tip = foot + length * 0.72**k * torch.stack([angle.cos(), angle.sin()], 1)
        starts.append(foot)
        ends.append(tip)
        halves.append(torch.full_like(angle, half * 0.75**k))
        fork = torch.tensor([math.radians(27), -math.radians(27)], dtype=torch.float64).repeat(len(angle))
        foot, angle = tip.repeat_interleave(2, 0), angle.repeat_interleave(2) + fork
    return torch.cat(starts), torch.cat(ends), torch.cat(halves)


def _darkness(file: Path) -> Float[Tensor, "h w"]:
    """In [0, 1], exactly 0 where white; transparent pixels lie on white paper."""
    from matplotlib import image  # figures are not needed where no picture is read

    if not file.is_file():
        raise InputError(f"{file} is not a file; a relative path starts from {Path.cwd()}")
    try:
        raw = torch.tensor(image.imread(file))
    except (OSError, SyntaxError, TypeError, ValueError) as error:
        raise InputError(f"{file} is truncated, damaged, or no image: {error}") from error
    dark = 1 - raw.double() if raw.is_floating_point() else 1 - raw.double() / torch.iinfo(raw.dtype).max
    if dark.ndim == 2:
        return dark
    alpha = 1 - dark[..., -1] if dark.shape[-1] in (2, 4) else 1.0
    colours = dark[..., :3] if dark.shape[-1] > 2 else dark[..., :1].expand(-1, -1, 3)
    return alpha * (colours @ dark.new_tensor([0.299, 0.587, 0.114]))  # luma of ITU-R BT.601
