"""The critic's JKO step against the log-determinant's, on Ornstein–Uhlenbeck at the same τ."""

import math

from matplotlib.figure import Figure

from pdes.ornstein_uhlenbeck import ornstein_uhlenbeck
from validation.metrics import moment_matched_symkl
from validation.report import Check, Context, Report, at_most
from validation.studies._flows import exact_at, flow
from validation.studies._plots import axes, finish
from wgf import JKO, Adam, Alternate, Base, Critic, Path, Previous, Problem, Residual, SaddleJKO
from wgf.steppers import Stepper

NAME = "saddle-ou"
STEPS = 9
GAP = 0.05  # nats: what a critic of this size leaves of an entropy of 2 to 17


def study(quick: bool = False) -> Report:
    """d = 2 and 12 (quick: 2), nine steps of 0.1, 10⁵ particles: both anchors beside plain JKO, and both entropies."""
    checks: list[Check] = []
    context, paths = [], {}
    for dim in (2,) if quick else (2, 12):
        problem = ornstein_uhlenbeck(dim, seed=0)
        plain = _run(problem, "JKO", JKO(Residual(dim), Adam(300, 8192), density_batch=1024))
        reference = _symkl(problem, plain)
        context.append(Context(f"d = {dim}, JKO", {"log10 SymKL": reference, "seconds": _seconds(plain)}))
        for anchor in (Previous(), Base()):
            name = f"SaddleJKO({type(anchor).__name__})"
            path = _run(problem, name, SaddleJKO(Residual(dim), Critic(dim), anchor, Alternate(200)))
            value = _symkl(problem, path)
            checks.append(at_most(NAME, f"d = {dim}: {name}, log10 SymKL above JKO's", value - reference, 0.5))
            checks.append(
                at_most(NAME, f"d = {dim}: {name}, largest |critic − log-determinant| entropy", _gap(path), GAP)
            )
            context.append(Context(f"d = {dim}, {name}", {"log10 SymKL": value, "seconds": _seconds(path)}))
            paths[f"{name}, d = {dim}"] = path
    return Report(NAME, tuple(checks), tuple(context), _figure(paths))


def _run(problem: Problem, name: str, stepper: Stepper) -> Path:
    return flow(problem, stepper, [problem.horizon / STEPS] * STEPS, f"{NAME} d = {problem.dim} {name}")


def _symkl(problem: Problem, path: Path) -> float:
    return math.log10(moment_matched_symkl(path.state.x, exact_at(problem, problem.horizon)))


def _seconds(path: Path) -> float:
    return sum(info.seconds for info in path.infos)


def _gap(path: Path) -> float:
    """Where a log-determinant was lost the energy would be the critic's own: that is no agreement."""
    if path.state.log_base is None or path.state.logdet is None:
        return math.nan
    return max(abs(info.dual["Entropy"] - info.energy["Entropy"]) for info in path.infos)


def _figure(paths: dict[str, Path]) -> Figure:
    figure, found = axes(len(paths))
    for axis, (name, path) in zip(found, paths.items(), strict=True):
        axis.plot(path.times[1:], [info.energy["Entropy"] for info in path.infos], "k-", label="log-determinant")
        axis.plot(path.times[1:], [info.dual["Entropy"] for info in path.infos], "o", mfc="none", label="critic")
        finish(axis, name, "time t", "entropy ∫ρ log ρ [nats]")
    return figure
