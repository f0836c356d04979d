"""Every stepper of the zoo: the same bits from the same seed, states that survive the disk, laws that fit the pool."""

import json
import math
from dataclasses import replace

import pytest
import torch
import zoo

from wgf import evolve, keys
from wgf.errors import Incompatible
from wgf.flow import Path
from wgf.functionals import Entropy, Interaction, OnDensity, OnSamples, functional
from wgf.kernels import Power
from wgf.law import Empirical, Law, Pushforward
from wgf.maps import Affine
from wgf.observers import measured
from wgf.steppers import JKO, Fresh, Langevin, Midpoint, Particles, SaddleJKO, State, Stepper, Weights
from wgf.training import LBFGS, never
from wgf.tree import load_tree, save_tree

TAUS = (0.1, 0.05)

every_stepper = pytest.mark.parametrize("entry", zoo.STEPPERS, ids=zoo.names(zoo.STEPPERS))


def run(entry: zoo.StepperEntry, seed: int = 0, taus: tuple[float, ...] = TAUS, rho0: Law | None = None) -> Path:
    return evolve(entry.F(), entry.build(), rho0 or zoo.start(), taus, seed=seed)


def once(entry: zoo.StepperEntry, state: State, tau: float = 0.1) -> State:
    return entry.build().step(entry.F(), state, tau, never)[0]


def same(first: object, second: object) -> bool:
    """Whether two trees agree to the last bit, NaN with NaN."""
    if isinstance(first, torch.Tensor):
        return isinstance(second, torch.Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return first == second or (first != first and second != second)


@every_stepper
def test_the_seed_decides_every_bit(entry):
    before = torch.random.get_rng_state()
    first, again, other = run(entry, seed=1), run(entry, seed=1), run(entry, seed=2)
    assert same(first.state.tree(), again.state.tree())
    assert same(first.energies, again.energies)
    assert not torch.equal(first.state.x, other.state.x)
    assert torch.equal(torch.random.get_rng_state(), before)


@every_stepper
def test_the_seed_reaches_the_steps_and_not_only_the_start(entry):
    state = run(entry, taus=()).state
    moved, other = once(entry, state), once(entry, replace(state, key=99))
    noiseless = ("Affine", "Splitting(JKO)", "SVGD(Plain)", "SVGD(AdaGrad)")
    exact = not (entry.name.startswith("Particles") or any(word in entry.name for word in noiseless))
    assert torch.equal(moved.x, other.x) != exact


@every_stepper
def test_a_state_survives_the_disk(entry, tmp_path):
    state = run(entry).state
    save_tree(state.tree(), tmp_path / "state.safetensors")
    loaded = State.from_tree(load_tree(tmp_path / "state.safetensors"))
    assert same(loaded.tree(), state.tree())
    assert same(once(entry, loaded).tree(), once(entry, state).tree())


@every_stepper
def test_a_flow_goes_on_where_it_stopped(entry):
    whole = run(entry, taus=(0.1, 0.05, 0.2))
    path = run(entry, taus=(0.1, 0.05))
    path = evolve(entry.F(), entry.build(), zoo.start(), (0.2,), path=path)
    assert same(path.state.tree(), whole.state.tree())
    assert path.times == whole.times
    assert same(path.energies, whole.energies)


@every_stepper
def test_a_step_leaves_its_state_as_it_was(entry):
    state = run(entry).state
    tree = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in state.tree().items()}
    after = once(entry, state)
    assert same(state.tree(), tree)
    assert after.step == state.step + 1 == len(TAUS) + 1


@every_stepper
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_precision_follows_the_initial_law(entry, dtype):
    path = run(entry, taus=(0.1,), rho0=zoo.start().to(dtype))
    tensors = [path.state.x, path.state.logdet, path.state.log_base, path.final.sample(3, keys.generator(0))]
    assert {each.dtype for each in tensors if each is not None} == {dtype}
    assert torch.isfinite(path.state.x).all()


