"""Semi-dual JKO to laws of many modes, and on Ornstein–Uhlenbeck: 25 Gaussians covered where one step does not."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from validation.metrics import Estimate
from validation.report import Check, Context, Report, at_least, at_most
from validation.studies._plots import axes, finish
from validation.studies._semidual_ou import PUBLISHED, cell
from validation.studies._toy_flows import (
    CIRCLES,
    COARSE,
    FINE_BLURS,
    WIDE_BLURS,
    Run,
    annealed,
    one_step,
    published,
    run,
)
from validation.studies._toys import BANDWIDTHS, Coverage, coverage, discrepancies, radial_distance, radial_share
from wgf.critics import Critic
from wgf.data import grid_of_gaussians, two_circles
from wgf.functionals import KullbackLeibler

NAME = "modes"
SPACING, NOISE, RADII, RING_NOISE = 3.0, 0.005, (4.0, 8.0), 0.2
PHASE = 4
"""Steps after which MMD² must have fallen."""
ROWS, RADIAL_BOUND = 2000, 2 * 0.0194
"""Rows of the circles, and twice what so many exact samples give on average."""


def study(quick: bool = False) -> Report:
    """Five seeds of twenty steps, d = 2, 4, 6, 10; quick: one seed, d = 2."""
    runs, beside = _grid_flows(quick)
    grid, circles = grid_of_gaussians(spacing=SPACING, noise=NOISE), two_circles(*RADII, RING_NOISE)
    rings = run("two circles", circles, [turn for phase in CIRCLES for turn in phase.turns(COARSE)], 0)
    covered = {each.name: coverage(each.sample(), centres(), NOISE) for each in [*runs, *beside]}
    fallen = {"25 Gaussians": discrepancies(runs[0].path.laws, grid, 0)}
    fallen["two circles"] = discrepancies(rings.path.laws, circles, 1)
    cells = [cell(dim) for dim in ((2,) if quick else PUBLISHED)]
    checks = [*_coverage_checks(covered, 20 if quick else 25), *_falls(fallen), _radial_check(rings)]
    checks += [each.check(NAME) for each in cells]
    context = [_context(each, covered[each.name]) for each in [*runs, *beside]] + [each.context for each in cells]
    return Report(NAME, tuple(checks), tuple(context), _figure(runs[0], covered, rings, fallen))


def centres() -> Tensor:
    """Those of the 25 Gaussians (25, 2)."""
    places = SPACING * torch.arange(-2.0, 3.0)
    return torch.cartesian_prod(places, places)


def _grid_flows(quick: bool) -> tuple[list[Run], list[Run]]:
    """Ours by seed; and of the same iterations, one step, and in the full study ours with data that are not blurred or
    a critic of coordinates, and the published game.
    """
    target = grid_of_gaussians(spacing=SPACING, noise=NOISE)
    turns = annealed(NOISE, SPACING * math.sqrt(2))  # the standard deviation of a coordinate of the centres
    runs = [run(f"seed {seed}", target, turns, seed) for seed in range(1 if quick else 5)]
    beside = [run("one step", target, one_step(turns), 0)]
    if not quick:
        sharp = [replace(turn, blur=0.0) for turn in turns]
        coordinates = [replace(turn, critic=Critic(2, 128, 3)) for turn in turns]
        beside.append(run("data not blurred", target, sharp, 0))
        beside.append(run("critic of coordinates", target, coordinates, 0))
        beside.append(run("published game", target, published(turns), 0, KullbackLeibler()))
    return runs, beside


def _coverage_checks(covered: Mapping[str, Coverage], least: int) -> Iterator[Check]:
    for name, found in covered.items():
        quantity = f"25 Gaussians, {name}: modes covered"
        if name.startswith("seed"):
            yield at_least(NAME, quantity, found.covered, least)
        elif name == "one step":
            yield at_most(NAME, quantity, found.covered, 12)


def _falls(fallen: Mapping[str, list[Estimate]]) -> Iterator[Check]:
    """From phase to phase MMD² falls, up to two standard errors of the difference; at the end little of it is left."""
    for name, values in fallen.items():
        rises = [(b.value - a.value) / math.hypot(a.error, b.error) for a, b in pairwise(values[::PHASE])]
        yield at_most(NAME, f"{name}: largest rise of MMD² over {PHASE} steps, in standard errors", max(rises), 2.0)
        yield at_most(NAME, f"{name}: MMD² at the end, of that at the start", values[-1].value / values[0].value, 0.02)


def _radial_check(rings: Run) -> Check:
    distance = radial_distance(rings.sample(rows=ROWS), RADII, RING_NOISE)
    return at_most(NAME, f"two circles: Kolmogorov–Smirnov of the radius of {ROWS} samples", distance, RADIAL_BOUND)


def _context(each: Run, found: Coverage) -> Context:
    values = {
        "modes covered": found.covered,
        "share within three standard deviations": found.within,
        "of a mode, least": float(found.close.min()),
        "and largest": float(found.close.max()),
        "nearest to a mode, least": float(found.nearest.min()),
        "and largest, too": float(found.nearest.max()),
        "steps": len(each.path),
        "seconds": each.seconds,
    }
    return Context(f"25 Gaussians, {each.name}", values)


def _figure(first: Run, covered: Mapping[str, Coverage], rings: Run, fallen: Mapping[str, list[Estimate]]) -> Figure:
    figure, panels = axes(3, 2)
    steps = len(first.path)
    wide, fine = len(WIDE_BLURS), len(FINE_BLURS)
    for axis, k in zip(panels, (wide, wide + fine, steps), strict=False):
        x = first.sample(k, 4000)
        axis.plot(x[:, 0], x[:, 1], ".", ms=2, alpha=0.5, label="samples")
        axis.plot(*centres().T, "k+", ms=8, label="centres")
        finish(axis, f"25 Gaussians after {k} of {steps} steps", "x₁", "x₂")
    _shares(panels[3], first, covered)
    _radii(panels[4], rings)
    for name, values in fallen.items():
        means, errors = ([part[k] for part in values] for k in (0, 1))
        panels[5].errorbar(range(len(values)), means, errors, fmt="o-", ms=4, capsize=2, label=name)
    panels[5].set_yscale("log")
    widths = ", ".join(f"{width:g}" for width in BANDWIDTHS)
    finish(panels[5], "MMD² to the target", "steps", f"unbiased MMD², Gaussians of {widths}")
    return figure


def _shares(axis: Axes, first: Run, covered: Mapping[str, Coverage]) -> None:
    modes = torch.arange(25)
    axis.bar(modes - 0.2, covered[first.name].close, 0.4, label=f"S-JKO, {len(first.path)} steps")
    axis.bar(modes + 0.2, covered["one step"].close, 0.4, label="one step, as many iterations")
    axis.axhline(0.04, color="k", lw=0.8, label="exact; dotted: bounds")
    for bound in (0.02, 0.06):
        axis.axhline(bound, color="k", ls=":", lw=1)
    finish(axis, "Samples close to each centre", "mode", "share within three noise s.d.")


def _radii(axis: Axes, rings: Run) -> None:
    r = rings.sample().double().norm(dim=1)
    edges = torch.linspace(0, 10, 201, dtype=torch.float64)
    exact = radial_share(edges, RADII, RING_NOISE).diff() / edges.diff()
    axis.hist(r, edges.tolist(), density=True, alpha=0.5, label="S-JKO")
    axis.plot((edges[1:] + edges[:-1]) / 2, exact, "k-", lw=1, label="exact")
    finish(axis, "Two circles: distance from the origin", "|x|", "density")
