"""What the studies do with a problem: run it with a progress bar, and read its exact solution."""

from collections.abc import Sequence

import torch

from wgf import Gaussian, Path, Potential, Problem, ProgressBar, Quadratic, evolve
from wgf.steppers import Stepper


def flow(
    problem: Problem, stepper: Stepper, taus: Sequence[float], title: str, dtype: torch.dtype = torch.float32
) -> Path:
    """The problem's flow from seed 0, with particles of `dtype`."""
    return evolve(problem.F, stepper, problem.initial.to(dtype), taus, seed=0, observers=[ProgressBar(title)])


def exact_at(problem: Problem, t: float) -> Gaussian:
    """The exact law at time t of a problem whose solution is Gaussian."""
    law = None if problem.exact is None else problem.exact(t)
    if not isinstance(law, Gaussian):
        raise TypeError(f"{problem.title} has no Gaussian solution")
    return law


def quadratic(problem: Problem) -> Quadratic:
    """The quadratic potential among the terms of F."""
    potentials = [term.V for _, term in problem.F.terms if isinstance(term, Potential)]
    return next(V for V in potentials if isinstance(V, Quadratic))
