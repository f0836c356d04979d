"""Steps of τ = ∞ have no cost; that they are the plain adversarial game bit for bit is the study gan-limit."""

import math

import pytest
import torch
import zoo

from wgf import evolve
from wgf.critics import Critic
from wgf.errors import InputError
from wgf.functionals import FDivergence, JensenShannon
from wgf.law import Empirical, Gaussian
from wgf.maps import Residual
from wgf.steppers import JKO, Base, SaddleJKO
from wgf.training import Alternate

DATA = Empirical(torch.tensor([[3.0, 0.0], [0.0, 3.0]]).repeat(500, 1) + 0.3 * zoo.randn(5, 1000, 2).float())


def test_a_finite_step_is_another_game():
    game = Alternate(5, inner=1, refit=0, batch=64, averaging=0.0)
    stepper = SaddleJKO(Residual(2, 8), Critic(2, 8), Base(), game, particles=200, held=20)
    F, rho0 = FDivergence(JensenShannon(), DATA), Gaussian.standard(2)
    far, near, same = (evolve(F, stepper, rho0, [tau]).state.x for tau in (math.inf, 0.01, math.inf))
    assert not torch.equal(far, near)
    assert torch.equal(far, same)


def test_steps_that_need_a_cost_refuse_an_infinite_one():
    with pytest.raises(InputError, match="tau must be a finite number above 0, got inf: JKO takes no step"):
        evolve(zoo.free(), JKO(Residual(2)), Gaussian.standard(2), [math.inf])
