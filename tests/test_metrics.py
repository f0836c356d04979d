"""Metrics against what they estimate: closed forms, brute force, their own standard errors; and reports."""

import itertools
import json
import math

import ot
import pytest
import torch
from torch import Tensor

from pdes.ornstein_uhlenbeck import ornstein_uhlenbeck
from validation import (
    Context,
    Report,
    at_least,
    at_most,
    dissipation,
    energy_decay,
    moment_errors,
    moment_matched_symkl,
    monte_carlo_kls,
    monte_carlo_symkl,
    sampling_floor,
    sliced_wasserstein2,
    symmetric_kl,
    wasserstein2,
    within,
)
from wgf import JKO, LBFGS, Affine, Midpoint, evolve, keys
from wgf.errors import Incompatible, InputError, Unknown
from wgf.functionals import Entropy, Interaction, Potential, Quadratic
from wgf.kernels import Mollifier, Power
from wgf.law import Cloud, Empirical, Gaussian, Pushforward
from wgf.maps.base import Static

COVARIANCE = torch.tensor([[2.0, 0.6, 0.0], [0.6, 0.5, -0.2], [0.0, -0.2, 1.0]], dtype=torch.float64)
EXACT = Gaussian(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64), COVARIANCE)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


class Stretch(Static):
    """x ↦ x (1 + |x|²/100): smooth, monotone, not affine."""

    dim = 3

    def move(self, x: Tensor) -> Tensor:
        return x * (1 + x.square().sum(-1, keepdim=True) / 100)

    def jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scale = 1 + x.square().sum(-1) / 100
        J = scale[:, None, None] * torch.eye(3).to(x) + x[:, :, None] * x[:, None, :] / 50
        return self.move(x), J


def test_samples_with_the_exact_moments_score_zero():
    x = randn(0, 50, 3)
    white = Gaussian.fit(x).whiten(x)
    x = EXACT.mean + white @ torch.linalg.cholesky(COVARIANCE).T
    assert moment_matched_symkl(x, EXACT) < 1e-25
    assert moment_matched_symkl(x.float(), EXACT) < 1e-11


def test_the_sampling_floor_is_the_mean_score_of_exact_samples():
    n, repetitions = 30, 600
    draws = [EXACT.sample(n, generator(seed)) for seed in range(repetitions)]
    scores = torch.tensor([moment_matched_symkl(x, EXACT) for x in draws])
    floor, error = sampling_floor(EXACT, n), float(scores.std()) / math.sqrt(repetitions)
    assert abs(float(scores.mean()) - floor) < 4 * error
    leading = (3 + 3 * 4 / 2) / n
    assert abs(float(scores.mean()) - leading) > 4 * error  # what leading order alone would miss at this n
    assert sampling_floor(EXACT, 10**6) == pytest.approx((3 + 6) / 10**6, rel=1e-4)


def test_monte_carlo_symkl_finds_the_closed_form_between_gaussians():
    n = 20_000
    model = Gaussian(EXACT.mean + 0.2, COVARIANCE + 0.3 * torch.eye(3).double())
    value, error = monte_carlo_symkl(model, EXACT, n, generator())
    assert abs(value - float(symmetric_kl(model, EXACT))) < 4 * error
    assert error < 0.02


def test_monte_carlo_symkl_is_symmetric_in_how_densities_are_found():
    n = 5000
    model, base = Pushforward(EXACT, Stretch()), EXACT
    forward = monte_carlo_symkl(model, base, n, generator(0))  # carried forward
    backward = monte_carlo_symkl(base, model, n, generator(1))  # by inversion
    assert abs(forward.value - backward.value) < 4 * math.hypot(forward.error, backward.error)
    assert forward.value > 10 * forward.error
    single = monte_carlo_symkl(model.to(torch.float32), base, n, generator(0))
    assert single.value == pytest.approx(forward.value, abs=6 * forward.error)


def test_a_model_that_is_exact_scores_exactly_zero():
    assert monte_carlo_symkl(EXACT, EXACT, 100, generator()) == (0.0, 0.0)


