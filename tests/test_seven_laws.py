"""How the tables of JKO-Flow judge a flow: by as fine steps as it needs, up to 64."""

import math

import pytest
import torch

from validation.studies import jko_flow_2d as table
from validation.studies._carried_back import carried_back
from wgf import Gaussian, Inverse, Law, OTFlow, Pushforward, keys


def steep(rate: float, steps: int = table.EVALUATION) -> Pushforward:
    """N(0, I) carried back through ẋ₁ = −rate·x₁ by RK4: the steeper, the more steps it needs."""
    map = OTFlow(2, 4, evaluation_steps=steps)
    with torch.no_grad():
        map.quadratic.zero_()
        map.quadratic[0, 0] = math.sqrt(rate)
    return Pushforward(Gaussian.standard(2), Inverse(map.eval()))


@pytest.mark.parametrize(("rate", "taken"), [(10.0, 16), (20.0, 32), (40.0, 64)])
def test_a_steep_flow_is_judged_by_finer_steps(monkeypatch, rate, taken):
    monkeypatch.setattr(table, "ROWS", 200)
    cell = table.judged("moons", 1.0, 5, steep(rate))
    assert cell.taken == taken
    assert math.isfinite(cell.mean)
    assert math.isfinite(cell.nll)


def test_one_that_64_do_not_bring_back_meets_nothing(monkeypatch):
    monkeypatch.setattr(table, "ROWS", 200)
    cell = table.judged("moons", 1.0, 5, steep(80.0))
    assert (cell.taken, cell.mean, cell.p) == (64, math.inf, 0.0)
    assert not table.met([cell])[0].holds


def samples(law: Law) -> torch.Tensor:
    return law.sample(200, keys.generator(3))


@pytest.mark.parametrize(("rate", "taken"), [(5.0, 8), (12.0, 16), (40.0, 64)])
def test_samples_of_a_steep_flow_are_drawn_by_finer_steps(rate, taken):
    law, x, found = carried_back(steep(rate, 8), samples, 8)
    assert found == taken
    assert x.shape == (200, 2)
    assert torch.isfinite(law.log_prob(x)).all()  # of the law that took them
    torch.testing.assert_close(x, samples(law), rtol=0, atol=0)


def test_samples_that_64_steps_do_not_bring_back_are_none():
    assert carried_back(steep(80.0, 8), samples, 8)[1:] == (None, 64)
