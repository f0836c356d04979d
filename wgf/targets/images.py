"""Densities of images in whole numbers: pixels spread over their cells, taken to logits, carried to noise."""

import torch
from torch import Tensor

from wgf import checks, keys
from wgf.cells import Cells
from wgf.data import Dataset, Digits
from wgf.errors import InputError
from wgf.functionals import Entropy, Potential, Quadratic
from wgf.law import Gaussian
from wgf.maps import Compose, Logit, Standard
from wgf.problem import Learning, Problem


def images(
    data: Dataset = Digits(),
    levels: int = 17,
    margin: float = 0.005,
    share: float = 0.8,
    split: int = 0,
    horizon: float = 10.0,
) -> Problem:
    """The flow of KL(ρ‖N(0, I)) from images of pixels 0 … levels − 1, as `density` is that from columns of any kind.

    A pixel is spread over its cell, x + u with u uniform on [0, 1): anew in every draw of the flow's pool, which
    should be several times the rows, and once for held-out rows. The flow runs on logits of (x + u)/levels, a little
    inwards of the ends, standardised by the training rows. The model is in the units of the pixels and counts all of
    it: mean bits a dimension of held-out rows are, on average, at least those of the images themselves (`Dequantised`).

    Args: data; levels ≥ 2, the number of values of a pixel; margin, the share of the logits' interval that lies beyond
    either end of (0, levels), in (0, 0.5): the smaller, the heavier their tails; share of the rows that are trained on,
    in (0, 1), chosen by the seed `split`; horizon, a time above 0.
    Raises: InputError for arguments outside these ranges, pixels that are no such numbers, and as `data.load`.
    """
    checks.at_least("levels", levels, 2)
    if not 0 < margin < 0.5:
        raise InputError(f"margin must be a share in (0, 0.5), got {margin!r}")
    table = data.load()
    train, held = table.split(share, split)
    corners, d = _whole(train.X, levels), train.X.shape[1]
    x = Cells(corners).spread(keys.generator(split, 1))
    edge = margin * levels / (1 - 2 * margin)
    logit = Logit(d, -edge, levels + edge)
    frame = Compose([logit, Standard.fit(logit(x))])
    return Problem(
        Entropy() + Potential(Quadratic(torch.eye(d, dtype=torch.float64))),
        Cells(corners, map=frame),
        checks.positive("horizon", horizon),
        title=f"Images of {type(data).__name__}, {len(x):,} rows in dimension {d}",
        learning=Learning(
            Gaussian.standard(d, dtype=torch.float64),
            frame,
            x,
            Cells(_whole(held.X, levels)).spread(keys.generator(split, 2)),
            table.names,
        ),
    )


def _whole(X: Tensor, levels: int) -> Tensor:
    x = X.double()
    wrong = (x != x.round()) | (x < 0) | (x >= levels)
    if wrong.any():
        raise InputError(f"pixels must be whole numbers from 0 to {levels - 1}, got {float(x[wrong][0]):g}")
    return x
