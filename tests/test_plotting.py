"""Figures of runs: what they draw as exact is exact; and the two moments that tables compare."""

import math

import pytest
import torch
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from zoo import doubles, randn

from pdes import heat, mckean_vlasov, ornstein_uhlenbeck
from wgf import JKO, LBFGS, Affine, plotting
from wgf.flow import Path, evolve
from wgf.law import Gaussian, Mixture
from wgf.moments import compared, distances
from wgf.problem import Problem
from wgf.steppers import Langevin


def flowed(problem: Problem, particles: int = 300, steps: int = 3) -> Path:
    return evolve(problem.F, Langevin(particles, 4), problem.initial, [problem.horizon / steps] * steps, seed=0)


def drawn(problem: Problem) -> Figure:
    figure = plotting.figure_of_run(problem, flowed(problem))
    figure.canvas.draw()
    return figure


@pytest.mark.parametrize(("dim", "panels"), [(1, 2), (2, 2), (5, 3)])
@pytest.mark.parametrize("problem", [heat, mckean_vlasov, ornstein_uhlenbeck])
def test_every_axis_says_what_it_shows(problem, dim, panels):
    axes = drawn(problem(dim)).axes
    assert len(axes) == panels
    for axis in axes:
        assert axis.get_xlabel()
        assert axis.get_ylabel()
        assert axis.get_title()
        names = [name.partition(" ")[0].rstrip(",") for name in axis.get_legend_handles_labels()[1]]
        unseen = problem is heat and axis is axes[0]  # the entropy alone, which Langevin does not see
        assert unseen or {"wgf", "exact"} <= set(names)


def test_the_exact_energy_is_that_of_the_exact_law():
    problem = ornstein_uhlenbeck(3)
    potential = problem.F.terms[1][1].V
    for t in (0.0, 0.4, 0.9):
        law = problem.exact(t)
        entropy = -0.5 * (3 * math.log(2 * math.pi * math.e) + float(torch.logdet(law.covariance)))
        average = float(potential(law.mean[None])) + 0.5 * float(torch.trace(potential.matrix @ law.covariance))
        assert plotting._exact_energy(problem, t, ["Entropy", "Potential"]) == pytest.approx(
            entropy + average, rel=1e-9
        )
        assert plotting._exact_energy(problem, t, ["Potential"]) == pytest.approx(average, rel=1e-9)


def test_terms_that_the_stepper_cannot_see_are_named_on_the_axis():
    axis = drawn(ornstein_uhlenbeck(2)).axes[0]
    assert axis.get_ylabel() == "F(ρ) [nats] without Entropy"
    assert [text.get_text() for text in drawn(heat(2)).axes[0].texts] == ["not known to this stepper"]


def test_ellipses_lie_at_their_mahalanobis_radii():
    law = Gaussian(doubles(1, -2), doubles([2, 0.6], [0.6, 0.5]))
    axis = Figure().subplots()
    plotting.ellipses(axis, law, (1, 3), "-", "black", "exact")
    for line, radius in zip(axis.lines, (1, 3), strict=True):
        edge = torch.tensor(line.get_xydata())
        torch.testing.assert_close(law.whiten(edge).norm(dim=1), torch.full_like(edge[:, 0], radius))


def test_the_start_does_not_stretch_the_axis():
    axis = Figure().subplots()
    x = randn(0, 500, 2)
    plotting.particles(axis, x, None, Gaussian.standard(2, 100.0, dtype=torch.float64))
    assert axis.get_xlim()[1] < 10
    assert to_rgba(plotting.START) in [to_rgba(line.get_color()) for line in axis.lines]


def test_densities_that_are_not_gaussian_have_contours():
    law = Mixture([Gaussian(doubles(-2, 0), zoo_eye()), Gaussian(doubles(2, 0), zoo_eye())])
    axis = Figure().subplots()
    plotting.particles(axis, law.sample(400, torch.Generator().manual_seed(0)), law, Gaussian.standard(2))
    assert "exact" in axis.get_legend_handles_labels()[1]
    assert len(axis.collections) == 1


def zoo_eye() -> torch.Tensor:
    return torch.eye(2, dtype=torch.float64)


# Moments


def test_distances_of_a_cloud_with_known_moments():
    law = Gaussian(doubles(1, -2), doubles([2, 0.6], [0.6, 0.5]))
    white = Gaussian.fit(randn(1, 50, 2)).whiten(randn(1, 50, 2))
    x = law.mean + doubles(3, 4) + 2 * white @ torch.linalg.cholesky(law.covariance).T
    found = distances(x.float(), law)
    assert found.mean == pytest.approx(5, rel=1e-5)
    assert found.covariance == pytest.approx(3, rel=1e-5)


def test_floors_are_what_exact_samples_show():
    law, n = Gaussian(doubles(1, -2, 0), torch.diag(doubles(2, 0.6, 0.5))), 40
    seen = [distances(law.sample(n, torch.Generator().manual_seed(k)), law) for k in range(4000)]
    for name in ("mean", "covariance"):
        square = sum(getattr(one, name) ** 2 for one in seen) / len(seen)
        assert square**0.5 == pytest.approx(getattr(seen[0], f"{name}_floor"), rel=0.04)


def test_observables_are_told_beside_the_distances():
    problem, x = heat(2), randn(0, 100, 2)
    told = compared(problem, 0.5, x)
    assert told["observed.mean_norm"] == float(x.mean(0).norm())
    assert told["mean_error"] == distances(x, problem.exact(0.5)).mean
    unknown = Problem(problem.functional, problem.initial, 1.0)
    assert compared(unknown, 0.5, x) == {}


def test_figures_are_drawn_on_the_way_and_at_the_end(tmp_path):
    problem = heat()
    stepper = JKO(Affine(2), LBFGS(5), particles=40, held=0)
    observer = plotting.Figures(problem, tmp_path / "figures", every=2)
    evolve(problem.F, stepper, problem.initial, [0.1] * 3, observers=[observer])
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == ["step-0002.png", "step-0003.png"]
