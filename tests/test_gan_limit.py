"""One step of τ = ∞ is the plain adversarial game: a hundred updates, bit for bit, by a loop written out here."""

import math

import pytest
import torch
import zoo

from wgf import evolve, keys
from wgf.critics import Critic
from wgf.errors import InputError
from wgf.functionals import FDivergence, JensenShannon, functional
from wgf.law import Empirical, Gaussian
from wgf.maps import Residual
from wgf.steppers import JKO, Base, Previous, SaddleJKO
from wgf.training import Alternate

DATA = Empirical(torch.tensor([[3.0, 0.0], [0.0, 3.0]]).repeat(500, 1) + 0.3 * zoo.randn(5, 1000, 2).float())
UPDATES, BATCH, RATE = 100, 64, 1e-3


def by_hand(pool: torch.Tensor, held: int, key: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """min over T, max over D of E log 2D(T(x)) … : Goodfellow et al. 2014 in logits, by Adam, one update each."""
    map, critic = Residual(2, 16), Critic(2, 16)
    map.reset(keys.generator(key, 0, 1))
    critic.reset(keys.generator(key, 0, 4, 0))
    critic.standardise(torch.cat([pool, DATA.sample(len(pool), keys.generator(keys.fold(key, 0, 4, 0, 1)))]))
    players = [
        torch.optim.Adam(player.parameters(), lr=RATE, betas=(0.5, 0.99), fused=True) for player in (map, critic)
    ]
    training, rows = keys.fold(key, 0, 2), len(pool) - held
    for k in range(UPDATES):
        start = keys.fold(training) % rows + k * BATCH
        x = pool[torch.arange(start, start + BATCH) % rows + held]
        with torch.no_grad():
            fake = map(x)
        real = DATA.sample(BATCH, keys.generator(keys.fold(keys.fold(training, 1, k), 0)))
        fooled = math.log(2) + torch.nn.functional.logsigmoid(critic(fake)).mean()  # log 2D(fake)
        loss = -(fooled - (torch.nn.functional.softplus(critic(real)) - math.log(2)).mean())
        players[1].zero_grad()
        loss.backward()
        players[1].step()
        players[0].zero_grad()
        (math.log(2) + torch.nn.functional.logsigmoid(critic(map(x)))).mean().backward()
        players[0].step()
    return map, critic


@pytest.mark.parametrize("anchor", [Base(), Previous()])
def test_one_step_without_a_cost_is_the_plain_game(anchor):
    game = Alternate(UPDATES, inner=1, refit=0, batch=BATCH, rate=RATE, critic_rate=RATE, final=1.0, averaging=0.0)
    stepper = SaddleJKO(Residual(2, 16), Critic(2, 16), anchor, game, particles=2000, held=100)
    F = FDivergence(JensenShannon(), DATA)
    path = evolve(F, stepper, Gaussian.standard(2), [math.inf], seed=7)
    start = stepper.init(functional(F), Gaussian.standard(2), 7)
    map, critic = by_hand(start.x, 100, start.key)
    for name, weight in map.state_dict().items():
        assert torch.equal(path.state.memory["map"][name], weight), name
    for name, weight in critic.state_dict().items():
        assert torch.equal(path.state.memory["critics"][f"0.{name}"], weight), name
    assert path.times == [0.0, math.inf]
    assert float((path.state.x - start.x).norm(dim=1).mean()) > 0.1


def test_a_finite_step_is_another_game():
    game = Alternate(5, inner=1, refit=0, batch=BATCH, averaging=0.0)
    stepper = SaddleJKO(Residual(2, 8), Critic(2, 8), Base(), game, particles=200, held=20)
    F, rho0 = FDivergence(JensenShannon(), DATA), Gaussian.standard(2)
    far, near, same = (evolve(F, stepper, rho0, [tau]).state.x for tau in (math.inf, 0.01, math.inf))
    assert not torch.equal(far, near)
    assert torch.equal(far, same)


def test_steps_that_need_a_cost_refuse_an_infinite_one():
    with pytest.raises(InputError, match="tau must be a finite number above 0, got inf: JKO takes no step"):
        evolve(zoo.free(), JKO(Residual(2)), Gaussian.standard(2), [math.inf])