def test_monte_carlo_symkl_needs_densities():
    with pytest.raises(Unknown):
        monte_carlo_symkl(Empirical(randn(0, 10, 3)), EXACT, 10, generator())
    with pytest.raises(InputError, match="dimensions 2 and 3"):
        monte_carlo_symkl(Gaussian.standard(2), EXACT, 10, generator())


def test_moment_errors_are_standard_scores():
    n, repetitions = 40, 800
    scores = [moment_errors(EXACT.sample(n, generator(seed)), EXACT) for seed in range(repetitions)]
    for z in (torch.stack([score.mean for score in scores]), torch.stack([score.covariance for score in scores])):
        assert (z.mean(0).abs() < 4 / math.sqrt(repetitions)).all()
        # Var of a squared score is 2 + the excess kurtosis, which for a covariance entry is at most 12/(n − 1)
        assert ((z.square().mean(0) - 1).abs() < 4 * math.sqrt(2.4 / repetitions)).all()


def test_moment_errors_in_one_dimension():
    z = moment_errors(randn(0, 100, 1), Gaussian.standard(1, dtype=torch.float64))
    assert z.mean.shape == (1,)
    assert z.covariance.shape == (1, 1)


def test_wasserstein2_is_the_best_assignment():
    x, y = randn(0, 6, 2), randn(1, 6, 2) + 1
    best = min(float((x - y[list(order)]).square().sum(-1).mean()) for order in itertools.permutations(range(6)))
    assert wasserstein2(x, y) == pytest.approx(math.sqrt(best), rel=1e-12)


def test_wasserstein2_of_a_translation_and_of_repeated_rows():
    x, shift = randn(0, 200, 3), torch.tensor([0.3, -0.4, 1.2], dtype=torch.float64)
    assert wasserstein2(x, x + shift) == pytest.approx(1.3, rel=1e-12)
    assert wasserstein2(x, torch.cat([x, x])) == pytest.approx(0, abs=1e-7)
    with pytest.raises(InputError, match="sliced_wasserstein2"):
        wasserstein2(torch.zeros(5001, 1), torch.zeros(5001, 1))
    with pytest.raises(InputError, match="y must have 3 columns"):
        wasserstein2(x, x[:, :2])


@pytest.mark.parametrize("m", [40, 60, 97])
def test_on_the_line_slicing_is_exact(m):
    x, y = randn(0, 40, 1), 2 * randn(1, m, 1) + 1
    sliced = sliced_wasserstein2(x, y, 3, generator())
    assert sliced == pytest.approx(wasserstein2(x, y), rel=1e-10)
    assert sliced == pytest.approx(math.sqrt(ot.emd2_1d(x[:, 0].numpy(), y[:, 0].numpy())), rel=1e-10)


def test_the_sliced_distance_of_a_translation():
    x, shift = randn(0, 30, 3), torch.tensor([0.3, -0.4, 1.2], dtype=torch.float64)
    squared = sliced_wasserstein2(x, x + shift, 20_000, generator()) ** 2  # E (θ·c)² = |c|²/d
    assert squared == pytest.approx(1.69 / 3, rel=0.03)
    assert sliced_wasserstein2(x, x[torch.randperm(30, generator=generator())], 10, generator()) == 0
    assert sliced_wasserstein2(x, torch.cat([x, x, x]), 10, generator()) == 0


@pytest.mark.parametrize(
    "F",
    [
        Potential(Quadratic(torch.eye(3).double(), torch.ones(3).double())),
        Interaction(0.5 * Power(4) - 2.0 * Mollifier(0.7)),
        2.0 * Potential(lambda x: x.pow(4).sum(-1)) + Interaction(Power(2)),
    ],
)
def test_dissipation_is_the_rate_at_which_energy_falls(F):
    h = 1e-5
    x = randn(0, 60, 3)
    expected = dissipation(F, Cloud(x))

    def energy(step: float) -> float:
        total, v = torch.zeros(60).double(), torch.zeros_like(x)
        for weight, term in (1.0 * F).terms:
            v -= weight * term.first_variation(Cloud(x)).gradient(x)
        for weight, term in (1.0 * F).terms:
            total += weight * term.energy(Cloud(x + step * v))
        return float(total.mean())

    assert (energy(-h) - energy(h)) / (2 * h) == pytest.approx(expected, rel=1e-5)


