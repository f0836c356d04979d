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

PLAIN, LABELS = "flow", "flow by label, labels summed"


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


QUICK = Size(Training((0.5, 0.7, 1.0), Adam(200, 256, 6e-3, averaging=0.98), 64, 16), 10, 5, (5, 10), (0.2,))
FULL = Size(
    Training((0.5, 0.7, 1.0, 1.4), Adam(600, 256, 3e-3, averaging=0.99, checks=12, patience=6), 128, 16),
    40,
    20,
    (5, 10, 20, 40),
    (0.1, 0.2, 0.4),
)


@dataclass(frozen=True)
class Pixels:
    """Log-densities (m,) of the held rows under two flows and baselines, in grey levels, and what is checked.

    score: of the flow without labels; right: how often the likeliest label is the true one; trip: the largest
    |x' − x| of held rows x carried to noise and back; test, told: samples given the held labels against held rows, in
    logits; other: training rows in their place; stages: the same ten digits (10, 64) in noise and after every step.
    """

    score: Score
    densities: Mapping[str, Float[Tensor, " m"]]
    right: float
    trip: float
    test: TwoSampleTest
    told: ClassifierTest
    other: ClassifierTest
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
    began, problem, (table, held) = time.process_time(), images(Digits()), Digits().load().split(0.8)
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
    drawn, other = flow.sample(held.y, keys.generator(1)), frame(learning.train[: len(held)])
    return Pixels(
        score(model, learning.held),
        densities,
        float((given.argmax(1) == held.y).double().mean()),
        max(_trip(frame, path, learning.held), _trip(frame, flow.path, learning.held, held.y)),
        mmd_test(Median(), moved.y, drawn, 499),
        classifier_test(moved.y, drawn),
        classifier_test(moved.y, other),
        replace(held, X=learning.held),
        _stages(frame, flow),
        time.process_time() - began,
    )


def _plain(problem: Problem, pool: int, training: Training) -> Path:
    """The flow that knows no labels."""
    block = NeuralODE(problem.dim, training.width, steps=2, evaluation_steps=4)
    stepper = replace(jko_iflow(problem.dim, block, training.recipe, pool), held=pool // training.held)
    return evolve(problem.F, stepper, problem.initial.to(torch.float32), training.taus, seed=0)


def _baselines(table: Table, frame: Map, size: Size) -> dict[str, Law]:
    """On pixels as they are, and on the flow's standardised logits; mixtures are chosen on a tenth of the digits."""
    cut = len(table) // 10
    chosen, rest = table[:cut], table[cut:]
    v, x, whole = (_spread(part, size.copies, key) for key, part in enumerate((chosen, rest, table)))
    assert rest.y is not None
    classes = by_class(frame(x), rest.y.repeat(size.copies), frame(v), size.ridges).law
    plain = chosen_mixture(x, v, size.components, size.ridges).law
    found = chosen_mixture(frame(x), frame(v), size.components, size.ridges).law
    back = Inverse(frame)
    return {
        f"{GAUSSIAN}, pixels": Gaussian.fit(whole),
        f"{MIXTURE}, pixels": plain,
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
