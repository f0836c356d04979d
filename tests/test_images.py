"""Images in whole numbers: logits, cells, and bits that no model can have fewer of than the images themselves."""

import math
from dataclasses import dataclass

import pytest
import torch
from zoo import DOUBLE, doubles, randn

from wgf import evolve, keys
from wgf.cells import Cells
from wgf.data import Dataset, Digits, Table
from wgf.errors import InputError, Unknown
from wgf.law import Box, Gaussian, Pushforward
from wgf.maps import Logit
from wgf.methods import jko_iflow
from wgf.scoring import score
from wgf.targets import images
from wgf.training import Adam

CORNERS = doubles([0, 5], [3, 1], [7, 2], [4, 4])

P = doubles([0.3, 0.1, 0], [0.05, 0.1, 0.05], [0, 0.1, 0.3])
"""Two pixels of three values that mostly agree."""


@dataclass(frozen=True)
class TwoPixels(Dataset):
    """Rows of two pixels whose law is P."""

    rows: int = 6000

    def load(self) -> Table:
        cells = torch.multinomial(P.flatten(), self.rows, replacement=True, generator=keys.generator(3))
        return Table(torch.stack([cells // 3, cells % 3], 1), None, ("first", "second"))


def test_logits_of_uniform_numbers_are_logistic():
    map, y = Logit(2, -1.0, 3.0), 3 * randn(0, 200, 2)
    law = Pushforward(Box(doubles(-1, -1), doubles(3, 3)), map)
    exact = (torch.sigmoid(y) * torch.sigmoid(-y)).log().sum(1)
    torch.testing.assert_close(law.log_prob(y), exact, rtol=1e-12, atol=0)


def test_logits_go_back_to_the_last_digit():
    map = Logit(3, -2.0, 5.0)
    x = -2 + 7 * torch.rand(500, 3, dtype=DOUBLE, generator=keys.generator(1))
    moved = map.transport(x, logdet=True)
    back, logdet = map.inverse(moved.y, logdet=True)
    torch.testing.assert_close(back, x, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(logdet, -moved.logdet, rtol=1e-11, atol=0)


def test_what_has_no_logit_is_refused():
    with pytest.raises(InputError, match=r"needs low < high, got 1.0 and 1.0"):
        Logit(2, 1.0, 1.0)
    with pytest.raises(InputError, match=r"takes points of \(0, 1\)\^2, got row 1 with entries from 0.5 to 1$"):
        Logit(2)(doubles([0.5, 0.5], [0.5, 1.0]))


def test_samples_lie_in_the_cells_of_rows_with_their_contexts():
    law = Cells(CORNERS, 0.5, context=torch.arange(4.0)[:, None])
    drawn = law.sample(4000, keys.generator(0))
    row, u = drawn[:, 2].long(), (drawn[:, :2] - CORNERS[drawn[:, 2].long()]) / 0.5
    assert row.unique().tolist() == [0, 1, 2, 3]
    assert ((u >= 0) & (u < 1)).all()
    assert len(u.unique(dim=0)) == 4000  # every sample elsewhere in its cell
    assert (u.mean(0) - 0.5).abs().max() < 5 / math.sqrt(12 * 4000)
    assert torch.equal(law.spread(keys.generator(1))[:, 2], torch.arange(4.0).double())


def test_parts_of_cells_share_no_row():
    law = Cells(CORNERS, context=torch.arange(4.0)[:, None])
    first, second = law.disjoint([100, 100], keys.generator(0)).split(100)
    assert len(first[:, 2].unique()) == len(second[:, 2].unique()) == 2
    assert not set(first[:, 2].tolist()) & set(second[:, 2].tolist())


def test_cells_are_spread_and_mapped_in_the_precision_of_their_rows():
    seen = []

    def shift(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.dtype)
        return x - 1e6

    x = Cells(CORNERS + 1e6, map=shift).to(torch.float32).sample(50, keys.generator(0))
    assert seen == [DOUBLE]
    assert x.dtype == torch.float32
    assert len(x[:, 0].unique()) == 50  # in float32 at 1e6 there would be sixteen places a cell


def test_bad_cells_are_refused():
    with pytest.raises(InputError, match="step of Cells must be a finite number above 0, got 0"):
        Cells(CORNERS, 0)
    with pytest.raises(InputError, match="a context for each of 4 rows, got 3"):
        Cells(CORNERS, context=torch.zeros(3, 1))
    with pytest.raises(Unknown, match="learn one"):
        Cells(CORNERS).log_prob(CORNERS)


def test_bits_of_a_learnt_density_are_those_of_the_law_of_the_pixels():
    """H(P) ≤ E[−log ρ̃(x + u)] (Jensen), and little more for a model that has learnt P; a Gaussian has much more."""
    problem = images(TwoPixels(), levels=3, margin=0.01)
    learning = problem.learning
    stepper = jko_iflow(2, training=Adam(80, 512, 2e-2), particles=5000, width=24, steps=2, evaluation_steps=4)
    path = evolve(problem.F, stepper, problem.initial.to(torch.float32), [1.0, 3.0], seed=0)
    found, plain = score(learning.model(path), learning.held), score(Gaussian.fit(learning.train), learning.held)
    own = P[tuple(learning.held.long().T)].log()
    beyond = found.nll + float(own.mean())
    assert beyond > -0.02  # these rows against P itself, not its entropy: the sampling error is shared
    assert beyond < 0.35
    assert plain.nll - found.nll > 0.2


def test_images_keep_training_and_held_digits_apart():
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    problem, (train, held) = images(Digits()), Digits().load().split(0.8)
    assert torch.equal(problem.learning.train.floor(), train.X)
    assert torch.equal(problem.learning.held.floor(), held.X)
    z = problem.initial.sample(20_000, keys.generator(0))
    assert z.mean(0).abs().max() < 0.1
    assert (z.std(0) - 1).abs().max() < 0.1


def test_pixels_that_are_no_whole_numbers_are_refused():
    with pytest.raises(InputError, match="pixels must be whole numbers from 0 to 1, got 2"):
        images(TwoPixels(), levels=2)
    with pytest.raises(InputError, match=r"margin must be a share in \(0, 0.5\), got 0"):
        images(TwoPixels(), levels=3, margin=0.0)
    with pytest.raises(InputError, match="levels must be an integer of at least 2, got 1"):
        images(TwoPixels(), levels=1)


def test_no_sample_of_a_cell_is_rounded_into_the_next():
    corners = torch.full((1, 1), 255.0)
    x = Cells(corners.expand(1_000_000, 1)).spread(keys.generator(0))
    assert (x >= 255).all()
    assert (x < 256).all()


def test_cells_are_as_wide_as_what_they_are_mapped_to():
    law = Cells(torch.zeros(3, 4), map=lambda x: x[:, :2])
    assert law.dim == 2
    assert law.sample(5, keys.generator(0)).shape == (5, 2)


def test_the_inverse_of_a_logit_stays_in_the_cube():
    logit, y = Logit(1), torch.tensor([[-200.0], [20.0], [200.0]])
    x, _ = logit.inverse(y)
    assert ((x > 0) & (x < 1)).all()
    assert logit(x).isfinite().all()
