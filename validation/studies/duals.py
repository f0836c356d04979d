"""Duals by trained critics against closed forms: Gaussians, nested uniforms, Diracs, Lipschitz bounds."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from validation.report import Check, Context, Report, at_most
from validation.studies._plots import axes, finish
from wgf import keys
from wgf.critics import Critic, LipschitzCritic, ScalarField
from wgf.fitting import Worth, fit, worth
from wgf.functionals import (
    Alpha,
    DonskerVaradhan,
    Entropy,
    F,
    FDivergence,
    HasDual,
    Hinge,
    Jeffreys,
    JensenShannon,
    KullbackLeibler,
    Lipschitz,
    PearsonChi2,
    PowerEntropy,
    ReverseKullbackLeibler,
    SquaredHellinger,
    TotalVariation,
)
from wgf.law import Box, Cloud, Empirical, Gaussian, Law, Mixture
from wgf.training import Adam

NAME = "duals"
MEMBERS: tuple[F, ...] = (
    KullbackLeibler(),
    ReverseKullbackLeibler(),
    JensenShannon(),
    PearsonChi2(),
    Alpha(0.5),
    Alpha(1.5),
    Jeffreys(),
    SquaredHellinger(),
    TotalVariation(),
)
ROWS, FRESH = 200_000, 1_000_000
INNER, OUTER = Box([0.0, 0.0], [1.0, 1.0]), Box([-0.2, 0.0], [1.2, 1.0])
"""Nested uniforms: the ratio is 1.4 on the inner box, and 0 on the rest of the outer one."""


@dataclass(frozen=True)
class Case:
    """A term at a law, the value it has there, and how near a trained critic must come."""

    name: str
    term: HasDual
    rho: Law
    exact: float
    within: float
    critic: Callable[[], ScalarField]


def study(quick: bool = False) -> Report:
    """Every dual: within 2 % (Gaussians) or 5 % (uniforms) on fresh samples, never above by three standard errors."""
    recipe = Adam(1000 if quick else 3000, 4096, 5e-3)
    checks: list[Check] = []
    short_of: dict[str, tuple[float, float]] = {}
    for k, case in enumerate(cases(quick)):
        found = reached(case.term, case.rho, case.critic(), recipe, k)
        short, over = (case.exact - found.value) / abs(case.exact), (found.value - case.exact) / found.error
        checks.append(at_most(NAME, f"{case.name}: short of its closed form, relative", short, case.within))
        checks.append(at_most(NAME, f"{case.name}: above it, in standard errors", over, 3.0))
        short_of[case.name] = short, found.error / abs(case.exact)
    checks += list(diracs()) + list(bounds(recipe, quick))
    return Report(NAME, tuple(checks), tuple(hopeless(recipe, quick)), _figure(short_of))


def reached(term: HasDual, rho: Law, critic: ScalarField, recipe: Adam, seed: int) -> Worth:
    """What a critic trained on rows of ρ is worth on fresh ones, in float64."""
    x = rho.sample(ROWS, keys.generator(seed, 20))
    dual = term.dual(term.reference(Cloud(x)))
    fitted = fit(dual, critic, x, recipe, seed=seed)
    return worth(dual, fitted, rho.sample(FRESH, keys.generator(seed, 21)), FRESH, seed=keys.fold(seed, 22))


def cases(quick: bool) -> Iterator[Case]:
    """The family between two Gaussians and between nested uniforms; other terms at laws of known value."""
    d = 2
    rho, pi = Gaussian([0.6, -0.3], [[0.8, 0.2], [0.2, 0.6]]), Gaussian.standard(d)
    members = MEMBERS[:3] if quick else MEMBERS

    def critic() -> ScalarField:
        return Critic(d, 64, 2)

    for f in members:
        yield Case(f"{f.name}, Gaussians", FDivergence(f, pi), rho, between(f, rho, pi), 0.02, critic)
    yield Case(
        "DonskerVaradhan, Gaussians", DonskerVaradhan(pi), rho, between(KullbackLeibler(), rho, pi), 0.02, critic
    )
    if not quick:
        twice = 2 * between(TotalVariation(), rho, pi)
        yield Case("Hinge, Gaussians", Hinge(pi), rho, twice, 0.02, critic)
    ratio, share = torch.tensor([[1.4, 0.0], [1 / 1.4, 0.4 / 1.4]], dtype=torch.float64)
    for f in members:
        if isinstance(f, (ReverseKullbackLeibler, Jeffreys)):
            continue  # infinite where π has mass and ρ has none; the reverse one is taken the other way round below
        exact = float((f.value(ratio) * share).sum())
        yield Case(f"{f.name}, uniforms", FDivergence(f, OUTER), INNER, exact, 0.05, critic)
    reverse = FDivergence(ReverseKullbackLeibler(), INNER)
    yield Case("ReverseKullbackLeibler, uniforms", reverse, OUTER, math.log(1.4), 0.05, critic)
    two = Mixture([Gaussian([-1.0, 0.0], 0.5 * torch.eye(2)), Gaussian([1.5, 0.5], 0.8 * torch.eye(2))], [0.4, 0.6])
    yield Case("Entropy, two Gaussians", Entropy(), two, entropy(two), 0.02, critic)
    if not quick:
        yield Case("Entropy(tight), two Gaussians", Entropy(tight=True), two, entropy(two), 0.02, critic)
    density = 1 / (4 * math.pi * math.sqrt(float(torch.linalg.det(rho.covariance))))
    yield Case("PowerEntropy(2), a Gaussian", PowerEntropy(2, margin=0.05, ball=True), rho, density, 0.02, critic)


SIDE = torch.linspace(-9, 9, 1801, dtype=torch.float64)
GRID, CELL = torch.cartesian_prod(SIDE, SIDE), float(SIDE[1] - SIDE[0]) ** 2


def between(f: F, rho: Law, pi: Law) -> float:
    """D_f of two laws on the plane that decay like Gaussians, by quadrature."""
    log_rho, log_pi = (law.to(torch.float64).log_prob(GRID) for law in (rho, pi))
    return float((log_pi.exp() * f.value((log_rho - log_pi).exp())).nan_to_num(0.0, 0.0, 0.0).sum() * CELL)


def entropy(rho: Law) -> float:
    """∫ρ log ρ on the plane, by the same."""
    log_rho = rho.to(torch.float64).log_prob(GRID)
    return float((log_rho.exp() * log_rho).sum() * CELL)


def diracs() -> Iterator[Check]:
    """Lipschitz-regularised KL between two points is L|a − b|, by penalty and by construction."""
    a, b = torch.tensor([[1.0, 1.0]]).repeat(1000, 1), Empirical(torch.zeros(1000, 2))
    for L in (0.5, 3.0):
        ways = (
            ("penalty", Critic(2), 10.0, Adam(1500, 256, 5e-3)),
            ("construction", LipschitzCritic(2, L), 0.0, Adam(600, 256, 2e-2)),
        )
        for way, critic, weight, recipe in ways:
            dual = Lipschitz(FDivergence(KullbackLeibler(), b), L, weight).dual({})
            fitted = fit(dual, critic, a, recipe, seed=3)
            value = worth(dual, fitted, a, 1000).value
            off = abs(value / (L * math.sqrt(2)) - 1)
            yield at_most(NAME, f"two Diracs, L = {L:g}, by {way}: relative error of L|a − b|", off, 0.01)


def bounds(recipe: Adam, quick: bool) -> Iterator[Check]:
    """D_f^L never above min(D_f, L·W₁): Gaussians of one covariance, whose W₁ is the distance of their means."""
    shift = torch.tensor([1.2, 0.5])
    rho, pi = Gaussian(shift, torch.eye(2)), Gaussian.standard(2)
    for f in MEMBERS[:1] if quick else (KullbackLeibler(), ReverseKullbackLeibler(), JensenShannon(), PearsonChi2()):
        for L in (0.3, 1.0, 5.0):
            term = Lipschitz(FDivergence(f, pi), L)
            found = reached(term, rho, Critic(2), recipe, 50)
            least = min(between(f, rho, pi), L * float(shift.norm()))
            over = found.value / least - 1
            yield at_most(
                NAME,
                f"{term.name}: over min(D_f, L·W₁), relative, less three s.e.",
                over - 3 * found.error / least,
                0.0,
            )


def hopeless(recipe: Adam, quick: bool) -> Iterator[Context]:
    """χ² of Gaussians further and further apart: e^{δ²} − 1, carried by ever fewer draws."""
    for delta in (1.0, 2.0) if quick else (1.0, 1.5, 2.0, 2.5, 3.0):
        rho, pi = Gaussian([delta, 0.0], torch.eye(2)), Gaussian.standard(2)
        found, exact = reached(FDivergence(PearsonChi2(), pi), rho, Critic(2), recipe, 70), math.expm1(delta**2)
        yield Context(
            f"PearsonChi2, Gaussians {delta:g} apart",
            {"closed form": exact, "critic": found.value, "s.e.": found.error, "draws that carry it": found.carried},
        )


def _figure(short_of: dict[str, tuple[float, float]]) -> Figure:
    figure, (axis,) = axes(1, width=8, height=0.26 * len(short_of) + 1)
    names = list(short_of)[::-1]
    values, errors = ([100 * short_of[name][part] for name in names] for part in (0, 1))
    axis.errorbar(values, names, xerr=[3 * error for error in errors], fmt="o", ms=4, capsize=2)
    axis.axvline(0, color="k", lw=1, label="closed form")
    finish(axis, "Trained critics on 10⁶ fresh samples", "short of the closed form, % (three s.e.)", "")
    return figure
