"""The Sinkhorn divergence against its exact values: shifts, points, small and large blur, and its floor."""

import pytest
import torch
import zoo

from validation.metrics import wasserstein2
from validation.sinkhorn import against_exact, sinkhorn_divergence
from wgf.errors import InputError


@pytest.mark.parametrize("blur", [0.15, 0.5, 3.0])
@pytest.mark.parametrize("shift", [0.3, 50.0])
def test_a_shift_scores_half_its_square_at_any_blur(blur, shift):
    x = zoo.randn(0, 150, 2)
    y = x[torch.randperm(150, generator=torch.Generator().manual_seed(0))] + zoo.doubles(shift, 0)
    assert sinkhorn_divergence(x, y, blur) == pytest.approx(0.5 * shift**2, rel=1e-4, abs=1e-5)


def test_a_sample_is_at_no_distance_from_itself():
    x = zoo.randn(0, 150, 2)
    assert abs(sinkhorn_divergence(x, x.flip(0), 0.15)) < 1e-5


@pytest.mark.parametrize("p", [1, 2])
def test_two_points_are_at_their_distance(p):
    a, b = zoo.doubles([1, 1]).view(1, 2), zoo.doubles([4, 5]).view(1, 2)
    assert sinkhorn_divergence(a, b, 0.1, p) == pytest.approx(5**p / p, rel=1e-12)


def test_between_exact_transport_and_the_distance_of_means():
    x, y = zoo.randn(0, 200, 3), 1.5 * zoo.randn(1, 120, 3) + 1
    assert sinkhorn_divergence(x, y, 0.1) == pytest.approx(0.5 * wasserstein2(x, y) ** 2, rel=5e-3)
    means = 0.5 * float((x.mean(0) - y.mean(0)).square().sum())
    assert sinkhorn_divergence(x, y, 100.0) == pytest.approx(means, rel=1e-3)
    assert sinkhorn_divergence(x, y, 0.3) == pytest.approx(sinkhorn_divergence(y, x, 0.3), rel=1e-4)


def test_exact_samples_score_their_floor_and_a_shifted_model_more():
    def exact(key: int) -> torch.Tensor:
        return zoo.randn(key, 200, 2)

    same = against_exact(lambda k: exact(1000 + k), exact, 12, 0.3)
    assert abs(same.model - same.exact) < 4 * same.error
    shifted = against_exact(lambda k: exact(1000 + k) + 0.5, exact, 12, 0.3)
    assert shifted.model - shifted.exact == pytest.approx(0.25, abs=4 * shifted.error)
    assert shifted.error < 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((zoo.randn(0, 5, 2), zoo.randn(0, 5, 3)), "same number of columns, got 2 and 3"),
        ((zoo.randn(0, 5, 2), zoo.randn(0, 5, 2), 0.0), "blur must be"),
        ((zoo.randn(0, 5, 2), zoo.randn(0, 5, 2), 0.1, 0), "p must be"),
        ((zoo.randn(0, 5, 1), zoo.randn(0, 5001, 1)), "up to 5000 rows, got 5 and 5001"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        sinkhorn_divergence(*arguments)
