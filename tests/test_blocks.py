"""What the studies of JKO-Flow and JKO-iFlow measure, on small ones: edges, gains, bytes kept, spreads over α."""

import math
from dataclasses import replace

import pytest
import torch

from validation.studies import jko_flow_miniboone as miniboone
from validation.studies._blocks import DRAWS, EVEN, REFINED, Run, Setting, Trained, kept, memory, run, variation
from wgf import keys
from wgf.data import Moons
from wgf.kernels import Gaussian
from wgf.maps import Compose, NeuralODE
from wgf.schedule import Geometric
from wgf.scoring import Score, score
from wgf.training import Adam


@pytest.fixture(scope="module")
def small() -> Run:
    data = Moons(rows=1000, scale=2.0, noise=0.1)
    training = Trained(*(Adam(10, 200, rate) for rate in (1e-2, 5e-3, 2e-3)))
    return run(Setting("moons", data, Geometric(0.3, 2.0, 3), 0.01, training, 8, 800, 100, 1, steps=1))


def test_scores_are_those_of_the_models(small):
    learning = small.problem.learning
    assert learning is not None
    for name, path in small.paths.items():
        assert small.nll(name) == pytest.approx(score(learning.model(path), learning.held).nll)
    assert small.gain()[0] == pytest.approx(small.nll(REFINED) - small.nll(EVEN))
    assert len(small.paths[REFINED]) == 2 * len(small.paths[EVEN])


@pytest.mark.parametrize("known", [True, False])
def test_edges_are_a_tenth_and_less_likely_than_the_rest(small, known):
    assert small.exact is not None
    one = small if known else replace(small, exact=None)
    by = small.exact if known else small.densities[EVEN] + small.densities[REFINED]
    inside = torch.ones(len(by), dtype=torch.bool)
    inside[one.edges] = False
    assert len(one.edges) == len(by) // 10
    assert by[one.edges].max() <= by[inside].min()


def test_mass_at_the_edges_is_that_of_each_model(small):
    learning = small.problem.learning
    assert learning is not None
    level = small.exact[small.edges].max()
    for name in (EVEN, REFINED):
        x = learning.model(small.paths[name]).sample(DRAWS, keys.generator(0, 6))
        there = small.setting.data.law().log_prob(x) <= level
        assert torch.equal(small.at_edges[name], there.double())
        assert small.mass(name) == pytest.approx(float(there.double().mean()))
    assert small.mass(EVEN) != small.mass(REFINED)


def test_a_model_with_too_much_mass_at_the_edges_is_not_the_better_for_it(small):
    """N(0, 1) against N(0, 1.5²) on rows of N(0, 1): the wide one has more density where rows are few."""
    x, z = torch.randn(2, 20_000, generator=keys.generator(0), dtype=torch.float64)
    right, wide = (torch.distributions.Normal(0.0, s) for s in (1.0, 1.5))
    level = right.log_prob(x).kthvalue(len(x) // 10).values
    at_edges = {EVEN: (right.log_prob(1.5 * z) <= level).double(), REFINED: (right.log_prob(z) <= level).double()}
    densities = {EVEN: wide.log_prob(x), REFINED: right.log_prob(x)}
    one = replace(small, densities=densities, exact=right.log_prob(x), at_edges=at_edges)
    value, error = one.edge_gain()
    assert one.gain(one.edges)[0] > 0.1
    assert value < -0.5
    assert error < 0.1
    level = abs(float(x[one.edges].abs().min()))
    outside = torch.special.ndtr(torch.tensor(-level / 1.5)) * 2, torch.special.ndtr(torch.tensor(-level)) * 2
    expected = float(one.gain(one.edges)[0] + 9 * (torch.log1p(-outside[0]) - torch.log1p(-outside[1])))
    assert value == pytest.approx(expected, abs=4 * error)


def test_a_model_all_at_the_edges_is_bad_and_one_that_cannot_be_sampled_unknown(small):
    whole = replace(small, at_edges={**small.at_edges, REFINED: torch.ones_like(small.at_edges[EVEN])})
    assert 10 < whole.edge_gain()[0] < math.inf
    unknown = replace(small, at_edges={**small.at_edges, REFINED: torch.full_like(small.at_edges[EVEN], math.nan)})
    assert math.isnan(unknown.edge_gain()[0])


def test_a_block_keeps_its_share_of_what_the_composition_does(small):
    x = torch.randn(64, 2, generator=keys.generator(0))
    block, whole = memory(small.paths[REFINED], x)
    assert whole.motion == len(small.paths[REFINED]) * block.motion
    assert block.loss - block.motion == whole.loss - whole.motion


def test_bytes_are_those_of_storages_counted_once():
    block, x = NeuralODE(2, 8, steps=1), torch.randn(50, 2)
    one, two, three = (kept(block, x.repeat(times, 1), 1.0) for times in (1, 2, 3))
    assert one.motion > 50 * 8 * 4
    assert three.motion - two.motion == two.motion - one.motion > 0
    assert one.loss == one.motion  # which holds its end
    assert kept(Compose([block, block]), x, 1.0).motion == 2 * one.motion


def test_variation_is_that_of_the_lengths():
    assert variation([1.0, 1.0, 1.0]) == 0
    assert variation([1.0, 3.0]) == pytest.approx(0.5)


def test_spreads_do_not_count_noise_nor_units():
    held = torch.randn(100, 43, generator=keys.generator(0)).double()
    one = dict.fromkeys(miniboone.VIEWS, 1e-3)
    kernels = dict.fromkeys(miniboone.VIEWS, Gaussian(1.0))
    plain = Score(100, 38.0, 1.0, 1.3, 0.0)
    judge = miniboone.Judge(held, plain, plain, kernels, one, one)
    assert judge.spread("all 43", [-2e-4, 5e-4, 1e-3]) == 1.0
    assert judge.spread("all 43", [-2e-4, 3e-3]) == pytest.approx(3.0)
    assert judge.gained([28.0, 33.0]) == pytest.approx(2.0)
    assert judge.gained([28.0, 39.0]) == math.inf
    assert abs(judge.mmd2(held + 0.0)["(28, 29)"]) < 0.05
    assert judge.mmd2(held + 2.0)["(28, 29)"] > 0.2
