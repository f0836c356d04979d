"""The porous medium equation ∂_tρ = Δρ^m, m > 1, from Barenblatt's profile: by mollified particles, or as it is."""

import math

from scipy.special import gammaln

from pdes._inputs import time
from pdes._observables import radial
from wgf import checks
from wgf.errors import InputError
from wgf.functionals import Blob, Functional, PowerEntropy, Term
from wgf.kernels import Mollifier
from wgf.pearson import PearsonII
from wgf.problem import Problem

TOLERANCE = 1e-6


def barenblatt(
    dim: int = 2, exponent: float = 2.0, epsilon: float = 0.05, start: float = 0.1, horizon: float = 0.5
) -> Problem:
    """The flow of ∫ρ^m/(m − 1), mollified at length ε, from Barenblatt's solution at time t₀.

    ρ(s, x) = s^{−α}(C − β|x|² s^{−2α/d})₊^{1/(m−1)}, s = t₀ + t, α = d/(d(m − 1) + 2), β = (m − 1)α/2md, C such that
    the mass is one; its radius is √(C/β) s^{α/d}. Source: Vázquez, *The Porous Medium Equation*, OUP 2007, ch. 17.

    Particles follow Blob(PowerEntropy(m), Mollifier(ε)), of bias (ε/R)². Explicit steps must be below about
    2.7 ε²/D for Heun's, D = m ρ^{m−1} at the centre at the start: the fastest wave, 1/ε·√2, decays at 2D/(e ε²) for
    m = 2. ε well above the spacing of n particles, R n^{−1/d}, is needed for them to see a density.

    Args: dim, d ≥ 1; exponent, m > 1; epsilon, ε > 0, a length; start, t₀ > 0; horizon, a time above 0.
    Raises: InputError for an argument outside these ranges.
    """
    kernel = Mollifier(checks.positive("epsilon", epsilon))
    _check(dim, exponent)
    F = Blob(PowerEntropy(exponent), kernel, tolerance=TOLERANCE)
    return _problem(F, dim, exponent, start, horizon, f", ε = {epsilon:g}")


def porous_medium(dim: int = 2, exponent: float = 2.0, start: float = 0.1, horizon: float = 0.5) -> Problem:
    """The flow of ∫ρ^m/(m − 1) itself, from Barenblatt's solution at time t₀: for steppers by densities or by critics.

    Args and raises as `barenblatt`, of which it is the limit ε → 0.
    """
    _check(dim, exponent)
    return _problem(PowerEntropy(exponent), dim, exponent, start, horizon)


def _check(dim: int, exponent: float) -> None:
    checks.at_least("dim", dim, 1)
    if checks.positive("exponent", exponent) <= 1:
        raise InputError(f"exponent must be above 1 (heat is 1), got {exponent!r}")


def _problem(F: Functional | Term, dim: int, exponent: float, start: float, horizon: float, blur: str = "") -> Problem:
    checks.positive("start", start)

    def exact(t: float) -> PearsonII:
        return profile(dim, exponent, start + time(t))

    return Problem(
        F,
        exact(0.0),
        checks.positive("horizon", horizon),
        exact=exact,
        observables=radial(exact(0.0)),
        title=f"Porous medium, m = {exponent:g}, in dimension {dim}{blur}",
        exact_energy=lambda t: energy(exponent, exact(t)),
    )


def profile(dim: int, exponent: float, s: float) -> PearsonII:
    """Barenblatt's solution of mass one at its own time s > 0."""
    m, p, b = exponent, 1 / (exponent - 1), dim / 2
    alpha = dim / (dim * (m - 1) + 2)
    beta = (m - 1) * alpha / (2 * m * dim)
    mass = b * math.log(beta / math.pi) + float(gammaln(p + 1 + b) - gammaln(p + 1))  # of log C: mass / (p + b)
    radius = math.exp(0.5 * (mass / (p + b) - math.log(beta))) * s ** (alpha / dim)
    return PearsonII(dim, radius, p)


def energy(m: float, law: PearsonII) -> float:
    """∫ρ^m/(m − 1): ρ^{m−1} is its peak times 1 − |x|²/R², of mean (p + 1)/(d/2 + p + 1)."""
    mean = (law.power + 1) / (law.dim / 2 + law.power + 1)
    return math.exp((m - 1) * law.log_peak) * mean / (m - 1)
