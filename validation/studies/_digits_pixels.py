"""The 8 × 8 digits as a density: JKO-iFlow on logits of spread pixels, beside Gaussians and mixtures of them."""

import copy
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from validation.mixtures import GAUSSIAN, MIXTURE, by_class, chosen_mixture
from validation.studies._label_flow import CLASSES, LabelFlow, Training, encoded, summed
from wgf import Gaussian, Path, evolve, keys
from wgf.cells import Cells
from wgf.data import Digits, Table
from wgf.kernels import Median
from wgf.law import Law, Pushforward
from wgf.maps import Compose, Inverse, Map, NeuralODE
from wgf.methods import jko_iflow
from wgf.problem import Problem
from wgf.scoring import Score, log_density, score
from wgf.targets import images
from wgf.training import Adam
from wgf.two_sample import ClassifierTest, TwoSampleTest, classifier_test, mmd_test

SPLIT = 1
"""The seed of which digits are held: settings were tried on another split, 0, whose held rows they have seen."""

PLAIN, LABELS, OTHER = "flow", "flow by label", "training digits"
"""Two models, the density of the second that with labels summed, and what is no model."""


@dataclass(frozen=True)
class Size:
    """What it may cost: the flows' training, draws of a row in their pool, copies of it for the mixtures, their grid.

    Draws and copies of a row are spread anew each.
    """

    training: Training
    draws: int
    copies: int
    components: tuple[int, ...]
    ridges: tuple[float, ...]


QUICK = Size(Training((0.5, 0.8, 1.2), Adam(400, 256, 4e-3, averaging=0.98), 96, 30), 20, 10, (5, 10), (0.2,))
FULL = Size(
    Training((0.4, 0.6, 0.9, 1.3), Adam(800, 384, 3e-3, averaging=0.99, checks=16, patience=6), 128, 30),
    40,
    20,
    (5, 10, 20, 40),
    (0.1, 0.2),
)


@dataclass(frozen=True)
class Pixels:
    """Log-densities (m,) of the held rows under two flows and baselines, in grey levels, and what is checked.

    score: of the flow without labels; right: how often a row is likeliest given its own label; trip: the largest
    |x' − x| of held rows x carried to noise and back; test: samples of the held labels against held digits, as images
    in whole numbers; told: how often a classifier tells those of a model, or training digits, from them; stages: the
    same ten digits (10, 64) in noise and after every step.
    """

    score: Score
    densities: Mapping[str, Float[Tensor, " m"]]
    right: float
    trip: float
    test: TwoSampleTest
    told: Mapping[str, ClassifierTest]
    held: Table
    stages: list[Float[Tensor, "10 64"]]
    seconds: float

    def bits(self, name: str) -> tuple[float, float]:
        """Bits a dimension of held rows under a model, and their standard error."""
        return _mean(-self.densities[name])

    def behind(self, name: str, other: str) -> tuple[float, float]:
        """Bits of a model less those of another, and the standard error of that, row by row."""
        return _mean(self.densities[other] - self.densities[name])


def _mean(nats: Float[Tensor, " m"]) -> tuple[float, float]:
    bits = nats / (64 * math.log(2))
    return float(bits.mean()), float(bits.std()) / math.sqrt(len(bits))


