"""The command line: list, run, resume, show, sample, score, validate, bench. Status 2 and one line for bad input."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

if TYPE_CHECKING:
    from wgf.flow import Path as Flow
    from wgf.spec import Experiment

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Wasserstein gradient flows: a functional, a stepper and a law, and any of the three can be exchanged.",
)

USAGE = cast(
    "type[typer.BadParameter]", next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
)
"""What a line that cannot be parsed raises: click's exception, which typer has had from different places."""
Folder = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a number") from error


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a whole number") from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; the exit status is 0, 1 where a check or a computation failed, 2 for bad input."""
    try:
        status = app(arguments, standalone_mode=False)
    except USAGE as error:
        status = _complain(error.format_message(), 2)
    except OSError as error:
        status = _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error), 2)
    except (ValueError, RuntimeError) as error:
        status = _refused(error)
    except KeyboardInterrupt:
        status = _complain("interrupted", 130)
    raise SystemExit(status or 0)


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"wgf {installed('wgf-toolkit')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command("list")
def list_() -> None:
    """What there is: problems, methods, steppers, maps, training recipes, data sets, studies, benches."""
    from wgf import catalogue, tables

    console = Console()
    for title, entries in catalogue.everything().items():
        console.print(tables.catalogue(title, entries))


@app.command()
def run(
    target: Annotated[
        str,
        typer.Argument(help="A problem (see wgf list), FILE.toml, or data: .csv, .npz, .parquet.", show_default=False),
    ],
    out: Annotated[Path, typer.Option(help="The run folder: empty, or nothing yet.", show_default=False)],
    stepper: Annotated[str | None, typer.Option(help="A stepper (jko by default).")] = None,
    method: Annotated[str | None, typer.Option(help="A published method, in place of a stepper.")] = None,
    tau: Annotated[
        float | None,
        typer.Option(parser=_real, metavar="TAU", help="Step size; alone, as many steps as reach the horizon."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(parser=_whole, metavar="N", help="Number of steps; alone, they reach the horizon.")
    ] = None,
    settled: Annotated[
        float | None,
        typer.Option(parser=_real, metavar="LENGTH", help="End after a step that moves the law by less."),
    ] = None,
    particles: Annotated[int | None, typer.Option(parser=_whole, metavar="N", help="Size of the pool.")] = None,
    seed: Annotated[int | None, typer.Option(parser=_whole, metavar="N", help="The only source of randomness.")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32 or float64.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, or one of several such as cuda:1.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="dim=12 (of the problem), or stepper.map.width=128."),
    ] = None,
) -> None:
    """Flow a problem and keep it in a folder: spec, metrics, weights, figures."""
    from wgf import flags, runs, spec

    runs.refuse_used(out)
    raw = flags.assemble(target, stepper, tau, steps, seed, dtype, particles, settings or (), method, settled, device)
    experiment = spec.build(raw)
    _flow(out, experiment, lambda bar: runs.run(experiment, out, [bar]))


@app.command()
def resume(folder: Folder) -> None:
    """Go on with an interrupted run: the same bits as without the interruption."""
    from wgf import runs

    experiment, path = runs.load(folder)
    if experiment.ended(path):
        typer.echo(f"{folder} has taken all of its {len(path)} steps", err=True)
        _report(folder, experiment, path)
    else:
        _flow(folder, experiment, lambda bar: runs.proceed(folder, experiment, path, [bar]))


@app.command()
def refine(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="The new run folder: empty, or nothing yet.", show_default=False)],
    parts: Annotated[int, typer.Option(parser=_whole, metavar="N", help="Cut every step in so many.")] = 1,
    even: Annotated[bool, typer.Option("--even", help="First make the steps go equally far.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda, by default that of the run.")] = None,
) -> None:
    """Take the steps of a run again, every map trained on from where it was: cut in parts, or evened out."""
    from wgf import checks, runs, spec

    runs.refuse_used(out)
    checks.at_least("--parts", parts, 1)
    if parts == 1 and not even:
        raise typer.BadParameter("say how: --parts N above 1, or --even")
    experiment = spec.build(runs.again(folder, parts, even, device))
    _flow(out, experiment, lambda bar: runs.run(experiment, out, [bar]))


@app.command()
def show(folder: Folder) -> None:
    """The table and the figure of a run, as far as it has come."""
    from wgf import runs

    _report(folder, *runs.load(folder))


@app.command()
def sample(
    folder: Folder,
    out: Annotated[Path, typer.Option(help="FILE.csv or FILE.npz.", show_default=False)],
    n: Annotated[int, typer.Option("-n", parser=_whole, metavar="N", help="How many rows.")] = 1000,
    seed: Annotated[int, typer.Option(parser=_whole, metavar="N", help="Seed of the draws.")] = 0,
) -> None:
    """Draw fresh rows of what a run has learnt: of its data, or of the law where it ended."""
    from wgf import checks, keys, runs, samples

    checks.at_least("-n", n, 1)
    experiment, path = runs.load(folder)
    law, learning = experiment.problem.learnt(path), experiment.problem.learning
    rows = law.sample(n, keys.generator(seed, device=law.like.device))
    samples.save_rows(out, rows, None if learning is None else list(learning.names))
    typer.echo(f"{n} rows of {law.dim} in {out}")


