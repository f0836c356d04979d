"""The saddle stepper: the exact JKO step through a critic, from both anchors; Γ and critics as part of the state."""

import copy
import functools
import math
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
import zoo
from torch import Tensor

from validation.gaussian import bures_squared, jko_step, symmetric_kl
from wgf import autodiff, evolve, keys
from wgf.critics import Critic, FourierCritic
from wgf.errors import Incompatible, InputError
from wgf.flow import Path
from wgf.functionals import (
    Entropy,
    FDivergence,
    Functional,
    Hinge,
    Interaction,
    JensenShannon,
    KullbackLeibler,
    Lipschitz,
    Potential,
    PowerEntropy,
    Term,
)
from wgf.functionals.base import OnSamples, route
from wgf.kernels import Power
from wgf.law import Cloud, Gaussian, Mixture
from wgf.maps import Affine, Guided, Map, OTFlow, Residual
from wgf.steppers import Base, Midpoint, Previous, SaddleJKO, State
from wgf.steppers import game as games
from wgf.steppers.anchors import Anchor
from wgf.steppers.game import Game
from wgf.training import Alternate, never
from wgf.tree import load_tree, save_tree

A, B = zoo.doubles([2, 0.5], [0.5, 1]), zoo.doubles(1, -1)
TARGET = Gaussian(B, torch.linalg.inv(A))
GAME = Alternate(iterations=100, inner=4, refit=100, batch=512, rate=2e-2, critic_rate=1e-2, averaging=0.95)
DIVERGENCE = FDivergence(KullbackLeibler(), TARGET)
KL_TO_TARGET = {  # the step of cF with τ is that of F with cτ
    "Entropy + V": (zoo.free(), [0.5, 0.5]),
    "divergence": (DIVERGENCE, [0.5, 0.5]),
    "weighted": (4 * DIVERGENCE, [0.125, 0.125]),
}
N = 4000


def stepper(anchor: Anchor) -> SaddleJKO:
    return SaddleJKO(Affine(2), Critic(2, 24, 1), anchor, GAME, particles=N, held=1000)


def routed(stepper: SaddleJKO, F: Functional) -> list[tuple[float, Term, type]]:
    return route(F, stepper.accepts, "SaddleJKO")


def flow(F: Functional | Term, anchor: Anchor, taus: list[float]) -> Path:
    return evolve(F, stepper(anchor), zoo.start(), taus, seed=0)


def fitted(path: Path) -> list[Gaussian]:
    """Gaussians with the moments of the pool at every step."""
    return [Gaussian.fit(law.sample(N, keys.generator(0, 0))) for law in path.laws]


@pytest.mark.parametrize("anchor", [Previous(), Base()], ids=repr)
@pytest.mark.parametrize("name", KL_TO_TARGET)
def test_two_steps_are_near_the_exact_ones(name, anchor):
    F, taus = KL_TO_TARGET[name]
    path = flow(F, anchor, taus)
    start, *laws = fitted(path)
    exact = start
    for law in laws:
        before, exact = exact, jko_step(exact, A, B, 0.5)
        assert float(bures_squared(law, exact)) ** 0.5 < 0.04
        assert float(bures_squared(before, exact)) ** 0.5 > 0.2


@pytest.mark.parametrize("anchor", [Previous(), Base()], ids=repr)
def test_without_a_price_on_motion_one_step_is_a_generative_model(anchor):
    """τ → ∞ is the f-GAN: the law is the target at once."""
    long = replace(stepper(anchor), training=replace(GAME, iterations=200))
    path = evolve(DIVERGENCE, long, zoo.start(), [1e6], seed=0)
    assert float(symmetric_kl(fitted(path)[1], TARGET)) < 0.01
    assert path.energy[1] < 0.02


class Clipped(torch.optim.RMSprop):
    """It writes on the gradients that it is given."""

    def step(self, closure=None):
        torch.nn.utils.clip_grad_norm_(self.param_groups[0]["params"], 1.0)
        return super().step(closure)


