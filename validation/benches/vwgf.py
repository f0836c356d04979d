"""Seconds of a primal–dual JKO step, the twentieth of a flow, against a loop that replays every map from ρ₀."""

import math
from collections.abc import Callable, Mapping
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

POOL, SUBSTEPS = 50_000, 200


def bench(quick: bool = False) -> list[Row]:
    """Fan et al. 2022's networks, batches of 512, three critic steps for each of the map; float32.

    Ornstein–Uhlenbeck, τ = 0.05: an affine map, and a critic of one layer of 64 with a quadratic part. Mixtures,
    τ = 0.1: residual maps and critics of 64 (d = 2) or 256 (d = 32, 128). The peer draws every batch from ρ₀ and sends
    it through the 19 maps before, with torch's laws and Adam. Both are held to the second moment of the exact flow.
    Quick: d = 2 and fewer iterations.
    """
    rows = []
    for setting, dim in ((s, d) for s in ("Ornstein–Uhlenbeck", "mixture") for d in ((2,) if quick else (2, 32, 128))):
        case = {"setting": setting, "dim": dim, "iterations": 100 if quick else 300}
        rows += race(
            NAME,
            f"{setting}, d = {dim}, {case['iterations']} iterations",
            f"{__name__}:ours",
            {"replaying from ρ₀": f"{__name__}:replayed"},
            case,
            truth=f"{__name__}:truth",
            tolerance=TOLERANCE,
            bounds=None if quick else BOUND,
            rounds=3,
            timeout=1200.0,
        )
    return rows


def ours(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """A step of SaddleJKO from the stored pool."""
    problem, tau = _problem(case), _tau(case)
    map, critic = _networks(case)
    training = Alternate(case["iterations"], INNER, 0, BATCH, _rate(case), _rate(case))
    stepper = SaddleJKO(map, critic, training=training, particles=POOL)
    pool = _replay(problem.initial.to(torch.float32).sample(POOL, keys.generator(1)), _before(case))
    state = stepper.init(problem.F, Empirical(pool), 0)

    def step() -> np.ndarray:
        after, _ = stepper.step(problem.F, state, tau, lambda progress: False)
        return _moment(after.x)

    return step


def replayed(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """The same step as a plain loop: min over T, max over h of E|T(x) − x|²/2τ + V(T(x)) + log hΓ(T(x)) − E_Γ h."""
    problem, tau, before = _problem(case), _tau(case), _before(case)
    V = _potential(problem).V
    start = problem.initial.to(torch.float32)
    generator = torch.Generator().manual_seed(0)

    def particles(n: int = BATCH) -> Tensor:
        return _replay(start.sample(n, generator), before)

    pool = particles(POOL)
    gamma = torch.distributions.MultivariateNormal(pool.mean(0), torch.cov(pool.T))

    def step() -> np.ndarray:
        torch.manual_seed(0)
        T, u = _networks(case)
        u.standardise(pool)
        descend, ascend = (torch.optim.Adam(net.parameters(), _rate(case), (0.5, 0.99)) for net in (T, u))
        for _ in range(case["iterations"]):
            for _ in range(INNER):
                x = particles()
                with torch.no_grad():
                    y = T(x)
                loss = u(gamma.sample((BATCH,))).exp().mean() - u(y).mean()
                ascend.zero_grad()
                loss.backward()
                ascend.step()
            x = particles()
            y = T(x)
            cost = 0.5 * (y - x).square().sum(1) / tau
            loss = (cost + V(y) + u(y) + gamma.log_prob(y)).mean()
            descend.zero_grad()
            loss.backward()
            descend.step()
        with torch.no_grad():
            return _moment(T(pool))

    return step


def truth(case: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """E|x|²/d after time τ of the flow from the pool: Langevin's, in small steps."""
    problem, tau = _problem(case), _tau(case)
    x = _replay(problem.initial.to(torch.float32).sample(POOL, keys.generator(1)), _before(case)).double()
    slope = _potential(problem).first_variation(Cloud(x)).gradient
    generator, h = keys.generator(2), tau / SUBSTEPS
    for _ in range(SUBSTEPS):
        x = x - h * slope(x) + math.sqrt(2 * h) * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    moment = _moment(x)
    return moment, moment


def _problem(case: Mapping[str, Any]) -> Problem:
    flow = ornstein_uhlenbeck if case["setting"] == "Ornstein–Uhlenbeck" else gaussian_mixture_flow
    return flow(case["dim"], seed=0)


def _potential(problem: Problem) -> Potential:
    return next(term for _, term in problem.F.terms if isinstance(term, Potential))


def _tau(case: Mapping[str, Any]) -> float:
    return 0.05 if case["setting"] == "Ornstein–Uhlenbeck" else 0.1


def _rate(case: Mapping[str, Any]) -> float:
    return 5e-3 if case["setting"] == "Ornstein–Uhlenbeck" else 1e-3


def _networks(case: Mapping[str, Any]) -> tuple[Map, ScalarField]:
    dim = case["dim"]
    if case["setting"] == "Ornstein–Uhlenbeck":
        return Affine(dim), Critic(dim, 64, 1, quadratic=True)
    width, depth = (64, 2) if dim == 2 else (256, 3)
    return Residual(dim, width, depth + 1), Critic(dim, width, depth)


def _before(case: Mapping[str, Any]) -> list[Map]:
    """The maps of the steps before, as they are at the start: what they do is no matter, what they cost is."""
    return [_networks(case)[0].eval().requires_grad_(False) for _ in range(MAPS)]


@torch.no_grad()
def _replay(x: Tensor, maps: list[Map]) -> Tensor:
    for map in maps:
        x = map(x)
    return x


def _moment(x: Tensor) -> np.ndarray:
    return np.array([float(x.double().square().sum(1).mean()) / x.shape[1]])
