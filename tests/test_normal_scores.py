"""Normal marginals by monotone splines, and rows spread by noise of their own shape."""

import math

import pytest
import torch
from zoo import DOUBLE, doubles, randn

from wgf import keys
from wgf.data import Dataset, Table
from wgf.errors import InputError, Unknown
from wgf.law import Empirical, Gaussian, Pushforward, moments
from wgf.maps import Inverse, NormalScores, Standard
from wgf.smoothed_bootstrap import SmoothedBootstrap
from wgf.targets.density import density

UNIFORM = torch.rand(4000, 1, dtype=DOUBLE, generator=keys.generator(2))
ROWS = torch.cat([randn(0, 4000, 1).exp(), randn(1, 4000, 1).sinh(), UNIFORM], 1)
"""Skewed, heavy-tailed and bounded."""


def test_scores_are_normal():
    """Quantiles of every column are those of N(0, 1): to the few rows between two knots, twenty far out."""
    y = NormalScores.fit(ROWS)(ROWS)
    for levels, error in ((doubles(0.05, 0.25, 0.5, 0.75, 0.95), 0.02), (doubles(0.01, 0.99), 0.05)):
        expected = torch.special.ndtri(levels)[:, None].expand(-1, 3)
        torch.testing.assert_close(y.quantile(levels, 0), expected, rtol=0, atol=error)
    torch.testing.assert_close(y.std(0), torch.ones(3, dtype=DOUBLE), rtol=0, atol=0.02)


def test_knots_have_their_scores():
    knots, scores = doubles([-2, 0.1, 0.4, 3], [-1, 1, 2, 2.5]), doubles([-1, 0, 0.5, 2], [-3, -1, 2, 3])
    map = NormalScores(knots, scores)
    torch.testing.assert_close(map(knots.T), scores.T, rtol=0, atol=1e-14)
    torch.testing.assert_close(map.inverse(scores.T)[0], knots.T, rtol=0, atol=1e-14)


def test_evenly_spaced_chords_are_a_straight_line():
    places = torch.linspace(-1, 3, 6, dtype=DOUBLE)
    map = NormalScores(places[None], (2 * places - 1)[None])
    x = 5 * randn(2, 50, 1)
    torch.testing.assert_close(map(x), 2 * x - 1, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(map.transport(x, logdet=True).logdet, torch.full((50,), math.log(2), dtype=DOUBLE))


def test_slopes_are_those_of_differences_and_join_at_the_knots():
    map = NormalScores.fit(ROWS)
    inside = map.knots[:, 1:-1].T
    x, h = torch.cat([ROWS[:200] * 1.5, inside]), 1e-8
    found = map.jacobian(x)[1].diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(found, (map(x + h) - map(x - h)) / (2 * h), rtol=1e-3, atol=1e-5)


def test_inverse_and_volumes_are_closed_forms_far_out_as_well():
    map = NormalScores.fit(ROWS)
    x = torch.cat([ROWS[:300], 1e3 * randn(3, 20, 3)])
    moved = map.transport(x, logdet=True)
    back, logdet = map.inverse(moved.y, logdet=True)
    torch.testing.assert_close(back, x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(logdet, -moved.logdet, rtol=1e-8, atol=1e-8)


def test_densities_of_the_rows_integrate_to_one():
    """∫ φ(T(x))T′(x) dx = 1 between far ends."""
    column = NormalScores.fit(ROWS[:, :1])
    law = Pushforward(Gaussian.standard(1, dtype=DOUBLE), Inverse(column))
    grid = torch.linspace(-40, 200, 400_001, dtype=DOUBLE)
    mass = torch.trapezoid(law.log_prob(grid[:, None]).exp(), grid)
    assert abs(float(mass) - 1) < 1e-4


def test_slopes_can_be_differentiated():
    map, x = NormalScores.fit(ROWS[:500]), ROWS[:5].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: map.transport(x, logdet=True).logdet, (x,), atol=1e-4)
    assert torch.autograd.gradcheck(lambda y: map.inverse(y)[0], (randn(4, 5, 3).requires_grad_(),), atol=1e-4)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.9995])
def test_values_that_repeat_have_the_mean_of_their_scores(share):
    """So the mean score of all rows stays next to 0; such a column goes one to one, with slopes that stay finite."""
    x = torch.where(torch.rand(4000, 1, dtype=DOUBLE, generator=keys.generator(0)) < share, 0.0, ROWS[:, :1])
    map, found = NormalScores.fit(x), float((x == 0).double().mean())
    y = map(x)
    edge = torch.special.ndtri(doubles(found))
    exact = -torch.exp(-0.5 * edge.square()) / math.sqrt(2 * math.pi) / found
    torch.testing.assert_close(map(torch.zeros(1, 1, dtype=DOUBLE))[0], exact, rtol=1e-9, atol=1e-9)
    assert abs(float(y.mean())) < 0.05
    torch.testing.assert_close(map.inverse(y)[0], x, rtol=1e-9, atol=1e-9)
    assert y.abs().max() < 8
    assert map.transport(x, logdet=True).logdet.isfinite().all()


