"""Gradients of input-convex networks: convex whatever the weights, their own potential's gradient, optimal maps."""

import pytest
import torch
import zoo

from validation.gaussian import bures_squared
from wgf import autodiff, evolve
from wgf.errors import InputError
from wgf.law import Gaussian
from wgf.maps import ICNN
from wgf.steppers import JKO
from wgf.training import Adam

every_shape = pytest.mark.parametrize(("dim", "width", "depth"), [(1, 6, 1), (3, 8, 2), (2, 5, 4)])


def shaken(dim: int, width: int, depth: int, seed: int = 0) -> ICNN:
    map, generator = ICNN(dim, width, depth).double(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in map.parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=zoo.DOUBLE))
    return map


@every_shape
def test_the_map_is_the_gradient_of_its_potential_and_the_jacobian_its_hessian(dim, width, depth):
    map, x = shaken(dim, width, depth), 2 * zoo.randn(1, 50, dim)
    torch.testing.assert_close(autodiff.gradient(map.potential, x), map.move(x), rtol=1e-10, atol=1e-10)
    y, H = map.jacobian(x)
    torch.testing.assert_close(y, map.move(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(autodiff.jacobian(map.move, x)[1], H, rtol=1e-9, atol=1e-10)


@every_shape
def test_it_is_strictly_convex_whatever_the_weights(dim, width, depth):
    for seed in range(5):
        map = shaken(dim, width, depth, seed)
        _, H = map.jacobian(20 * zoo.randn(seed, 200, dim))
        torch.testing.assert_close(H, H.mT, rtol=1e-12, atol=1e-12)
        least = torch.linalg.eigvalsh(H).min() / map.log_scale.exp()
        assert float(least.detach()) >= 1 - 1e-10


def test_every_point_has_one_preimage():
    map = shaken(3, 8, 2)
    y = 30 * zoo.randn(0, 100, 3)
    x, logdet = map.inverse(y, logdet=True)
    torch.testing.assert_close(map.move(x), y, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(logdet, -map.transport(x, logdet=True).logdet)


def test_a_jko_step_by_it_is_an_optimal_map():
    """E|T(x) − x|² is W₂² between the law before and after, here nearly Gaussian, because T is a gradient."""
    stepper = JKO(ICNN(2, 16), Adam(300, 1024, 1e-2), particles=6000, held=1000)
    path = evolve(zoo.free(), stepper, Gaussian.standard(2), [0.2], seed=0)
    x = zoo.randn(0, 20_000, 2).float()
    y = path.infos[0].map(x)
    w2 = bures_squared(Gaussian.fit(x.double()), Gaussian.fit(y.double()))
    assert float((y - x).square().sum(1).mean()) == pytest.approx(float(w2), rel=0.01)
    assert float(w2) > 0.05
    assert path.infos[0].certificate.holds


def test_bad_sizes_are_refused():
    for build, message in (
        (lambda: ICNN(0), "dim must be an integer of at least 1"),
        (lambda: ICNN(2, width=0), "the width of a network must be an integer of at least 1"),
        (lambda: ICNN(2, depth=0), "the depth of a network must be an integer of at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            build()