@every_stepper
def test_the_law_is_that_of_the_pool(entry):
    """The final law pushes the draws of step 0 to where the pool stands: no map is lost, doubled or out of order."""
    path = run(entry)
    if isinstance(path.final, Empirical):
        assert torch.equal(path.final.x, path.state.x)
        return
    x = path.final.sample(len(path.state.x), keys.generator(0, 0))
    torch.testing.assert_close(x, path.state.x, rtol=1e-9, atol=1e-10)


@every_stepper
def test_densities_are_kept_where_they_are_claimed(entry):
    path = run(entry)
    assert path.final.has_density == entry.build().keeps_density
    if not path.final.has_density:
        return
    assert isinstance(path.final, Pushforward)
    cloud = path.state.scored(entry.build().rows)
    torch.testing.assert_close(cloud.log_density, path.final.log_prob(cloud.x), rtol=1e-7, atol=1e-7)


@every_stepper
def test_reports_say_what_happened(entry):
    path = run(entry)
    before = run(entry, taus=TAUS[:1]).state
    info, rows = path.infos[-1], entry.build().rows
    expected = float((path.state.x - before.x).square().sum(-1).mean().sqrt())
    assert info.moved == pytest.approx(expected, rel=1e-12)
    assert info.seconds >= 0
    json.dumps(measured(path), allow_nan=False)  # plain numbers, and nothing that JSON does not have
    cloud = path.state.scored(rows)
    for weight, term in entry.F().terms:
        if isinstance(term, OnSamples):
            assert info.energy[term.name] == pytest.approx(weight * float(term.energy(cloud).mean()))
        elif isinstance(term, OnDensity) and path.final.has_density:
            assert info.energy[term.name] == pytest.approx(weight * float(term.density_energy(cloud).mean()))


@every_stepper
def test_an_energy_is_a_number_only_if_every_term_is_known(entry):
    path = run(entry)
    for energies, total in zip(path.energies, path.energy, strict=True):
        assert len(energies) == len(entry.F().terms)
        assert math.isfinite(total) == all(math.isfinite(value) for value in energies.values())
    sampled = all(isinstance(term, OnSamples) for _, term in entry.F().terms)
    dense = path.final.has_density or sampled
    assert math.isfinite(path.energy[-1]) == (dense or any(word in entry.name for word in ("Saddle", "Critic")))


# What the variational steppers of the zoo share


VARIATIONAL = [e for e in zoo.STEPPERS if isinstance(e.build(), (JKO, Midpoint, SaddleJKO))]


def held_by(stepper: Stepper) -> int:
    return held_by(stepper.inner) if isinstance(stepper, Midpoint) else stepper.held


BY_DETERMINANT = [e for e in VARIATIONAL if not isinstance(e.build(), SaddleJKO)]  # the others: test_saddle.py


@pytest.mark.parametrize("entry", BY_DETERMINANT, ids=zoo.names(BY_DETERMINANT))
def test_no_map_is_trained_on_held_rows(entry):
    """Held rows elsewhere leave a fixed number of training steps as they are."""
    stepper, state = entry.build(), run(entry, taus=()).state
    held = held_by(stepper)
    moved = replace(state, x=torch.cat([state.x[:held] + 0.1, state.x[held:]]))
    first, second = (stepper.solve(entry.F(), each, 0.1, never)[0] for each in (state, moved))
    assert same(dict(first.state_dict()), dict(second.state_dict()))


@pytest.mark.parametrize("entry", VARIATIONAL, ids=zoo.names(VARIATIONAL))
def test_maps_are_handed_over_frozen_and_in_evaluation_mode(entry):
    info = run(entry).infos[-1]
    assert not info.map.training
    assert not any(parameter.requires_grad for parameter in info.map.parameters())


@pytest.mark.parametrize("entry", VARIATIONAL, ids=zoo.names(VARIATIONAL))
def test_every_step_has_a_map_of_its_own(entry):
    path = run(entry)
    first, second = path.infos[0].map, path.infos[1].map
    x = zoo.randn(0, 5, 2)
    assert not torch.equal(first(x), second(x))
    shared = {p.data_ptr() for p in first.parameters()} & {p.data_ptr() for p in second.parameters()}
    assert not shared


