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
    phase = replace(flows.FINE, steps=3)
    assert [game.rate for game in phase] == pytest.approx([4e-3, 3.44e-3, 2.9584e-3])
    turns = flows.annealed(NOISE, 4.0)
    total = flows.iterations(turns)
    for other in (flows.one_step(turns), flows.published(turns)):
        assert flows.iterations(other) == total


def test_the_blur_falls_to_nothing_and_steps_shrink_with_what_is_seen():
    turns = flows.annealed(NOISE, 4.0)
    blurs = [turn.blur for turn in turns]
    assert blurs == sorted(blurs, reverse=True)
    assert blurs[-1] == 0
    assert turns[0].tau == pytest.approx(10 * (1.5**2 + NOISE**2))
    assert turns[-1].tau == pytest.approx(10 * NOISE**2)
    fresh = [turn for turn in turns if turn.fresh]
    assert [turn.blur for turn in fresh] == list(flows.FINE_BLURS)
    assert fresh[0].critic.high == pytest.approx(4.0 / (0.12**2 + NOISE**2) ** 0.5)


def test_a_run_flows_through_its_steps_by_one_map():
    short = flows.Phase(1.0, 2, 3, 1e-3, 1.0, 1e-3, 1.0, 0.5, batch=32)
    turns = [*short.turns(), *(replace(turn, blur=0.3) for turn in replace(short, tau=0.5).turns())]
    found = flows.run("short", grid_of_gaussians(3), turns, 0)
    assert found.path.times == [0.0, 1.0, 2.0, 2.5, 3.0]
    x = found.sample(rows=50)
    assert x.shape == (50, 2)
    assert x.isfinite().all()


def test_a_fresh_turn_starts_with_another_critic():
    """With no training of the critic, the memory holds the weights that the last step started with."""
    still = flows.Phase(1.0, 1, 1, 1e-3, 1.0, 1e-30, 1.0, 0.5, batch=32).turns()[0]
    ends = [
        flows.run("short", grid_of_gaussians(3), [still, replace(still, fresh=fresh)], 0).path.state.memory["critics"]
        for fresh in (False, True)
    ]
    first = flows.run("short", grid_of_gaussians(3), [still], 0).path.state.memory["critics"]
    assert torch.equal(ends[0]["0.frequencies"], first["0.frequencies"])
    assert not torch.equal(ends[1]["0.frequencies"], first["0.frequencies"])


def test_blurred_turns_see_blurred_data():
    """The frame of a critic is that of particles and data: N(0, I), nine sharp modes, and noise of deviation 100."""
    still = flows.Phase(1.0, 1, 1, 1e-3, 1.0, 1e-30, 1.0, 0.5, batch=32).turns()[0]
    found = flows.run("short", grid_of_gaussians(3), [replace(still, blur=100.0)], 0)
    scale = found.path.state.memory["critics"]["0.scale"]
    torch.testing.assert_close(scale, torch.full((2,), 100 / 2**0.5), rtol=0.02, atol=0)
