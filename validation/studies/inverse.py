"""There and back through learnt flows, in single and in double precision, and the mass of the densities they give."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from validation.report import Check, Context, Report, at_most, within
from validation.studies._plots import axes, finish
from validation.studies.jko_flow_2d import LAWS, Setting, carried
from wgf import Compose, Gaussian, Law, Pushforward, keys
from wgf.errors import NotInvertible
from wgf.maps import Dynamic, Inverse, Map
from wgf.scoring import log_density

NAME = "inverse"
BOUNDS = {torch.float32: 1e-4, torch.float64: 1e-9}
STIFF = 64
"""RK4 steps of a block beyond which its flow is called too stiff."""
ALPHA, STEPS, POINTS = 5.0, 5, 5_000
SIDE, CELLS, BLOCK = 7.0, 400, 40_000
"""Densities are summed over the middles of 400² cells of [−7, 7]², so many at a time."""


@dataclass(frozen=True)
class Trip:
    """How far points come from where they started, there and back, and the steps of a block that it took."""

    error: float
    steps: int


@dataclass(frozen=True)
class Outcome:
    """What was found of one flow."""

    name: str
    trips: dict[torch.dtype, Trip]
    mass: float
    curve: Sequence[tuple[int, float]]


def study(quick: bool = False) -> Report:
    """JKO-Flow on the seven planar laws, α = 5, five blocks; quick: two of the laws, trained for a short while."""
    setting = Setting(60, pool=20_000) if quick else Setting()
    names = ("8 Gaussians", "moons") if quick else tuple(LAWS)
    outcomes = [examined(name, setting) for name in names]
    checks = [check for outcome in outcomes for check in _checks(outcome)]
    context = tuple(
        Context(f"{outcome.name}, {str(dtype).removeprefix('torch.')}", {"RK4 steps a block": trip.steps})
        for outcome in outcomes
        for dtype, trip in outcome.trips.items()
    )
    return Report(NAME, tuple(checks), context, _figure(outcomes))


def examined(name: str, setting: Setting) -> Outcome:
    path = carried(name, ALPHA, STEPS, setting)
    x, blocks = path.laws[0].sample(POINTS, keys.generator(1)), path.maps
    trips = {dtype: trip(Compose(blocks).to(dtype), x.to(dtype), bound) for dtype, bound in BOUNDS.items()}
    curve = [(steps, _backwards(Compose(blocks).double(), x.double(), steps)) for steps in (4, 8, 16, 32, 64)]
    with_steps(Compose(blocks), trips[torch.float32].steps)
    model = Pushforward(Gaussian.standard(2), Inverse(Compose(blocks)))
    return Outcome(name, trips, mass(model), curve)


def trip(map: Map, x: Float[Tensor, "n 2"], bound: float) -> Trip:
    """The round trip x → z → x at the first number of steps, doubled from that of training, that meets the bound."""
    steps = next(part.steps for part in map.modules() if isinstance(part, Dynamic))
    error = math.inf
    while steps <= STIFF:
        with_steps(map, steps)
        try:
            with torch.no_grad():
                error = float((map.inverse(map(x))[0] - x).norm(dim=1).max())
        except NotInvertible:
            error = math.inf
        if error <= bound:
            break
        steps *= 2
    return Trip(error, steps)


def with_steps(map: Map, steps: int) -> None:
    """Let every block take so many, in training and in evaluation."""
    for part in map.modules():
        if isinstance(part, Dynamic):
            part.steps, part.evaluation_steps = steps, None


@torch.no_grad()
def _backwards(map: Map, x: Tensor, steps: int) -> float:
    """The round trip by running backwards alone, uncorrected: the scheme's own error, of its order."""
    with_steps(map, steps)
    y = map(x)
    for part in reversed([part for part in map.modules() if isinstance(part, Dynamic)]):
        y = part._backwards(y)
    return float((y - x).norm(dim=1).max())


@torch.no_grad()
def mass(model: Law) -> float:
    """∫ρ over [−7, 7]², by the midpoint rule in float64."""
    cell = 2 * SIDE / CELLS
    line = -SIDE + cell * (torch.arange(CELLS, dtype=torch.float64) + 0.5)
    density = log_density(model.to(torch.float64), torch.cartesian_prod(line, line), BLOCK).exp()
    return float(density.sum()) * cell**2


def _checks(outcome: Outcome) -> list[Check]:
    found = []
    for dtype, seen in outcome.trips.items():
        stiff = f" (too stiff for {STIFF} steps)" if seen.steps > STIFF else ""
        digits = str(dtype).removeprefix("torch.")
        found.append(at_most(NAME, f"{outcome.name}: round trip, {digits}{stiff}", seen.error, BOUNDS[dtype]))
    return [*found, within(NAME, f"{outcome.name}: ∫ρ over the grid", outcome.mass, 0.99, 1.01)]


def _figure(outcomes: Sequence[Outcome]) -> Figure:
    figure, (left, right) = axes(2)
    for k, outcome in enumerate(outcomes):
        steps, errors = zip(*outcome.curve, strict=True)
        left.plot(steps, errors, "o-", ms=3, color=f"C{k}", label=outcome.name)
        right.plot([outcome.mass], [k], "o", color=f"C{k}")
    fourth = [outcomes[0].curve[0][1] * (steps / 4) ** -4 for steps in steps]
    left.plot(steps, fourth, "k--", lw=1, label="order 4")
    left.set(xscale="log", yscale="log")
    finish(left, "Back by integration alone, float64", "RK4 steps a block", "max |x − x′|")
    right.axvspan(0.99, 1.01, alpha=0.15, color="gray")
    right.set_yticks(range(len(outcomes)), [outcome.name for outcome in outcomes])
    finish(right, "Mass of the density", "∫ρ dx over [−7, 7]²", "")
    return figure
