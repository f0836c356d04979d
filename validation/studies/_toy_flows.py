"""Semi-dual JKO to toy laws, phase by phase: the schedule that covers many modes, one step, and the published game."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from wgf import Alternate, Empirical, FDivergence, FourierCritic, Gaussian, Path, ProgressBar, Residual, evolve, keys
from wgf.critics import ScalarField
from wgf.functionals import F as Member
from wgf.functionals import RatioKL
from wgf.law import Mixture
from wgf.methods import semidual_jko
from wgf.networks import Relu

DATA, FRESH = 1_000_000, 100_000
"""Rows of the data, and those that are scored."""
MAP, FOURIER = Residual(2, 128, 3, Relu()), FourierCritic(2, 32, 1.0, 90.0, 2.0, 128, 2)
"""The critic has waves from the width of the law down to a ninetieth of it, the short ones learnt late."""


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


SPREAD = Phase(10.0, 4, 600, 3e-3, 1.0, 4e-4, 0.05, 0.5)
"""Long steps of a slow critic, which sees no scale below the distance of the modes: the masses come right first."""
SHARPEN = Phase(0.1, 12, 800, 1e-2, 0.774, 6e-3, 0.2, 0.9)
"""Short steps of a fast critic: mass stays with its mode, the scales below are learnt one after another."""
CIRCLES = (replace(SPREAD, tau=40.0, critic_rate=3e-4, momentum=0.8), Phase(1.0, 4, 800, 3e-3, 0.46, 8e-3, 0.05, 0.5))
COARSE = FourierCritic(2, 32, 1.0, 30.0, 1.5, 128, 2)
"""Two circles have one scale to be learnt, their noise, a twentieth of their width."""


def iterations(phases: Sequence[Phase]) -> int:
    """Those of all steps."""
    return sum(phase.steps * phase.iterations for phase in phases)


def one_step(phases: Sequence[Phase]) -> Phase:
    """Source-fixed unbalanced transport: the iterations of all phases in one step of the published size, h = 5."""
    return replace(SPREAD, tau=10.0, steps=1, iterations=iterations(phases))


def published(phases: Sequence[Phase]) -> Phase:
    """The game of Choi et al. 2024, h = 5, rates 1e-4 and 2e-5, batches of 400: 20 steps of as many iterations."""
    return Phase(10.0, 20, iterations(phases) // 20, 1e-4, 1.0, 2e-5, 1.0, 0.5, 400)


@dataclass(frozen=True)
class Run:
    """One flow to a toy law, and what it took."""

    name: str
    path: Path
    seconds: float

    def sample(self, k: int = -1, rows: int = FRESH) -> Tensor:
        """Fresh rows of the law after k steps."""
        return self.path.laws[k].sample(rows, keys.generator(0, 95, k % len(self.path.laws)))


def run(
    name: str,
    target: Mixture,
    phases: Sequence[Phase],
    seed: int,
    f: Member = RatioKL(),
    critic: ScalarField = FOURIER,
) -> Run:
    """S-JKO to a million rows of the target from N(0, I), in float32."""
    F, start = FDivergence(f, Empirical(target.sample(DATA, keys.generator(seed, 96)).float())), Gaussian.standard(2)
    games = [(phase.tau, training) for phase in phases for training in phase]
    bar, began = ProgressBar(f"modes, {name}"), time.perf_counter()
    path = evolve(F, semidual_jko(2, MAP, critic), start, [], seed=seed)
    bar.begin(path, len(games))
    try:
        for tau, training in games:
            path = evolve(F, semidual_jko(2, MAP, critic, training), start, [tau], seed=seed, path=path)
            bar.after(path)
    finally:
        bar.end(path)
    return Run(name, path, time.perf_counter() - began)
