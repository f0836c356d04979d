"""Optimality of potential flows: exact solutions of Hamilton–Jacobi, what is not one, and what stops on it."""

import math

import pytest
import torch
import zoo

from validation.straight import Spreading
from wgf import evolve, keys
from wgf.critics import Critic
from wgf.errors import InputError
from wgf.functionals import FDivergence, KullbackLeibler, Lipschitz, Potential, Quadratic, functional
from wgf.functionals.base import Variation
from wgf.law import Gaussian
from wgf.maps import RK4, Affine, Euler, Heun, OTFlow, PotentialFlow, Residual
from wgf.optimality import RESIDUAL, TERMINAL, Optimality, hamilton_jacobi, optimality, terminal
from wgf.steppers import JKO, Base, Midpoint, Previous, SaddleJKO
from wgf.steppers.base import Live
from wgf.training import Alternate

KINETIC, STRAIGHT = "kinetic energy", "straightness"


class Quadratics(PotentialFlow):
    """Φ(t, x) = ½a(t)|x|² + b(t), given a, b and their slopes."""

    def __init__(self, a, slope, horizon=1.0, steps=5, scheme=Euler(), shift=lambda t: 0.0):
        super().__init__(2, horizon, steps, scheme)
        self.a, self.slope, self.shift = a, slope, shift

    def gradient(self, t, x):
        in_time = 0.5 * self.slope(t) * x.square().sum(-1, keepdim=True) + self.shift(t)
        return torch.cat([self.a(t) * x, in_time], 1)

    def divergences(self, times, points):
        return torch.stack([x.new_full((len(x),), -2 * self.a(t)) for t, x in zip(times, points, strict=True)])

    def velocity_tangents(self, t, x, dx):
        return -self.a(t) * x, -self.a(t) * dx


def shrinking(rate: float, **keys) -> Quadratics:
    """Φ = ½a|x|²: x(t) = x(0)e^{−at} slows down on its way, so it is not the best motion of its ends."""
    return Quadratics(lambda t: rate, lambda t: 0.0, **keys)


def live(map, tau=1.0, variation=None, n=2000):
    return Live(map, zoo.randn(0, n, 2), tau, variation)


# Exact solutions


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0, 7.0])
@pytest.mark.parametrize("c", [0.1, 2.0])
def test_the_residual_of_the_exact_solution_is_zero_to_rounding(t, c):
    x = zoo.randn(0, 50, 2)
    size = 0.5 * x.square().sum(-1) / (t + c) ** 2
    assert float((hamilton_jacobi(Spreading(2, c), t, x) / size).abs().max()) < 1e-14


def test_the_other_sign_is_no_solution():
    """∂_tΦ + ½|∇Φ|² of the exact Φ is |x|²/(t + c)², and the exact one of the other sign has a residual of as much."""
    backwards = Quadratics(lambda t: 1 / (t + 0.5), lambda t: -1 / (t + 0.5) ** 2)
    x = zoo.randn(0, 50, 2)
    torch.testing.assert_close(hamilton_jacobi(backwards, 0.5, x), -x.square().sum(-1))


@pytest.mark.parametrize("scheme", [Euler(), Heun(), RK4()], ids=repr)
def test_the_exact_solution_moves_straight_whatever_the_step(scheme):
    map, x = Spreading(2, horizon=2.0, scheme=scheme), zoo.randn(0, 50, 2)
    torch.testing.assert_close(map.refined(64).transport(x).y, map.transport(x).y, rtol=1e-12, atol=0)
    torch.testing.assert_close(map.transport(x).y, 5 * x, rtol=1e-12, atol=0)
    torch.testing.assert_close(map.jacobian(x)[1], 5 * zoo.EYE.expand(50, 2, 2), rtol=1e-12, atol=1e-12)
    fine = map.refined(64).transport(x, logdet=True).logdet
    torch.testing.assert_close(fine, torch.full_like(fine, 2 * math.log(5)), rtol=1e-2, atol=0)
    seen = optimality(live(map))
    assert seen[RESIDUAL] < 1e-13
    assert seen[STRAIGHT] == pytest.approx(1, abs=1e-12)
    speed = zoo.randn(0, 1024, 2).square().sum(-1).mean() / 0.5**2
    assert seen[KINETIC] == pytest.approx(0.5 * 2.0 * float(speed), rel=1e-12)