def test_a_column_of_two_values_has_their_mean_scores():
    """Half and half: ±√(2/π), the mean of |Z|."""
    x = torch.arange(1000, dtype=DOUBLE)[:, None].remainder(2)
    y = NormalScores.fit(x)(doubles([0], [1]))
    torch.testing.assert_close(y[:, 0], doubles(-1, 1) * math.sqrt(2 / math.pi), rtol=1e-12, atol=0)


def test_few_rows_have_few_knots_and_their_dtype_is_kept():
    """Between two knots lie at least twenty rows."""
    assert NormalScores.fit(ROWS[:3]).knots.shape == (3, 3)
    for n in (100, 1000, 4000):
        knots = NormalScores.fit(ROWS[:n]).knots
        between = ((ROWS[:n, :1] >= knots[0, :-1]) & (ROWS[:n, :1] <= knots[0, 1:])).sum(0)
        assert between.min() >= 19
    assert NormalScores.fit(ROWS).knots.shape[1] > 30
    map = NormalScores.fit(ROWS[:100].float())
    assert map(ROWS[:100].float()).dtype == torch.float32
    assert set(map.state_dict()) == {"knots", "scores"}
    assert not list(map.parameters())


def test_normal_rows_are_left_nearly_as_they_are():
    """Of 1,000 rows in 50 columns none is thrown far, on held-out rows neither."""
    x = randn(7, 2000, 50)
    map = NormalScores.fit(x[:1000])
    assert map(x).abs().max() < 8
    law, plain = Pushforward(Gaussian.standard(50, dtype=DOUBLE), Inverse(map)), Gaussian.standard(50, dtype=DOUBLE)
    lost = (plain.log_prob(x[1000:]) - law.log_prob(x[1000:])).mean() / 50
    assert 0 < float(lost) < 0.02


def test_slopes_at_knots_are_harmonic_means():
    """Chords of slopes 1 and 3: 2/(1 + 1/3) = 3/2."""
    map = NormalScores(doubles([0, 1, 2]), doubles([0, 1, 4]))
    slopes = map.jacobian(doubles([-5], [1], [2]))[1][:, 0, 0]
    torch.testing.assert_close(slopes, doubles(1, 1.5, 3), rtol=1e-14, atol=0)


@pytest.mark.parametrize(("dtype", "narrow"), [(DOUBLE, 1e-9), (torch.float32, 1e-6)])
def test_a_steep_piece_keeps_its_digits_at_both_ends(dtype, narrow):
    """An odd map: its inverse is odd, log-determinants are even, gradients are those of the log-determinants."""
    knots, scores = doubles([-1, -narrow / 2, narrow / 2, 1]).to(dtype), doubles([-1, -0.5, 0.5, 1]).to(dtype)
    gaps = torch.finfo(dtype).eps * 2.0 ** torch.arange(21, dtype=dtype)  # down to the next number
    map, y = NormalScores(knots, scores), (0.5 - gaps)[:, None].requires_grad_()
    (x, logdet), (mirrored, same) = map.inverse(y, logdet=True), map.inverse(-y, logdet=True)
    torch.testing.assert_close(x, -mirrored, rtol=0, atol=2 * torch.finfo(dtype).eps)  # rounding of y, slopes ≥ ½
    torch.testing.assert_close(logdet, same, rtol=0, atol=1e-3)
    (slopes,) = torch.autograd.grad(x.sum(), y)
    torch.testing.assert_close(slopes[:, 0].log(), logdet, rtol=0, atol=1e-3)


def test_what_has_no_scores_is_refused():
    with pytest.raises(InputError, match="column 2 of the rows is constant"):
        NormalScores.fit(torch.cat([ROWS[:, :1], torch.ones(4000, 1, dtype=DOUBLE)], 1))
    with pytest.raises(InputError, match="needs 3 rows to be fitted to, got 2"):
        NormalScores.fit(ROWS[:2])
    with pytest.raises(InputError, match="knots must be an integer of at least 3, got 2"):
        NormalScores.fit(ROWS, knots=2)
    with pytest.raises(InputError, match="float32 cannot tell the quantiles of column 1 apart; centre it"):
        NormalScores.fit((1e6 + 0.05 * randn(0, 500, 1)).float())
    with pytest.raises(InputError, match="the scores of column 2 do not increase"):
        NormalScores(doubles([0, 1], [0, 1]), doubles([0, 1], [1, 1]))
    with pytest.raises(InputError, match=r"knots of shape \(1, 3\) and scores of shape \(1, 2\)"):
        NormalScores(doubles([0, 1, 2]), doubles([0, 1]))


