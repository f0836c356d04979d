"""The U-Net: images as the critic lays them out, sizes it refuses, and digits as the map of a saddle step."""

import pytest
import torch
import zoo

from wgf import evolve
from wgf.critics import ImageCritic
from wgf.errors import InputError, SpecError
from wgf.functionals import MMD2, FDivergence, KullbackLeibler, Lipschitz
from wgf.kernels import Energy
from wgf.law import Cloud, Empirical, Gaussian
from wgf.maps import UNet
from wgf.spec import build
from wgf.steppers import Base, Previous, SaddleJKO
from wgf.training import Alternate


def test_rows_are_images_by_channel_row_and_column():
    """A pixel moves its neighbours in both directions and in all channels, and none that are out of reach."""
    map = UNet(2, 4, 32, features=2, levels=1).double()
    with torch.no_grad():
        map.last.weight.fill_(0.1)
    x = zoo.randn(0, 1, map.dim)
    reach = map.jacobian(x)[1][0].unflatten(0, map.shape).unflatten(-1, map.shape)[..., 0, 1, 2].abs() > 0
    assert reach[:, :3, :5].all()
    assert not reach[:, :, 16:].any()


@pytest.mark.parametrize(("height", "width", "levels"), [(6, 10, 1), (28, 28, 2), (8, 8, 3)])
def test_any_size_that_the_levels_divide_will_do(height, width, levels):
    map = UNet(1, height, width, features=1, levels=levels)
    x = zoo.randn(0, 3, height * width, dtype=torch.float32)
    assert torch.equal(map(x), x)
    assert map.transport(x).cost.eq(0).all()


def test_other_sizes_are_refused():
    with pytest.raises(
        InputError, match="of 2 levels needs images whose height and width are multiples of 4, got 7 × 8"
    ):
        UNet(1, 7, 8)
    with pytest.raises(InputError, match="features must be an integer of at least 1, got 0"):
        UNet(1, 8, 8, features=0)
    with pytest.raises(InputError, match="levels must be an integer of at least 1, got 0"):
        UNet(1, 8, 8, levels=0)


def test_a_spec_can_name_it():
    sizes = {"type": "u-net", "channels": 1, "height": 2, "width": 2, "levels": 1}
    made = build({"problem": {"type": "pdes.heat:heat", "dim": 4}, "stepper": {"type": "jko", "map": sizes}})
    assert isinstance(made.stepper.map, UNet)
    assert made.spec["stepper"]["map"] == {**sizes, "features": 16}
    with pytest.raises(SpecError, match=r"stepper.map.height is missing"):
        build(
            {"problem": {"type": "pdes.heat:heat"}, "stepper": {"type": "jko", "map": {"type": "u-net", "channels": 1}}}
        )


def game(iterations: int = 15) -> Alternate:
    return Alternate(iterations, 3, 20, 64, rate=5e-3, critic_rate=5e-3, averaging=0.9)


def steps(anchor, **kwargs) -> SaddleJKO:
    critic = ImageCritic(1, 8, 8, features=4, blocks=2)
    return SaddleJKO(UNet(1, 8, 8, features=4), critic, anchor, particles=600, held=100, **kwargs)


def test_noise_becomes_digits_step_by_step():
    """On 8 × 8 digits: the critic's value falls, and so does a distance that no critic has a part in."""
    sklearn = pytest.importorskip("sklearn.datasets")
    data = torch.from_numpy(sklearn.load_digits().data).float() / 8 - 1
    F, distance = Lipschitz(FDivergence(KullbackLeibler(), Empirical(data)), 0.3), MMD2(Energy(), data)
    path = evolve(F, steps(Previous(), training=game(), densities=False), Gaussian.standard(64), [8.0] * 3, seed=0)
    assert path.infos[2].total < 0.85 * path.infos[0].total
    x = path.laws[0].sample(600, torch.Generator().manual_seed(0))
    before, after = (float(distance.energy(Cloud(each)).mean()) for each in (x, path.state.x))
    assert after < 0.85 * before
    assert path.state.logdet is None
    assert "folded" not in path.infos[0].measures


@pytest.mark.parametrize("anchor", [Previous(), Base()])
def test_densities_of_images_can_be_had(anchor):
    F = FDivergence(KullbackLeibler(), Gaussian.standard(64))
    stepper = SaddleJKO(
        UNet(1, 8, 8, features=2), ImageCritic(1, 8, 8, features=2, blocks=1), anchor, zoo.GAME, particles=60, held=10
    )
    path = evolve(F, stepper, Gaussian.standard(64, 0.9), [0.1], seed=0)
    x = path.state.x[:10]
    torch.testing.assert_close(path.final.log_prob(x), path.state.scored(10).log_density, rtol=1e-4, atol=1e-2)
