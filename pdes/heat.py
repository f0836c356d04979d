"""The heat equation: ∂_tρ = Δρ, the flow of ∫ρ log ρ."""

import torch

from pdes._inputs import time
from pdes._observables import MOMENTS
from wgf import checks
from wgf.functionals import Entropy
from wgf.law import Gaussian
from wgf.problem import Problem


def heat(dim: int = 2, scale: float = 1.0, horizon: float = 1.0) -> Problem:
    """The flow of Entropy() from N(0, s² I): at time t it is N(0, (s² + 2t) I).

    Args: dim, d ≥ 1; scale, s, a length above 0; horizon, a time above 0.
    Raises: InputError for an argument outside these ranges.
    """
    checks.at_least("dim", dim, 1)
    checks.positive("scale", scale)
    return Problem(
        Entropy(),
        Gaussian.standard(dim, scale, dtype=torch.float64),
        checks.positive("horizon", horizon),
        exact=lambda t: Gaussian.standard(dim, (scale**2 + 2 * time(t)) ** 0.5, dtype=torch.float64),
        observables=MOMENTS,
        title=f"Heat equation in dimension {dim}",
    )
