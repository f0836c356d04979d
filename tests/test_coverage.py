"""What the study of modes measures: shares, radii and MMD² of exact samples, and of samples that are wrong."""

from dataclasses import replace

import pytest
import torch
from scipy.stats import rice

from validation.studies import _toy_flows as flows
from validation.studies import _toys as toys
from validation.studies.modes import NOISE, RADII, RING_NOISE, centres
from wgf.data import grid_of_gaussians, two_circles

N = 50_000


def drawn(law, n: int = N) -> torch.Tensor:
    return law.sample(n, torch.Generator().manual_seed(0))


def test_exact_samples_cover_every_mode():
    found = toys.coverage(drawn(grid_of_gaussians()), centres(), NOISE)
    assert found.covered == 25
    assert found.within == pytest.approx(1 - torch.exp(torch.tensor(-4.5)).item(), abs=3e-3)
    torch.testing.assert_close(found.nearest.sum(), torch.tensor(1.0))


def test_a_mode_counts_only_with_its_share_and_within_three_deviations():
    x = centres().repeat(40, 1)
    assert toys.coverage(x, centres(), NOISE).covered == 25
    assert toys.coverage(x + torch.tensor([0.0151, 0.0]), centres(), NOISE).covered == 0
    few = torch.cat([x[: 25 * 39], centres()[1:]])  # the first mode keeps 39/999
    assert toys.coverage(few, centres(), NOISE).covered == 25
    uneven = torch.cat([x, centres()[:1].repeat(60, 1)])  # 100/1060 in the first, 40/1060 in others
    found = toys.coverage(uneven, centres(), NOISE)
    assert found.covered == 24
    assert float(found.close[0]) == pytest.approx(100 / 1060)


def test_the_radial_law_is_that_of_both_circles():
    assert toys.radial_distance(drawn(two_circles()), RADII, RING_NOISE) < 1.7 / N**0.5
    off = drawn(two_circles(4.0, 8.0, 0.3))
    grid = torch.linspace(3, 9, 2000).double()
    exact = max(
        abs(0.5 * sum(rice.cdf(r, R / 0.3, scale=0.3) - rice.cdf(r, R / 0.2, scale=0.2) for R in RADII))
        for r in grid.tolist()
    )
    assert toys.radial_distance(off, RADII, RING_NOISE) == pytest.approx(exact, abs=2 / N**0.5)


def test_mmd2_is_zero_within_its_error_for_the_law_itself_and_sees_every_scale():
    target = grid_of_gaussians()
    same, wide, shifted = toys.discrepancies(
        [target, grid_of_gaussians(noise=0.05), grid_of_gaussians(spacing=2.0)], target, 0, rows=400
    )
    assert abs(same.value) < 4 * same.error
    assert wide.value > 10 * wide.error
    assert shifted.value > 10 * shifted.error


def test_rates_shrink_from_step_to_step_and_one_step_has_all_iterations():
    phases = (flows.SPREAD, replace(flows.SHARPEN, steps=3))
    games = [game for phase in phases for game in phase]
    assert [game.rate for game in games] == pytest.approx([3e-3] * 4 + [1e-2, 7.74e-3, 5.990760e-3])
    total = sum(game.iterations for game in games)
    for other in (flows.one_step(phases), flows.published(phases)):
        assert sum(game.iterations for game in other) == total


def test_a_run_flows_through_its_phases_by_one_map():
    short = flows.Phase(1.0, 2, 3, 1e-3, 1.0, 1e-3, 1.0, 0.5, batch=32)
    found = flows.run("short", grid_of_gaussians(3), (short, replace(short, tau=0.5)), 0)
    assert found.path.times == [0.0, 1.0, 2.0, 2.5, 3.0]
    x = found.sample(rows=50)
    assert x.shape == (50, 2)
    assert x.isfinite().all()
