"""Standardised rows, exactly; and the columns that no density can be learnt on."""

import math

import pytest
import torch
from zoo import DOUBLE, doubles, randn

from wgf.data import Table, check_columns
from wgf.errors import InputError
from wgf.law import Gaussian, Pushforward
from wgf.maps import Inverse, Standard

SHIFT, SCALE = doubles(1e3, -2, 0.01), doubles(50, 0.3, 1e-4)
ROWS = SHIFT + SCALE * randn(0, 200, 3)


def table(X: torch.Tensor, *names: str) -> Table:
    return Table(X, None, names or tuple("abcdefghijkl"[: X.shape[1]]))


def test_rows_become_standard():
    y = Standard.fit(ROWS)(ROWS)
    torch.testing.assert_close(y.mean(0), torch.zeros(3, dtype=DOUBLE), rtol=0, atol=1e-10)
    torch.testing.assert_close(y.var(0, correction=0), torch.ones(3, dtype=DOUBLE), rtol=1e-12, atol=0)


def test_volumes_and_inverse_are_closed_forms():
    map = Standard.fit(ROWS)
    moved = map.transport(ROWS, logdet=True)
    expected = torch.linalg.slogdet(map.jacobian(ROWS)[1]).logabsdet
    torch.testing.assert_close(moved.logdet, expected, rtol=1e-14, atol=0)
    back, logdet = map.inverse(moved.y, logdet=True)
    torch.testing.assert_close(back, ROWS, rtol=1e-14, atol=0)
    assert torch.equal(logdet, -moved.logdet)
    assert map.inverse(moved.y)[1] is None
    assert moved.folded is None


def test_densities_return_to_the_units_of_the_rows():
    """ρ(x) of N(m, diag s²) is that of N(0, I) at T(x), times Π 1/s."""
    map = Standard(SHIFT, SCALE)
    law = Pushforward(Gaussian.standard(3, dtype=DOUBLE), Inverse(map))
    exact = Gaussian(SHIFT, torch.diag(SCALE.square()))
    torch.testing.assert_close(law.log_prob(ROWS), exact.log_prob(ROWS), rtol=1e-10, atol=0)


def test_statistics_are_float64_and_rows_keep_their_dtype():
    rows = (1e4 + randn(1, 30_000, 8)).float()
    map, wide = Standard.fit(rows), rows.double()
    assert torch.equal(map.mean, wide.mean(0).float())  # the nearest float32, not one that sums were rounded to
    assert torch.equal(map.scale, wide.std(0, correction=0).float())
    assert map(rows).dtype == torch.float32
    assert map.to(DOUBLE)(wide).dtype == DOUBLE


def test_nothing_of_it_is_trained():
    map = Standard.fit(ROWS)
    before = map(ROWS)
    map.reset(torch.Generator().manual_seed(3))
    assert torch.equal(map(ROWS), before)
    assert not list(map.parameters())
    assert set(map.state_dict()) == {"mean", "scale"}


def test_what_has_no_scale_is_refused():
    with pytest.raises(InputError, match="column 2 of the rows is constant"):
        Standard.fit(torch.stack([randn(0, 9), torch.full((9,), 0.1, dtype=DOUBLE)], 1))
    with pytest.raises(InputError, match=r"must be positive, got \[1.0, 0.0\]"):
        Standard(doubles(0, 0), doubles(1, 0))
    with pytest.raises(InputError, match=r"shape \(2,\), got \(3,\)"):
        Standard(doubles(0, 0), SCALE)
    with pytest.raises(InputError, match="1 entries that are NaN"):
        Standard.fit(doubles([0, math.nan], [1, 2]))


def test_a_table_of_independent_columns_passes():
    given = table(ROWS)
    assert check_columns(given) is given
    near = torch.cat([ROWS, ROWS[:, :1] + 1e-3 * SCALE[0] * randn(2, 200, 1)], 1)
    check_columns(table(near))  # nearly a copy is none


def test_constant_columns_are_named():
    flat = torch.full((200, 1), 0.1, dtype=DOUBLE)
    with pytest.raises(InputError, match=r"^'d' is constant: .* leave it out$"):
        check_columns(table(torch.cat([ROWS, flat], 1)))
    with pytest.raises(InputError, match=r"^'a', 'e' are constant: .* leave them out$"):
        check_columns(table(torch.cat([flat, ROWS, flat], 1)))


@pytest.mark.parametrize("dtype", [DOUBLE, torch.float32])
@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (-3.7, 1e3), (1e-6, 5.0)])
def test_affine_copies_are_named(slope, shift, dtype):
    X = randn(3, 500, 3)
    copied = torch.cat([X, slope * X[:, 1:2] + (shift if dtype == DOUBLE else 0.0)], 1).to(dtype)
    with pytest.raises(InputError, match=r"^the columns 'b' and 'd' are the same up to scale and shift"):
        check_columns(table(copied))


def test_too_few_rows_say_how_many_would_do():
    with pytest.raises(InputError, match=r"^29 rows are too few for the 3 columns .*: take at least 30 rows, or 2 col"):
        check_columns(table(ROWS[:29]))
    check_columns(table(ROWS[:30]))
    with pytest.raises(InputError, match=r"^1 rows are too few .*: take at least 30 rows$"):
        check_columns(table(ROWS[:1]))
    with pytest.raises(InputError, match="'h' and 4 more: take at least 120"):
        check_columns(table(randn(4, 50, 12)))
