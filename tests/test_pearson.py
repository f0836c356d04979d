"""Laws on balls: mass one, samples of their own density, and what particles are measured by against them."""

import math

import pytest
import torch
from scipy.integrate import quad

from wgf.errors import InputError
from wgf.pearson import PearsonII
from wgf.radii import radial_errors, radii

CASES = [(1, 1.0, 0.5), (2, 0.5, 0.0), (1, 2.0, 1.0), (2, 1.3, 1.0), (3, 0.7, 0.5), (6, 2.0, 2.0), (1, 1.0, -0.5)]
laws = pytest.mark.parametrize("law", [PearsonII(*case) for case in CASES], ids=[str(case) for case in CASES])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shell(law: PearsonII, r: float) -> float:
    """Surface of the sphere of radius r times the density there."""
    x = torch.zeros(1, law.dim, dtype=torch.float64)
    x[0, 0] = r
    d = law.dim
    return 2 * math.pi ** (d / 2) / math.gamma(d / 2) * r ** (d - 1) * math.exp(float(law.log_prob(x)))


@laws
@pytest.mark.parametrize("share", [0.3, 0.8, 1.0])
def test_the_density_integrates_to_its_radial_law_and_to_one(law, share):
    R = law.radius
    mass, _ = quad(lambda u: shell(law, R * math.sin(u)) * R * math.cos(u), 0, math.asin(share), epsabs=1e-12)
    assert mass == pytest.approx(float(law.radial_cdf(torch.tensor([share * R], dtype=torch.float64))), abs=1e-9)
    if share == 1.0:
        assert mass == pytest.approx(1, abs=1e-9)


@laws
def test_samples_follow_the_radial_law_and_have_no_direction(law):
    n = 20_000
    x = law.sample(n, generator())
    r = x.norm(dim=1).sort().values
    assert float(r[-1]) <= law.radius * (1 + 1e-12)
    below, steps = law.radial_cdf(r), torch.arange(1, n + 1) / n
    assert float((below - steps).abs().max()) < 1.63 / math.sqrt(n)  # the 1 % point of Kolmogorov's law
    direction = x / x.norm(dim=1, keepdim=True)
    assert float(direction.mean(0).abs().max()) < 4 / math.sqrt(n * law.dim)
    square = x.square().sum(1)
    assert law.spread * float(square.mean()) ** 0.5 == pytest.approx(
        law.radius, abs=4 * law.radius * float(square.std() / square.mean()) / (2 * math.sqrt(n))
    )


def test_no_density_outside_and_a_flat_one_inside_the_uniform_ball():
    law = PearsonII(2, 2.0, 0.0)
    x = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0000001], [5.0, 5.0]], dtype=torch.float64)
    assert law.log_prob(x).tolist() == [-math.log(4 * math.pi)] * 2 + [-math.inf] * 2
    assert PearsonII(1, 1.0, 0.5).log_prob(torch.ones(1, 1).double()).item() == -math.inf


def test_the_semicircle_is_wigners():
    x = torch.linspace(-1.9, 1.9, 39, dtype=torch.float64)[:, None]
    expected = torch.sqrt(4 - x[:, 0].square()) / (2 * math.pi)
    torch.testing.assert_close(PearsonII(1, 2.0, 0.5).log_prob(x).exp(), expected, rtol=1e-13, atol=0)


def test_errors_of_a_cloud_known_by_hand():
    law = PearsonII(1, 2.0, 0.0)  # |x − x̄| uniform on [0, 2], spread √3
    x = torch.tensor([[3.0], [5.0], [4.0], [4.0]]).double()  # distances 1, 1, 0, 0 from the mean 4
    found = radial_errors(x, law)
    assert radii(x).tolist() == [0, 0, 1, 1]
    assert found.radius == pytest.approx(math.sqrt(3 * 0.5) / 2 - 1)
    assert found.edge == pytest.approx(-0.5)
    assert found.distance == pytest.approx(0.5)


def test_the_floor_is_the_scatter_of_exact_samples():
    law, n = PearsonII(2, 0.7, 1.0), 50
    seen = [radial_errors(law.sample(n, generator(k)), law) for k in range(2000)]
    scatter = float(torch.tensor([e.radius for e in seen]).std())
    assert seen[0].radius_floor == pytest.approx(scatter, rel=0.06)


BAD = {
    "the dimension of a PearsonII law": lambda: PearsonII(0, 1.0, 0.5),
    "the radius of a PearsonII law": lambda: PearsonII(1, 0.0, 0.5),
    "the power of a PearsonII law": lambda: PearsonII(1, 1.0, -1.0),
    "power of a PearsonII law must be a finite number above −1": lambda: PearsonII(1, 1.0, math.inf),
    r"log_prob needs a tensor of shape \(n, 2\)": lambda: PearsonII(2, 1.0, 0.0).log_prob(torch.zeros(3, 1)),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_laws_are_refused_by_name(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()


def test_the_uniform_law_of_a_ball_about_a_centre():
    law = PearsonII(3, 2.0, 0.0, centre=[1.0, -2.0, 0.5])
    x = law.sample(50_000, generator())
    assert bool(law.holds(x).all())
    torch.testing.assert_close(x.mean(0), law.centre, rtol=0, atol=0.03)
    assert float((x - law.centre).square().sum(1).mean()) == pytest.approx(4 * 3 / 5, rel=0.01)
    assert float(law.log_prob(law.centre[None])) == pytest.approx(-math.log(4 / 3 * math.pi * 8))
    assert law.log_prob(torch.zeros(1, 3).double()).item() == -math.inf
    assert law.to(torch.float32).sample(2, generator()).dtype == torch.float32
