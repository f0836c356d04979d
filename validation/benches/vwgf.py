"""Seconds of a primal–dual JKO step, the twentieth of a flow, against a loop that replays every map from ρ₀."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdes.ornstein_uhlenbeck import ornstein_uhlenbeck
from validation.race import Row, race
from wgf import Affine, Alternate, Critic, Problem, Residual, SaddleJKO, keys
from wgf.critics import ScalarField
from wgf.functionals import Potential
from wgf.law import Cloud, Empirical
from wgf.maps import Map
from wgf.targets import gaussian_mixture_flow

NAME = "vwgf"
BOUND = 3.0
MAPS = 19
"""Steps taken before the one that is timed."""

INNER, BATCH = 3, 512
TOLERANCE = 0.05
"""Of the second moment after the step, relative to the flow's."""

ROUNDS = {("mixture", 2): 3, ("mixture", 32): 3, ("mixture", 128): 1}

POOL, SUBSTEPS = 50_000, 200


def bench(quick: bool = False) -> Iterator[list[Row]]:
    """Fan et al. 2022's networks, batches of 512, three critic steps for each of the map; float32.

    Ornstein–Uhlenbeck, τ = 0.05: an affine map, and a critic of one layer of 64 with a quadratic part. Mixtures,
    τ = 0.1: residual maps and critics of 64 (d = 2) or 256 (d = 32, 128). The peer draws every batch from ρ₀ and sends
    it through the 19 maps before, with torch's modules, laws and Adam; neither carries log-determinants of held rows.
    Both are held to the second moment of the exact flow. 300 iterations, 100 of the mixture in d = 32; seven rounds,
    fewer of mixtures, whose peer takes minutes in d = 128. Quick: 100 iterations, d = 2.
    """
    for setting, dim in ((s, d) for s in ("Ornstein–Uhlenbeck", "mixture") for d in ((2,) if quick else (2, 32, 128))):
        short = quick or (setting == "mixture" and dim == 32)
        case = {"setting": setting, "dim": dim, "iterations": 100 if short else 300}
        yield race(
            NAME,
            f"{setting}, d = {dim}, {case['iterations']} iterations",
            f"{__name__}:ours",
            {"replaying from ρ₀": "validation.benches._peers_vwgf:replayed"},
            case,
            truth=f"{__name__}:truth",
            tolerance=TOLERANCE,
            bounds=None if quick else BOUND,
            rounds=ROUNDS.get((setting, dim), 7),
            timeout=1200.0,
        )


def ours(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """A step of SaddleJKO from the stored pool."""
    problem, tau = problem_of(case), step_size(case)
    map, critic = networks(case)
    training = Alternate(case["iterations"], INNER, 0, BATCH, rate(case), rate(case))
    stepper = SaddleJKO(map, critic, training=training, particles=POOL, densities=False)
    state = stepper.init(problem.F, Empirical(particles(problem)), 0)

    def step() -> np.ndarray:
        after, _ = stepper.step(problem.F, state, tau, lambda progress: False)
        return second_moment(after.x)

    return step


def truth(case: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """E|x|²/d after time τ of the flow from the pool: Langevin's, in small steps."""
    problem, tau = problem_of(case), step_size(case)
    x = particles(problem).double()
    slope = potential_of(problem).first_variation(Cloud(x)).gradient
    generator, h = keys.generator(2), tau / SUBSTEPS
    for _ in range(SUBSTEPS):
        x = x - h * slope(x) + math.sqrt(2 * h) * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    reached = second_moment(x)
    return reached, reached


def problem_of(case: Mapping[str, Any]) -> Problem:
    flow = ornstein_uhlenbeck if case["setting"] == "Ornstein–Uhlenbeck" else gaussian_mixture_flow
    return flow(case["dim"], seed=0)


def particles(problem: Problem) -> Tensor:
    """Where the particles stand: the steps before are taken as the identity, for what they did is no matter here."""
    return problem.initial.to(torch.float32).sample(POOL, keys.generator(1))


def potential_of(problem: Problem) -> Potential:
    return next(term for _, term in problem.F.terms if isinstance(term, Potential))


def step_size(case: Mapping[str, Any]) -> float:
    return 0.05 if case["setting"] == "Ornstein–Uhlenbeck" else 0.1


def rate(case: Mapping[str, Any]) -> float:
    return 5e-3 if case["setting"] == "Ornstein–Uhlenbeck" else 1e-3


def networks(case: Mapping[str, Any]) -> tuple[Map, ScalarField]:
    dim = case["dim"]
    if case["setting"] == "Ornstein–Uhlenbeck":
        return Affine(dim), Critic(dim, 64, 1, quadratic=True)
    width, depth = (64, 2) if dim == 2 else (256, 3)
    return Residual(dim, width, depth + 1), Critic(dim, width, depth)


def second_moment(x: Tensor) -> np.ndarray:
    return np.array([float(torch.linalg.vector_norm(x, dim=1).double().square().mean()) / x.shape[1]])
