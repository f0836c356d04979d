"""Ornstein–Uhlenbeck to t = 0.9 by neural midpoint steps: symmetric KL to the exact law, below the published rows."""

import math
import time
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from pdes.ornstein_uhlenbeck import ornstein_uhlenbeck
from validation.gaussian import jko_step, symmetric_kl
from validation.metrics import Estimate, moment_matched_symkl, monte_carlo_kls, sampling_floor
from validation.report import Check, Context, Report, at_most
from validation.studies._flows import exact_at, flow, quadratic
from validation.studies._plots import axes, finish
from wgf import JKO, Adam, Midpoint, Path, Problem, Residual, keys

NAME = "ou-accuracy"
PARTICLES, STEPS, SEED = 500_000, 9, 0


@dataclass(frozen=True)
class Setting:
    """One dimension: the network, its training, the bound on log10 SymKL and the published values (Fan; Mokrov)."""

    dim: int
    width: int
    training: Adam
    bound: float
    fan: float
    density_batch: int
    monte_carlo_bound: float | None = None
    mokrov: float | None = None
    seconds: float | None = None


SETTINGS = (
    Setting(2, 64, Adam(800, 8192), -4.5, -3.34, 1024, -3.5, -2.45, 150),
    Setting(12, 64, Adam(800, 8192, rate=4e-3), -3.5, -2.54, 1024, -2.8, -1.75, 150),
    Setting(32, 128, Adam(160, 8192, rate=4e-3), -2.7, -2.06, 256, seconds=150),
    Setting(64, 128, Adam(160, 8192, rate=3e-3), -2.1, -1.37, 256),
)


@dataclass(frozen=True)
class Outcome:
    """What one dimension gave."""

    setting: Setting
    path: Path
    symkl: float
    floor: float
    bias: float
    seconds: float
    fresh: float
    monte_carlo: tuple[Estimate, Estimate] | None


def study(quick: bool = False) -> Report:
    """d = 2, 12, 32, 64 (quick: 2 and 12): nine midpoint steps of 0.1, 5·10⁵ particles, one tanh layer in float32."""
    outcomes = [run(setting) for setting in SETTINGS[: 2 if quick else 4]]
    checks = tuple(check for outcome in outcomes for check in _checks(outcome))
    return Report(NAME, checks, tuple(_context(outcome) for outcome in outcomes), _figure(outcomes))


def run(setting: Setting) -> Outcome:
    """The flow of one dimension, timed, and its distances to the exact law."""
    problem = ornstein_uhlenbeck(setting.dim, seed=SEED)
    exact, map = exact_at(problem, problem.horizon), Residual(setting.dim, setting.width)
    stepper = Midpoint(JKO(map, setting.training, PARTICLES, density_batch=setting.density_batch))
    began = time.perf_counter()
    path = flow(problem, stepper, [problem.horizon / STEPS] * STEPS, f"{NAME} d = {setting.dim}")
    seconds = time.perf_counter() - began
    monte_carlo = None
    if setting.monte_carlo_bound is not None:
        model = path.final.to(torch.float64)
        monte_carlo = monte_carlo_kls(model, exact, 100_000, keys.generator(SEED, 99))
    return Outcome(
        setting,
        path,
        moment_matched_symkl(path.state.x, exact),
        sampling_floor(exact, PARTICLES),
        plain_bias(problem),
        seconds,
        moment_matched_symkl(path.final.sample(PARTICLES, keys.generator(SEED, 98)), exact),
        monte_carlo,
    )


def plain_bias(problem: Problem, tau: float = 0.05) -> float:
    """The symmetric KL of the exact plain JKO scheme at the published τ: what no better training can remove."""
    potential, law = quadratic(problem), exact_at(problem, 0.0)
    for _ in range(round(problem.horizon / tau)):
        law = jko_step(law, potential.matrix, potential.centre, tau)
    return float(symmetric_kl(law, exact_at(problem, problem.horizon)))