@app.command()
def score(
    folder: Folder,
    rows: Annotated[Path, typer.Argument(help="FILE.csv, .npz or .parquet.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Each row's log-density, FILE.csv or FILE.npz.")] = None,
) -> None:
    """The log-density of rows under what a run has learnt, in nats, with the integrator's share where there is one."""
    import torch

    from wgf import runs, samples, scoring

    experiment, path = runs.load(folder)
    law, learning = experiment.problem.learnt(path), experiment.problem.learning
    x = samples.load_rows(rows, law.dim, None if learning is None else learning.names)
    found = scoring.score(law, x)
    shared = f" (by the integrator ± {found.integrator:.2g})" if found.integrator else ""
    typer.echo(
        f"mean log-density of {found.rows} rows: {-found.nll:.4f} ± {found.standard_error:.2g} nats{shared},"
        f" {found.bits:.4f} bits a dimension"
    )
    if out is not None:
        samples.save_rows(out, scoring.log_density(law.to(torch.float64), x)[:, None], ["log_density"])


@app.command()
def validate(
    names: Annotated[list[str] | None, typer.Argument(metavar="[STUDY]...", help="All by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller settings where a study has them.")] = False,
    to: Annotated[Path | None, typer.Option("--json", help="Write every check to this file.")] = None,
    figures: Annotated[Path, typer.Option(help="Where the studies' figures go.")] = Path("figures"),
) -> None:
    """Run studies and hold their numbers to their bounds: exit status 1 where one does not hold."""
    from wgf import studies, tables

    console, chosen = Console(), studies.chosen(names or [])
    rows: list[dict[str, Any]] = []
    _writable(to, figures)
    for outcome in studies.conduct(chosen, quick):
        if outcome.rows or outcome.context:
            console.print(tables.checks_of_study(outcome.study, outcome.rows, outcome.context))
        if outcome.crash:
            typer.echo(outcome.crash, err=True)
        if outcome.figure is not None:
            outcome.figure.savefig(figures / f"{outcome.study}.png", dpi=150)
            console.print(f"figure: {figures / outcome.study}.png", soft_wrap=True, highlight=False)
        rows += outcome.rows
        if to is not None:
            to.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    held = sum(row["holds"] for row in rows)
    console.print(f"{held} of {len(rows)} checks hold")
    raise typer.Exit(0 if held == len(rows) else 1)


@app.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="All by default.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller cases and fewer rounds.")] = False,
    to: Annotated[Path | None, typer.Option("--json", help="Write every row to this file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Keep the files that a bench makes, as kernel-costs does.")] = None,
) -> None:
    """Race against peers, a process each, and hold the ratios to their bounds: exit status 1 where one does not."""
    from wgf import benches, tables

    console, chosen = Console(), benches.chosen(names or [])
    rows: list[dict[str, Any]] = []
    _writable(to, out or Path())
    with benches.Progress():
        for outcome in benches.conduct(chosen, quick):
            console.print(tables.rows_of_bench(outcome.bench, outcome.rows))
            if outcome.crash:
                typer.echo(outcome.crash, err=True)
            _keep(outcome.files, out, console)
            rows += outcome.rows
            if to is not None:
                to.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    held = sum(row["holds"] for row in rows)
    console.print(f"{held} of {len(rows)} rows hold")
    raise typer.Exit(0 if held == len(rows) else 1)


def _keep(files: Mapping[str, str], folder: Path | None, console: Console) -> None:
    """Write what a bench made beside its rows, or say how to have it written."""
    for name, text in files.items():
        if folder is not None:
            (folder / name).write_text(text, encoding="utf-8")
        said = f"written: {folder / name}" if folder is not None else f"--out FOLDER would keep {name}"
        console.print(said, soft_wrap=True, highlight=False)


def _flow(folder: Path, experiment: "Experiment", go: "Callable[[Any], Flow]") -> None:
    """Carry a run out under a progress bar, and report it; say how to go on where it is interrupted."""
    from wgf.observers import ProgressBar

    try:
        path = go(ProgressBar())
    except KeyboardInterrupt:
        raise typer.Exit(_complain(f"interrupted; wgf resume {folder} goes on", 130)) from None
    _report(folder, experiment, path)


def _report(folder: Path, experiment: "Experiment", path: "Flow") -> None:
    from wgf import heldout, plotting, portraits, runs, tables

    console = Console()
    console.print(tables.steps_of_run(experiment.problem.title or str(folder), runs.rows(folder)))
    if not len(path):
        return
    if experiment.problem.learning is None:
        figure = plotting.figure_of_run(experiment.problem, path)
    else:
        figure = portraits.figure_of_learning(experiment.problem, path)
        if experiment.ended(path):
            console.print(tables.held_out(heldout.kept(folder, experiment, path)))
    file = runs.add_figure(folder, figure)
    console.print(f"figure: {file}", soft_wrap=True, highlight=False)


def _refused(error: Exception) -> int:
    """The exit status of one of the toolkit's errors, said in one line; any other is a defect: its traceback stays."""
    from wgf.errors import Diverged, InputError, NotInvertible, Unknown

    if not isinstance(error, (Diverged, InputError, NotInvertible, Unknown)):
        raise error
    return _complain(str(error), 2 if isinstance(error, (InputError, Unknown)) else 1)


def _complain(message: str, status: int) -> int:
    typer.echo(f"wgf: {' '.join(message.split())}", err=True)
    return status


def _writable(to: Path | None, folder: Path) -> None:
    """Make the folder for figures and other files, and see that the file can be written, before hours are spent."""
    folder.mkdir(parents=True, exist_ok=True)
    if to is not None:
        to.write_text("[]\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
