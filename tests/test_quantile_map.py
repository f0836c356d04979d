"""Marginals given to the law of other rows, with what couples the columns left as it is."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from zoo import DOUBLE, doubles, randn

from wgf import evolve, keys
from wgf.data import Dataset, Table
from wgf.errors import InputError, NotInvertible
from wgf.flow import Path
from wgf.heldout import judge
from wgf.kernels import Gaussian as GaussianKernel
from wgf.law import Gaussian, Pushforward
from wgf.maps import Affine, NormalScores, OTFlow, quantile_map
from wgf.scoring import halved
from wgf.steppers import JKO
from wgf.targets.density import density
from wgf.training import LBFGS
from wgf.two_sample import mmd2_unbiased

COUPLED = doubles([1, 0.8], [0.8, 1])


def of_model(seed: int, n: int) -> torch.Tensor:
    """N(0, C) with C of correlation 0.8, its first column too wide and its second shifted."""
    return randn(seed, n, 2) @ torch.linalg.cholesky(COUPLED).T * doubles(1.3, 1) + doubles(0, -0.4)


def of_data(seed: int, n: int) -> torch.Tensor:
    """The same copula; marginals that are lognormal and those of sinh Z."""
    x = randn(seed, n, 2) @ torch.linalg.cholesky(COUPLED).T
    return torch.stack([x[:, 0].exp(), x[:, 1].sinh()], 1)


def test_marginals_are_those_of_the_other_rows():
    x, y = of_model(1, 20_000), of_data(2, 20_000)
    levels = doubles(0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
    found, expected = quantile_map(x, y)(x).quantile(levels, 0), y.quantile(levels, 0)
    torch.testing.assert_close(found, expected, rtol=0.03, atol=0.02)


def test_what_couples_the_columns_stays():
    x = of_model(3, 2000)
    moved = quantile_map(of_model(1, 5000), of_data(2, 5000))(x)
    assert torch.equal(moved.argsort(0), x.argsort(0))


def test_where_the_copula_is_right_the_law_becomes_that_of_the_data():
    map, kernel = quantile_map(of_model(1, 20_000), of_data(2, 20_000)), GaussianKernel(1.0)
    x, held = of_model(3, 4000), of_data(4, 4000)
    assert mmd2_unbiased(kernel, map(x), held).value < 0.01 * mmd2_unbiased(kernel, x, held).value


def test_a_gaussian_becomes_lognormal_with_its_density():
    x, law = randn(5, 40_000, 1), Gaussian.standard(1, dtype=DOUBLE)
    found = Pushforward(law, quantile_map(x, randn(6, 40_000, 1).exp()))
    at = torch.linspace(0.2, 4, 30, dtype=DOUBLE)[:, None]
    exact = law.log_prob(at.log()) - at.log().squeeze(1)
    assert float((found.log_prob(at) - exact).abs().max()) < 0.12
    levels = doubles(0.02, 0.2, 0.5, 0.8, 0.98)
    drawn = found.sample(40_000, keys.generator(7)).quantile(levels, 0).squeeze(1)
    torch.testing.assert_close(drawn.log(), torch.special.ndtri(levels), rtol=0, atol=0.05)


def test_rows_of_one_law_are_left_where_they_are():
    x = of_data(8, 1000)
    torch.testing.assert_close(quantile_map(x, x)(x), x, rtol=1e-12, atol=1e-12)


def test_bad_rows_are_refused():
    x = randn(9, 50, 2)
    with pytest.raises(InputError, match="needs rows of one width, got 2 and 1 columns"):
        quantile_map(x, x[:, :1])
    with pytest.raises(InputError, match=r"the rows to map to is torch\.float32 on cpu, but those to map from"):
        quantile_map(x, x.float())
    with pytest.raises(InputError, match="the rows to map from has 10 entries that are NaN"):
        quantile_map(torch.full((5, 2), math.nan, dtype=DOUBLE), x)
    with pytest.raises(InputError, match="column 2 of the rows is constant"):
        quantile_map(torch.cat([x[:, :1], torch.ones(50, 1, dtype=DOUBLE)], 1), x)


@dataclass(frozen=True)
class Skewed(Dataset):
    rows: int = 5000

    def load(self) -> Table:
        return Table(of_data(10, self.rows), None, ("a", "b"))


def test_a_learnt_density_gets_the_marginals_of_its_rows():
    """What one affine step makes of standardised rows, a Gaussian in their units, and the same behind the map."""
    problem = density(Skewed(), mapped=20_000)
    bare, learning = density(Skewed()).learning, problem.learning
    path = evolve(problem.F, JKO(Affine(2), LBFGS(1), particles=500), problem.initial, [0.1, 0.1], seed=0)
    model, plain = learning.model(path), bare.model(path)
    levels = doubles(0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98)
    x = model.sample(20_000, keys.generator(1))
    torch.testing.assert_close(x.quantile(levels, 0), learning.train.quantile(levels, 0), rtol=0.06, atol=0.04)
    assert float(model.log_prob(learning.held).mean()) > float(plain.log_prob(learning.held).mean()) + 0.3
    assert torch.equal(learning.model(path).log_prob(x), model.log_prob(x))  # as it was before
    inner = [each.model(path, since=1).sample(9, keys.generator(2)) for each in (learning, bare)]
    assert torch.equal(*inner)
    with pytest.raises(InputError, match="mapped, if not 0, must be an integer of at least 100, got 50"):
        density(Skewed(), mapped=50)
    with pytest.raises(InputError, match="mapped must be an integer of at least 0, got False"):
        density(Skewed(), mapped=False)


def test_the_rows_that_a_map_is_fitted_to_are_nobody_elses():
    """Or what is drawn with seed 0 would have their marginals better than other rows have."""
    problem = density(Skewed(), mapped=500)
    path = evolve(problem.F, JKO(Affine(2), LBFGS(1), particles=500), problem.initial, [0.1], seed=0)
    model = problem.learning.model(path)
    fitted = model.base.sample(500, keys.generator(0, 3))
    torch.testing.assert_close(model.map.parts[0].knots, NormalScores.fit(fitted).knots)
    drawn = model.base.sample(500, keys.generator(0))
    assert not set(drawn[:, 0].tolist()) & set(fitted[:, 0].tolist())


def test_columns_of_few_values_are_refused():
    y = of_data(2, 400)
    y[:50, 1] = 0.5
    with pytest.raises(InputError, match="column 2 has one value in 50 of 400 rows: quantiles can be mapped to"):
        quantile_map(of_model(1, 400), y)


def stiff_path(rate: float) -> Path:
    """One step whose map goes through ẋ₁ = −rate·x₁ in eight steps of RK4."""
    problem = density(Skewed(100))
    stepper = JKO(OTFlow(2, 4, evaluation_steps=8), LBFGS(1), particles=80)
    path = evolve(problem.F, stepper, problem.initial, [0.1], seed=0)
    with torch.no_grad():
        for weight in path.maps[0].parameters():
            weight.zero_()
        path.maps[0].quadratic[0, 0] = math.sqrt(rate)
    return path


@dataclass(frozen=True)
class Binary(Dataset):
    def load(self) -> Table:
        x = of_data(10, 500)
        return Table(torch.stack([x[:, 0], (x[:, 1] > 1).to(x)], 1), None, ("a", "b"))


def test_a_table_with_a_column_of_few_values_is_refused_before_it_is_learnt():
    with pytest.raises(InputError, match="column 2 has one value in"):
        density(Binary(), mapped=500)


def test_samples_to_map_by_are_found_in_finer_steps():
    """Where eight steps do not bring every row back, sixteen or more do; the model itself keeps its own."""
    path, law = stiff_path(12.0), density(Skewed(100), mapped=100).learning
    bare = replace(law, mapped=0).model(path)
    with pytest.raises(NotInvertible):
        bare.sample(100, keys.generator(0, 3))
    fitted = halved(bare).sample(100, keys.generator(0, 3))
    model = law.model(path)
    torch.testing.assert_close(model.map.parts[0].knots, NormalScores.fit(fitted).knots)
    assert math.isfinite(float(model.log_prob(law.held).mean()))


def test_a_flow_too_stiff_to_be_sampled_is_still_judged():
    """Without its map, and with a note."""
    path = stiff_path(400.0)
    found = judge(density(Skewed(100), mapped=100).learning, path)
    assert found.note.startswith("its quantiles could not be mapped, and this is the flow without: ")
    assert replace(found, note="") == replace(judge(density(Skewed(100)).learning, path), note="")
