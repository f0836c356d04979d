"""Paths taken again: step sizes evened out, blocks trained on from where they were, and what a bad start comes to."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
import torch

from wgf import Empirical, Gaussian, evolve, keys
from wgf.errors import InputError
from wgf.functionals import Entropy, Potential, Quadratic
from wgf.maps import Affine, Map, NeuralODE
from wgf.refinement import even, refine, sizes
from wgf.schedule import Geometric, evened
from wgf.steppers import JKO, WarmStart
from wgf.steppers.base import State
from wgf.training import LBFGS, Adam

F = Entropy() + Potential(Quadratic(torch.eye(2, dtype=torch.float64)))


def variation(lengths):
    values = torch.tensor(lengths, dtype=torch.float64)
    return float(values.std(correction=0) / values.mean())


@pytest.mark.parametrize("curve", [lambda t: 1 - math.exp(-t), lambda t: math.sqrt(1 - math.exp(-2 * t))])
def test_two_rounds_even_out_curves_that_are_fast_first_and_slow_last(curve):
    taus = list(Geometric(0.2, 2.0, 6, cap=3.0))

    def lengths(taus):
        times = [sum(taus[:k]) for k in range(len(taus) + 1)]
        return [curve(after) - curve(before) for before, after in pairwise(times)]

    before = variation(lengths(taus))
    again = evened(taus, lengths(taus))
    again = evened(again, lengths(again))
    assert variation(lengths(again)) < before / 30  # 5 to 19 times by straight lines
    assert sum(again) == pytest.approx(sum(taus))


def test_even_steps_stay():
    assert evened([1.0, 2.0, 0.5], [0.3, 0.3, 0.3]) == pytest.approx([1.0, 2.0, 0.5])


@pytest.mark.parametrize("moved", [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
def test_steps_that_stood_still_are_given_some_of_the_way(moved):
    taus = evened([1.0, 2.0, 3.0], moved)
    assert all(tau > 0 for tau in taus)
    assert sum(taus) == pytest.approx(6.0)


def test_a_path_that_never_moved_is_refused():
    with pytest.raises(InputError, match="a step that moved"):
        evened([1.0, 2.0], [0.0, 0.0])


def test_the_exact_flow_of_a_gaussian_is_evened_out():
    start = Gaussian(torch.full((2,), 3.0, dtype=torch.float64), 0.1 * torch.eye(2, dtype=torch.float64))
    stepper = JKO(Affine(2), LBFGS(30), particles=2000, held=400)
    path = evolve(F, stepper, start, Geometric(0.2, 2.0, 5))
    again = even(F, stepper, path, rounds=2)
    moved = [[info.moved for info in each.infos] for each in (path, again)]
    assert variation(moved[1]) < 0.1 * variation(moved[0])
    assert again.times[-1] == pytest.approx(path.times[-1])


def test_refined_blocks_start_as_the_motion_that_they_are_parts_of():
    x = torch.randn(1000, 2, generator=keys.generator(0), dtype=torch.float64) * 2 + 1
    training = Adam(20, 256, 1e-2)
    stepper = JKO(NeuralODE(2, 8, steps=4), training, particles=1000)
    path = evolve(F, stepper, Empirical(x), [0.5, 0.5])
    cut = refine(F, replace(stepper, training=replace(training, iterations=1, rate=1e-12)), path, parts=2)
    assert sizes(cut) == pytest.approx([0.25] * 4)
    model, finer = (each.inverse(Gaussian.standard(2, dtype=torch.float64)) for each in (path, cut))
    torch.testing.assert_close(finer.log_prob(x), model.log_prob(x), atol=1e-5, rtol=1e-5)


@dataclass(frozen=True)
class Astray(WarmStart):
    """A map that carries everything far off."""

    def __call__(self, template: Map, state: State) -> Map:
        map = NeuralODE(2, 8).to(state.x)
        with torch.no_grad():
            map.network.layers[-1].bias.fill_(50.0)
        return map


def test_a_start_worse_than_standing_still_is_given_up_for_the_identity():
    x = torch.randn(2000, 2, generator=keys.generator(0), dtype=torch.float64) + 2
    stepper = JKO(NeuralODE(2, 8), Adam(40, 512, 2e-2), particles=2000, warm=Astray())
    (info,) = evolve(F, stepper, Empirical(x), [0.5]).infos
    assert info.certificate is not None
    assert info.certificate.value < -0.5  # the exact step gains 4·τ/2(1 + τ) = 2/3 at b = (2, 2), S = I, τ = ½
    assert 0.5 < info.moved < 1.5  # of 2√2·τ/(1 + τ) = 0.94
    assert [k for k, _ in info.curve] == sorted(k for k, _ in info.curve)
