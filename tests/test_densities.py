"""Planar laws by their draws and by their densities: one against the other, and what is known of the rest."""

import math
from functools import partial

import pytest
import torch

from wgf.data import Checkerboard, Circles, EightGaussians, Moons, Pinwheel, SwissRoll, TwoSpirals
from wgf.errors import InputError, Unknown

N = 200_000
KNOWN = [Checkerboard, Circles, EightGaussians, partial(Moons, scale=2.0, noise=0.1), SwissRoll]
SIDE = (torch.arange(192, dtype=torch.float64) + 0.5) / 16 - 6
CELL = 1 / 256
GRID = torch.cartesian_prod(SIDE, SIDE)
SEEN = {
    "x": lambda x: x[:, 0],
    "y": lambda x: x[:, 1],
    "xx": lambda x: x[:, 0].square(),
    "xy": lambda x: x[:, 0] * x[:, 1],
    "wave": lambda x: (2 * x[:, 0] + x[:, 1]).cos(),
    "other wave": lambda x: (x[:, 0] - 3 * x[:, 1]).sin(),
}


def named(source) -> str:
    return source().__class__.__name__


@pytest.mark.parametrize("source", KNOWN, ids=named)
def test_draws_have_the_density_of_the_law(source):
    x, law = source(N).load().X, source().law()
    logs = law.log_prob(GRID)
    density = logs.exp() * CELL
    assert float(density.sum()) == pytest.approx(1, abs=1e-9)
    seen = {name: (g(x), g(GRID)) for name, g in SEEN.items()} | {"log ρ": (law.log_prob(x), logs.clamp_min(-99))}
    for name, (values, on_grid) in seen.items():
        error = float(values.mean() - (density * on_grid).sum())
        assert abs(error) < 4 * float(values.std()) / N**0.5 + 1e-9, name


def test_squares_of_a_checkerboard_meet_in_corners_only():
    x = Checkerboard(N).load().X
    square = (x / 2).floor().long() + 2
    assert (square.sum(1) % 2 == 0).all()
    counts = torch.bincount(4 * square[:, 0] + square[:, 1], minlength=16)
    assert ((counts[counts > 0] / N - 1 / 8).abs() < 0.005).all()
    assert int((counts > 0).sum()) == 8


@pytest.mark.parametrize("source", [*KNOWN, Pinwheel, TwoSpirals], ids=named)
def test_parts_have_even_weight_and_labels(source):
    table = source(N).load()
    parts = source().parts
    assert len(table.y.unique()) == parts
    assert float((table.y.unique(return_counts=True)[1] / N - 1 / parts).abs().max()) < 0.01


def test_spirals_turn_into_one_another():
    table = TwoSpirals(N).load()
    one, other = (table.X[table.y == label] for label in table.y.unique())
    error = (one.var(0) / len(one) + other.var(0) / len(other)).sqrt()
    assert ((one.mean(0) + other.mean(0)).abs() < 4 * error).all()
    assert float(table.X.norm(dim=1).max()) < math.pi + 1.2


def test_scales_are_scales():
    assert torch.allclose(Pinwheel(50, scale=2.0).load().X, Pinwheel(50).load().X * 2 / 1.4)
    wide = Moons(50, scale=2.0, noise=0.1).load().X
    assert torch.allclose(wide / 2, Moons(50, scale=1.0, noise=0.1).load().X)
    with pytest.raises(InputError, match="scale must be"):
        Pinwheel(5, scale=0.0)
    with pytest.raises(InputError, match="noise must be"):
        Moons(5, noise=-1.0)


def test_what_has_no_density_says_so():
    for law in (Pinwheel().law, TwoSpirals().law):
        with pytest.raises(Unknown, match="is not known in closed form"):
            law()
    with pytest.raises(Unknown, match="it lies in a plane"):
        EightGaussians(dim=7).law()


def test_thin_moons_have_as_many_nodes_as_they_need():
    """Mean log-density of draws: −log 2π along the arcs, −½ log 2πeσ² across, but for their ends."""
    thin = Moons(20_000, scale=1.0, noise=0.001)
    known = -math.log(2 * math.pi) - 0.5 * math.log(2 * math.pi * math.e * 1e-6)
    assert float(thin.law().log_prob(thin.load().X[:2000]).mean()) == pytest.approx(known, abs=0.1)


def test_blades_of_a_pinwheel_are_turned_as_they_should_be():
    """E z = E[r e^{i e^r/4}] of the first blade, z = (x₁ + i x₂)/scale, r ~ N(1, 0.3²), by quadrature."""
    table = Pinwheel(N, scale=2.0).load()
    z = torch.view_as_complex(table.X[table.y == 0] / 2)
    t = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    r, weight = 1 + 0.3 * t, torch.softmax(-0.5 * t.square(), 0)
    known = (weight * r * torch.polar(torch.ones_like(r), 0.25 * r.exp())).sum()
    assert float((z.mean() - known).abs()) < 4 * float(z.std()) / len(z) ** 0.5
