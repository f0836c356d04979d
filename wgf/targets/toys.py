"""Flows of a divergence to the toy laws of `wgf.data`, which are known by their samples."""

import torch

from wgf import checks
from wgf.data.toys import grid_of_gaussians, two_circles
from wgf.functionals import F, FDivergence, KullbackLeibler
from wgf.law import Gaussian, Law
from wgf.problem import Problem


def grid_of_gaussians_flow(
    f: F = KullbackLeibler(), side: int = 5, spacing: float = 3.0, noise: float = 0.005, horizon: float = 200.0
) -> Problem:
    """The flow of D_f(·‖π) from N(0, I) in the plane, π the grid of side × side Gaussians.

    Args: f, a member of the family; side, spacing, noise as `grid_of_gaussians`; horizon, a time above 0.
    Raises: InputError for an argument outside these ranges.
    """
    return _flow(f, grid_of_gaussians(side, spacing, noise), horizon, f"{side**2} Gaussians")


def two_circles_flow(
    f: F = KullbackLeibler(), inner: float = 4.0, outer: float = 8.0, noise: float = 0.2, horizon: float = 80.0
) -> Problem:
    """The flow of D_f(·‖π) from N(0, I) in the plane, π two noisy circles.

    Args: f, a member of the family; inner, outer, noise as `two_circles`; horizon, a time above 0.
    Raises: InputError for an argument outside these ranges.
    """
    return _flow(f, two_circles(inner, outer, noise), horizon, "Two circles")


def _flow(f: F, target: Law, horizon: float, title: str) -> Problem:
    start = Gaussian.standard(2, dtype=torch.float64)
    return Problem(FDivergence(f, target), start, checks.positive("horizon", horizon), title=f"{title}, {f.name}")
