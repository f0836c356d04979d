"""Porous medium: Barenblatt's profiles solve the equation of their own functional, and mollified particles follow."""

import math

import numpy as np
import pytest
import torch
from scipy.special import gamma
from torch import Tensor

from pdes import barenblatt
from wgf import autodiff
from wgf.errors import InputError
from wgf.flow import evolve
from wgf.functionals.base import first_variation
from wgf.law import Cloud
from wgf.maps.integrate import Heun
from wgf.problem import Problem
from wgf.radii import radial_errors
from wgf.steppers import Particles

CASES = pytest.mark.parametrize(("dim", "m"), [(1, 2.0), (2, 2.0), (1, 3.0), (3, 1.5), (6, 2.5)])


def growth(problem: Problem, t: float, h: float = 1e-5) -> float:
    """Ṙ/R, by a central difference."""
    return math.log(problem.exact(t + h).radius / problem.exact(t - h).radius) / (2 * h)


def inside(problem: Problem, t: float, n: int = 50) -> Tensor:
    """Points well inside the support, where the profile is smooth."""
    law = problem.exact(t)
    x = law.sample(n, torch.Generator().manual_seed(0))
    return x * (0.9 * law.radius / x.norm(dim=1, keepdim=True)).clamp_max(1)


@CASES
def test_the_profile_is_barenblatts_closed_form(dim, m):
    problem, t = barenblatt(dim, m, start=0.2), 0.3
    s, p = 0.2 + t, 1 / (m - 1)
    alpha = dim / (dim * (m - 1) + 2)
    beta = (m - 1) * alpha / (2 * m * dim)
    C = (beta ** (dim / 2) * gamma(p + 1 + dim / 2) / (math.pi ** (dim / 2) * gamma(p + 1))) ** (1 / (p + dim / 2))
    x = inside(problem, t)
    expected = s**-alpha * (C - beta * x.square().sum(1) * s ** (-2 * alpha / dim)) ** p
    torch.testing.assert_close(problem.exact(t).log_prob(x).exp(), expected, rtol=1e-11, atol=0)


@CASES
def test_the_profile_solves_the_porous_medium_equation(dim, m):
    problem, t, h = barenblatt(dim, m), 0.2, 1e-5
    x, law = inside(problem, t), problem.exact(t)
    rate = (problem.exact(t + h).log_prob(x).exp() - problem.exact(t - h).log_prob(x).exp()) / (2 * h)
    laplacian = torch.zeros_like(rate)
    for i in range(dim):
        e = torch.zeros(dim, dtype=torch.float64)
        e[i] = 1e-4 * law.radius
        around = [law.log_prob(x + k * e).mul(m).exp() for k in (-1, 0, 1)]
        laplacian += (around[0] - 2 * around[1] + around[2]) / e[i] ** 2
    torch.testing.assert_close(rate, laplacian, rtol=1e-5, atol=1e-5 * float(rate.abs().max()))


@CASES
def test_particles_of_the_profile_move_by_a_dilation(dim, m):
    problem, t = barenblatt(dim, m), 0.2
    x, law = inside(problem, t), problem.exact(t)
    slope = autodiff.gradient(lambda y: m / (m - 1) * law.log_prob(y).mul(m - 1).exp(), x)
    torch.testing.assert_close(-slope, growth(problem, t) * x, rtol=1e-6, atol=1e-9)


@CASES
def test_the_exact_energy_falls_by_what_the_flow_dissipates(dim, m):
    problem, t, h = barenblatt(dim, m), 0.2, 1e-5
    law = problem.exact(t)
    moment = (law.radius / law.spread) ** 2  # E|x|²
    slope = (problem.exact_energy(t + h) - problem.exact_energy(t - h)) / (2 * h)
    assert slope == pytest.approx(-(growth(problem, t) ** 2) * moment, rel=1e-6)
    assert 2 * growth(problem, t) * moment == pytest.approx(2 * dim * (m - 1) * problem.exact_energy(t), rel=1e-6)


def test_the_exact_energy_is_that_of_exact_samples():
    for dim, m in ((1, 2.0), (2, 3.0)):
        problem, n = barenblatt(dim, m), 20_000
        rows = ((m - 1) * problem.initial.log_prob(problem.initial.sample(n, torch.Generator().manual_seed(0)))).exp()
        energy = float(rows.mean()) / (m - 1)
        assert energy == pytest.approx(problem.exact_energy(0.0), abs=4 * float(rows.std()) / (m - 1) / n**0.5)


@pytest.mark.parametrize("m", [2.0, 3.0])
def test_the_mollified_field_tends_to_the_exact_one_with_the_square_of_the_width(m):
    errors = []
    for epsilon in (0.1, 0.05):
        problem = barenblatt(1, m, epsilon=epsilon)
        law, n = problem.initial, 2000
        k = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        grid = torch.linspace(-1, 1, 40_001, dtype=torch.float64) * law.radius
        share = 0.5 + 0.5 * torch.sign(grid) * law.radial_cdf(grid.abs())
        y = torch.from_numpy(np.interp(k.numpy(), share.numpy(), grid.numpy()))[:, None]  # quantiles
        x = torch.linspace(-0.3, 0.3, 21, dtype=torch.float64)[:, None]
        field = -first_variation(problem.F, Cloud(y)).gradient(x)
        errors.append(float((field - growth_at_start(problem) * x).abs().max()))
    if m == 2:  # of a parabola the mollified slope is exact, away from the edge
        assert max(errors) < 2e-4
    else:
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def growth_at_start(problem: Problem) -> float:
    return math.log(problem.exact(1e-5).radius / problem.exact(0.0).radius) / 1e-5


@pytest.mark.parametrize(("dim", "m", "n", "substeps"), [(1, 2.0, 1500, 4), (2, 2.0, 1500, 4), (1, 3.0, 800, 4)])
def test_particles_follow_the_exact_law(dim, m, n, substeps):
    problem = barenblatt(dim, m, epsilon=0.1, horizon=0.3)
    path = evolve(problem.F, Particles(n, Heun(), substeps), problem.initial, [0.05] * 6, seed=0)
    found = radial_errors(path.state.x, problem.exact(0.3))
    assert abs(found.radius) < 0.015
    assert found.distance < 0.03
    assert all(after < before for before, after in zip(path.energy, path.energy[1:], strict=False))
    start = evolve(problem.F, Particles(n), problem.initial, [], seed=0).state.x
    torch.testing.assert_close(path.state.x.mean(0), start.mean(0), rtol=0, atol=1e-5)


BAD = {
    "dim must be": lambda: barenblatt(dim=0),
    "exponent must be above 1": lambda: barenblatt(exponent=1.0),
    "exponent must be a finite number": lambda: barenblatt(exponent=math.nan),
    "epsilon must be|bandwidth": lambda: barenblatt(epsilon=0.0),
    "start must be": lambda: barenblatt(start=0.0),
    "horizon must be": lambda: barenblatt(horizon=-1.0),
    "a time must be": lambda: barenblatt().exact(-0.1),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused_by_name(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()
