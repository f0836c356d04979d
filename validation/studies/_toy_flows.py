"""Semi-dual JKO to toy laws, step by step: the schedule that covers many modes, one step, and the published game."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from wgf import (
    Alternate,
    Blurred,
    Critic,
    Empirical,
    FDivergence,
    FourierCritic,
    Gaussian,
    Path,
    ProgressBar,
    Residual,
    evolve,
    keys,
)
from wgf.activations import Relu
from wgf.critics import ScalarField
from wgf.functionals import F as Member
from wgf.functionals import RatioKL
from wgf.law import Mixture
from wgf.methods import semidual_jko

DATA, FRESH = 1_000_000, 100_000
"""Rows of the data, and those that are scored."""
MAP, FOURIER = Residual(2, 128, 3, Relu()), FourierCritic(2, 32, 1.0, 90.0, 2.0, 128, 2)
"""The critic has waves from the width of the law down to a ninetieth of it, the short ones learnt late."""


@dataclass(frozen=True)
class Turn:
    """One step: τ, its game, its critic, which starts `fresh` or goes on, and the noise that blurs the data, 0 for
    none.
    """

    tau: float
    training: Alternate
    critic: ScalarField
    blur: float = 0.0
    fresh: bool = False


@dataclass(frozen=True)
class Phase:
    """Steps of one size and length, one critic step for each map step; from step to step the map's rate shrinks by a
    factor, the critic's stays; within a step both fall to the share `final`.
    """

    tau: float
    steps: int
    iterations: int
    rate: float
    ratio: float
    critic_rate: float
    final: float
    momentum: float
    batch: int = 512

    def __iter__(self) -> Iterator[Alternate]:
        """The game of each step."""
        for k in range(self.steps):
            yield Alternate(
                self.iterations,
                inner=1,
                refit=0,
                batch=self.batch,
                rate=self.rate * self.ratio**k,
                critic_rate=self.critic_rate,
                final=self.final,
                averaging=0.99,
                betas=(self.momentum, 0.99),
            )

    def turns(self, critic: ScalarField = FOURIER) -> list[Turn]:
        """Its steps, to the data as they are."""
        return [Turn(self.tau, training, critic) for training in self]


LONG = Phase(10.0, 4, 600, 3e-3, 1.0, 4e-4, 0.05, 0.5)
"""Long steps of a slow critic, which sees no scale far below the width of the law."""
CIRCLES = (replace(LONG, tau=40.0, critic_rate=3e-4, momentum=0.8), Phase(1.0, 4, 800, 3e-3, 0.46, 8e-3, 0.05, 0.5))
COARSE = FourierCritic(2, 32, 1.0, 30.0, 1.5, 128, 2)
"""Two circles have one scale to be learnt, their noise, a twentieth of their width."""

WIDE = Phase(10.0, 5, 600, 3e-3, 1.0, 4e-3, 0.1, 0.5)
WIDE_BLURS = (1.5, 1.0, 0.6, 0.36, 0.2)
"""Modes that overlap and then part: here the masses come right."""
FINE = Phase(40.0, 7, 900, 4e-3, 0.86, 6e-3, 0.1, 0.9)
FINE_BLURS = tuple(0.12 * 0.6**k for k in range(7))
"""Modes that shrink by as much in every step."""
LAST = Phase(10.0, 8, 900, 1.4e-3, 0.86, 2e-3, 0.1, 0.9)
LAST_BLURS = (0.0034, 0.002, *[0.0] * 6)
"""Next to no blur, then the data as they are: shorter steps of a slower critic, for a fast one may throw a mode off."""


def annealed(noise: float, width: float) -> list[Turn]:
    """S-JKO to data whose modes, of the given noise, are blurred less from step to step, in a law of the given width.

    A step to modes of deviation s, their blur and noise together, has τ = 10 s² or 40 s²: to shrink modes costs little,
    to change from one to another more and more. Every fine step starts with a new critic, whose waves reach down to
    2πs: those of the step before are too long for it. The last steps go on with that of the finest.
    """
    turns = []
    for phase, blurs in ((WIDE, WIDE_BLURS), (FINE, FINE_BLURS), (LAST, LAST_BLURS)):
        for training, blur in zip(phase, blurs, strict=True):
            seen = math.hypot(blur, noise)
            critic = FOURIER if phase is WIDE else FourierCritic(2, 96, 1.0, width / seen, 1.0, 128, 2)
            turns.append(Turn(phase.tau * seen**2, training, critic, blur, fresh=phase is FINE))
    return turns


def iterations(turns: Sequence[Turn]) -> int:
    """Those of all steps."""
    return sum(turn.training.iterations for turn in turns)


def one_step(turns: Sequence[Turn]) -> list[Turn]:
    """Source-fixed unbalanced transport: the iterations of all steps in one of the published size, h = 5."""
    return replace(LONG, steps=1, iterations=iterations(turns)).turns()


def published(turns: Sequence[Turn], critic: ScalarField = Critic(2, 128, 3)) -> list[Turn]:
    """The game of Choi et al. 2024, h = 5, rates 1e-4 and 2e-5, batches of 400: 20 steps of as many iterations."""
    return Phase(10.0, 20, iterations(turns) // 20, 1e-4, 1.0, 2e-5, 1.0, 0.5, 400).turns(critic)


@dataclass(frozen=True)
class Run:
    """One flow to a toy law, and what it took."""

    name: str
    path: Path
    seconds: float

    def sample(self, k: int = -1, rows: int = FRESH) -> Tensor:
        """Fresh rows of the law after k steps."""
        return self.path.laws[k].sample(rows, keys.generator(0, 95, k % len(self.path.laws)))


def run(name: str, target: Mixture, turns: Sequence[Turn], seed: int, f: Member = RatioKL()) -> Run:
    """S-JKO to a million rows of the target from N(0, I), in float32."""
    data, start = Empirical(target.sample(DATA, keys.generator(seed, 96)).float()), Gaussian.standard(2)
    bar, began = ProgressBar(f"modes, {name}"), time.perf_counter()
    path = evolve(FDivergence(f, data), semidual_jko(2, MAP, turns[0].critic), start, [], seed=seed)
    bar.begin(path, len(turns))
    try:
        for turn in turns:
            F = FDivergence(f, Blurred(data, turn.blur) if turn.blur else data)
            stepper = semidual_jko(2, MAP, turn.critic, turn.training)
            path = evolve(F, stepper, start, [turn.tau], seed=seed, path=_without_critics(path) if turn.fresh else path)
            bar.after(path)
    finally:
        bar.end(path)
    return Run(name, path, time.perf_counter() - began)


def _without_critics(path: Path) -> Path:
    """The path with no critic remembered: the next step's starts afresh."""
    memory = {name: part for name, part in (path.state.memory or {}).items() if name != "critics"}
    return replace(path, state=replace(path.state, memory=memory))
