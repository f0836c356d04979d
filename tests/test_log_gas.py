"""The log gas: its exact solutions move with the field of their own kernel, and particles obey the laws of moments."""

import math

import pytest
import torch
from torch import Tensor

from pdes import log_gas
from wgf import plotting
from wgf.errors import InputError
from wgf.flow import evolve
from wgf.functionals import Interaction
from wgf.functionals.base import first_variation, functional
from wgf.kernels import Log, Power, kernel_sum_gradient
from wgf.kernels.smoothed import Smoothed
from wgf.law import Cloud
from wgf.maps.integrate import RK4
from wgf.moments import compared
from wgf.problem import Problem
from wgf.radii import radial_errors
from wgf.steppers import Particles

DIMS = pytest.mark.parametrize("dim", [1, 2])


def velocity(problem: Problem, x: Tensor) -> Tensor:
    return -first_variation(problem.F, Cloud(x)).gradient(x)


def growth(problem: Problem, t: float, h: float = 1e-5) -> float:
    """Ṙ/R of the exact solution, by a central difference."""
    return math.log(problem.exact(t + h).radius / problem.exact(t - h).radius) / (2 * h)


@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_the_semicircle_moves_with_its_own_field(radius):
    problem, t, n = log_gas(1, radius), 0.3, 80
    R = problem.exact(t).radius
    y, w = semicircle(n)  # exact for principal values at the x below
    x = R * torch.cos(math.pi * (torch.arange(n + 1, dtype=torch.float64) + 0.5) / (n + 1))
    field = kernel_sum_gradient(Log(), x[:, None], R * y, w)[:, 0] - x
    torch.testing.assert_close(field, growth(problem, t) * x, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_the_disk_moves_with_its_own_field(radius):
    problem, t = log_gas(2, radius), 0.3
    R = problem.exact(t).radius
    y = R * rings(100, 2000)[0]
    x = R * torch.tensor([[0.2**0.5, 0.0], [0.0, -(0.5**0.5)], [0.9**0.5, 0.0]], dtype=torch.float64)  # between rings
    field = kernel_sum_gradient(Log(), x, y) - x
    torch.testing.assert_close(field, growth(problem, t) * x, rtol=1e-5, atol=1e-8)


@DIMS
def test_the_exact_energy_falls_by_what_the_flow_dissipates(dim):
    problem, t, h = log_gas(dim), 0.4, 1e-5
    law = problem.exact(t)
    speed = (growth(problem, t) * law.radius / law.spread) ** 2  # E|v|², v = (Ṙ/R) x
    slope = (problem.exact_energy(t + h) - problem.exact_energy(t - h)) / (2 * h)
    assert slope == pytest.approx(-speed, rel=1e-6)


@DIMS
def test_the_exact_energy_is_that_of_exact_samples(dim):
    problem, n = log_gas(dim, 2.0), 3000
    x = problem.initial.sample(n, torch.Generator().manual_seed(0))
    terms = [term.energy(Cloud(x)) for _, term in functional(Interaction(Power(2)) + Interaction(-Log())).terms]
    rows = sum(terms)
    assert float(rows.mean()) == pytest.approx(problem.exact_energy(0.0), abs=4 * 2 * float(rows.std()) / n**0.5)


@DIMS
def test_the_steady_state_stays(dim):
    problem = log_gas(dim, (2 / dim) ** 0.5)
    assert problem.exact(3.0).radius == pytest.approx((2 / dim) ** 0.5, rel=1e-14)
    assert log_gas(dim, 0.3).exact(20.0).radius == pytest.approx((2 / dim) ** 0.5, rel=1e-12)


@DIMS
@pytest.mark.parametrize("singular", [True, False])
def test_the_second_moment_obeys_its_own_equation_and_the_mean_is_kept(dim, singular):
    n, epsilon = 300, 0.1
    problem = log_gas(dim, epsilon=epsilon)
    x = torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 3  # any shape
    apart = torch.pdist(x)
    if singular:
        F, repulsion = Interaction(Power(2)) + Interaction(-Log()), 1 - 1 / n
    else:  # z·∇(ln ∗ N(0, ε²)): in the plane 1 − e^{−|z|²/2ε²}, on the line 2u D(u) with Dawson's D, u = |z|/√2ε
        u = apart / (2**0.5 * epsilon)
        pull = 1 - torch.exp(-u.square()) if dim == 2 else 2 * u * dawson(u)
        F, repulsion = problem.F, 2 * float(pull.sum()) / n**2
    v = -first_variation(functional(F), Cloud(x)).gradient(x)
    centred = x - x.mean(0)
    rate, M = 2 * float((centred * v).sum(1).mean()), float(centred.square().sum(1).mean())
    assert rate == pytest.approx(repulsion - 2 * M, rel=1e-5)
    assert float(v.mean(0).abs().max()) < 1e-6


def dawson(u: Tensor) -> Tensor:
    from scipy.special import dawsn

    return torch.from_numpy(dawsn(u.numpy()))


@DIMS
def test_the_width_costs_the_repulsion_what_is_said(dim):
    epsilon, problem = 0.03, log_gas(dim, 1.0)
    y, w = semicircle(400) if dim == 1 else rings(200, 400)
    x, v = (y, w) if dim == 1 else (y[::400], torch.full((200,), 1 / 200, dtype=torch.float64))
    push = kernel_sum_gradient(Smoothed(Log(), epsilon), x, y, w)
    lost = 1 - 2 * float(v @ (push * x).sum(1))
    assert lost == pytest.approx(2 * epsilon**2, rel=0.05)  # R = 1
    assert problem.initial.radius == 1


def semicircle(n: int) -> tuple[Tensor, Tensor]:
    """Gauss's points and weights for the semicircle of radius one."""
    angle = math.pi * torch.arange(1, n + 1, dtype=torch.float64) / (n + 1)
    return angle.cos()[:, None], 2 / (n + 1) * angle.sin().square()


def rings(n: int, points: int) -> tuple[Tensor, Tensor]:
    """n rings of equal mass in the unit disk."""
    angle = 2 * math.pi * torch.arange(points, dtype=torch.float64) / points
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    y = torch.cat([((k + 0.5) / n) ** 0.5 * circle for k in range(n)])
    return y, torch.full((n * points,), 1 / (n * points), dtype=torch.float64)


@DIMS
def test_particles_follow_the_exact_law(dim):
    problem = log_gas(dim, epsilon=0.05, horizon=1.2)
    path = evolve(problem.F, Particles(400, RK4(), 5), problem.initial, [0.2] * 6, seed=0)
    law, x = problem.exact(1.2), path.state.x
    found = radial_errors(x, law)
    assert abs(found.radius) < 0.01
    assert found.distance < (0.08 if dim == 2 else 0.03)  # in the plane 1.3 ε/R of the mass lies within the edge
    assert all(after < before for before, after in zip(path.energy, path.energy[1:], strict=False))
    start = evolve(problem.F, Particles(400), problem.initial, [], seed=0).state.x
    torch.testing.assert_close(x.mean(0), start.mean(0), rtol=0, atol=1e-6)


@DIMS
def test_the_figure_and_the_metrics_hold_particles_beside_the_exact_law(dim):
    problem = log_gas(dim, epsilon=0.05, horizon=0.2)
    path = evolve(problem.F, Particles(200, RK4()), problem.initial, [0.1] * 2, seed=0)
    figure = plotting.figure_of_run(problem, path)
    figure.canvas.draw()
    energy, cloud, shares = figure.axes
    for axis in figure.axes:
        assert {"wgf", "exact"} <= {name.partition(",")[0].split()[0] for name in axis.get_legend_handles_labels()[1]}
    exact = {line.get_label(): line.get_xydata() for line in shares.lines}["exact"]
    law = problem.exact(path.times[-1])
    assert exact[-1, 1] == 1
    torch.testing.assert_close(torch.tensor(exact[:, 1]), law.radial_cdf(torch.tensor(exact[:, 0])))
    curve = {line.get_label(): line.get_xydata() for line in energy.lines}["exact"]
    assert curve[-1].tolist() == pytest.approx([0.2, problem.exact_energy(0.2)])
    if dim == 2:
        edge = {line.get_label(): line.get_xydata() for line in cloud.lines}["exact edge"]
        assert abs((edge**2).sum(1) ** 0.5 - law.radius).max() < 1e-12
    row, errors = compared(problem, path.times[-1], path.state.x), radial_errors(path.state.x, law)
    assert row["radius_error"] == errors.radius == pytest.approx(row["observed.moment_radius"] / law.radius - 1)
    assert row["edge_error"] == errors.edge == pytest.approx(row["observed.largest_radius"] / law.radius - 1)
    assert row["radial_distance"] == errors.distance


BAD = {
    "dim must be 1 or 2": lambda: log_gas(3),
    "radius must be": lambda: log_gas(radius=0.0),
    "epsilon must be": lambda: log_gas(epsilon=-0.1),
    "horizon must be": lambda: log_gas(horizon=math.inf),
    "a time must be": lambda: log_gas().exact(-1.0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused_by_name(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()