@pytest.mark.parametrize("factory", [torch.optim.RMSprop, Clipped, functools.partial(torch.optim.SGD, lr=1)])
@pytest.mark.parametrize("critic", [Critic(2, 24, 1), FourierCritic(2, 24)], ids=["closed", "autograd"])
def test_a_factory_makes_the_optimisers(factory, critic):
    made = []

    def told(parameters):
        made.append(factory(parameters))
        return made[-1]

    training = replace(GAME, iterations=20, refit=0, optimiser=told)
    path = evolve(zoo.free(), replace(stepper(Previous()), critic=critic, training=training), zoo.start(), [0.5])
    assert [type(each) for each in made] == 2 * [type(made[0])]
    assert float(bures_squared(*fitted(path))) > 1e-4
    assert made[0].param_groups[0]["lr"] == pytest.approx(
        GAME.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(0.95 * math.pi)))
    )


@pytest.mark.parametrize("factory", [torch.optim.LBFGS, list])
def test_a_factory_of_something_else_is_refused(factory):
    odd = replace(stepper(Previous()), training=replace(GAME, optimiser=factory))
    with pytest.raises(InputError, match=r"torch optimiser that needs gradients only, got (LBFGS|list)"):
        evolve(zoo.free(), odd, zoo.start(), [0.5])


def test_torchs_adam_by_a_factory_is_the_one_of_the_default():
    short = replace(GAME, iterations=20, refit=5)
    taken = [short, replace(short, optimiser=functools.partial(torch.optim.Adam, betas=short.betas))]
    laws = [fitted(evolve(zoo.free(), replace(stepper(Previous()), training=t), zoo.start(), [0.5]))[1] for t in taken]
    assert torch.allclose(laws[0].mean, laws[1].mean, rtol=1e-9)
    assert torch.allclose(laws[0].covariance, laws[1].covariance, rtol=1e-9)


def test_a_critic_knows_the_functional_and_never_more():
    """KL in closed form at the pool's moments, up to the noise of 10³ held rows."""
    path = flow(DIVERGENCE, Previous(), [0.5])
    law = fitted(path)[1]
    log_ratio = law.log_prob(x := law.sample(20_000, keys.generator(1))) - TARGET.log_prob(x)
    value, noise = path.infos[0].dual["FDivergence(KullbackLeibler)"], float(log_ratio.std()) / 1000**0.5
    assert value <= float(log_ratio.mean()) + 4 * noise
    assert value == pytest.approx(float(log_ratio.mean()), abs=0.03 + 4 * noise)
    assert path.energy[1] == value


def test_energies_come_from_densities_where_there_are_some_and_from_critics_elsewhere():
    info = flow(zoo.free(), Previous(), [0.5]).infos[0]
    assert info.energy["Entropy"] != info.dual["Entropy"]
    assert info.energy["Entropy"] == pytest.approx(info.dual["Entropy"], abs=0.05)
    assert set(info.energy) == {"Entropy", "Potential"}


# Anchors


def quick(anchor: Anchor) -> SaddleJKO:
    return SaddleJKO(Residual(2, width=8), Critic(2, 8), anchor, zoo.GAME, **zoo.POOL)


def test_from_the_base_the_law_is_one_push_forward_and_from_the_previous_a_chain():
    for anchor, links in ((Base(), 1), (Previous(), 3)):
        path = evolve(zoo.free(), quick(anchor), zoo.start(), [0.1] * 3)
        law, count = path.final, 0
        while law is not path.laws[0]:
            law, count = law.base, count + 1
        assert count == links
        assert path.final.base is path.laws[0 if links == 1 else -2]


def test_log_determinants_start_anew_from_the_base():
    """Carried and not added: after three maps of the base, log ρ is that of the last one alone."""
    path = evolve(zoo.free(), quick(Base()), zoo.start(), [0.1] * 3)
    base = path.state.base[:40]
    moved = path.infos[-1].map.transport(base, logdet=True)
    torch.testing.assert_close(path.state.logdet, moved.logdet, rtol=0, atol=1e-12)
    torch.testing.assert_close(path.state.x[:40], moved.y, rtol=0, atol=1e-12)
    torch.testing.assert_close(path.state.log_base, zoo.start().log_prob(base), rtol=0, atol=1e-12)
    assert torch.equal(path.state.base, zoo.start().sample(160, keys.generator(0, 0)))


def test_costs_are_paid_from_where_the_particles_stand():
    map, x, old = zoo.MAPS[3].perturbed(), zoo.randn(0, 20, 2), zoo.randn(1, 20, 2)
    y, cost = Base().cost(map, x, old)
    torch.testing.assert_close(cost, 0.5 * (map(x) - old).square().sum(-1))
    again, own = Previous().cost(map, x, old)
    torch.testing.assert_close(own, 0.5 * (map(x) - x).square().sum(-1))
    assert torch.equal(y, again)