@pytest.mark.parametrize("shrunk", [False, True])
@pytest.mark.parametrize("bandwidth", [0.2, 0.5, 2.0])
def test_noise_has_the_shape_of_the_rows_and_moves_no_covariance_where_it_is_shrunk(bandwidth, shrunk):
    rows = 3 + randn(4, 400, 2) @ doubles([1, 0.5], [0, 0.01])
    law = SmoothedBootstrap(rows, bandwidth, shrunk).to(torch.float64)
    x = law.sample(200_000, keys.generator(1))
    mean, covariance = moments(rows)
    covariance = covariance * (1 if shrunk else 1 + bandwidth**2)
    torch.testing.assert_close(torch.cov(x.T), covariance, rtol=0.015, atol=0)
    assert ((x.mean(0) - mean).abs() < 0.01 * covariance.diagonal().sqrt()).all()
    with pytest.raises(Unknown, match="learn one"):
        law.log_prob(x)


@pytest.mark.parametrize("judging", [(100, 50), (3000, 1500)])
def test_rows_that_judge_are_left_as_they_are(judging):
    sizes = [*judging, 9000]
    x, known = SmoothedBootstrap(ROWS, 0.1).disjoint(sizes, keys.generator(2)), {tuple(row) for row in ROWS.tolist()}
    rows, smoothed = x[: sum(judging)], x[sum(judging) :]
    assert len(smoothed) == 9000
    assert all(tuple(row) in known for row in rows.tolist())
    assert not any(tuple(row) in known for row in smoothed.tolist())
    assert len(smoothed.unique(dim=0)) == 9000  # rows that come several times have noise of their own


def test_no_row_that_judges_is_trained_on_and_all_others_are_evenly():
    """With noise that is next to none, the nearest row of every sample is that which it came from."""
    rows = torch.arange(100, dtype=DOUBLE)[:, None]
    x = SmoothedBootstrap(rows, 1e-9).disjoint([20, 10, 700], keys.generator(3)).round()[:, 0]
    assert len(set(x[:30].tolist())) == 30
    left, times = x[30:].unique(return_counts=True)
    assert not set(left.tolist()) & set(x[:30].tolist())
    assert times.tolist() == [10] * 70


def test_rows_of_less_than_full_rank_keep_it():
    flat = ROWS[:, :1] @ doubles([1, -2])
    x = SmoothedBootstrap(flat, 0.3).sample(50, keys.generator(0))
    torch.testing.assert_close(x[:, 1], -2 * x[:, 0], rtol=1e-6, atol=1e-6)


def test_a_bandwidth_or_a_single_row_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="bandwidth of a SmoothedBootstrap must be a finite number above 0, got 0"):
        SmoothedBootstrap(ROWS, 0)
    with pytest.raises(InputError, match="at least 2 rows"):
        SmoothedBootstrap(ROWS[:1], 0.1)


class Skewed(Dataset):
    def load(self) -> Table:
        return Table(ROWS, None, ("a", "b", "c"))


def test_a_density_can_be_learnt_in_scores_of_rows_with_noise():
    """N(0, I) carried back by no step at all is the law of independent columns with the marginals of the rows."""
    problem = density(Skewed(), normal_scores=True, smoothing=0.2)
    learning = problem.learning
    assert isinstance(learning.frame, NormalScores)
    assert isinstance(problem.initial, SmoothedBootstrap)
    assert torch.equal(learning.frame.knots, NormalScores.fit(learning.train).knots)
    y = learning.frame(learning.train)
    spread = torch.cov(problem.initial.sample(200_000, keys.generator(0)).T)
    torch.testing.assert_close(spread, 1.04 * torch.cov(y.T), rtol=0, atol=0.02)
    kept = density(Skewed(), normal_scores=True, smoothing=0.2, shrunk=True).initial.sample(200_000, keys.generator(0))
    torch.testing.assert_close(torch.cov(kept.T), torch.cov(y.T), rtol=0, atol=0.02)
    model = Pushforward(learning.reference, Inverse(learning.frame))
    exact = -(math.log(2 * math.pi * math.e) / 2)  # the entropy of e^Z is that of Z, as E Z = 0
    assert abs(float(model.log_prob(learning.held).mean()) - (exact + heavy(learning.held[:, 1]))) < 0.1
    with pytest.raises(InputError, match="smoothing must be a finite number from 0 on, got -1"):
        density(Skewed(), smoothing=-1)
    with pytest.raises(InputError, match="shrunk = true shrinks what smoothing has spread"):
        density(Skewed(), shrunk=True)
    with pytest.raises(InputError, match="normal_scores takes the place of standardise"):
        density(Skewed(), standardise=False, normal_scores=True)
    assert isinstance(density(Skewed()).initial, Empirical)
    assert isinstance(density(Skewed()).learning.frame, Standard)


def heavy(x: torch.Tensor) -> float:
    """The mean log-density of sinh Z at these values."""
    log_prob = -0.5 * x.asinh().square() - math.log(2 * math.pi) / 2 - 0.5 * torch.log1p(x.square())
    return float(log_prob.mean())
