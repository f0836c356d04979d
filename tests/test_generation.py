"""Planar data against what is known of their laws, and the problem of carrying noise to a data set."""

import math

import pytest
import torch

from wgf import evolve, keys
from wgf.data import Moons, Pinwheel
from wgf.errors import InputError
from wgf.functionals import FDivergence, JensenShannon, KullbackLeibler, Lipschitz
from wgf.law import Empirical, Gaussian
from wgf.methods import w1w2_flow
from wgf.targets import generation
from wgf.training import Alternate

N = 200_000


def standardised(values: torch.Tensor) -> float:
    """The mean of numbers that should have mean zero, in standard errors."""
    return abs(float(values.mean())) / float(values.std()) * len(values) ** 0.5


def test_a_pinwheel_has_five_blades_that_are_one_blade_turned():
    table = Pinwheel(N).load()
    x, r2 = table.X, table.X.square().sum(1)
    assert standardised(r2 - 1.96 * (1 + 0.3**2 + 0.1**2)) < 4
    assert all(standardised(x[:, k]) < 4 for k in (0, 1))
    assert standardised(x[:, 0] * x[:, 1]) < 4
    assert standardised(x[:, 0].square() - x[:, 1].square()) < 4
    blades = [x[table.y == k] for k in range(5)]
    assert all(abs(len(blade) - N / 5) < 4 * math.sqrt(N * 0.16) for blade in blades)
    angle = torch.tensor(2 * math.pi / 5, dtype=x.dtype)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    for one, next in zip(blades, [*blades[1:], blades[0]], strict=True):
        error = (one.var(0).sum() / len(one) + next.var(0).sum() / len(next)).sqrt()
        assert float((turn @ one.mean(0) - next.mean(0)).norm()) < 4 * float(error)


def test_moons_are_two_half_circles_about_a_common_centre():
    """Means 4.2·((0, 2/π) − c) and 4.2·((1, ½ − 2/π) − c), E|x − centre of its circle|² = 4.2²(1 + 2·0.05²)."""
    table = Moons(N).load()
    for label, sign, centre in ((-1, 1.0, (0.0, 0.0)), (1, -1.0, (1.0, 0.5))):
        about = table.X[table.y == label] / 4.2 + torch.tensor([0.5, 0.2]).double() - torch.tensor(centre).double()
        assert standardised(about[:, 0]) < 4
        assert standardised(sign * about[:, 1] - 2 / math.pi) < 4
        assert standardised(about.square().sum(1) - (1 + 2 * 0.05**2)) < 4
    assert table.y.unique().tolist() == [-1, 1]


@pytest.mark.parametrize("law", [Pinwheel, Moons])
def test_other_coordinates_are_zero_and_the_plane_is_the_same(law):
    wide, flat = law(50, 7, seed=3).load(), law(50, seed=3).load()
    assert torch.equal(wide.X[:, :2], flat.X)
    assert not wide.X[:, 2:].any()
    assert len(wide.names) == 7
    assert not torch.equal(law(50, seed=4).load().X, flat.X)


@pytest.mark.parametrize(
    ("arguments", "message"), [((0,), "rows must be"), ((5, 1), "dim must be"), ((5, 2, -1), "seed must be")]
)
def test_bad_planar_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Pinwheel(*arguments)


def test_generation_compares_with_the_rows_by_lipschitz_critics():
    problem = generation(Moons(40, 3), JensenShannon(), L=2.5)
    term = problem.functional
    assert isinstance(term, Lipschitz)
    assert (term.L, term.term.f, problem.dim) == (2.5, problem.functional.term.f, 3)
    assert torch.equal(term.term.target.x, Moons(40, 3).load().X)
    assert isinstance(generation(Moons(40), L=None).functional, FDivergence)
    with pytest.raises(InputError, match="the Lipschitz constant L"):
        generation(Moons(40), L=0.0)


def test_far_from_the_data_every_row_moves_by_tau_times_L_towards_them():
    """λ∇U = ∇φ has length L wherever the data are not yet reached: |T(x) − x| = τL for any horizon of the flow."""
    rows = torch.tensor([5.0, -3.0]) + 0.1 * torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    term = Lipschitz(FDivergence(KullbackLeibler(), Empirical(rows)), 2.0)
    game = Alternate(80, 2, 0, 128, 2e-2, 2e-2)
    stepper = w1w2_flow(2, training=game, particles=1000, horizon=2.0)
    path = evolve(term, stepper, Gaussian.standard(2), [0.5])
    x = Gaussian.standard(2).sample(500, keys.generator(1))
    moved = path.infos[0].map(x) - x
    towards = torch.nn.functional.normalize(rows.mean(0) - x)
    assert float((moved.norm(dim=1) - 1.0).abs().mean()) < 0.1
    assert float((moved * towards).sum(1).mean()) > 0.9