def test_dissipation_refuses_what_particles_cannot_see():
    with pytest.raises(Incompatible, match="Entropy"):
        dissipation(Entropy(), Cloud(randn(0, 5, 2)))


def test_too_few_rows_are_refused():
    with pytest.raises(InputError, match="in 3 dimensions takes more rows than that, got 3"):
        moment_matched_symkl(randn(0, 3, 3), EXACT)
    with pytest.raises(InputError, match="n must be an integer of at least 6"):
        sampling_floor(EXACT, 5)
    with pytest.raises(InputError, match="x has 1 entries that are NaN"):
        moment_matched_symkl(torch.tensor([[math.nan, 0.0, 0.0]]), EXACT)


def test_checks_hold_on_their_side_of_the_bound_and_never_for_nan():
    assert at_most("s", "q", 1.0, 1.0).holds
    assert not at_most("s", "q", 1.1, 1.0).holds
    assert at_least("s", "q", 1.0, 1.0).holds
    assert not at_least("s", "q", 0.9, 1.0).holds
    assert within("s", "q", 2.0, 1.8, 2.2).holds
    assert not within("s", "q", 1.7, 1.8, 2.2).holds
    assert not within("s", "q", 2.3, 1.8, 2.2).holds
    bad = math.nan
    unknown = (at_most("s", "q", bad, 1), at_least("s", "q", bad, 1), within("s", "q", bad, 0, 1))
    assert not any(check.holds for check in unknown)
    with pytest.raises(InputError, match="finite"):
        at_most("s", "q", 1.0, bad)
    with pytest.raises(InputError, match="in order"):
        within("s", "q", 1.0, 2.0, 1.0)


def test_a_report_is_strict_json():
    checks = (at_most("s", "a", 0.5, 1), at_least("s", "b", math.inf, 1), within("s", "c", math.nan, 0, 1))
    report = Report("s", checks, context=(Context("published", {"a": 0.7}),))
    rows = json.loads(json.dumps(report.rows(), allow_nan=False))
    assert rows == [
        {"study": "s", "quantity": "a", "value": 0.5, "bound": 1.0, "holds": True},
        {"study": "s", "quantity": "b", "value": None, "bound": [1.0, None], "holds": False},
        {"study": "s", "quantity": "c", "value": None, "bound": [0.0, 1.0], "holds": False},
    ]
    assert not report.holds
    assert Report("s", checks[:1]).holds
    assert not Report("s", ()).holds


def test_a_constant_error_of_a_density_shows_in_each_direction() -> None:
    law = Gaussian([1.0, 0.0], [[2.0, 0.3], [0.3, 1.0]])

    class Heavy(Gaussian):
        def log_prob(self, x: Tensor) -> Tensor:
            return super().log_prob(x) + 1.0

    forward, backward = monte_carlo_kls(Heavy(law.mean, law.covariance), law, 100, keys.generator(0))
    assert forward.value == pytest.approx(1.0, abs=1e-5)
    assert backward.value == pytest.approx(-1.0, abs=1e-5)


def test_dissipation_is_the_decay_of_the_free_energy() -> None:
    """−dF/dt of Ornstein–Uhlenbeck along exact affine JKO steps, second order in τ at the middle of a step."""
    problem = ornstein_uhlenbeck(3, seed=4)
    stepper = Midpoint(JKO(Affine(3), LBFGS(), particles=4000, held=0))
    path = evolve(problem.F, stepper, problem.initial, [0.01, 0.01], seed=0)
    fitted = Gaussian.fit(path.laws[1].map.transport(stepper.init(problem.F, problem.initial, 0).x).y.detach())
    x = fitted.sample(200_000, keys.generator(1))

    def score(x: Tensor) -> Tensor:
        return -torch.linalg.solve(fitted.covariance, (x - fitted.mean).T).T

    exact = dissipation(problem.F, Cloud(x), score)
    assert sum(energy_decay(path)) / 2 == pytest.approx(exact, rel=0.03)
    with pytest.raises(Incompatible, match="Entropy has no first variation"):
        dissipation(problem.F, Cloud(x))
