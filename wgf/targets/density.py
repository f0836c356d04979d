"""Densities of data: rows carried to noise, so that noise carried back has their law."""

import torch

from wgf import checks
from wgf.data import Dataset, EightGaussians, check_columns
from wgf.errors import InputError
from wgf.functionals import Entropy, Potential, Quadratic
from wgf.law import Empirical, Gaussian
from wgf.maps import Map, NormalScores, Standard
from wgf.maps.quantile_map import check_continuous
from wgf.problem import Learning, Problem
from wgf.smoothed_bootstrap import SmoothedBootstrap


def density(
    data: Dataset = EightGaussians(),
    standardise: bool = True,
    share: float = 0.8,
    split: int = 0,
    horizon: float = 25.0,
    normal_scores: bool = False,
    smoothing: float = 0.0,
    shrunk: bool = False,
    mapped: int = 0,
) -> Problem:
    """The flow of KL(ρ‖N(0, I)) from the rows of a data set: after it, N(0, I) carried back is their learnt law.

    F = ∫ρ log ρ + ½∫|x|²dρ; F + (d/2) log 2π is the negative log-likelihood of the data by as many steps as were
    taken, in the units of the flow. The model, `Learning.model`, is in the data's own: columns are standardised by the
    training rows, or brought to normal scores, and what that does to volumes is counted in the density.

    Args: data; standardise, or take columns as they are; share of the rows that are trained on, in (0, 1), chosen by
    the seed `split`; the others are held out; horizon, a time above 0; normal_scores, bring the marginals of the
    training rows to N(0, 1) in place of standardising (`NormalScores`): for skewed or heavy-tailed columns; smoothing,
    h ≥ 0, the bandwidth of noise that is added to what is trained on, in standard deviations of the rows
    (`SmoothedBootstrap`): for few rows, of which several times as many particles are then to be drawn; shrunk, by
    √(1 + h²), so that their covariance stays; mapped, samples of the model by whose quantiles it gets the marginals of
    the training rows (`quantile_map`): 0 for none, or at least 100, and thousands are better; columns continuous.
    Raises: InputError for an argument outside these ranges, for constant or doubled columns and too few rows, and as
    `data.load`.
    """
    table = data.load()
    check_columns(table)
    train, held = table.split(share, split)
    if len(held) < 2:
        raise InputError(f"share = {share:g} holds out {len(held)} of {len(table)} rows; take at least 2 to judge by")
    check_columns(train)
    x = train.X.double()
    d = x.shape[1]
    if normal_scores and not standardise:
        raise InputError("normal_scores takes the place of standardise: give it, or standardise = false, not both")
    if shrunk and not smoothing:
        raise InputError("shrunk = true shrinks what smoothing has spread: give a smoothing above 0 as well")
    if checks.at_least("mapped", mapped, 0):
        checks.at_least("mapped, if not 0,", mapped, 100)
        check_continuous(x)
    frame: Map = Standard.fit(x) if standardise else Standard(torch.zeros_like(x[0]), torch.ones_like(x[0]))
    if normal_scores:
        frame = NormalScores.fit(x)
    y = frame(x)
    return Problem(
        Entropy() + Potential(Quadratic(torch.eye(d, dtype=torch.float64))),
        SmoothedBootstrap(y, smoothing, shrunk) if checks.not_negative("smoothing", smoothing) else Empirical(y),
        checks.positive("horizon", horizon),
        title=f"Density of {type(data).__name__}, {len(x):,} rows in dimension {d}",
        learning=Learning(Gaussian.standard(d, dtype=torch.float64), frame, x, held.X.double(), table.names, mapped),
    )
