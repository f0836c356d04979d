"""The potential flow around the optimal motion between two Gaussians, and what the study measures of motions."""

import math

import pytest
import torch
import zoo

from validation.straight import Spreading
from validation.studies._about_gaussian import FLOOR, AboutGaussian
from validation.studies._motions import motion
from validation.studies._w1w2_images import CASES, Size, Terminal, _trained
from wgf import Gaussian, OTFlow
from wgf.errors import InputError
from wgf.functionals.base import Variation
from wgf.maps import Euler
from wgf.optimality import RESIDUAL, optimality
from wgf.steppers.base import Live
from wgf.training import Progress

DATA = zoo.randn(3, 60, 3) @ zoo.doubles([1.5, 0, 0], [0.4, 0.8, 0], [0.1, -0.1, 0.2]) + zoo.doubles(1, -2, 0.5)
SPREAD = 0.6


def about(rank: int = 3, start: float = 0.0, steps: int = 5, data: torch.Tensor = DATA) -> AboutGaussian:
    network = OTFlow(3, 8, horizon=2.0, steps=steps, scheme=Euler())
    map = AboutGaussian(network, data, SPREAD, rank, start).double()
    map.reset(torch.Generator().manual_seed(1))
    return map.requires_grad_(False)


def still(map: AboutGaussian) -> AboutGaussian:
    """Without the network's quadratic part, of order 10⁻⁴, too."""
    map.network.quadratic.zero_()
    return map


@pytest.mark.parametrize("steps", [1, 5])
def test_without_the_network_it_is_the_optimal_map_between_the_gaussians(steps):
    """x ↦ c + Mx, M symmetric, σ²M² the data's covariance, along straight paths that solve Hamilton–Jacobi."""
    map, x = still(about(steps=steps)), SPREAD * zoo.randn(0, 200, 3)
    y, J = map.jacobian(x)
    torch.testing.assert_close(J[0], J[0].T, rtol=0, atol=1e-12)
    torch.testing.assert_close(SPREAD**2 * J[0] @ J[0], torch.cov(DATA.T), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(y, DATA.mean(0) + x @ J[0], rtol=1e-10, atol=1e-10)
    seen = optimality(Live(map, x, 1.0))
    assert seen[RESIDUAL] < 1e-12
    assert seen["straightness"] == pytest.approx(1, abs=1e-12)


def test_the_other_directions_share_what_variance_is_left():
    map = still(about(rank=1))
    scales = torch.linalg.eigvalsh(torch.cov(DATA.T)).flip(0)
    _, J = map.jacobian(zoo.randn(0, 1, 3))
    expected = torch.stack([scales[0], scales[1:].mean(), scales[1:].mean()])
    torch.testing.assert_close(torch.linalg.eigvalsh(SPREAD**2 * J[0] @ J[0]).flip(0), expected, rtol=1e-8, atol=0)


def test_where_data_have_no_variance_noise_is_compressed_to_the_floor():
    flat = torch.cat([DATA[:, :2], torch.zeros(60, 1, dtype=torch.float64)], 1)
    map, x = still(about(data=flat)), zoo.randn(0, 20, 3)
    torch.testing.assert_close(map(x)[:, 2], FLOOR * x[:, 2], rtol=1e-9, atol=1e-12)
    assert bool(map.gradient(map.end, map(x)).isfinite().all())


@pytest.mark.parametrize("t", [0.0, 0.7, 1.9])
def test_its_slopes_are_those_of_one_potential(t):
    """∂_t∇Φ = ∇∂_tΦ, and the Hessian is symmetric, with the network."""
    map, x, e = about(rank=2, start=0.3), zoo.randn(0, 6, 3), 1e-5
    in_time = (map.gradient(t + e, x) - map.gradient(t - e, x))[:, :3] / (2 * e)
    place = x.clone().requires_grad_()
    (in_space,) = torch.autograd.grad(map.gradient(t, place)[:, 3].sum(), place)
    torch.testing.assert_close(in_time, in_space, rtol=1e-6, atol=1e-8)
    hessian = torch.stack([torch.autograd.grad(map.velocity(t, place)[:, k].sum(), place)[0] for k in range(3)], 1)
    torch.testing.assert_close(hessian, hessian.mT, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(map.divergences([t], [x])[0], hessian.diagonal(dim1=1, dim2=2).sum(1), rtol=1e-9, atol=0)
    tangents = zoo.randn(5, 4, 6, 3)
    along = torch.einsum("nab,knb->kna", hessian, tangents)
    torch.testing.assert_close(map.velocity_tangents(t, x, tangents)[1], along, rtol=1e-9, atol=1e-10)


def test_a_part_of_the_motion_is_that_part():
    map, x = about(start=0.3, steps=4), zoo.randn(0, 6, 3)
    first, second = map.split(2)
    torch.testing.assert_close(second(first(x)), map(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("changed", "message"),
    [((0.0, 1, 0.0), "spread"), ((1.0, 0, 0.0), "rank"), ((1.0, 1, -1.0), "start")],
)
def test_bad_input_is_refused(changed, message):
    with pytest.raises(InputError, match=message):
        AboutGaussian(OTFlow(3), DATA, *changed)


class Shrinking(Spreading):
    """ẋ = −ax: paths are straight, their speed is not constant."""

    def gradient(self, t, x):
        return torch.cat([1.5 * x, torch.zeros_like(x[:, :1])], 1)


def test_what_finer_steps_change():
    noise = Gaussian.standard(2, dtype=torch.float64)
    exact = motion(Spreading(2), noise, 50)
    assert exact.displaced < 1e-12
    assert exact.paths.shape == (6, 50, 2)
    coarse, fine = (1 - 1.5 / 5) ** 5, (1 - 1.5 / 320) ** 320
    assert motion(Shrinking(2), noise, 50).displaced == pytest.approx((fine - coarse) / (1 - coarse), rel=1e-10)


def test_a_terminal_cost_is_the_dual_at_the_critic():
    """Of u = ⟨k, x⟩ at N(0, I) moved by a factor of 3: on rows, 3⟨k, mean⟩ − log mean e^{⟨k, z⟩}."""
    x, z, k = zoo.randn(0, 30, 2), zoo.randn(1, 40, 2), zoo.doubles(0.5, -1.0)
    terminal = Terminal(z)
    live = Live(Spreading(2), x, 1.0, lambda y: Variation(lambda rows: rows @ k))
    assert terminal.inside(Progress(7, 20, 0.0, 0.0, live)) is False
    expected = 3 * float((x @ k).mean()) - math.log(float((z @ k).exp().mean()))
    assert terminal.values == pytest.approx([expected], rel=1e-12)
    assert terminal.energies == pytest.approx([0.5 * float(x.square().sum(1).mean()) / 0.25], rel=1e-12)
    assert terminal.iterations == [7]


def test_the_largest_value_is_that_of_all_readings():
    assert Terminal(DATA, values=[3.0, -50.0, -4.0, 2.0]).largest == 50.0


@pytest.mark.parametrize("name", CASES)
def test_cases_start_from_the_same_weights_and_differ_in_what_they_say(name):
    one = _trained(name, zoo.randn(0, 80, 16).float(), Size(8, 8, 2, 16, 600), 20)
    assert len(one.terminal.values) == 20
    assert one.motion.paths.shape == (6, 500, 16)
    assert one.term == ("Lipschitz(DonskerVaradhan, 1)" if "W₁" in name else "DonskerVaradhan")
    assert one.tau == (100.0 if "W₂" in name else math.inf)