@pytest.mark.parametrize(("horizon", "tau"), [(1.0, 3.0), (5.0, 100.0), (5.0, math.inf)])
def test_the_terminal_error_is_zero_where_u_ends_in_the_variation(horizon, tau):
    """With λ = T/τ, U(T, ·) = λΦ(T, ·) = −λ|x|²/2(T + c)."""
    lam, map = horizon / tau, Spreading(2, horizon=horizon)
    exact = Variation(lambda y: -0.5 * lam * y.square().sum(-1) / (horizon + 0.5))
    other = Variation(lambda y: -0.5 * (lam + 1) * y.square().sum(-1) / (horizon + 0.5))
    y = zoo.randn(1, 20, 2)
    torch.testing.assert_close(terminal(map, y, exact.gradient(y), tau), 0 * y, rtol=0, atol=1e-14)
    assert optimality(live(map, tau, lambda y: other))[TERMINAL] == pytest.approx(1 / (1 + lam), rel=1e-12)
    if lam:
        assert optimality(live(map, tau, lambda y: exact))[TERMINAL] < 1e-13


def test_what_is_known_of_an_exponential_motion():
    """r = −½a²|x|² and E||x|² − E|x|²| = 2/e · E|x|² of Gaussian x in the plane; straightness tanh(z)/z, z = aT/2."""
    seen = optimality(live(shrinking(1.5, horizon=2.0, steps=50, scheme=RK4()), n=40_000), rows=40_000)
    assert seen[RESIDUAL] == pytest.approx(2 / math.e, rel=0.02)
    assert seen[STRAIGHT] == pytest.approx(math.tanh(1.5) / 1.5, rel=1e-6)


def test_a_function_of_time_moves_nothing_and_changes_no_measure():
    plain = optimality(live(shrinking(1.5)))
    shifted = optimality(live(Quadratics(lambda t: 1.5, lambda t: 0.0, shift=math.exp)))
    assert shifted == pytest.approx(plain, rel=1e-12)


def test_a_map_that_moves_nothing_has_no_relative_residual():
    still = Variation(lambda y: 0 * y.sum(-1))
    seen = optimality(live(shrinking(0.0), variation=lambda y: still))
    assert math.isnan(seen[RESIDUAL])
    assert math.isnan(seen[TERMINAL])


# In training

TARGET = Gaussian([1.0, -0.5], [[0.4, 0.1], [0.1, 0.7]])
TERM = Lipschitz(FDivergence(KullbackLeibler(), TARGET), 5.0)
GAME = Alternate(iterations=20, inner=1, refit=0, batch=64)
POOL = {"particles": 400, "held": 100}


def saddle(anchor=Previous(), map=None, game=GAME) -> SaddleJKO:
    return SaddleJKO(map or OTFlow(2, 8, steps=3), Critic(2, 8), anchor, game, **POOL)


def test_measures_are_reported_of_every_step_and_inside_it():
    observer = Optimality()
    path = evolve(TERM, saddle(), zoo.start(), [1.0, 2.0], observers=[observer])
    for info in path.infos:
        assert {RESIDUAL, TERMINAL, KINETIC, STRAIGHT} <= set(info.measures)
        assert 0 < info.measures[STRAIGHT] <= 1 + 1e-12
        assert all(math.isfinite(info.measures[name]) for name in (RESIDUAL, TERMINAL, KINETIC))
    assert [iteration for iteration, _ in observer.readings] == 2 * list(range(1, 21))


def test_what_is_measured_is_the_map_that_was_kept():
    path = evolve(TERM, saddle(), zoo.start(), [1.0], observers=[Optimality()])
    map, x = path.infos[0].map, zoo.start().sample(400, keys.generator(0, 0))[:100]
    assert path.infos[0].measures[KINETIC] == pytest.approx(float(map.transport(x).cost.mean()), rel=1e-12)


