"""JKO-iFlow on drawn and real tables: what reparametrisation and refinement do, and what block-wise training keeps."""

from collections.abc import Iterator

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from validation.report import Check, Context, Report, at_least, at_most
from validation.studies._blocks import EVEN, GEOMETRIC, REFINED, Run, Setting, Trained, memory, moved, run, variation
from validation.studies._plots import axes, finish
from wgf import keys
from wgf.data import Household, Miniboone, Moons, Rose, Tree
from wgf.schedule import Geometric
from wgf.training import Adam

NAME = "jko-iflow"
BATCH = 512
"""Rows of a batch, in training and where its gradient is weighed."""

SHORTER = 2.0
"""How many times smaller the variation of the lengths is to be after reparametrisation."""

TABLE = "MINIBOONE (6,932 rows, split 80/20)"


def study(quick: bool = False) -> Iterator[Report]:
    """Two moons, a rose, a tree, a table like POWER and MINIBOONE's 6,932 rows at hand, split 80/20 (quick: the first
    and the fourth, small).

    Each flow takes steps of geometric sizes until one is short, is reparametrised and then refined, two blocks for one.
    The W₂ increments' coefficient of variation is that of √E|x⁺ − x|² over blocks. "Edges" are the tenth of the held
    rows that the law, or where it is unknown the mean of the two models compared, finds least likely: the rims of
    strokes and moons, the tails of tables. They are scored twice: by the bare NLL, which praises a model that spreads
    too much mass there, and by the censored one, which does not. One report a data set.
    """
    runs = list[Run]()
    for setting in small() if quick else settings():
        runs.append(run(setting))
        yield Report(NAME, tuple(_checks(runs[-1])), (_context(runs[-1]),), _figure(runs))


def settings() -> list[Setting]:
    """The five data sets, and how long each block is trained. Strokes are thin: they take high frequencies, and small
    first steps, which spread them before they must be moved. Smooth laws are learnt coarsely first, by refinement then:
    a first flow within 0.03 nats of the entropy leaves next to nothing to be refined."""
    wide, thin, table = (
        Geometric(0.1, 2.5, 7, cap=3.0),
        Geometric(0.01, 2.5, 7, cap=3.0),
        Geometric(0.5, 2.0, 6, cap=4.0),
    )
    plain, few = Adam(100, BATCH, 5e-3), Adam(250, BATCH, 3e-3, checks=15, patience=4)
    smooth = Trained(plain, plain, Adam(600, 1024, 3e-3))
    sharp = Trained(Adam(300, BATCH, 1e-2), Adam(300, BATCH, 5e-3), Adam(600, 2 * BATCH, 2e-3))
    scarce = Trained(few, few, Adam(150, 2048, 1e-3, checks=15, patience=4))
    moons, pool = Moons(rows=50_000, scale=2.0, noise=0.1), (40_000, 4000, 2)
    return [
        Setting("moons", moons, wide, 0.03, smooth, 64, *pool, frequency=2.0),
        Setting("rose", Rose(rows=50_000), thin, 0.003, sharp, 64, *pool, frequency=8.0),
        Setting("tree", Tree(rows=50_000), thin, 0.003, sharp, 64, *pool, frequency=8.0),
        Setting("like POWER, d = 6", Household(50_000), wide, 0.03, smooth, 64, *pool),
        Setting(TABLE, Miniboone(), table, 0.05, scarce, 96, 5_546, 600, 2),
    ]


def small() -> list[Setting]:
    """Two of them, in a minute."""
    sizes, each = Geometric(0.2, 2.5, 6, cap=4.0), Adam(100, BATCH, 1e-2)
    training = Trained(each, each, Adam(400, 2 * BATCH, 3e-3))
    moons, household = Moons(rows=10_000, scale=2.0, noise=0.1), Household(10_000)
    return [
        Setting("moons", moons, sizes, 0.05, training, 32, 8000, 1600, 2),
        Setting("like POWER, d = 6", household, sizes, 0.05, training, 32, 8000, 1600, 2),
    ]