class Recording(Affine):
    """An affine map that writes down what it moves while it is trained, and afterwards."""

    seen: ClassVar[dict[bool, list[Tensor]]] = {True: [], False: []}

    def move(self, x):
        self.seen[self.training].append(x)
        return super().move(x)


def test_no_map_or_critic_is_trained_on_held_rows():
    trained, scored = Recording.seen[True], Recording.seen[False]
    evolve(zoo.free(), replace(quick(Previous()), map=Recording(2)), zoo.start(), [0.1])
    held, rest = zoo.start().sample(160, keys.generator(0, 0)).split([40, 120])
    assert [len(rows) for rows in trained] == [2 * 32, 32, 32] * 3 + [
        2 * 32
    ]  # moves of critics, value, move; the refit
    assert torch.equal(scored[0], held)
    for rows in trained:
        assert (rows[:, None] == rest).all(-1).any(-1).all()


def test_an_anchor_at_the_base_needs_base_rows():
    path = evolve(zoo.free(), quick(Previous()), zoo.start(), [0.1])
    with pytest.raises(Incompatible, match="base rows"):
        evolve(zoo.free(), quick(Base()), zoo.start(), [0.1], path=path)


def test_a_path_inverts_from_either_anchor():
    for anchor in (Base(), Previous()):
        path = evolve(zoo.free(), quick(anchor), zoo.start(), [0.1] * 3)
        inverse = path.inverse(zoo.start())
        x = zoo.start().sample(160, keys.generator(0, 0))
        torch.testing.assert_close(inverse.map(path.state.x), x, rtol=0, atol=1e-9)


def test_a_motion_cannot_fold():
    stepper = SaddleJKO(OTFlow(2, 8, steps=2), Critic(2, 8), Previous(), zoo.GAME, **zoo.POOL)
    path = evolve(zoo.free(), stepper, zoo.start(), [0.1])
    assert path.infos[0].measures["folded"] == 0
    assert path.final.has_density


def test_folds_are_reported_and_their_density_refused():
    """A map that reflects, warm-started and left alone: det ∇T < 0 on every row."""
    stepper = SaddleJKO(Affine(2), Critic(2, 8), Previous(), replace(zoo.GAME, rate=1e-30), **zoo.POOL)
    path = evolve(zoo.free(), stepper, zoo.start(), [0.1])
    assert path.infos[0].measures["folded"] == 0
    assert path.final.has_density
    mirror = {"matrix": zoo.doubles([-1, 0], [0, 1]), "shift": zoo.doubles(0, 0), "centre": zoo.doubles(0, 0)}
    path.state = replace(path.state, memory={**path.state.memory, "map": mirror})
    path = evolve(zoo.free(), stepper, zoo.start(), [0.1], path=path)
    assert path.infos[1].measures["folded"] == 1
    assert not path.final.has_density


# What a state remembers


