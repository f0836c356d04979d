"""Particles against an exact Gaussian law by their first two moments, beside what sampling alone would leave."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.law import Gaussian
from wgf.pearson import PearsonII
from wgf.problem import Problem
from wgf.radii import radial_errors


@dataclass(frozen=True)
class Distances:
    """|m − m*| in units of x and ‖S − S*‖/‖S*‖ (Frobenius) of n particles, with what n exact samples would show.

    The floors are root mean squares over samples of N(m*, S*): √(tr S*/n) and √((tr² S* + tr S*²)/n)/‖S*‖.
    """

    mean: float
    covariance: float
    mean_floor: float
    covariance_floor: float


def distances(x: Float[Tensor, "n d"], exact: Gaussian) -> Distances:
    """Those of the particles' mean and (1/n) covariance, in float64."""
    x, exact = x.detach().cpu().double(), exact.to("cpu").to(torch.float64)
    mean, S = x.mean(0), exact.covariance
    centred = x - mean
    covariance = centred.T @ centred / len(x)
    size, trace = float(S.norm()), float(S.trace())
    return Distances(
        mean=float((mean - exact.mean).norm()),
        covariance=float((covariance - S).norm()) / size,
        mean_floor=(trace / len(x)) ** 0.5,
        covariance_floor=((trace**2 + size**2) / len(x)) ** 0.5 / size,
    )


def exact_gaussian(problem: Problem, time: float) -> Gaussian | None:
    """The exact law at `time`, where it is known and Gaussian."""
    law = None if problem.exact is None else problem.exact(time)
    return law if isinstance(law, Gaussian) else None


def compared(problem: Problem, time: float, x: Float[Tensor, "n d"]) -> dict[str, float]:
    """The problem's observables of the particles at `time`, and their errors where those are known."""
    seen = {f"observed.{name}": float(observable(x)) for name, observable in problem.observables.items()}
    law = None if problem.exact is None else problem.exact(time)
    if isinstance(law, PearsonII):
        errors = radial_errors(x, law)
        seen |= {"radius_error": errors.radius, "edge_error": errors.edge, "radial_distance": errors.distance}
        seen |= {"radius_floor": errors.radius_floor}
    elif isinstance(law, Gaussian):
        found = distances(x, law)
        seen |= {"mean_error": found.mean, "covariance_error": found.covariance}
        seen |= {"mean_floor": found.mean_floor, "covariance_floor": found.covariance_floor}
    return seen