@pytest.mark.parametrize("entry", VARIATIONAL, ids=zoo.names(VARIATIONAL))
def test_the_map_of_a_step_can_be_made_again_from_its_state(entry, tmp_path):
    path, x = run(entry), zoo.randn(0, 5, 2)
    save_tree(path.state.tree(), tmp_path / "state.safetensors")
    memory = State.from_tree(load_tree(tmp_path / "state.safetensors")).memory
    map, own = entry.build().remembered(memory, path.state.x), path.infos[-1].map
    assert torch.equal(map(x), own(x))
    assert torch.equal(map.transport(x, True).logdet, own.transport(x, True).logdet)
    assert not map.training


@pytest.mark.parametrize("warm", [Weights(), Fresh()], ids=repr)
def test_training_starts_where_it_should(warm):
    """With steps too small to matter, the second map is the first one, or the identity."""
    first = JKO(zoo.Residual(2, width=8), zoo.ADAM, warm=warm, **zoo.POOL)
    still = replace(first, training=replace(zoo.ADAM, rate=1e-30))
    path = evolve(zoo.free(), first, zoo.start(), [0.1])
    path = evolve(zoo.free(), still, zoo.start(), [0.1], path=path)
    x = zoo.randn(0, 5, 2)
    assert torch.equal(path.infos[1].map(x), path.infos[0].map(x) if isinstance(warm, Weights) else x)


def test_the_template_is_never_trained():
    stepper = JKO(zoo.Residual(2, width=8), LBFGS(3), particles=40, held=10)
    before = {name: value.clone() for name, value in stepper.map.state_dict().items()}
    evolve(zoo.free(), stepper, zoo.start(), [0.1])
    assert same(dict(stepper.map.state_dict()), before)


HEIRS = [JKO(zoo.Affine(2), LBFGS(5), particles=40, held=20), Langevin(40, 1), Particles(40)]


@every_stepper
@pytest.mark.parametrize("heir", HEIRS, ids=zoo.names(HEIRS))
def test_another_stepper_can_take_over(entry, heir):
    """And what the first one knew of densities is not taken for true after it."""
    F = zoo.V() if isinstance(heir, Particles) else zoo.free()
    path = evolve(F, heir, zoo.start(), (0.1,), path=run(entry))
    assert path.state.step == len(path) == 3
    cloud = path.state.scored(20)
    if cloud.logdet is not None and cloud.log_base is not None:
        torch.testing.assert_close(cloud.log_density, path.final.log_prob(cloud.x), rtol=1e-7, atol=1e-7)
    assert path.final.has_density == (heir.keeps_density and entry.build().keeps_density)


def test_a_pool_too_small_for_what_is_held_is_refused():
    path = run(zoo.STEPPERS[0])
    with pytest.raises(Incompatible, match="got 40 of 60 in this flow"):
        evolve(zoo.free(), JKO(Affine(2), held=40), zoo.start(), (0.1,), path=path)


def test_data_rows_that_are_held_are_never_trained_on():
    rows = Empirical(zoo.randn(3, 300, 2))
    x = JKO(Affine(2), particles=2000, held=400).init(functional(Entropy()), rows, 0).x
    held, choosing, trained = ({tuple(row.tolist()) for row in part} for part in x.split([400, 200, 1400]))
    assert not held & trained
    assert not held & choosing
    assert not choosing & trained
    assert len(held | choosing | trained) > 250


def test_the_certificate_knows_its_error_for_pairs():
    """Its standard error against the spread over independent pools, for a term whose rows depend on one another."""
    stepper = JKO(Affine(2), LBFGS(3), particles=400, held=200)
    F, found = functional(Entropy() + Interaction(2.0 * Power(2))), []
    for seed in range(40):
        state = stepper.init(F, zoo.start(), seed)
        found.append(stepper.step(F, state, 0.3, never)[1].certificate)
    spread = torch.tensor([each.value for each in found]).std()
    claimed = torch.tensor([each.standard_error for each in found]).mean()
    assert 0.65 < float(claimed / spread) < 1.5  # by per-row energies it would be half of this