def test_references_are_saved_and_belong_to_the_cloud_of_their_step(tmp_path):
    F = zoo.free() + 0.5 * zoo.PowerEntropy(2)
    before = evolve(F, quick(Previous()), zoo.start(), []).state
    after = evolve(F, quick(Previous()), zoo.start(), [0.1]).state
    expected = [Entropy().reference(Cloud(before.x)), zoo.PowerEntropy(2).reference(Cloud(before.x))]
    save_tree(after.tree(), tmp_path / "state.safetensors")
    loaded = State.from_tree(load_tree(tmp_path / "state.safetensors")).memory["references"]
    for one, other in zip(loaded, expected, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert set(after.memory) == {"map", "critics", "references"}


def test_critics_are_warm_started():
    """With no training at all, the next step's critic has the saved weights, in the frame of the refitted Γ."""
    path = evolve(zoo.free(), quick(Previous()), zoo.start(), [0.1])
    memory = path.state.memory
    critic = Critic(2, 8).double()
    critic.load_state_dict({name.removeprefix("0."): value for name, value in memory["critics"].items()})
    dual = Entropy().dual(memory["references"][0])
    x, z = path.state.x[:40], dual.gamma.sample(200_000, keys.generator(7))
    assert path.infos[0].dual["Entropy"] == pytest.approx(dual.value(critic, x, z).item(), abs=0.02)
    still = replace(quick(Previous()), training=replace(zoo.GAME, iterations=1, inner=1, refit=0, critic_rate=1e-30))
    carried = still.step(zoo.free(), path.state, 0.1, never)[0].memory["critics"]
    frame = {"0.mean", "0.scale"}
    assert all(torch.equal(carried[name], memory["critics"][name]) for name in carried.keys() - frame)
    assert not any(torch.equal(carried[name], memory["critics"][name]) for name in frame)
    between = path.state.x.mean(0) + dual.gamma.mean  # of particles and Γ, equally many rows
    torch.testing.assert_close(carried["0.mean"], between / 2, rtol=0, atol=0.1)


def test_the_frame_of_a_critic_stays_where_the_reference_law_does():
    F = Functional(((1.0, FDivergence(KullbackLeibler(), TARGET)),))
    path = evolve(F, quick(Previous()), zoo.start(), [0.1])
    still = replace(quick(Previous()), training=replace(zoo.GAME, iterations=1, inner=1, refit=0, critic_rate=1e-30))
    carried = still.step(F, path.state, 0.1, never)[0].memory["critics"]
    assert all(torch.equal(carried[name], path.state.memory["critics"][name]) for name in carried)


def test_equal_terms_are_told_apart():
    F = zoo.free() + FDivergence(KullbackLeibler(), TARGET) + 2 * FDivergence(KullbackLeibler(), zoo.target())
    info = evolve(F, quick(Previous()), zoo.start(), [0.1]).infos[0]
    divergences = ["FDivergence(KullbackLeibler)", "FDivergence(KullbackLeibler) 2"]
    assert list(info.dual) == ["Entropy", *divergences]
    assert list(info.energy) == ["Entropy", "Potential", *divergences]
    assert all(math.isfinite(value) for value in info.energy.values())


def test_midpoint_does_not_take_the_critic_at_half_a_step_for_its_energy():
    """The critic saw the law of the half step; of the whole one only particles and densities tell."""
    stepper = Midpoint(SaddleJKO(Affine(2), Critic(2, 8), training=zoo.GAME, **zoo.POOL))
    info = evolve(DIVERGENCE, stepper, zoo.start(), [0.2]).infos[0]
    assert math.isnan(info.energy["FDivergence(KullbackLeibler)"])
    assert not info.dual
    assert math.isfinite(info.measures["critic at half step, FDivergence(KullbackLeibler)"])


@pytest.mark.parametrize("rows", [slice(0, 80), torch.arange(80)], ids=["view", "indices"])
@pytest.mark.parametrize("ahead", [1, 160])
@pytest.mark.parametrize("r1", [0.0, 0.7])
def test_critics_ascend_the_weighted_value_less_its_penalties(r1, ahead, rows, monkeypatch):
    """The gradients of −Σ w (E a(u) − E_Γ b(u)) + w·penalty + r1/2 E_Γ|∇u|², written out as one loss for autograd."""
    F = 2.0 * Entropy() + 0.3 * Lipschitz(DIVERGENCE, 0.1, weight=5.0)
    maker = replace(stepper(Previous()), r1=r1, critic=Critic(2, 8, 1, quadratic=True))
    state = maker.init(F, zoo.start(), 0)
    game = Game(routed(maker, F), maker.anchor, state, 0.5, maker.kept, maker.r1)
    critics = torch.nn.ModuleList(Critic(2, 8, 1, quadratic=True).double() for _ in game.duals)
    for k, weight in enumerate(critics.parameters()):
        weight.data = 0.5 * zoo.randn(k, *weight.shape)
    game.join(Affine(2).double(), critics)
    monkeypatch.setattr(games, "AHEAD", ahead)
    _, seen = game.seen(rows, 2, 8)
    losses = []
    for k, ((weight, _, dual), critic, at) in enumerate(zip(game.duals, critics, seen, strict=True)):
        y, z = at.split()
        assert torch.equal(y, state.x[40 + game.held : 80 + game.held])
        losses.append(-weight * dual.value(critic, y, z))
        if dual.penalty is not None:
            losses.append(weight * dual.penalty(critic, y, z, keys.fold(9, k)))
        losses.append(0.5 * r1 * autodiff.gradient(critic, z, create_graph=True).square().sum(1).mean())
    assert float(losses[3].detach()) > 1e-3  # the penalty bites
    expected = torch.autograd.grad(torch.stack(losses).sum(), list(critics.parameters()))
    for one, other in zip(game.ascent(seen, 9), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


DESCENTS: dict[str, tuple[Functional, Anchor, Map, float]] = {
    "closed forms": (2.0 * Entropy() + 0.3 * zoo.V(), Previous(), Affine(2), 0.5),
    "base": (2.0 * Entropy() + 0.3 * zoo.V(), Base(), Affine(2), 0.5),
    "no cost": (Entropy() + zoo.V(), Previous(), Affine(2), math.inf),
    "residual": (Entropy(centres=3) + Potential(lambda x: x.pow(4).sum(1)), Previous(), Residual(2, 8), 0.5),
    "modes": (Entropy(centres=2) + zoo.V(), Previous(), Residual(2, 8), 0.5),
    "motion": (Entropy(tight=True) + zoo.V(), Previous(), OTFlow(2, 8, steps=2), 0.5),
    "motion, base": (Entropy() + zoo.V(), Base(), OTFlow(2, 8, steps=2), 0.5),
    "guided": (Entropy() + zoo.V(), Previous(), Guided(Residual(2, 8), zoo.bumpy), 0.5),
    "divergences": (
        FDivergence(JensenShannon(), zoo.target()) + 0.3 * Hinge(zoo.target()) + Lipschitz(DIVERGENCE, 0.1),
        Previous(),
        Residual(2, 8),
        0.5,
    ),
    "power": (PowerEntropy(2.0) + Interaction(Power(2)), Previous(), Affine(2), 0.5),
}


@pytest.mark.parametrize("name", DESCENTS)
def test_maps_descend_the_value(name):
    """The gradients of E[cost]/τ + Σ w E V + Σ w E p(u), written out as one loss for autograd; that is the value."""
    F, anchor, map, tau = DESCENTS[name]
    start = Mixture([Gaussian(zoo.doubles(3 * k, 0), zoo.EYE) for k in (-1, 1)]) if name == "modes" else zoo.start()
    maker = replace(stepper(anchor), critic=Critic(2, 8, 1, quadratic=True), map=map)
    state = replace(maker.init(F, start, 0), x=start.sample(N, keys.generator(5)))
    game = Game(routed(maker, F), anchor, state, tau, maker.kept)
    assert isinstance(game.duals[0][2].gamma, Mixture) == (name == "modes")
    map = copy.deepcopy(map).double()
    critics = torch.nn.ModuleList(Critic(2, 8, 1, quadratic=True).double() for _ in game.duals)
    for k, weight in enumerate([*critics.parameters(), *map.parameters()]):
        weight.data = 0.5 * weight.data + 0.2 * zoo.randn(k, *weight.shape)
    map.recentre(game.source[game.held :])
    game.join(map, critics)
    rows, stood = slice(0, 40), state.x.clone()
    source, at = game.source[game.held :][rows], state.x[game.held :][rows]
    moved = map.transport(source)
    cost = moved.cost if isinstance(anchor, Previous) else 0.5 * (moved.y - at).square().sum(1)
    loss = cost.mean() / tau
    for weight, term in game.plain:
        loss = loss + weight * term.energy(Cloud(moved.y)).mean()
    for (weight, _, dual), critic in zip(game.duals, critics, strict=True):
        loss = loss + weight * (dual.push or dual.a)(critic(moved.y), moved.y).mean()
    expected = torch.autograd.grad(loss, list(map.parameters()), materialize_grads=True)
    assert game.value(rows, 0) == pytest.approx(float(loss.detach()), rel=1e-12)
    for taken in (rows, torch.arange(40)):
        for one, other in zip(game.descent(taken, 0), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    assert torch.equal(state.x, stood)  # rows are views of the pool
    slope = game.variation(at).gradient(at)
    torch.testing.assert_close(slope, autodiff.gradient(game.variation(at).value, at), rtol=1e-9, atol=1e-11)


def test_a_frozen_weight_of_an_affine_map_stays():
    """The way by hand is that of both weights; with one of them, autograd's."""
    map, x = Affine(2).double(), zoo.randn(0, 30, 2)
    both = map.gradients(x, [map.matrix, map.shift], torch.sin)
    for weights, expected in (([map.matrix], both[:1]), ([map.shift], both[1:]), ([map.shift, map.matrix], both[::-1])):
        for one, other in zip(map.gradients(x, weights, torch.sin), expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


class Free(OTFlow):
    """A motion that costs nothing."""

    def transport(self, x, logdet=False):
        return super().transport(x, logdet)._replace(cost=x.new_zeros(len(x)))


class Level(Critic):
    """A critic that is the same everywhere."""

    def forward(self, x):
        return self.network.layers[-1].bias.expand(len(x))


class Flat(Term, OnSamples):
    """A term that no particle feels."""

    def energy(self, cloud):
        return cloud.x.new_ones(len(cloud.x))


def squares(x: Tensor) -> Tensor:
    return x.square().sum(1)


def slope_by_autograd(x: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(squares(leaf).sum(), leaf)[0]


ODD: dict[str, tuple[Functional | Term, Map, Critic]] = {
    "gradient by autograd": (
        Entropy() + Potential(lambda x: x.square().sum(1), slope_by_autograd),
        Affine(2),
        Critic(2),
    ),
    "V without a graph": (
        Entropy() + Potential(lambda x: squares(x.detach()), slope_by_autograd),
        Affine(2),
        Critic(2),
    ),
    "a constant term": (Entropy() + Flat(), Affine(2), Critic(2)),
    "no cost": (zoo.free(), Free(2, 8, steps=2), Critic(2)),
    "a level critic": (zoo.free(), Affine(2), Level(2)),
}


@pytest.mark.parametrize("name", ODD)
def test_maps_descend_what_has_no_graph(name):
    F, map, critic = ODD[name]
    maker = SaddleJKO(map, critic, training=zoo.GAME, **zoo.POOL)
    info = evolve(F, maker, zoo.start(), [0.1]).infos[0]
    assert math.isfinite(info.dual["Entropy"])


@pytest.mark.parametrize("critic", [Critic(2, 8, quadratic=True), FourierCritic(2, 8)], ids=["closed", "autograd"])
def test_variations_of_critics_have_second_derivatives(critic):
    """The closed slope has no graph: where one is wanted the value is differentiated twice."""
    path = evolve(zoo.free(), SaddleJKO(Affine(2), critic, training=zoo.GAME, **zoo.POOL), zoo.start(), [0.1])
    game = Game(routed(stepper(Previous()), zoo.free()), Previous(), path.state, 0.1, 40)
    critics = torch.nn.ModuleList([copy.deepcopy(critic).double()])
    for k, weight in enumerate(critics.parameters()):
        weight.data = 0.5 * zoo.randn(k, *weight.shape)
    game.join(Affine(2).double(), critics)
    x = zoo.randn(0, 6, 2)
    variation = game.variation(path.state.x)
    _, hessian = autodiff.jacobian(lambda y: variation.gradient(y, create_graph=True), x)
    _, expected = autodiff.jacobian(lambda y: autodiff.gradient(variation.value, y, create_graph=True), x)
    assert not variation.gradient(x).requires_grad
    torch.testing.assert_close(hessian, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ahead", [1, 2**20])
def test_no_two_critics_and_no_two_batches_see_the_same_draws(ahead, monkeypatch):
    monkeypatch.setattr(games, "AHEAD", ahead)
    F = DIVERGENCE + 0.5 * DIVERGENCE
    state = stepper(Previous()).init(F, zoo.start(), 0)
    game = Game(routed(stepper(Previous()), F), Previous(), state, 0.5, 40)
    game.join(Affine(2).double(), torch.nn.ModuleList(Critic(2, 8).double() for _ in range(2)))
    seen = [at.split()[1] for key in (7, 8) for batch in game.seen(slice(0, 60), 3, key) for at in batch]
    assert len(seen) == 12
    assert len(torch.cat(seen).unique(dim=0)) == 12 * 20


def test_a_gradient_of_another_shape_is_refused():
    F = Entropy() + Potential(squares, lambda x: x[:, :1])
    with pytest.raises(InputError, match=r"gradient of V must keep the shape \(n, 2\), but gave \(3, 1\)"):
        evolve(F, stepper(Previous()), zoo.start(), [0.1])
