"""A user's own tables from the command line: learnt, judged on held-out rows, sampled and scored."""

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from validation.report import Check, Context, Report, at_least, at_most, within
from validation.studies._plots import axes, finish
from wgf import keys
from wgf.data import BreastCancer, Table, Wine
from wgf.data.table import numbered

NAME = "tabular"
DRAWS = 4000


@dataclass(frozen=True)
class Run:
    """What the command line left of one table."""

    name: str
    table: Table
    told: dict
    drawn: Float[Tensor, "n d"]
    columns: list[str]
    scored: float
    seconds: float


def study(quick: bool = False) -> Report:
    """`wgf run --method jko-flow FILE.csv`, then `wgf sample` and `wgf score`; quick: wine alone, few iterations."""
    tables: dict[str, Callable[[], Table]] = {"wine": Wine().load}
    if not quick:
        tables |= {"breast cancer": BreastCancer().load, "houses": houses}
    runs = [from_the_command_line(name, load(), 100 if quick else 300) for name, load in tables.items()]
    checks = [check for run in runs for check in _checks(run)]
    return Report(NAME, tuple(checks), tuple(map(_context, runs)), _figure(runs))


def houses(rows: int = 4000, seed: int = 0) -> Table:
    """Eight columns like those of the California census: skewed, bounded, capped and correlated, drawn here.

    Incomes are log-normal; ages bimodal in 1 … 52; rooms, bedrooms and occupants follow incomes, with heavy tails; two
    coordinates lie along a coast in two clusters.
    """
    generator = keys.generator(seed)
    z = torch.randn(rows, 8, dtype=torch.float64, generator=generator)
    u = torch.rand(rows, 2, dtype=torch.float64, generator=generator)
    income = (1.2 + 0.45 * z[:, 0]).exp()
    age = 52 * torch.sigmoid(torch.where(u[:, 0] < 0.4, 1.3, -0.4) + 0.6 * z[:, 1])
    wanted = (1.5 + 0.12 * (income - 3.9) / 1.9 + 0.25 * z[:, 2]).exp()
    bedrooms = 0.9 + 0.04 * wanted + 0.1 * z[:, 3].exp()
    population = (7.0 - 0.01 * age + 0.7 * z[:, 4]).exp()
    occupants = 1.2 + (0.6 + 0.35 * z[:, 5]).exp()
    north = u[:, 1] < 0.35
    latitude = torch.where(north, 37.7, 34.0) + 0.5 * z[:, 6]
    longitude = -119.6 - 0.75 * (latitude - 35.6) + 0.35 * z[:, 7]
    names = ("income", "age", "rooms", "bedrooms", "population", "occupants", "latitude", "longitude")
    columns = (income, age, wanted, bedrooms, population, occupants, latitude, longitude)
    return Table(torch.stack(columns, 1), None, names)


def from_the_command_line(name: str, table: Table, iterations: int) -> Run:
    """The three commands in a folder of their own."""
    with tempfile.TemporaryDirectory() as place:
        folder, file = Path(place), Path(place) / "mine.csv"
        _write(file, table)
        setting = ["--set", f"method.training.iterations={iterations}", "--tau", "5", "--steps", "3"]
        _wgf("run", "--method", "jko-flow", file, "--out", folder / "run", *setting)
        _wgf("sample", folder / "run", "--out", folder / "fresh.csv", "-n", DRAWS)
        _wgf("score", folder / "run", file, "--out", folder / "scores.csv")
        told = json.loads((folder / "run/heldout.json").read_text())
        seconds = sum(json.loads(line).get("seconds", 0.0) for line in _lines(folder / "run/metrics.jsonl"))
        header, *rows = csv.reader(_lines(folder / "fresh.csv"))
        drawn = torch.tensor([[float(cell) for cell in row] for row in rows], dtype=torch.float64)
        scored = float(np.loadtxt(folder / "scores.csv", skiprows=1).mean())
    return Run(name, table, told, drawn, header, scored, seconds)


def _write(file: Path, table: Table) -> None:
    names = table.names or numbered("x", table.X.shape[1])
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(names)
        writer.writerows(table.X.tolist())


def _wgf(*arguments: object) -> None:
    command = [sys.executable, "-m", "wgf.cli", *(str(each) for each in arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def _checks(run: Run) -> list[Check]:
    model, plain, name = run.told["model"], run.told["gaussian"], run.name
    error = (model["standard_error"] ** 2 + plain["standard_error"] ** 2) ** 0.5
    x, deviation = run.table.X.double(), run.table.X.double().std(0)
    off = ((run.drawn.mean(0) - x.mean(0)) / deviation).abs()
    allowed = 5 * (1 / len(x) + 1 / DRAWS) ** 0.5
    return [
        at_most(NAME, f"{name}: held-out NLL beyond a Gaussian's [nats]", model["nll"] - plain["nll"], 2 * error),
        at_most(NAME, f"{name}: the integrator's share of the NLL [nats]", model["integrator"], 0.05),
        at_least(NAME, f"{name}: p of the permutation test of MMD²", run.told["p_mmd2"], 0.01),
        at_most(NAME, f"{name}: means of sampled columns, furthest [deviations]", float(off.max()), allowed),
        within(NAME, f"{name}: columns keep their names", float(run.columns == list(run.table.names)), 1.0, 1.0),
        at_most(
            NAME,
            f"{name}: mean score of all rows below minus the held-out NLL [nats]",
            -run.scored - model["nll"],
            4 * model["standard_error"],
        ),
    ]


def _context(run: Run) -> Context:
    model, plain = run.told["model"], run.told["gaussian"]
    said = {"rows": len(run.table), "columns": len(run.table.names), "held-out NLL": model["nll"]}
    said |= {"standard error": model["standard_error"], "a Gaussian's NLL": plain["nll"], "MMD²": run.told["mmd2"]}
    if run.told["accuracy"] is not None:
        said["classifier's accuracy"] = run.told["accuracy"]
    return Context(run.name, said | {"seconds of training": run.seconds})


def _figure(runs: Sequence[Run]) -> Figure:
    figure, places = axes(len(runs), 2, width=4.2, height=3.6)
    for k, run in enumerate(runs):
        skew = ((run.table.X - run.table.X.mean(0)) / run.table.X.std(0)).pow(3).mean(0).abs()
        a, b = (int(i) for i in skew.argsort(descending=True)[:2])
        for axis, rows, colour, title in (
            (places[k], run.table.X, "k", f"{run.name}, {len(run.table):,} rows"),
            (places[k + len(runs)], run.drawn, "C0", f"{DRAWS:,} samples of the model"),
        ):
            axis.plot(rows[:, a], rows[:, b], ".", color=colour, ms=2, alpha=0.4)
            finish(axis, title, run.table.names[a], run.table.names[b])
        places[k + len(runs)].set(xlim=places[k].get_xlim(), ylim=places[k].get_ylim())
    return figure
