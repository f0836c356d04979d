"""The catalogue: exact solutions start at the initial law, obey the equation of their own functional, and compose."""

import math

import pytest
import torch
import zoo
from torch import Tensor

from pdes import exact_gaussian, heat, mckean_vlasov, ornstein_uhlenbeck
from wgf.errors import InputError
from wgf.functionals import Entropy, HasVariation
from wgf.law import Cloud, Gaussian
from wgf.problem import Problem

PDES = [entry for entry in zoo.PROBLEMS if entry.build.__module__.startswith("pdes.")]
PROBLEMS = [entry for entry in PDES if isinstance(entry().exact(0.0), Gaussian)]


@pytest.fixture(params=PROBLEMS, ids=lambda entry: f"{entry.name}-{entry.arguments}")
def problem(request) -> Problem:
    return request.param()


def with_moments(law: Gaussian, n: int = 200) -> Cloud:
    """Particles whose mean and (1/n) covariance are exactly those of `law`."""
    x = torch.randn(n, law.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    white = Gaussian.fit(x).whiten(x)
    return Cloud(law.mean + white @ torch.linalg.cholesky(law.covariance).T)


def velocity(problem: Problem, law: Gaussian, cloud: Cloud) -> Tensor:
    """−∇δF/δρ on the particles, with ∇log ρ of the Gaussian for the entropy: affine, so its moments are exact."""
    v = torch.zeros_like(cloud.x)
    for weight, term in problem.F.terms:
        if isinstance(term, Entropy):
            v += weight * torch.linalg.solve(law.covariance, (cloud.x - law.mean).T).T
        else:
            assert isinstance(term, HasVariation)
            v -= weight * term.first_variation(cloud).gradient(cloud.x)
    return v


def test_the_solution_starts_at_the_initial_law(problem):
    start = problem.exact(0.0)
    torch.testing.assert_close(start.mean, problem.initial.mean, rtol=0, atol=1e-13)
    torch.testing.assert_close(start.covariance, problem.initial.covariance, rtol=0, atol=1e-13)
    assert start.mean.dtype == torch.float64
    assert problem.initial.dim == problem.dim


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_the_solution_moves_with_the_velocity_of_its_functional(problem, share):
    h = 1e-4
    t = share * problem.horizon
    law, before, after = problem.exact(t), problem.exact(t - h), problem.exact(t + h)
    cloud = with_moments(law)
    v = velocity(problem, law, cloud)
    torch.testing.assert_close((after.mean - before.mean) / (2 * h), v.mean(0), rtol=1e-6, atol=1e-7)
    flux = (cloud.x - law.mean).T @ v / len(v)
    torch.testing.assert_close((after.covariance - before.covariance) / (2 * h), flux + flux.T, rtol=1e-6, atol=1e-6)


def test_ornstein_uhlenbeck_composes_from_any_covariance():
    s, t = 0.3, 0.5
    V = ornstein_uhlenbeck(dim=4, seed=2).F.terms[1][1].V
    A, b = V.matrix, V.centre
    m0, S0 = 2 * b + 1, mckean_vlasov(dim=4).initial.covariance  # does not commute with A
    middle = exact_gaussian(A, b, m0, S0, s)
    twice, once = exact_gaussian(A, b, middle.mean, middle.covariance, t), exact_gaussian(A, b, m0, S0, s + t)
    torch.testing.assert_close(twice.mean, once.mean, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(twice.covariance, once.covariance, rtol=1e-12, atol=1e-13)
    decay, inverse = torch.matrix_exp(-A * s), torch.linalg.inv(A)
    torch.testing.assert_close(middle.covariance, inverse + decay @ (S0 - inverse) @ decay, rtol=1e-11, atol=1e-12)


def test_mckean_vlasov_composes():
    s, t = 0.3, 0.4
    whole = mckean_vlasov(dim=3)
    middle = whole.exact(s)
    rest = mckean_vlasov(dim=3, mean=middle.mean.tolist(), covariance=middle.covariance.tolist())
    torch.testing.assert_close(rest.exact(t).mean, whole.exact(s + t).mean, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(rest.exact(t).covariance, whole.exact(s + t).covariance, rtol=1e-12, atol=1e-13)


def test_heat_composes():
    middle = heat(scale=1.3).exact(0.2)
    rest = heat(scale=math.sqrt(float(middle.covariance[0, 0])))
    torch.testing.assert_close(rest.exact(0.5).covariance, heat(scale=1.3).exact(0.7).covariance)


def test_long_times_reach_the_stationary_law():
    V = ornstein_uhlenbeck(dim=3).F.terms[1][1].V
    late = ornstein_uhlenbeck(dim=3).exact(60.0)
    torch.testing.assert_close(late.mean, V.centre, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(late.covariance @ V.matrix, torch.eye(3).double(), rtol=1e-12, atol=1e-12)
    late = mckean_vlasov(confinement=2.0, attraction=3.0, temperature=0.5).exact(60.0)
    torch.testing.assert_close(late.covariance, 0.1 * torch.eye(2).double())


def test_the_random_setting_is_seeded_and_within_its_range():
    for dim in (1, 2, 12):
        first, again, other = (ornstein_uhlenbeck(dim=dim, seed=seed).F.terms[1][1].V for seed in (0, 0, 1))
        assert torch.equal(first.matrix, again.matrix)
        assert torch.equal(first.centre, again.centre)
        assert not torch.equal(first.matrix, other.matrix)
        eigenvalues = torch.linalg.eigvalsh(first.matrix)
        assert 0.5 - 1e-12 <= float(eigenvalues[0]) <= float(eigenvalues[-1]) <= 2 + 1e-12
    given = ornstein_uhlenbeck(matrix=[[1, 0], [0, 1]]).F.terms[1][1].V
    assert torch.equal(given.centre, ornstein_uhlenbeck().F.terms[1][1].V.centre)  # b has a stream of its own


def test_decimal_fractions_reach_float64_whole():
    V = ornstein_uhlenbeck(dim=1, matrix=[[0.1]], centre=[0.3]).F.terms[1][1].V
    assert V.matrix.item() == 0.1
    assert V.centre.item() == 0.3


def test_observables_are_the_moments(problem):
    law = problem.exact(0.4)
    x = with_moments(law).x
    assert problem.observables["mean_norm"](x) == pytest.approx(float(law.mean.norm()), abs=1e-12)
    assert problem.observables["mean_squared_radius"](x) == pytest.approx(float(law.covariance.trace()), rel=1e-12)
    assert problem.title


BAD = {
    "dim must be an integer": lambda: ornstein_uhlenbeck(dim=0),
    "matrix must be a square matrix": lambda: ornstein_uhlenbeck(dim=3, matrix=[[1, 0], [0, 1]]),
    "matrix must be positive definite": lambda: ornstein_uhlenbeck(matrix=[[1, 2], [2, 1]]),
    "matrix must be symmetric": lambda: ornstein_uhlenbeck(matrix=[[1, 0.1], [0, 1]]),
    "matrix must be a rectangular list": lambda: ornstein_uhlenbeck(matrix=[[1, 0], [0]]),
    "centre must have shape": lambda: ornstein_uhlenbeck(centre=[1, 2, 3]),
    "centre has 1 entries that are NaN": lambda: ornstein_uhlenbeck(centre=[1, math.nan]),
    "horizon must be": lambda: ornstein_uhlenbeck(horizon=0),
    "scale must be": lambda: heat(scale=-1),
    "confinement must be": lambda: mckean_vlasov(confinement=0),
    "attraction must be": lambda: mckean_vlasov(attraction=-0.5),
    "temperature must be": lambda: mckean_vlasov(temperature=0),
    "covariance must be positive definite": lambda: mckean_vlasov(covariance=[[0, 0], [0, 1]]),
    "a time must be": lambda: heat().exact(-0.1),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused_by_name(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()