def _checks(outcome: Outcome) -> list[Check]:
    setting, name = outcome.setting, f"d = {outcome.setting.dim}"
    found = [at_most(NAME, f"{name}: moment-matched log10 SymKL", math.log10(outcome.symkl), setting.bound)]
    if outcome.monte_carlo is not None and setting.monte_carlo_bound is not None:
        found += _monte_carlo_checks(name, *outcome.monte_carlo, setting.monte_carlo_bound)
    folded = max(info.measures["folded"] for info in outcome.path.infos)
    found.append(at_most(NAME, f"{name}: share of folded rows", folded, 0.0))
    if setting.seconds is not None:
        found.append(at_most(NAME, f"{name}: seconds of training, two cores", outcome.seconds, setting.seconds))
    return found


def _monte_carlo_checks(name: str, forward: Estimate, backward: Estimate, bound: float) -> list[Check]:
    """The sum, with two standard errors on top, and each way: a lost constant of log ρ cancels in the sum only."""
    error = math.hypot(forward.error, backward.error)
    total = math.log10(max(forward.value + backward.value, 0.0) + 2 * error)
    each = math.log10(max(abs(forward.value) - 2 * forward.error, abs(backward.value) - 2 * backward.error, 1e-12))
    return [
        at_most(NAME, f"{name}: Monte-Carlo log10 SymKL, two s.e. on top", total, bound),
        at_most(NAME, f"{name}: Monte-Carlo log10 |KL|, the larger of both ways, beyond two s.e.", each, bound),
    ]


def _context(outcome: Outcome) -> Context:
    setting = outcome.setting
    values = {
        "published, moment-matched (Fan)": setting.fan,
        "as many fresh samples of the learnt law": math.log10(outcome.fresh),
        "expected of that many exact samples": math.log10(outcome.floor),
        "bias of exact plain JKO, τ = 0.05": math.log10(outcome.bias),
        "seconds": outcome.seconds,
    }
    if setting.mokrov is not None and outcome.monte_carlo is not None:
        values |= {
            "published, Monte-Carlo (Mokrov)": setting.mokrov,
            "KL(model | exact)": outcome.monte_carlo[0].value,
            "its standard error": outcome.monte_carlo[0].error,
            "KL(exact | model)": outcome.monte_carlo[1].value,
            "its standard error, too": outcome.monte_carlo[1].error,
        }
    return Context(f"d = {setting.dim}", values)


def _figure(outcomes: list[Outcome]) -> Figure:
    figure, (left, right) = axes(2)
    dims = [str(outcome.setting.dim) for outcome in outcomes]
    curves = {
        "Fan et al. 2022": ("s--", [outcome.setting.fan for outcome in outcomes]),
        "exact plain JKO, τ = 0.05": ("^:", [math.log10(outcome.bias) for outcome in outcomes]),
        "as many exact samples": ("k_:", [math.log10(outcome.floor) for outcome in outcomes]),
        "wgf, midpoint, τ = 0.1": ("o-", [math.log10(outcome.symkl) for outcome in outcomes]),
    }
    for name, (style, values) in curves.items():
        left.plot(dims, values, style, label=name)
    finish(left, "Symmetric KL at t = 0.9", "dimension d", "log10 SymKL, moment-matched [nats]")
    problem = ornstein_uhlenbeck(outcomes[-1].setting.dim, seed=SEED)
    exact, x = exact_at(problem, problem.horizon), outcomes[-1].path.state.x.double()
    right.plot(exact.covariance.flatten(), x.T.cov().flatten(), ".", ms=3, label="covariance entries")
    right.plot(exact.mean, x.mean(0), "x", ms=4, label="means")
    ends = [float(exact.mean.min()), float(exact.mean.max())]
    right.plot(ends, ends, "k-", lw=0.8, label="exact")
    finish(right, f"Moments in d = {outcomes[-1].setting.dim}", "exact", "particles")
    return figure
