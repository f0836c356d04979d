"""Closed forms of potential flows against autograd, exact solutions and the log-determinant of the Jacobian."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import TypeVar

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from validation.ot_flow import divergence_size, potential, published, scatter, with_time
from validation.report import Check, Context, Report, at_most, within
from validation.straight import Spreading, relative_residual
from validation.studies._plots import axes, finish
from wgf import Compose, NeuralODE, OTFlow, autodiff, keys
from wgf.maps import Dynamic
from wgf.optimality import hamilton_jacobi

NAME = "trace"
DOUBLE, SINGLE = torch.float64, torch.float32
BOUNDS = {DOUBLE: 1e-12, SINGLE: 1e-6}
WIDTHS, DEPTHS, DIMS = (3, 4, 5, 8, 16, 64), (2, 3, 4), (2, 6, 43)
TIME = 0.3
COUNTS = {3: 40, 4: 53, 5: 68, 8: 125, 16: 365}
"""Parameters of a planar potential of two layers, by width: m² + 6m + 13."""

WHATS = {"gradient": "OTFlow: (∇, ∂t)Φ", "trace": "OTFlow: tr ∇²Φ", "divergence": "NeuralODE: ∇·v"}

COMPOSED, TRAINING = 5, 8
STEPS = (4, 8, 16, 32)
"""Maps in a flow, the RK4 steps of each in training, and those its order is measured on."""

CASES = {(2, 16): 200, (6, 32): 100, (43, 64): 8}
"""Rows of each flow, by (d, m)."""

SCALE = 0.5
"""Of its weights: volumes change by e^2.5 to e^12."""

Map = TypeVar("Map", bound=Dynamic)
Errors = dict[tuple[str, torch.dtype, int, int, int], float]


def study(quick: bool = False) -> Report:
    """(x, t)-gradient and trace for every width, depth and dimension, 1000 rows (quick: 64); Hamilton–Jacobi on exact
    solutions; log det of five composed steps, d = 2, 6 and 43 (quick: the first two); counts of parameters.
    """
    errors = closed_forms(64 if quick else 1000)
    gaps = {case: logdet_gaps(*case, rows) for case, rows in list(CASES.items())[: 2 if quick else None]}
    checks = (*_worst(errors), *_exact(), *(check for case in gaps for check in _logdet(case, gaps[case])), *_counts())
    return Report(NAME, checks, tuple(_context(errors)), _figure(errors, gaps))


def closed_forms(rows: int) -> Errors:
    """Errors of both maps, by (what, dtype, d, depth, m), against autograd in float64 on the very same weights: the
    largest over rows, relative to the row's sum of the sizes of all terms, every factor of the formula taken as |·|.
    """
    errors: Errors = {}
    for case in product(DIMS, DEPTHS, WIDTHS):
        dim, depth, width = case
        generator = keys.generator(0, *case)
        x = torch.randn(rows, dim, generator=generator)
        flow, ode = OTFlow(dim, width, depth), NeuralODE(dim, width, depth)
        scatter(flow, generator)
        scatter(ode, generator)
        for what, dtype, error in (*_potential_errors(flow, x), *_divergence_errors(ode, x)):
            errors[what, dtype, *case] = error
    return errors


def _potential_errors(flow: OTFlow, x: Tensor) -> Iterator[tuple[str, torch.dtype, float]]:
    """Of (∇, ∂_t)Φ and of tr ∇²Φ, by double backward of the plain potential."""
    exact, s = _as(flow, DOUBLE), with_time(TIME, x.double())

    def slope(s: Tensor) -> Tensor:
        return autodiff.gradient(lambda r: potential(exact, r), s, create_graph=True)

    gradient, trace = slope(s).detach(), _diagonal(slope, s)[:, :-1].sum(1)
    gradient_size, trace_size = published(exact, s, sized=torch.abs)
    for dtype in BOUNDS:
        cast = _as(flow, dtype)
        off = (cast.gradient(TIME, x.to(dtype)) - gradient).norm(dim=1)
        yield "gradient", dtype, float((off / gradient_size.norm(dim=1)).max())
        off = (-_divergence(cast, x) - trace).abs()
        yield "trace", dtype, float((off / trace_size).max())


def _divergence_errors(ode: NeuralODE, x: Tensor) -> Iterator[tuple[str, torch.dtype, float]]:
    exact, s = _as(ode, DOUBLE), with_time(TIME, x.double())
    trace, size = _diagonal(partial(exact.velocity, TIME), x.double()).sum(1), divergence_size(exact, s)
    for dtype in BOUNDS:
        yield "divergence", dtype, float(((_divergence(_as(ode, dtype), x) - trace).abs() / size).max())


def _divergence(map: Dynamic, x: Tensor) -> Tensor:
    dtype = next(map.parameters()).dtype
    return map.divergences([TIME], [x.to(dtype)])[0].double()


def _diagonal(field: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∂_a f_a for all a."""
    return _jacobian(field, x).diagonal(dim1=1, dim2=2)


