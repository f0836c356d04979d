"""W₁⊕W₂ flows to the pinwheel and the moons, in the plane and in a plane of 7 or 12 dimensions."""

from dataclasses import dataclass

from torch import Tensor

from validation.sinkhorn import Comparison, against_exact
from validation.studies._motions import Motion, motion
from wgf import Alternate, Critic, Empirical, Gaussian, OTFlow, SaddleJKO, evolve, keys
from wgf.activations import Tanh
from wgf.data.planar import Planar
from wgf.functionals import FDivergence, KullbackLeibler, Lipschitz
from wgf.maps import Euler, PotentialFlow
from wgf.methods import w1w2_flow

ROWS, REPETITIONS, BLUR, P = 1000, 80, 0.1, 2
"""Of the Sinkhorn divergence, in units of the data's scale: the root mean variance of the plane's coordinates."""

DRAWN, PATHS = 100_000, 4000


@dataclass(frozen=True)
class Drawn:
    """A trained flow to one of the planar laws."""

    name: str
    data: Tensor
    motion: Motion
    scores: Comparison
    seconds: float

    @property
    def excess(self) -> float:
        """By how much it scores above two exact samples, in standard errors of the difference."""
        return (self.scores.model - self.scores.exact) / self.scores.error


def drawn(source: type[Planar], dim: int) -> Drawn:
    """min over U, max over 2-Lipschitz φ of λE∫½|v|²dt + E φ(x(1)) − E_π(e^φ − 1), λ = 1/5, from N(0, I).

    Five Euler steps; data in units of their scale. One map and one critic step an iteration, on batches of 256; of 512
    in 12 dimensions, where of trainings on 256 some end two standard errors above exact samples, and some none.
    """
    rows = source(DRAWN, dim).load().X
    scale = float(rows[:, :2].var(0).mean().sqrt())
    data, noise = (rows / scale).float(), Gaussian.standard(dim)
    term = Lipschitz(FDivergence(KullbackLeibler(), Empirical(data)), 2.0)
    path = evolve(term, _stepper(dim, 4800 + 600 * dim), noise, [5.0])
    map, model = path.infos[0].map, path.final
    assert isinstance(map, PotentialFlow)

    def exact(key: int) -> Tensor:
        return source(ROWS, dim, 2000 + key).load().X / scale

    def generated(key: int) -> Tensor:
        return model.sample(ROWS, keys.generator(300 + key)).double()

    scores = against_exact(generated, exact, REPETITIONS, BLUR, P)
    name = f"{source.__name__.lower()}, d = {dim}"
    return Drawn(name, data[:PATHS], motion(map, noise, PATHS), scores, path.infos[0].seconds)


def _stepper(dim: int, iterations: int) -> SaddleJKO:
    """Networks of high frequency, the higher the more coordinates share the variance of their features."""
    moved, seen = (5.0, 4.0) if dim == 2 else (8.0, 8.0)
    flow = OTFlow(dim, 64, 2, steps=5, scheme=Euler(), frequency=moved)
    game = Alternate(iterations, 1, 0, 256 if dim < 12 else 512, 4e-3, 4e-3, 0.005, 0.998)
    return w1w2_flow(dim, flow, Critic(dim, 64, 2, Tanh(), frequency=seen), game)
