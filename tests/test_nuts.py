"""Reference draws against a posterior that is known."""

import pytest
import torch
import zoo
from torch import Tensor

pytest.importorskip("numpyro", reason="the reference sampler is numpyro's")

from validation.nuts import Nuts
from wgf import Gaussian


def test_the_posterior_of_a_mean_for_data_of_any_number_of_rows():
    """z ~ N(0, I), rows ~ N(z, I): N(Σx/(n + 1), I/(n + 1)), by one sampler for tables of five and of nine rows."""

    def log_density(z, rows):
        return -0.5 * (z @ z + ((rows - z) ** 2).sum())

    sampler, found = Nuts(log_density, draws=500, warmup=200), list[Tensor]()
    for n in (5, 9, 5):
        rows = zoo.randn(n, n, 2)
        draws = sampler(Gaussian(rows.mean(0), zoo.EYE / n), (rows,))
        assert ((draws.mean - rows.sum(0) / (n + 1)).abs() < 4 * draws.mean_error).all()
        assert ((draws.sd * (n + 1) ** 0.5 - 1).abs() < 4 * draws.sd_error).all()
        assert float(draws.rhat.max()) < 1.02
        found.append(draws.x)
    assert torch.equal(found[0], found[2])
