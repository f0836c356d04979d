"""Primal–dual JKO on Ornstein–Uhlenbeck at the published setting: no worse than the exact scheme; midpoint below it."""

import math
from dataclasses import dataclass

from matplotlib.figure import Figure

from pdes.ornstein_uhlenbeck import ornstein_uhlenbeck
from validation.gaussian import jko_step, symmetric_kl
from validation.metrics import moment_matched_symkl
from validation.report import Check, Context, Report, at_most
from validation.studies._flows import exact_at, flow, quadratic
from validation.studies._plots import axes, finish
from wgf import Affine, Alternate, Critic, Gaussian, Path, Problem
from wgf.methods import variational_wgf
from wgf.steppers import Stepper

NAME = "vwgf-ou"
PARTICLES, STEPS, TAU = 500_000, 18, 0.05
FAN = {2: -3.34, 6: -2.99, 12: -2.54, 32: -2.06, 64: -1.37}
"""log10 SymKL of Fan et al. 2022 at t = 0.9, moment-matched."""


@dataclass(frozen=True)
class Outcome:
    """One dimension: both flows, the exact law of the flow and of the plain scheme."""

    dim: int
    plain: Path
    midpoint: Path
    flow: Gaussian
    scheme: Gaussian

    @property
    def bias(self) -> float:
        """log10 SymKL of the exact plain scheme to the flow."""
        return math.log10(float(symmetric_kl(self.scheme, self.flow)))

    def to_flow(self, path: Path) -> float:
        """log10 SymKL of a path's particles to the flow."""
        return math.log10(moment_matched_symkl(path.state.x, self.flow))

    @property
    def to_scheme(self) -> float:
        """log10 SymKL of the plain path's particles to the exact law of the plain scheme: what training leaves."""
        return math.log10(moment_matched_symkl(self.plain.state.x, self.scheme))


def study(quick: bool = False) -> Report:
    """d = 2, 6, 12, 32, 64 (quick: 2 and 12), 18 steps of 0.05, 5·10⁵ particles; linear maps, critics with a quadratic
    part, as published: plain and midpoint steps.
    """
    outcomes = [_run(dim) for dim in ((2, 12) if quick else FAN)]
    checks = tuple(check for outcome in outcomes for check in _checks(outcome))
    return Report(NAME, checks, tuple(_context(outcome) for outcome in outcomes), _figure(outcomes))


def stepper(dim: int, second_order: bool) -> Stepper:
    """The published networks, trained on batches of 4096."""
    critic = Critic(dim, 64, 1, quadratic=True)
    training = Alternate(100, 3, 50, 4096, rate=5e-3, critic_rate=5e-3, betas=(0.9, 0.99))
    return variational_wgf(dim, Affine(dim), critic, training, PARTICLES, second_order=second_order)


def _run(dim: int) -> Outcome:
    problem = ornstein_uhlenbeck(dim, seed=0)
    taus = [TAU] * STEPS
    plain, midpoint = (flow(problem, stepper(dim, second), taus, f"{NAME} d = {dim}") for second in (False, True))
    return Outcome(dim, plain, midpoint, exact_at(problem, problem.horizon), exact_scheme(problem)[-1])


def exact_scheme(problem: Problem) -> list[Gaussian]:
    """The laws of the exact plain scheme, the initial one first."""
    potential, laws = quadratic(problem), [exact_at(problem, 0.0)]
    for _ in range(STEPS):
        laws.append(jko_step(laws[-1], potential.matrix, potential.centre, TAU))
    return laws


def _checks(outcome: Outcome) -> list[Check]:
    name = f"d = {outcome.dim}"
    above = outcome.to_flow(outcome.plain) - outcome.bias
    found = [at_most(NAME, f"{name}: log10 SymKL to the flow, above the exact scheme's", above, 0.1)]
    if outcome.dim <= 12:
        below = outcome.to_scheme - outcome.bias
        found.append(at_most(NAME, f"{name}: log10 SymKL to the exact scheme, above its bias", below, -1.0))
    published = FAN[outcome.dim] - 0.3
    found.append(
        at_most(NAME, f"{name}: midpoint, log10 SymKL to the flow", outcome.to_flow(outcome.midpoint), published)
    )
    return found


def _context(outcome: Outcome) -> Context:
    return Context(
        f"d = {outcome.dim}",
        {
            "published (Fan)": FAN[outcome.dim],
            "exact plain scheme": outcome.bias,
            "plain": outcome.to_flow(outcome.plain),
            "plain, to the exact scheme": outcome.to_scheme,
            "midpoint": outcome.to_flow(outcome.midpoint),
            "largest |critic − log-determinant|, nats": _gap(outcome.plain),
            "seconds, plain": sum(info.seconds for info in outcome.plain.infos),
            "seconds, midpoint": sum(info.seconds for info in outcome.midpoint.infos),
        },
    )


def _gap(path: Path) -> float:
    """Of the entropy, over the steps."""
    return max(abs(info.dual["Entropy"] - info.energy["Entropy"]) for info in path.infos)


def _figure(outcomes: list[Outcome]) -> Figure:
    figure, (left, right) = axes(2)
    dims = [str(outcome.dim) for outcome in outcomes]
    curves = {
        "Fan et al. 2022": ("s--", [FAN[outcome.dim] for outcome in outcomes]),
        "exact plain scheme": ("k_", [outcome.bias for outcome in outcomes]),
        "primal–dual JKO": ("o-", [outcome.to_flow(outcome.plain) for outcome in outcomes]),
        "primal–dual JKO to the exact scheme": ("^:", [outcome.to_scheme for outcome in outcomes]),
        "midpoint over it": ("D-", [outcome.to_flow(outcome.midpoint) for outcome in outcomes]),
    }
    for name, (style, values) in curves.items():
        left.plot(dims, values, style, label=name)
    finish(left, "Symmetric KL at t = 0.9, τ = 0.05", "dimension d", "log10 SymKL, moment-matched [nats]")
    for outcome in outcomes:
        times, infos = outcome.plain.times[1:], outcome.plain.infos
        (line,) = right.plot(times, [info.energy["Entropy"] for info in infos], "-", label=f"d = {outcome.dim}")
        right.plot(times, [info.dual["Entropy"] for info in infos], "o", mfc="none", color=line.get_color())
    finish(right, "Entropy: log-determinant (line), critic (circles)", "time t", "∫ρ log ρ [nats]")
    return figure
