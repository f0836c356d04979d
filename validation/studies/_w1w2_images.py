"""The four cases of Gu et al. 2024 on handwritten digits: with and without the W₁ and the W₂ proximal."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from validation.studies._about_gaussian import AboutGaussian
from validation.studies._motions import Motion, motion
from wgf import Alternate, Critic, Empirical, Gaussian, OTFlow, Previous, SaddleJKO, evolve
from wgf.data import Mnist
from wgf.functionals import DonskerVaradhan, Lipschitz
from wgf.functionals.dual import log_mean_exp
from wgf.maps import Euler, PotentialFlow
from wgf.observers import Observer
from wgf.optimality import optimality
from wgf.training import Progress

CASES = {"none": (False, False), "W₂": (False, True), "W₁": (True, False), "W₁⊕W₂": (True, True)}
"""Whether critics are L-Lipschitz, and whether motion has a price."""

HORIZON, LAMBDA, L, IMAGES, SPREAD = 5.0, 0.05, 1.0, 6000, 0.5
"""T, λ, L and the number of images as published; noise is N(0, ¼I)."""

START = 0.15
"""The deviation of the potential's last weights before training where there are 128: a kinetic energy of 156."""


@dataclass(frozen=True)
class Size:
    """Widths of the potential's and the critic's network, the depth of both; rows of a batch, and of the pool."""

    potential: int = 128
    critic: int = 128
    depth: int = 2
    batch: int = 128
    pool: int = 20_000


@dataclass
class Terminal(Observer):
    """E φ(x(T)) − log E_π e^φ on held noise and the data, E∫½|v|²dt, at every report of the training."""

    data: Tensor
    iterations: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)

    @torch.no_grad()
    def inside(self, progress: Progress) -> bool:
        live = progress.live
        if live is not None and live.variation is not None:
            y = live.map(live.source)
            variation = live.variation(y)
            assert variation is not None
            self.iterations.append(progress.iteration)
            self.values.append(float(variation(y).mean() - log_mean_exp(variation(self.data))))
            self.energies.append(optimality(live, len(y))["kinetic energy"])
        return False

    @property
    def largest(self) -> float:
        """The largest |value| of the readings: without the W₁ proximal swings come at any time."""
        return max(abs(value) if math.isfinite(value) else math.inf for value in self.values)


@dataclass(frozen=True)
class Trained:
    """One case: the term and τ that it is, the motion, the readings of its training, seconds."""

    name: str
    term: str
    tau: float
    motion: Motion
    terminal: Terminal
    seconds: float


def images(
    device: str = "cpu", size: Size = Size(), iterations: int = 200, cases: tuple[str, ...] = tuple(CASES)
) -> list[Trained]:
    """The four cases on 28 × 28 pixels, h = 1: the same networks, initial weights and schedule; what differs is said.

    On N(0, ¼I) in 784 dimensions; the dual is Donsker and Varadhan's, which their released code takes. Raises:
    InputError without the images in the folder that WGF_DATA names.
    """
    data = Mnist().load().X[:IMAGES].to(device)
    return [_trained(name, data, size, iterations) for name in cases]


def _trained(name: str, data: Tensor, size: Size, iterations: int) -> Trained:
    lipschitz, priced = CASES[name]
    divergence = DonskerVaradhan(Empirical(data))
    term = Lipschitz(divergence, L) if lipschitz else divergence
    terminal, noise = Terminal(data), _noise(data)
    tau = HORIZON / LAMBDA if priced else math.inf
    path = evolve(term, _stepper(data, size, iterations), noise, [tau], observers=[terminal])
    map = path.infos[0].map
    assert isinstance(map, PotentialFlow)
    return Trained(name, term.name, tau, motion(map, noise, 500), terminal, path.infos[0].seconds)


def _noise(data: Tensor) -> Gaussian:
    return Gaussian.standard(data.shape[1], SPREAD**2, torch.float32).to(data.device)


def _stepper(data: Tensor, size: Size, iterations: int) -> SaddleJKO:
    """Networks that start from a random potential, whose kinetic energy nothing but the W₂ proximal asks to fall."""
    dim = data.shape[1]
    network = OTFlow(dim, size.potential, size.depth, horizon=HORIZON, steps=5, scheme=Euler(), frequency=4.0)
    map = AboutGaussian(network, data, SPREAD, 128, START / math.sqrt(size.potential / 128))
    game = Alternate(iterations, 3, 0, size.batch, 1e-3, 1e-3, 0.1, 0.99)
    critic = Critic(dim, size.critic, size.depth)
    return SaddleJKO(map, critic, Previous(), game, size.pool, held=256, densities=False)
