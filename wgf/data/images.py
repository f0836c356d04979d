"""Images from the WGF_DATA folder."""

from dataclasses import dataclass

import torch

from wgf.data import folder
from wgf.data.table import Dataset, Table, numbered
from wgf.errors import InputError


@dataclass(frozen=True)
class Mnist(Dataset):
    """Handwritten digits, 60,000 to train on or 10,000 to test: X (N, 784) float32 in [0, 1], classes 0 … 9.

    Args: train, which of the two parts. 188 MB for the larger.
    """

    train: bool = True

    def load(self) -> Table:
        part = "train" if self.train else "t10k"
        pixels = folder.idx(f"mnist/{part}-images-idx3-ubyte.gz")
        labels = folder.idx(f"mnist/{part}-labels-idx1-ubyte.gz")
        if pixels.shape != (len(labels), 28, 28):
            raise InputError(f"mnist/{part}-* should be {len(labels)} images of 28 × 28, got {pixels.shape}")
        X = torch.tensor(pixels.reshape(-1, 784)).float().div_(255)
        return Table(X, torch.tensor(labels).long(), numbered("pixel", 784))
