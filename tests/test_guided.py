"""Maps that know the potential: what is known of rows is what would be computed, and steps ask for it once."""

import math

import pytest
import torch
import zoo

from wgf import KL, evolve
from wgf.critics import Critic
from wgf.errors import InputError
from wgf.functionals import Potential
from wgf.law import Gaussian
from wgf.maps import Guided, OTFlow, Residual
from wgf.steppers import JKO, Midpoint, SaddleJKO
from wgf.targets import UnitGaussians
from wgf.training import Adam, Alternate

MEANS = zoo.doubles([-4, 0], [4, 0], [0, 6])


class Counting(UnitGaussians):
    """log π that counts the rows of its gradient."""

    rows = 0

    def gradient(self, x):
        self.rows += len(x)
        return super().gradient(x)


def guided(V) -> Guided:
    return zoo.MapEntry("", lambda dtype: Guided(Residual(2, 8), V)).perturbed()


@pytest.mark.parametrize("rows", [slice(3, 9), torch.tensor([3, 3, 41])], ids=["view", "indices"])
def test_what_is_known_of_rows_is_what_would_be_computed(rows):
    x = zoo.randn(0, 50, 2)
    map = guided(lambda x: x.cos().sum(-1))
    assert map.on(rows) is map
    map.recentre(x)
    known, plain = map.on(rows).transport(x[rows], logdet=True), map.transport(x[rows], logdet=True)
    for ours, theirs in zip(known[:3], plain[:3], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    torch.testing.assert_close(map.on(rows)(x[rows]), map(x[rows]), rtol=0, atol=1e-12)
    assert map.eval().on(rows) is map


def test_a_saddle_step_takes_the_slope_of_its_rows_once():
    target = Counting(MEANS)
    V = next(term for _, term in KL(target).terms if isinstance(term, Potential))
    game = Alternate(iterations=10, inner=3, refit=5, batch=100)
    stepper = SaddleJKO(
        Guided(Residual(2, 8), V), Critic(2, 8), training=game, particles=1000, held=100, densities=False
    )
    path = evolve(KL(target), stepper, Gaussian.standard(2), [0.1])
    assert 2000 <= target.rows <= 2000 + 1000 + 10 * 100 + 200  # pool before and after, held rows, energies
    assert path.infos[0].map.step.item() != 0


def test_the_map_is_the_exact_explicit_step_where_nothing_else_is_learnt():
    """½|x|², no entropy: T = x/(1 + τ), so that T₀ = id and s = τ/(1 + τ)."""
    V = Potential(lambda x: 0.5 * x.square().sum(-1), lambda x: x)
    map = Guided(Residual(2, 4), V)
    map.map.requires_grad_(False)
    path = evolve(V, JKO(map, Adam(400, 500, 2e-2), particles=1000), Gaussian.standard(2, dtype=zoo.DOUBLE), [0.5])
    torch.testing.assert_close(path.infos[0].map.step, zoo.doubles(1 / 3), rtol=1e-3, atol=0)


def test_densities_are_carried_through():
    V = Potential(lambda x: 0.5 * x.square().sum(-1))
    stepper = Midpoint(JKO(Guided(Residual(2, 8), V), zoo.ADAM, particles=400))
    path = evolve(KL(lambda x: -V.V(x)), stepper, Gaussian.standard(2, 2.0, dtype=zoo.DOUBLE), [0.2])
    x = path.state.x[:50]
    torch.testing.assert_close(path.final.log_prob(x), path.state.scored(50).log_density, rtol=1e-6, atol=1e-6)


def test_second_derivatives_are_taken_of_few_rows_at_once(monkeypatch):
    seen = []

    def V(x):
        seen.append(len(x))
        return (x[:, 0] * x[:, 1].cos()).exp()

    x, map = zoo.randn(0, 50, 2), guided(V)
    whole = map.jacobian(x)
    monkeypatch.setattr("wgf.maps.guided.BENT", 7)
    seen.clear()
    for ours, theirs in zip(map.jacobian(x), whole, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    assert max(seen) == 7
    learnt = map.jacobian(x)[1].sum()
    assert torch.autograd.grad(learnt, map.step)[0].abs() > 0


def test_log_determinants_have_slopes_in_the_rows():
    """By central differences: third derivatives of V are in them where rows are differentiated, as maps before do."""
    map, x = guided(lambda x: (x[:, 0] * x[:, 1].cos()).exp()), zoo.randn(1, 9, 2)

    def logdet(x):
        return map.transport(x, logdet=True).logdet

    leaf, h = x.clone().requires_grad_(), 1e-5
    slope = torch.autograd.grad(logdet(leaf).sum(), leaf)[0].detach()
    with torch.no_grad():
        moved = [(logdet(x + h * e) - logdet(x - h * e)) / (2 * h) for e in zoo.EYE]
    torch.testing.assert_close(slope, torch.stack(moved, 1), rtol=1e-7, atol=1e-8)


def test_only_static_maps_are_guided():
    with pytest.raises(InputError, match="Guided needs a static map such as"):
        Guided(OTFlow(2), lambda x: x.sum(-1))


def test_determinants_are_right_where_the_closed_gradient_has_no_graph():
    """V = 1.5|x|², s = 0.1: det = 0.7²; and a V of numbers only is refused where its Hessian is needed."""

    @torch.no_grad()
    def slope(x):
        return 3 * x

    map = Guided(Residual(2, 4), Potential(lambda x: 1.5 * x.square().sum(-1), slope)).double()
    map.reset(torch.Generator().manual_seed(0))
    map.step.data.fill_(0.1)
    found = map.transport(zoo.randn(0, 5, 2), logdet=True).logdet
    torch.testing.assert_close(found, torch.full_like(found, 2 * math.log(0.7)), rtol=0, atol=1e-12)
    opaque = Guided(Residual(2, 4), Potential(lambda x: slope(x).sum(-1), slope)).double()
    with pytest.raises(InputError, match="not differentiable by autograd"):
        opaque.transport(zoo.randn(0, 5, 2), logdet=True)


@pytest.mark.parametrize("V", [None, "bumpy"])
def test_a_potential_that_is_no_function_is_refused(V):
    with pytest.raises(InputError, match="Guided needs V, a function"):
        Guided(Residual(2), V)


def test_a_potential_of_another_dimension_is_refused_before_training():
    map = Guided(Residual(2, 4), UnitGaussians(zoo.randn(0, 4, 3)))
    with pytest.raises(InputError, match="V cannot be evaluated on particles in 2 dimensions"):
        evolve(zoo.free(), SaddleJKO(map, Critic(2, 8), training=zoo.GAME, **zoo.POOL), zoo.start(), [0.1])
