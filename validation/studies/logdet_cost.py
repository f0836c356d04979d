"""What a log-determinant costs: a loss and its gradient with one, over without, as a ratio in one run."""

import time

import torch
from matplotlib.figure import Figure

from validation.report import Context, Report, at_most
from validation.studies._plots import axes, finish
from wgf import OTFlow, Residual, keys
from wgf.maps import Map

NAME = "logdet-cost"


def study(quick: bool = False) -> Report:
    """Residual maps of width 64 on 1024 rows, d = 2 and 12; the OT-Flow potential at (d, m, rows) = (43, 64, 1000)."""
    cases = {
        "Residual, d = 2, width 64, 1024 rows": (Residual(2, 64), 1024, 4.0),
        "Residual, d = 12, width 64, 1024 rows": (Residual(12, 64), 1024, 16.0),
        "OTFlow, d = 43, m = 64, 1000 rows, RK4 in 4 steps": (OTFlow(43, 64), 1000, 4.0),
    }
    checks, context, times = [], [], {}
    for name, (map, rows, bound) in cases.items():
        without, with_logdet = seconds(map, rows, 10 if quick else 40)
        times[name] = (without, with_logdet)
        checks.append(at_most(NAME, f"{name}: with over without", with_logdet / without, bound))
        context.append(Context(name, {"ms without": 1e3 * without, "ms with": 1e3 * with_logdet}))
    return Report(NAME, tuple(checks), tuple(context), _figure(times))


def seconds(map: Map, rows: int, repeats: int) -> tuple[float, float]:
    """The fastest of interleaved runs, without and with the log-determinant, weights away from their zero start."""
    generator = keys.generator(0)
    with torch.no_grad():
        for parameter in map.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    x = torch.randn(rows, map.dim, generator=generator)
    best = [float("inf"), float("inf")]
    for _ in range(repeats):
        for k, logdet in enumerate((False, True)):
            began = time.perf_counter()
            _loss_and_gradient(map, x, logdet)
            best[k] = min(best[k], time.perf_counter() - began)
    return best[0], best[1]


def _loss_and_gradient(map: Map, x: torch.Tensor, logdet: bool) -> None:
    moved = map.transport(x, logdet=logdet)
    loss = 10 * moved.cost.mean() + 0.5 * moved.y.square().sum(-1).mean()
    if moved.logdet is not None:
        loss = loss - moved.logdet.mean()
    torch.autograd.grad(loss, list(map.parameters()), allow_unused=True)


def _figure(times: dict[str, tuple[float, float]]) -> Figure:
    figure, (axis,) = axes(1, width=7)
    places = range(len(times))
    axis.barh([p + 0.2 for p in places], [1e3 * pair[0] for pair in times.values()], 0.4, label="without")
    axis.barh([p - 0.2 for p in places], [1e3 * pair[1] for pair in times.values()], 0.4, label="with log-determinant")
    axis.set_yticks(list(places), [name.replace(", ", "\n", 1) for name in times], fontsize="small")
    axis.set_xscale("log")
    finish(axis, "One loss and its gradient", "milliseconds", "")
    return figure
