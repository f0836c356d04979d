"""How nearly a potential flow is the best motion of its step: Hamilton–Jacobi, terminal condition, straightness."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.functionals.base import Variation
from wgf.maps import PotentialFlow
from wgf.maps.base import half_square
from wgf.observers import Observer
from wgf.steppers.base import Live
from wgf.training import Progress

if TYPE_CHECKING:
    from wgf.flow import Path

RESIDUAL, TERMINAL = "Hamilton–Jacobi residual", "terminal error"
"""Names of the two measures that a stop rule is about."""


def hamilton_jacobi(map: PotentialFlow, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    """∂_tΦ − ½|∇Φ|² at (t, x_i): zero, up to a function of t, where no motion of the same ends costs less.

    λ times it is ∂_tU − |∇U|²/2λ, U = λΦ. Gu et al. 2024 (arXiv 2407.11901) have the other sign in eq. (43), which
    contradicts their eq. (20): with v = −∇U/λ a path is straight where ∇(∂_tU − |∇U|²/2λ) = 0.
    """
    slope = map.gradient(t, x)
    return slope[:, -1] - half_square(slope[:, :-1])


def terminal(
    map: PotentialFlow, y: Float[Tensor, "n d"], slope: Float[Tensor, "n d"], tau: float
) -> Float[Tensor, "n d"]:
    """λ∇Φ(T, y_i) − ∇φ(y_i), λ = T/τ, ∇φ = `slope` that of δF/δρ at the ends y of the paths: zero at the optimum."""
    return (map.end - map.start) / tau * map.gradient(map.end, y)[:, :-1] - slope


@torch.no_grad()
def optimality(live: Live, rows: int = 1024) -> dict[str, float]:
    """The measures of a step by a potential flow, on at most so many of its rows; none for other maps.

    "kinetic energy", E∫₀ᵀ½|v|²dt. "straightness", ½E|x(T) − x(0)|² over E[cost], at most 1 and equal to it where all
    paths are straight and of constant speed. "Hamilton–Jacobi residual", E∫|r − E r|dt over E∫½|∇Φ|²dt, r that of
    `hamilton_jacobi`: Φ is known up to a function of t, which moves nothing. "terminal error", where there are critics:
    the root mean square of `terminal` over that of ∇φ.
    """
    map = live.map
    if not isinstance(map, PotentialFlow):
        return {}
    x = live.source[:rows]
    y, cost, *_ = map.transport(x)
    residual, energy = _along(map, x)
    measures = {
        "kinetic energy": float(cost.mean()) / (map.end - map.start),
        "straightness": float(half_square(y - x).mean() / cost.mean()),
        RESIDUAL: residual / energy if energy else math.nan,
    }
    variation = live.variation(y) if live.variation else None
    if variation is not None:
        measures[TERMINAL] = _terminal_error(map, y, variation, live.tau)
    return measures


def _along(map: PotentialFlow, x: Tensor) -> tuple[float, float]:
    """Means of |r − E r| and of ½|∇Φ|² over the starts of all steps."""
    h, residual, energy = (map.end - map.start) / map.steps, 0.0, 0.0
    for k, place in enumerate(map.trajectory(x)[:-1]):
        t = map.start + k * h
        r = hamilton_jacobi(map, t, place)
        residual += float((r - r.mean()).abs().mean()) / map.steps
        energy += float(half_square(map.velocity(t, place)).mean()) / map.steps
    return residual, energy


def _terminal_error(map: PotentialFlow, y: Tensor, variation: Variation, tau: float) -> float:
    slope = variation.gradient(y).detach()
    size = float(slope.square().sum(-1).mean())
    return math.sqrt(float(terminal(map, y, slope, tau).square().sum(-1).mean()) / size) if size else math.nan


class Optimality(Observer):
    """Adds `optimality` to the measures of each step, and stops where a potential flow has become optimal.

    Inside a step, at every report of its training, it writes (iteration, measures) to `readings`, of the weights as
    they then stand, and ends the training where residual and error are within their bounds; as the `stop` of `evolve`,
    it ends the flow after such a step. Without bounds it only measures.

    Args: residual and terminal, bounds above 0 of the measures of those names; rows, how many are looked at.
    Raises: InputError for a bound that is not above 0.
    """

    def __init__(self, residual: float | None = None, terminal: float | None = None, rows: int = 1024) -> None:
        said = {RESIDUAL: residual, TERMINAL: terminal}
        self.bounds = {name: checks.positive(name, bound) for name, bound in said.items() if bound is not None}
        self.rows = checks.at_least("rows", rows, 1)
        self.readings: list[tuple[int, dict[str, float]]] = []
        self._live: Live | None = None

    def begin(self, path: "Path", steps: int) -> None:
        self.readings, self._live = [], None

    def inside(self, progress: Progress) -> bool:
        self._live = progress.live
        if self._live is None:
            return False
        self.readings.append((progress.iteration, optimality(self._live, self.rows)))
        return self._met(self.readings[-1][1])

    def measures(self, path: "Path") -> Mapping[str, float]:
        live, self._live = self._live, None
        return {} if live is None or live.map is not path.infos[-1].map else optimality(live, self.rows)

    def __call__(self, path: "Path") -> bool:
        """Whether the last step of `path` is within the bounds."""
        return self._met(path.infos[-1].measures)

    def _met(self, measures: Mapping[str, float]) -> bool:
        return bool(self.bounds) and all(measures.get(name, math.nan) <= bound for name, bound in self.bounds.items())