def pixels(size: Size) -> Pixels:
    """Trained on four fifths of the 1,797 digits in float32, scored on the others. Raises: as `Digits.load`."""
    began, problem = time.process_time(), images(Digits(), split=SPLIT)
    table, held = Digits().load().split(0.8, SPLIT)
    learning, pool = problem.learning, size.draws * len(table)
    assert learning is not None
    assert table.y is not None
    assert held.y is not None
    frame, path = learning.frame, _plain(problem, pool, size.training)
    start = Cells(table.X, map=frame, context=encoded(table.y))
    flow = LabelFlow.trained(start, pool, size.training)
    model, moved = learning.model(path), frame.transport(learning.held, logdet=True)
    given = flow.given(moved.y)
    laws: dict[str, Law] = {PLAIN: model, **_baselines(table, frame, size)}
    with torch.no_grad():
        densities = {name: log_density(law, learning.held) for name, law in laws.items()}
    assert moved.logdet is not None
    densities[LABELS] = summed(given, table.y) + moved.logdet
    drawn = {LABELS: frame.inverse(flow.sample(held.y, keys.generator(1)))[0], OTHER: learning.train[: len(held)]}
    drawn |= {name: laws[name].sample(len(held), keys.generator(2)) for name in (PLAIN, GAUSSIAN, MIXTURE)}
    return Pixels(
        score(model, learning.held),
        densities,
        float((given.argmax(1) == held.y).double().mean()),
        max(_trip(frame, path, learning.held), _trip(frame, flow.path, learning.held, held.y)),
        mmd_test(Median(), held.X.double(), _whole(drawn[LABELS]), 499),
        {name: classifier_test(held.X, _whole(x)) for name, x in drawn.items()},
        replace(held, X=learning.held),
        _stages(frame, flow),
        time.process_time() - began,
    )


def _whole(x: Float[Tensor, "n 64"]) -> Float[Tensor, "n 64"]:
    """Images in whole numbers, as the digits are."""
    return x.floor().clamp(0, 16)


def _plain(problem: Problem, pool: int, training: Training) -> Path:
    """The flow that knows no labels."""
    block = NeuralODE(problem.dim, training.width, steps=2, evaluation_steps=4)
    stepper = replace(jko_iflow(problem.dim, block, training.recipe, pool), held=pool // training.held)
    return evolve(problem.F, stepper, problem.initial.to(torch.float32), training.taus, seed=0)


def _baselines(table: Table, frame: Map, size: Size) -> dict[str, Law]:
    """Of pixels as they are, and of the flow's standardised logits; ridge and components by a tenth of the digits."""
    cut = len(table) // 10
    chosen, rest = table[:cut], table[cut:]
    v, x, whole = (_spread(part, size.copies, key) for key, part in enumerate((chosen, rest, table)))
    assert rest.y is not None
    classes = by_class(frame(x), rest.y.repeat(size.copies), frame(v), size.ridges).law
    found = chosen_mixture(frame(x), frame(v), size.components, size.ridges).law
    back = Inverse(frame)
    return {
        f"{GAUSSIAN}, pixels": Gaussian.fit(whole),
        GAUSSIAN: Pushforward(Gaussian.fit(frame(whole)), back),
        "Gaussian a class": Pushforward(classes, back),
        MIXTURE: Pushforward(found, back),
    }


def _spread(table: Table, copies: int, key: int) -> Float[Tensor, "k 64"]:
    return Cells(table.X.repeat(copies, 1)).spread(keys.generator(key, 3))


@torch.no_grad()
def _trip(frame: Map, path: Path, x: Float[Tensor, "n 64"], labels: Int[Tensor, " n"] | None = None) -> float:
    """max |T⁻¹(T(x)) − x|, T the frame and all steps, in float64."""
    steps = Compose([copy.deepcopy(map).double() for map in path.maps])
    there = frame(x) if labels is None else torch.cat([frame(x), encoded(labels)], 1)
    back, _ = steps.inverse(steps(there))
    return float((frame.inverse(back[:, : x.shape[1]])[0] - x).abs().max())


@torch.no_grad()
def _stages(frame: Map, flow: LabelFlow) -> list[Float[Tensor, "10 64"]]:
    """Noise and the ten labels, then what each step on the way back makes of them, as pixels."""
    digits = torch.arange(CLASSES)
    noise = torch.randn(CLASSES, frame.dim, dtype=torch.float64, generator=keys.generator(4))
    rows = torch.cat([noise, encoded(digits)], 1)
    stages = [frame.inverse(noise)[0]]
    for map in reversed(flow.path.maps):
        rows, _ = copy.deepcopy(map).double().inverse(rows)
        stages.append(frame.inverse(rows[:, : frame.dim])[0])
    return stages
