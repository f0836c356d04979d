"""Images as codes: data of few dimensions whose laws can be learnt, and decoded to images again."""

import math
from dataclasses import dataclass

import torch

from wgf import checks
from wgf.autoencoder import BLOCK, Autoencoder, PrincipalComponents, reconstruction_error, train_autoencoder
from wgf.data.images import Mnist
from wgf.data.table import Dataset, Table, numbered
from wgf.errors import InputError
from wgf.training import Adam, Recipe


@dataclass(frozen=True)
class Learnt:
    """What `Latent` found: codes of all rows with their labels, and the model that made and decodes them.

    error, its mean squared error a pixel on rows that nothing was fitted to, and linear, that of as many principal
    components of the same rows; both in squared units of the images.
    """

    codes: Table
    model: Autoencoder
    error: float
    linear: float


@dataclass(frozen=True)
class Latent(Dataset):
    """Square images through an autoencoder trained on them here: X (N, code) float32, the labels those of the images.

    Each `load` trains anew, the same seed to the same weights; `learn` gives the model as well, which decodes codes.

    Args: images, whose rows are c·side² pixels; code, the numbers of a code; channels, c; features and levels, as in
    `Autoencoder`; training; held, the share of rows kept to measure the error on; seed.
    Raises: InputError for arguments outside their ranges, and at `load` for rows that are no square images.
    """

    images: Dataset = Mnist()
    code: int = 8
    channels: int = 1
    features: int = 16
    levels: int = 2
    training: Recipe = Adam(2000, 256, 2e-3)
    held: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("code", "channels", "features", "levels"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("seed", self.seed, 0)
        if not 0 < self.held < 1:
            raise InputError(f"held must be a share of the rows in (0, 1), got {self.held!r}")

    def load(self) -> Table:
        return self.learn().codes

    def learn(self) -> Learnt:
        """Train, measure the error on held rows, and code every row."""
        table = self.images.load()
        table = Table(table.X.float(), table.y, table.names)
        train, held = table.split(1 - self.held, self.seed)
        model = Autoencoder(self.channels, self._side(table.X.shape[1]), self.code, self.features, self.levels)
        model = train_autoencoder(model, train.X, self.training, seed=self.seed)
        linear = PrincipalComponents.fit(train.X, self.code)
        with torch.no_grad():
            codes = torch.cat([model.encode(part) for part in table.X.split(BLOCK)])
        errors = (reconstruction_error(coder, held.X) for coder in (model, linear))
        return Learnt(Table(codes, table.y, numbered("code", self.code)), model, *errors)

    def _side(self, pixels: int) -> int:
        side = math.isqrt(pixels // self.channels)
        if self.channels * side**2 != pixels:
            raise InputError(f"{pixels} columns are no square images of {self.channels} channels")
        return side
