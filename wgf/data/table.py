"""Rows with labels, and what every data set is: a small spec that loads them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
from jaxtyping import Shaped
from torch import Tensor

from wgf import keys
from wgf.errors import InputError


@dataclass(frozen=True)
class Table:
    """Features X (N, p) with column names, and labels y (N,) where there are any.

    y is int64 for classes, −1 and +1 where there are two and 0 … K−1 where there are more, and floating for a response.
    Raises: InputError for shapes that do not fit.
    """

    X: Shaped[Tensor, "N p"]
    y: Shaped[Tensor, " N"] | None
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        shape, labels = tuple(self.X.shape), None if self.y is None else tuple(self.y.shape)
        if shape[1:] != (len(self.names),) or labels not in (None, shape[:1]):
            raise InputError(
                f"a Table needs X (N, p), y (N,) and p names, got X {shape}, y {labels} and {len(self.names)} names"
            )

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, rows: slice | Tensor) -> "Table":
        return replace(self, X=self.X[rows], y=None if self.y is None else self.y[rows])

    def split(self, share: float = 0.8, seed: int = 0) -> tuple["Table", "Table"]:
        """(training, held out): a random share of the rows, and the rest; 0.8 is the usual 4:1 split."""
        if not 0 < share < 1 or not 0 < round(share * len(self)) < len(self):
            raise InputError(f"a split of {len(self)} rows must leave rows on both sides, got a share of {share!r}")
        order = torch.randperm(len(self), generator=keys.generator(seed)).to(self.X.device)
        cut = round(share * len(self))
        return self[order[:cut]], self[order[cut:]]


class Dataset(ABC):
    """A data set as a spec: frozen, comparable, written out in run folders; nothing is read before `load`."""

    @abstractmethod
    def load(self) -> Table:
        """The rows. Raises: InputError where they cannot be read, saying which package, variable or file is missing."""


def numbered(prefix: str, count: int) -> tuple[str, ...]:
    """Names prefix1 … prefixN for columns that come without."""
    return tuple(f"{prefix}{i}" for i in range(1, count + 1))


def signed(positive: Tensor) -> Tensor:
    """Labels +1 where `positive` and −1 elsewhere, int64."""
    return torch.where(positive, 1, -1)
