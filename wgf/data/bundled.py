"""Data sets that come with scikit-learn, which is optional and imported only here; nothing is downloaded."""

import importlib
from dataclasses import dataclass

import torch
from torch import Tensor

from wgf.data.table import Dataset, Table, numbered, signed
from wgf.errors import InputError


@dataclass(frozen=True)
class BreastCancer(Dataset):
    """Wisconsin diagnostic: 569 rows, 30 features, +1 benign and −1 malignant."""

    def load(self) -> Table:
        X, y, names = _bundled(self, "load_breast_cancer")
        return Table(X, signed(y == 1), names)


@dataclass(frozen=True)
class Wine(Dataset):
    """178 wines, 13 features, three cultivars 0, 1, 2."""

    def load(self) -> Table:
        X, y, names = _bundled(self, "load_wine")
        return Table(X, y.long(), names)


@dataclass(frozen=True)
class Digits(Dataset):
    """1797 digits of 8 × 8 pixels in 0 … 16, classes 0 … 9."""

    def load(self) -> Table:
        X, y, _ = _bundled(self, "load_digits")
        return Table(X, y.long(), numbered("pixel", X.shape[1]))


@dataclass(frozen=True)
class Diabetes(Dataset):
    """442 patients, 10 features (as scikit-learn scales them), and the progression after a year as a response."""

    def load(self) -> Table:
        X, y, names = _bundled(self, "load_diabetes")
        return Table(X, y.double(), names)


def _bundled(spec: Dataset, loader: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError as error:
        raise InputError(
            f"{type(spec).__name__} comes with scikit-learn, which is not installed: pip install 'wgf-toolkit[data]'"
        ) from error
    bunch = getattr(datasets, loader)()
    X = torch.from_numpy(bunch.data).double().contiguous()
    return X, torch.from_numpy(bunch.target), tuple(str(name) for name in bunch.feature_names)