def test_a_variation_is_that_of_the_whole_functional():
    """λ∇U(T) − ∇φ with φ = 2·critic + V: as written out by hand from what the state remembers."""
    F = 2 * TERM + Potential(Quadratic(zoo.EYE))
    path = evolve(F, saddle(), zoo.start(), [0.5], observers=[Optimality()])
    critic = Critic(2, 8).double()
    critic.load_state_dict({name.removeprefix("0."): w for name, w in path.state.memory["critics"].items()})
    map, y = path.infos[0].map, path.state.x[:100].clone().requires_grad_()
    slope = torch.autograd.grad(2 * critic(y).sum() + 0.5 * y.square().sum(), y)[0]
    error = 2.0 * map.gradient(1.0, y)[:, :2] - slope
    expected = float((error.square().sum(-1).mean() / slope.square().sum(-1).mean()).sqrt().detach())
    assert path.infos[0].measures[TERMINAL] == pytest.approx(expected, rel=1e-12)


def test_observing_changes_nothing():
    paths = [evolve(TERM, saddle(), zoo.start(), [1.0], observers=seen) for seen in ([], [Optimality()])]
    assert torch.equal(paths[0].state.x, paths[1].state.x)


def test_within_its_bounds_a_step_ends_and_so_does_the_flow():
    rule = Optimality(residual=1e9, terminal=1e9)
    path = evolve(TERM, saddle(), zoo.start(), [1.0] * 3, observers=[rule], stop=rule)
    assert len(path) == 1
    assert [iteration for iteration, _ in rule.readings] == [1]
    assert path.infos[0].curve[-1][0] == 1


@pytest.mark.parametrize("bounds", [{}, {"residual": 1e-9}, {"residual": 1e9, "terminal": 1e-9}])
def test_outside_its_bounds_it_goes_on(bounds):
    rule = Optimality(**bounds)
    path = evolve(TERM, saddle(), zoo.start(), [1.0] * 2, observers=[rule], stop=rule)
    assert len(path) == 2
    assert len(rule.readings) == 40


def test_a_terminal_bound_without_critics_is_never_met():
    rule = Optimality(residual=1e9, terminal=1e9)
    path = evolve(zoo.free(), JKO(OTFlow(2, 8), zoo.ADAM, **POOL), zoo.start(), [0.2] * 2, observers=[rule], stop=rule)
    assert len(path) == 2
    assert RESIDUAL in path.infos[1].measures
    assert TERMINAL not in path.infos[1].measures


@pytest.mark.parametrize(
    "stepper",
    [
        saddle(map=Residual(2, 8)),
        saddle(anchor=Base()),
        JKO(Affine(2), zoo.ADAM, **POOL),
        Midpoint(saddle()),
    ],
    ids=["static map", "from the base", "affine", "half step"],
)
def test_other_motions_have_no_such_measures(stepper):
    F = zoo.free() if isinstance(stepper, JKO) else functional(TERM)
    rule = Optimality(residual=1e9)
    path = evolve(F, stepper, zoo.start(), [0.2], observers=[rule])
    assert not {RESIDUAL, TERMINAL, KINETIC, STRAIGHT} & set(path.infos[0].measures)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_bad_bounds_are_refused(bad):
    with pytest.raises(InputError, match="Hamilton–Jacobi residual must be a finite number above 0"):
        Optimality(residual=bad)
    with pytest.raises(InputError, match="rows must be an integer of at least 1, got 0"):
        Optimality(rows=0)


def test_training_leads_to_the_optimality_conditions():
    """Between Gaussians: U(T, ·) becomes φ, and paths become straight, which no part of the loss asks for as such."""
    game = Alternate(iterations=240, inner=2, refit=0, batch=256, rate=1e-2, critic_rate=1e-2, final=0.02)
    stepper = SaddleJKO(OTFlow(2, 12), Critic(2, 24, 1), training=game, particles=2000)
    observer = Optimality()
    path = evolve(TERM, stepper, Gaussian.standard(2), [2.0], observers=[observer])
    first, last = observer.readings[0][1], path.infos[0].measures
    assert last[TERMINAL] < 0.2 < first[TERMINAL]
    assert last[RESIDUAL] < first[RESIDUAL]
    assert last[STRAIGHT] > 0.99
