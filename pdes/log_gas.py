"""The log gas: ∂_tρ = ∇·(ρ ∇W∗ρ), W = ½|x|² − ln|x|: attraction to the crowd and Coulomb repulsion of the plane."""

import math

from pdes._inputs import time
from pdes._observables import radial
from wgf import checks
from wgf.errors import InputError
from wgf.functionals import Interaction
from wgf.kernels import Log, Power
from wgf.kernels.smoothed import Smoothed
from wgf.pearson import PearsonII
from wgf.problem import Problem

POWER = {1: 0.5, 2: 0.0}
"""Of the profile (1 − |x|²/R²)^p that keeps its shape: the semicircle on the line, the uniform disk in the plane."""

EPSILON = {1: 0.02, 2: 0.005}
TOLERANCE = 1e-6


def log_gas(dim: int = 2, radius: float = 0.5, epsilon: float | None = None, horizon: float = 2.0) -> Problem:
    """The flow of ½∬(½|x − y|² − ln|x − y|)ρρ from a semicircle (d = 1) or a uniform disk (d = 2) of radius R0.

    It stays one, of squared radius 2 + (R0² − 2)e^{−2t} for d = 1 and 1 + (R0² − 1)e^{−2t} for d = 2. The mean is
    kept, and whatever the shape M = E|x − Ex|² obeys Ṁ = 1 − 2M (n particles repel each other: Ṁ = 1 − 1/n − 2M).

    Particles feel ln|·| ∗ N(0, ε²I), which takes about 2ε²/R² from the 1 in Ṁ: the steady radius is short of the exact
    one by ε²/2 for d = 1 and ε² for d = 2, relative. The disk also lacks repulsion within ε of its edge: a share of
    about 1.3ε/R of its mass lies too far in (the Kolmogorov–Smirnov distance). By default ε is 0.02 on the line, and
    0.005 in the plane: 0.7/√n of n = 20,000, below the spacing of particles, which then keep each other apart. Explicit
    steps are stable below 1.6 ε R0 on the line (Heun's; the fastest wave decays at πρ/(ε√e)), and R0² in the plane.

    Args: dim, 1 or 2; radius, R0 > 0; epsilon, ε > 0, a length; horizon, a time above 0.
    Raises: InputError for an argument outside these ranges.
    """
    if dim not in POWER:
        raise InputError(f"dim must be 1 or 2, where the log gas has closed solutions, got {dim!r}")
    checks.positive("radius", radius)
    width = EPSILON[dim] if epsilon is None else checks.positive("epsilon", epsilon)

    def exact(t: float) -> PearsonII:
        return PearsonII(dim, exact_radius(dim, radius, t), POWER[dim])

    return Problem(
        Interaction(Power(2)) + Interaction(-Smoothed(Log(), width), tolerance=TOLERANCE),
        exact(0.0),
        checks.positive("horizon", horizon),
        exact=exact,
        observables=radial(exact(0.0)),
        title=f"Log gas in dimension {dim}, ε = {width:g}",
        exact_energy=lambda t: _energy(dim, exact_radius(dim, radius, t)),
    )


def exact_radius(dim: int, radius: float, t: float) -> float:
    """R(t) from R0 = `radius`: √(2/d + (R0² − 2/d) e^{−2t})."""
    return math.sqrt(2 / dim - (2 / dim - radius**2) * math.exp(-2 * time(t)))


def _energy(dim: int, R: float) -> float:
    """½·E|x|² − ½∬ln|x − y|ρρ: the double integral is ln(R/2) − ¼ of a semicircle, ln R − ¼ of a uniform disk."""
    return R**2 * dim / 8 - 0.5 * (math.log(R * dim / 2) - 0.25)
