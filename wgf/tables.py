"""What the command line shows, as rich tables: steps of a run, checks, races, what there is to choose from."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from wgf.heldout import HeldOut

SHOWN = 24  # steps that a table shows at most

Row = Mapping[str, Any]


def steps_of_run(title: str, rows: Sequence[Row]) -> Table:
    """Time, energy, displacement, certificate and distance from the exact law, a line for the start and each step."""
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("step", lambda row: str(row["step"])),
        ("t", lambda row: number(row["time"])),
        ("F", lambda row: number(row.get("energy"), 5)),
        ("moved", lambda row: number(row.get("moved"))),
        ("certificate", certificate),
        ("Δmean", lambda row: number(row.get("mean_error"), 2)),
        ("Δcov", lambda row: number(row.get("covariance_error"), 2)),
        ("ΔR/R", lambda row: number(row.get("radius_error"), 2)),
        ("KS", lambda row: number(row.get("radial_distance"), 2)),
        ("seconds", lambda row: number(row.get("seconds"), 2)),
    ]
    texts = {name: [cell(row) for row in rows] for name, cell in columns}
    table = Table(title=escaped(title), box=box.SIMPLE_HEAD, caption=floors(rows[-1]), caption_justify="left")
    kept = [name for name, cells in texts.items() if any(cell != "–" for cell in cells)]
    for name in kept:
        table.add_column(name, justify="right", no_wrap=True)
    chosen = thinned(len(rows))
    for k in chosen:
        table.add_row(*(texts[name][k] for name in kept))
    if len(chosen) < len(rows):
        table.title = f"{escaped(title)} ({len(chosen)} of {len(rows)} lines)"
    return table


def held_out(found: "HeldOut") -> Table:
    """What a learnt density is worth on the rows it has not seen."""
    title = f"{found.model.rows:,} held-out rows"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", show_header=False)
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    for name, seen in (("", found.model), (" by a Gaussian in the flow's units", found.gaussian)):
        table.add_row(f"negative log-likelihood{name} [nats]", f"{seen.nll:.4f} ± {seen.standard_error:.2g}")
    table.add_row("bits a dimension", f"{found.model.bits:.4f}")
    table.add_row("of the likelihood, by halving the integrator's steps [nats]", f"{found.model.integrator:.1g}")
    if found.mmd2 is not None:
        table.add_row(escaped(found.kernel), f"{found.mmd2:.2g}, p = {found.p_mmd2:.2g}")
    if found.accuracy is not None:
        table.add_row("accuracy of a classifier (chance: 0.5)", f"{found.accuracy:.3f}, p = {found.p_accuracy:.2g}")
    if found.note:
        table.caption = f"not sampled: {escaped(found.note)}"
    return table


def checks_of_study(study: str, rows: Sequence[Row], context: Sequence[Any] = ()) -> Table:
    """The checks of a study with their bounds, and the rows that they are read beside."""
    table = Table(title=study, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("quantity", overflow="fold")
    for name in ("value", "bound", "holds"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        holds = "[green]yes[/]" if row["holds"] else "[bold red]NO[/]"
        table.add_row(escaped(row["quantity"]), number(row["value"], 4), bound(row["bound"]), holds)
    for beside in context:
        for quantity, value in beside.values.items():
            table.add_row(f"[dim]{escaped(f'{beside.label}: {quantity}')}[/]", f"[dim]{number(value, 4)}[/]", "", "")
    return table


def rows_of_bench(bench: str, rows: Sequence[Row]) -> Table:
    """The ratios of a bench with their bounds: peer's seconds over ours, or what is allowed over what was spent."""
    table = Table(title=bench, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("peer", overflow="fold")
    for name in ("ours s", "peer s", "error", "ratio", "bound", "holds"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        held = "[green]yes[/]" if row["holds"] else "[bold red]NO[/]"
        holds = "" if row["holds"] and row["bound"] is None else held
        note = f" [red]{escaped(row['note'])}[/]" if row.get("note") else ""
        seconds = (number(row["ours_s"]), number(row["peer_s"]))
        least = bound(None if row["bound"] is None else (row["bound"], None))
        table.add_row(
            escaped(row["peer"]) + note, *seconds, number(row["error"], 2), number(row["ratio"]), least, holds
        )
    return table


def catalogue(title: str, entries: Mapping[str, Any]) -> Table:
    """Names with the first sentence of what each says of itself."""
    table = Table(title=title, box=box.SIMPLE_HEAD, show_header=False, title_justify="left", title_style="bold")
    table.add_column(no_wrap=True, style="cyan")
    table.add_column()
    for name, thing in entries.items():
        table.add_row(name, escaped(thing if isinstance(thing, str) else first_sentence(thing)))
    return table


def first_sentence(thing: object) -> str:
    """The first sentence of a docstring."""
    paragraph = " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())
    return re.split(r"(?<=\.)\s", paragraph)[0]


def number(value: Any, digits: int = 3) -> str:
    """A number for a table; a dash for None."""
    return "–" if value is None else f"{value:.{digits}g}"


def bound(value: Any) -> str:
    """≤ b for a number, the interval for a pair."""
    if value is None:
        return ""
    if not isinstance(value, (list, tuple)):
        return f"≤ {value:.4g}"
    low, high = value
    if low is None or high is None:
        return f"≥ {low:.4g}" if high is None else f"≤ {high:.4g}"
    return f"{low:.4g} … {high:.4g}"


def certificate(row: Row) -> str:
    """Value ± standard error."""
    value, error = row.get("certificate"), row.get("certificate_se")
    return "–" if value is None or error is None else f"{value:.3g} ± {error:.1g}"


def floors(row: Row) -> str | None:
    """What exact samples, as many as there are particles, would show."""
    if row.get("mean_floor") is None:
        return None
    mean, covariance = number(row["mean_floor"], 2), number(row["covariance_floor"], 2)
    return (
        "Δmean = |m − m*|, Δcov = ‖S − S*‖/‖S*‖ from the exact law;"
        f" as many exact samples would show {mean} and {covariance} at the end"
    )


def thinned(count: int) -> list[int]:
    """At most SHOWN of `count` indices, evenly spread, both ends included."""
    if count <= SHOWN:
        return list(range(count))
    return sorted({round(k * (count - 1) / (SHOWN - 1)) for k in range(SHOWN)})


def escaped(text: str) -> str:
    """`text` with rich's markup taken literally."""
    return text.replace("[", "\\[")
