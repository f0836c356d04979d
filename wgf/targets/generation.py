"""Generation: noise carried to the law of a data set, which is known by its rows alone."""

import torch

from wgf import checks
from wgf.data import Dataset, Pinwheel
from wgf.functionals import FDivergence, KullbackLeibler, Lipschitz
from wgf.functionals.family import F
from wgf.law import Empirical, Gaussian
from wgf.problem import Problem


def generation(
    data: Dataset = Pinwheel(), f: F = KullbackLeibler(), L: float | None = 1.0, horizon: float = 10.0
) -> Problem:
    """The flow of D_f^L(ρ‖π), π the rows of a data set, from N(0, I): one step of τ = horizon, or several.

    D_f over L-Lipschitz critics is finite between any laws, and at most L·W₁: the rows may lie on a manifold. A step of
    size τ stops short of π by what moving costs: log dρ/dπ spreads by about |x − y|²/2τ over its rows, and none of them
    moves further than τL.

    Args: data; f, a member of the family; L > 0, or None for D_f itself; horizon, a time above 0.
    Raises: InputError for an argument outside these ranges, and as `data.load`.
    """
    rows = data.load().X
    divergence = FDivergence(f, Empirical(rows))
    return Problem(
        divergence if L is None else Lipschitz(divergence, L),
        Gaussian.standard(rows.shape[1], dtype=torch.float64),
        checks.positive("horizon", horizon),
        title=f"Generation of {type(data).__name__} in dimension {rows.shape[1]}",
    )
