"""Data on a grid, such as pixels, spread over its cells, for whole numbers have no density."""

from dataclasses import dataclass, replace

import torch

from wgf import checks, keys
from wgf.data.table import Dataset, Table


@dataclass(frozen=True)
class Dequantised(Dataset):
    """x + step·u with u uniform on [0, 1)^d: a density ρ̃ with E log ρ̃(x + step·u) ≤ E log P(x) − d log step.

    The mean log-density of a model of such rows, plus d log step, is a lower bound of that of the grid's cells (Theis,
    van den Oord, Bethge, ICLR 2016, arXiv 1511.01844): what bits a dimension of images are.

    Args: data; step > 0, the width of the grid's cells in units of X; seed of what is drawn. Raises: as `data.load`.
    """

    data: Dataset
    step: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        checks.positive("step", self.step)
        checks.at_least("seed", self.seed, 0)

    def load(self) -> Table:
        table = self.data.load()
        X = table.X.double()
        return replace(table, X=X + self.step * torch.rand(X.shape, dtype=X.dtype, generator=keys.generator(self.seed)))
