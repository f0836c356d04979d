"""The synthetic table: its density by its own change of variables, and the kinds of columns that it claims."""

import pytest
import torch

from wgf import keys
from wgf.data import Household, check_columns
from wgf.errors import InputError


def test_the_density_is_that_of_the_mixture_through_the_columns():
    law = Household().law()
    z = law.base.sample(50, keys.generator(1))
    x, J = law.map(z), torch.func.vmap(torch.func.jacrev(lambda row: law.map(row[None])[0]))(z)
    torch.testing.assert_close(law.map.jacobian(z)[1], J)
    torch.testing.assert_close(law.log_prob(x), law.base.log_prob(z) - torch.linalg.slogdet(J).logabsdet)
    torch.testing.assert_close(law.map.inverse(x)[0], z)


def test_the_columns_are_skewed_bounded_correlated_and_of_two_modes():
    table = check_columns(Household(20_000).load())
    columns = dict(zip(table.names, table.X.T, strict=True))
    standard = {name: (column - column.mean()) / column.std() for name, column in columns.items()}
    assert all(standard[name].pow(3).mean() > 0.7 for name in ("active power", "reactive power", "current"))
    assert 0 < columns["hour"].min() < columns["hour"].max() < 24
    assert (standard["active power"] * standard["current"]).mean() > 0.9
    density, _ = torch.histogram(columns["metered"], 20, range=(0.0, 6.0))
    valley = int(density[:12].argmin())
    assert 0 < valley < 11
    assert density[valley] < 0.7 * min(density[:valley].max(), density[valley:].max())


def test_rows_are_the_same_for_the_same_seed():
    assert torch.equal(Household(10).load().X, Household(10).load().X)
    assert not torch.equal(Household(10).load().X, Household(10, seed=1).load().X)
    with pytest.raises(InputError, match="rows"):
        Household(0)