def _jacobian(field: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """∂f/∂x at every row, a reverse pass for each column of f."""
    leaf = x.clone().requires_grad_()
    value = field(leaf)
    columns = [torch.autograd.grad(column.sum(), leaf, retain_graph=True)[0] for column in value.T]
    return torch.stack(columns, 1)


def _as(map: Map, dtype: torch.dtype) -> Map:
    return copy.deepcopy(map).to(dtype).requires_grad_(False)


def _worst(errors: Errors) -> list[Check]:
    """The largest error of each kind over widths, depths and dimensions."""
    worst = {(what, dtype): max(_of(errors, what, dtype)) for what in WHATS for dtype in BOUNDS}
    return [
        at_most(NAME, f"{WHATS[what]} against autograd, relative to its terms, {_name(dtype)}", value, BOUNDS[dtype])
        for (what, dtype), value in worst.items()
    ]


def _of(errors: Errors, what: str, dtype: torch.dtype, width: int | None = None) -> list[float]:
    return [v for (w, t, _, _, m), v in errors.items() if (w, t) == (what, dtype) and width in (None, m)]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _exact() -> list[Check]:
    """Hamilton–Jacobi, relative to ½|∇Φ|², on solutions in closed form. The first: `validation.straight`.

    OTFlow's only quadratic solutions are translations, for AᵀA ≥ 0 does not change in time. But σ = log 2cosh is the
    logarithm of a sum of two exponentials: with w = 1, K_l = 0, orthogonal rows k_j of K_0 and
    Φ = Σ_j σ(⟨k_j, x⟩ + ⟨k_j, b⟩t + β_j) + ⟨b, x⟩ + ½(|b|² + Σ_j|k_j|²)t, e^Φ solves the heat equation (Hopf 1950,
    Cole 1951): ∂_tΦ = ½|∇Φ|² + ½ΔΦ, which gradient, time derivative and trace must hold together.
    """
    generator = keys.generator(0)
    x = torch.randn(1000, 6, generator=generator).double()
    times, shift, rows = (0.0, 2.0, 5.0), torch.randn(6, generator=generator).double(), torch.zeros(6, 6).double()
    translation = _cole_hopf(shift, rows)
    rows = (
        torch.linalg.qr(torch.randn(6, 6, generator=generator).double())[0]
        * torch.linspace(0.5, 3, 6).double()[:, None]
    )
    return [
        at_most(NAME, "Hamilton–Jacobi on −|x|²/2(t + c), relative", relative_residual(Spreading(6), times, x), 1e-12),
        at_most(
            NAME,
            "Hamilton–Jacobi on an OTFlow, a translation, relative",
            relative_residual(translation, times, x),
            1e-12,
        ),
        at_most(
            NAME, "viscous Hamilton–Jacobi on an OTFlow, relative", _viscous(_cole_hopf(shift, rows), times, x), 1e-12
        ),
    ]


@torch.no_grad()
def _cole_hopf(shift: Tensor, rows: Tensor) -> OTFlow:
    """The solution above, of b = `shift` and k_j = `rows`; no rows but zeros: the translation by b."""
    dim = len(shift)
    flow = OTFlow(dim, len(rows)).double().requires_grad_(False)
    for weight in flow.parameters():
        weight.zero_()
    flow.opening.copy_(torch.cat([rows, (rows @ shift)[:, None]], 1))
    flow.opening_bias.copy_(torch.linspace(-1, 1, len(rows)))
    flow.weight.fill_(1.0)
    flow.linear[:dim] = shift
    flow.linear[dim] = 0.5 * (shift.square().sum() + rows.square().sum())
    return flow


def _viscous(flow: OTFlow, times: Sequence[float], x: Tensor) -> float:
    """max |∂_tΦ − ½|∇Φ|² − ½ΔΦ| over the largest ½ΔΦ."""
    curved = -0.5 * flow.divergences(times, [x] * len(times))
    left = torch.stack([hamilton_jacobi(flow, t, x) for t in times])
    return float((left - curved).abs().max() / curved.abs().max())


def logdet_gaps(dim: int, width: int, rows: int) -> list[float]:
    """max_i |Σ_k ∫∇·v_k dt − log|det ∂y/∂x|| at all `STEPS`, the Jacobian of all five maps at once by autograd."""
    generator, gaps = keys.generator(0, dim), []
    maps = [OTFlow(dim, width).double() for _ in range(COMPOSED)]
    for map in maps:
        scatter(map, generator, SCALE)
        map.requires_grad_(False)
    x, flow = torch.randn(rows, dim, generator=generator).double(), Compose(maps)
    for steps in STEPS:
        for map in maps:
            map.steps = steps
        J = _jacobian(flow, x)
        with torch.no_grad():
            logdet = flow.transport(x, logdet=True).logdet
        gaps.append(float((logdet - torch.linalg.slogdet(J)[1]).abs().max()))
    return gaps


def _logdet(case: tuple[int, int], gaps: list[float]) -> list[Check]:
    said = f"five OTFlows, d = {case[0]}, m = {case[1]}"
    order = math.log2(gaps[-2] / gaps[-1])
    return [
        at_most(NAME, f"{said}: log det against slogdet at {TRAINING} steps", gaps[STEPS.index(TRAINING)], 1e-4),
        within(NAME, f"{said}: order of the difference", order, 3.8, 4.2),
    ]


def _counts() -> list[Check]:
    found = {m: sum(weight.numel() for weight in OTFlow(2, m).parameters()) for m in COUNTS}
    return [within(NAME, f"parameters, d = 2, m = {m}", found[m], COUNTS[m], COUNTS[m]) for m in COUNTS]


def _context(errors: Errors) -> list[Context]:
    """The worst of each width."""
    return [
        Context(
            f"m = {m}",
            {f"{what}, {_name(dtype)}": max(_of(errors, what, dtype, m)) for dtype in BOUNDS for what in WHATS},
        )
        for m in WIDTHS
    ]


def _figure(errors: Errors, gaps: dict[tuple[int, int], list[float]]) -> Figure:
    figure, (by_width, by_steps) = axes(2)
    for dtype, marker in zip(BOUNDS, "o^", strict=True):
        for k, depth in enumerate(DEPTHS):
            worst = [
                max(v for (w, t, _, l, n), v in errors.items() if (w, t, l, n) == ("trace", dtype, depth, m))
                for m in WIDTHS
            ]
            by_width.loglog(WIDTHS, worst, f"{marker}-", color=f"C{k}", label=f"{depth} layers, {_name(dtype)}")
        by_width.axhline(BOUNDS[dtype], ls=":", color="k")
    by_width.set_xticks(WIDTHS, [str(m) for m in WIDTHS])
    by_width.minorticks_off()
    finish(by_width, "OTFlow: trace against autograd", "width m", "relative error, worst of d")
    _draw_orders(by_steps, gaps)
    return figure


def _draw_orders(axis: Axes, gaps: dict[tuple[int, int], list[float]]) -> None:
    for (dim, width), values in gaps.items():
        slope = math.log2(values[-2] / values[-1])
        axis.loglog(STEPS, values, "o-", base=2, label=f"d = {dim}, m = {width}: slope {slope:.2f}")
    axis.set_yscale("log", base=10)
    axis.axhline(1e-4, ls=":", color="k")
    finish(axis, "Five flows: log det against slogdet", "RK4 steps of each", "largest difference")
