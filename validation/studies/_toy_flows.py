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
    """Steps of one size and length; the map's rate falls geometrically over them, the critic's is that of each."""

    tau: float
    steps: int
    iterations: int
    first: float
    last: float
    critic_rate: float
    final: float
    batch: int = 512
    momentum: float = 0.9

    def __iter__(self) -> Iterator[Alternate]:
        """The game of each step, one critic step for a map step."""
        betas = (self.momentum, 0.99)
        for k in range(self.steps):
            rate = self.first * (self.last / self.first) ** (k / max(1, self.steps - 1))
            yield Alternate(
                self.iterations, 1, 0, self.batch, rate, self.critic_rate, self.final, averaging=0.99, betas=betas
            )


SPREAD = Phase(10.0, 4, 600, 3e-3, 3e-3, 3e-4, 0.05, momentum=0.8)
"""Long steps of a slow critic, which sees no scale below the distance of the modes: the masses come right first."""


def sharpened(steps: int, tau: float = 0.1) -> Phase:
    """Short steps of a fast critic: mass stays with its mode, the scales below are learnt one after another."""
    return Phase(tau, steps, 800, 1e-2, 6e-4, 6e-3, 0.2)


CIRCLES = (replace(SPREAD, tau=40.0), Phase(1.0, 4, 800, 3e-3, 3e-4, 8e-3, 0.05, momentum=0.5))
COARSE = FourierCritic(2, 32, 1.0, 30.0, 1.5, 128, 2)
"""Two circles have one scale to be learnt, their noise, a twentieth of their width; and are further apart."""


def one_step(phases: Sequence[Phase]) -> Phase:
    """Source-fixed unbalanced transport: the iterations of all phases in one step of the first one's size."""
    total = sum(phase.steps * phase.iterations for phase in phases)
    return replace(SPREAD, steps=1, iterations=total)


def published(phases: Sequence[Phase]) -> Phase:
    """The game of Choi et al. 2024, h = 5, rates 1e-4 and 2e-5, batches of 400: 20 steps of as many iterations."""
    total = sum(phase.steps * phase.iterations for phase in phases)
    return Phase(10.0, 20, total // 20, 1e-4, 1e-4, 2e-5, 1.0, batch=400, momentum=0.5)


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
