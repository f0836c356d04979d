"""Images as a few numbers and back: principal components, and a convolutional autoencoder that starts from them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import checks, keys
from wgf.convolutions import ResidualBlock, draw_weights
from wgf.errors import InputError
from wgf.training import Adam, Recipe, Rows, Watch, never

BLOCK = 4096
"""Rows that are coded at once where no gradients are kept."""


class Coder(Protocol):
    """What turns rows (n, d) into codes (n, k), and codes into rows."""

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """The codes of rows."""

    def decode(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        """The rows that codes stand for."""


@dataclass(frozen=True)
class PrincipalComponents:
    """z = Bᵀ(x − m) and x ≈ m + Bz, B the k orthonormal directions along which the rows vary most.

    No other affine code of k numbers has a smaller mean squared error on the rows that it was fitted to (Eckart and
    Young 1936).

    Fields: mean, m (d,); basis, B (d, k); variances (k,) along them, 1/n, falling; explained, their share of the whole.
    """

    mean: Float[Tensor, " d"]
    basis: Float[Tensor, "d k"]
    variances: Float[Tensor, " k"]
    explained: float

    @classmethod
    def fit(cls, x: Float[Tensor, "n d"], k: int) -> "PrincipalComponents":
        """From rows, by a singular value decomposition in float64; the result has the dtype of the rows.

        Each direction's largest entry is positive, so that it does not depend on chance.
        Raises: InputError for rows that are not finite or all the same, and unless 1 ≤ k ≤ min(n, d).
        """
        x = checks.rows("the rows x", x)
        if checks.at_least("k", k, 1) > min(x.shape):
            raise InputError(f"k must be at most min(n, d) = {min(x.shape)}, got {k}")
        wide = x.double()
        mean = wide.mean(0)
        _, values, rows = torch.linalg.svd(torch.linalg.qr(wide - mean, mode="r").R, full_matrices=False)
        variances = values.square() / len(x)
        if not variances.sum() > 0:
            raise InputError("the rows x are all the same: there is no direction in which they vary")
        largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
        basis = (rows * largest.sign())[:k].T.contiguous()
        return cls(mean.to(x), basis.to(x), variances[:k].to(x), float(variances[:k].sum() / variances.sum()))

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        return (x - self.mean) @ self.basis

    def decode(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        return self.mean + z @ self.basis.T


class Autoencoder(nn.Module):
    """Codes z = Bᵀu/σ + E(u) of images u = (x − m)/s, decoded as m + s(Bσz + D(z)); E and D are convolutional.

    B and σ are principal directions and deviations, fixed by `standardise`; the last layers of E and D start at zero,
    so that training starts at the best linear code, in units of its deviations. E halves the resolution `levels` times
    by residual blocks and ends in a linear layer, D runs the other way. No batch normalisation: rows do not mix.
    Rows (n, c·side²) are images (c, side, side), flattened, as `ImageCritic` and `UNet` read them.

    Args: channels, c; side, a multiple of 2^levels; code, k, the numbers of a code; features at the full resolution,
    doubled at each below; levels.
    Raises: InputError for sizes that are not positive, that the levels do not divide, or a code longer than the image.
    """

    mean: Tensor
    unit: Tensor
    basis: Tensor
    scale: Tensor

    def __init__(self, channels: int, side: int, code: int, features: int = 16, levels: int = 2) -> None:
        super().__init__()
        given = (("channels", channels), ("side", side), ("code", code), ("features", features), ("levels", levels))
        for name, value in given:
            checks.at_least(name, value, 1)
        if side % 2**levels:
            raise InputError(f"an Autoencoder of {levels} levels needs a side that {2**levels} divides, got {side}")
        self.dim, self.code = channels * side**2, code
        if code > self.dim:
            raise InputError(f"the code must have at most as many numbers as an image, {self.dim}, got {code}")
        sizes = [features * 2**k for k in range(levels + 1)]
        bottom = sizes[-1], side // 2**levels, side // 2**levels
        self.encoder = _encoder((channels, side, side), bottom, sizes, code)
        self.decoder = _decoder(channels, bottom, sizes, code)
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("basis", torch.eye(self.dim, code))
        self.register_buffer("scale", torch.ones(code))
        self.reset(torch.Generator().manual_seed(0))

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights from `generator`, those of the last layers zero; what `standardise` found stays."""
        draw_weights(self, generator)
        for last in (self.encoder[-1], self.decoder[-2]):
            assert isinstance(last, nn.Linear | nn.Conv2d)
            last.weight.zero_()

    @torch.no_grad()
    def standardise(self, x: Float[Tensor, "n d"]) -> None:
        """Take mean, unit and principal components from rows. Raises: InputError as `PrincipalComponents.fit`."""
        found = PrincipalComponents.fit(x, self.code)
        unit = (x - found.mean).square().mean().sqrt()
        self.mean.copy_(found.mean)
        self.unit.copy_(unit)
        self.basis.copy_(found.basis)
        self.scale.copy_((found.variances.sqrt() / unit).clamp_min(1e-6))

    def encode(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
        """The codes of images, near to mean 0 and variance 1 where those are what `standardise` saw."""
        u = (x - self.mean) / self.unit
        return u @ self.basis / self.scale + self.encoder(u)

    def decode(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n d"]:
        """The images of codes; nothing keeps them in the range of those it was trained on."""
        return self.mean + self.unit * ((z * self.scale) @ self.basis.T + self.decoder(z))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """The image that the code of each image stands for."""
        return self.decode(self.encode(x))


def _encoder(
    shape: tuple[int, int, int], bottom: tuple[int, int, int], sizes: Sequence[int], code: int
) -> nn.Sequential:
    pooled = (layer for pair in pairwise(sizes) for layer in (ResidualBlock(*pair), nn.AvgPool2d(2)))
    first = nn.utils.skip_init(nn.Conv2d, shape[0], sizes[0], 3, padding=1)
    last = nn.utils.skip_init(nn.Linear, bottom[0] * bottom[1] * bottom[2], code)
    return nn.Sequential(nn.Unflatten(1, shape), first, *pooled, nn.SiLU(), nn.Flatten(), last)


def _decoder(channels: int, bottom: tuple[int, int, int], sizes: Sequence[int], code: int) -> nn.Sequential:
    grown = (layer for pair in pairwise(sizes[::-1]) for layer in (nn.Upsample(scale_factor=2), ResidualBlock(*pair)))
    first = nn.utils.skip_init(nn.Linear, code, bottom[0] * bottom[1] * bottom[2])
    last = nn.utils.skip_init(nn.Conv2d, sizes[0], channels, 3, padding=1)
    return nn.Sequential(first, nn.Unflatten(1, bottom), *grown, nn.SiLU(), last, nn.Flatten())


def train_autoencoder(
    model: Autoencoder,
    images: Float[Tensor, "n d"],
    training: Recipe = Adam(2000, 256, 2e-3),
    *,
    seed: int = 0,
    held: int | None = None,
    watch: Watch = never,
) -> Autoencoder:
    """A copy of `model` whose mean squared error on the images is nearly least: min E|decode(encode(x)) − x|²/d.

    The copy is standardised on the images and its weights are drawn anew. Weights are chosen on `held` rows (a tenth,
    or 4096 if that is less) that are not trained on; by `Adam` they are, there, never worse than the linear code.
    Raises: InputError for bad images or a bad `held`; Diverged from training.
    """
    x = checks.rows("the images", images, model.dim)
    kept = min(4096, max(1, len(x) // 10)) if held is None else checks.at_least("held", held, 1)
    if kept >= len(x):
        raise InputError(f"held must be below the number of images, got {kept} of {len(x)}")
    order = torch.randperm(len(x), generator=keys.generator(seed, 2)).to(x.device)
    trained = copy.deepcopy(model).to(x).train().requires_grad_()
    problem = _Reconstruction(trained, x[order[kept:]], x[order[:kept]])
    trained.reset(keys.generator(seed, 0, device=x.device))
    trained.standardise(problem.x)
    training.minimise(problem, trained, keys.fold(seed, 1), watch)
    return trained.eval().requires_grad_(False)


@torch.no_grad()
def reconstruction_error(coder: Coder, x: Float[Tensor, "n d"]) -> float:
    """The mean of (decode(encode(x)) − x)² over rows and pixels, in squared units of x."""
    parts = [(coder.decode(coder.encode(part)) - part).double().square().sum() for part in x.split(BLOCK)]
    return float(torch.stack(parts).sum() / x.numel())


class _Reconstruction:
    """The objective: the mean squared error, on batches."""

    def __init__(self, model: Autoencoder, x: Tensor, held: Tensor) -> None:
        self.model, self.x, self.held, self.rows = model, x, held, len(x)

    def loss(self, rows: Rows, key: int) -> Tensor:
        return ((self.model(self.x[rows]) - self.x[rows]) / self.model.unit).square().mean()

    def score(self) -> float:
        return reconstruction_error(self.model, self.held)