def _checks(one: Run) -> list[Check]:
    title, before, after = one.setting.title, one.paths[GEOMETRIC], one.paths[EVEN]
    evened = variation(moved(before)) / max(variation(moved(after)), 1e-6)  # one block alone has none
    block, whole = memory(one.paths[REFINED], _batch(one))
    blocks = len(one.paths[REFINED])
    said = f"{title}: bytes kept for one of {blocks} motions, over 1/{blocks} of those for all"
    return [
        at_least(NAME, f"{title}: variation of the W₂ increments, before over after", evened, SHORTER),
        at_most(NAME, f"{title}: NLL on the edges, refined less reparametrised, nats", one.gain(one.edges)[0], 0.0),
        at_most(NAME, f"{title}: the same, censored", one.edge_gain()[0], 0.0),
        at_most(NAME, f"{title}: NLL of all held rows, refined less reparametrised, nats", one.gain()[0], 0.0),
        at_most(NAME, said, blocks * block.motion / whole.motion, 1.0),
    ]


def _context(one: Run) -> Context:
    block, whole = memory(one.paths[REFINED], _batch(one))
    values = {f"NLL, {name}": one.nll(name) for name in one.paths}
    values |= {f"NLL on the edges, {name}": one.nll(name, one.edges) for name in one.paths}
    if one.exact is not None:
        values |= {"entropy": -float(one.exact.mean()), "entropy, edges": -float(one.exact[one.edges].mean())}
    values |= {f"blocks, {name}": len(path) for name, path in one.paths.items()}
    values |= {f"variation, {name}": variation(moved(path)) for name, path in one.paths.items()}
    values |= {"s.e. of the gain": one.gain()[1], "s.e. of the gain on the edges": one.gain(one.edges)[1]}
    values |= {"s.e. of the censored gain": one.edge_gain()[1]}
    values |= {f"mass on the edges, {name}": one.mass(name) for name in one.at_edges}
    values |= {"MB kept, one block": block.loss / 1e6, "MB kept, all blocks": whole.loss / 1e6}
    return Context(one.setting.title, {**values, "held rows": len(one.densities[EVEN]), "seconds": one.seconds})


def _batch(one: Run) -> Tensor:
    start = one.problem.initial.to(torch.float32)
    return start.sample(BATCH, keys.generator(1))


def _figure(runs: list[Run]) -> Figure:
    figure, panels = axes(len(runs), rows=2)
    for one, above, below in zip(runs, panels, panels[len(runs) :], strict=False):
        for name in (GEOMETRIC, EVEN):
            lengths = moved(one.paths[name])
            above.plot(range(1, len(lengths) + 1), lengths, "o-", ms=4, label=name)
        above.set_ylim(bottom=0)
        finish(above, one.setting.title, "block", "W₂ increment [standard deviations]")
        if one.problem.dim == 2:
            _samples(below, one)
        else:
            _scores(below, one)
    return figure


def _samples(axis: Axes, one: Run, rows: int = 3000) -> None:
    """Rows of the data to the left, of the refined model to the right."""
    learning = one.problem.learning
    assert learning is not None
    drawn = learning.model(one.paths[REFINED]).sample(rows, keys.generator(2))
    width = float(learning.held[:, 0].max() - learning.held[:, 0].min()) * 1.15
    axis.plot(*learning.held[:rows].T, ".", ms=1, label="held rows")
    axis.plot(drawn[:, 0] + width, drawn[:, 1], ".", ms=1, label="refined model, moved right")
    axis.set_aspect("equal")
    finish(axis, f"{one.setting.title}: rows and samples", "x₁", "x₂")


def _scores(axis: Axes, one: Run) -> None:
    names = list(one.paths)
    for label, rows in (("all held rows", slice(None)), ("edges", one.edges)):
        axis.plot(names, [one.nll(name, rows) for name in names], "o-", label=label)
        if one.exact is not None:
            axis.axhline(-float(one.exact[rows].mean()), color="k", lw=1, ls="--")
    finish(axis, "held rows" if one.exact is None else "held rows; dashed, the law itself", "path", "NLL [nats a row]")
