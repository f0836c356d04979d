"""MNIST as codes of sixteen numbers: a flow of the codes given the label, decoded to images of each digit."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from validation.mixtures import GAUSSIAN, MIXTURE, by_class, chosen_mixture
from validation.studies._label_flow import CLASSES, LabelFlow, Training, encoded, summed
from wgf import Gaussian, keys
from wgf.autoencoder import Coder, PrincipalComponents, reconstruction_error
from wgf.data import Latent, Mnist, Table
from wgf.data.table import numbered
from wgf.kernels import Median
from wgf.law import Empirical
from wgf.maps import Standard
from wgf.training import Adam
from wgf.two_sample import ClassifierTest, TwoSampleTest, classifier_test, mmd_test

HELD = 0.1
"""The share of the images that are held from coders and flows."""

TESTED = 2000
"""Rows of either sample that the tests take at most."""


@dataclass(frozen=True)
class Size:
    """What it may cost: whether the larger part of MNIST, the coders, the flow's steps and training, the mixtures."""

    train: bool
    coders: tuple[Latent | int, ...]
    training: Training
    components: tuple[int, ...]


QUICK = Size(False, (16,), Training((0.5, 1.0, 2.0), Adam(350, 512, 5e-3, averaging=0.98), 96, 20), (10, 20))
FULL = Size(
    True,
    (16, Latent(Mnist(), 16, features=8, training=Adam(400, 128, 4e-3), held=HELD)),
    Training((0.5, 1.0, 2.0), Adam(700, 512, 4e-3, averaging=0.99, checks=14, patience=6), 128, 20),
    (40, 100),
)


@dataclass(frozen=True)
class Coded:
    """Images as codes, trained on and held, with their coder and its mean squared error a pixel on held images."""

    name: str
    coder: Coder
    train: Table
    held: Table
    error: float


@dataclass(frozen=True)
class Codes:
    """A flow of codes: log-densities (m,) of held codes under it, labels summed, and each baseline; in standard units.

    right: how often a row is likeliest given its own label; test, told: samples of held labels against held codes;
    shown: real images, the same coded and decoded, and samples of the same digits.
    """

    coded: Coded
    densities: Mapping[str, Float[Tensor, " m"]]
    right: float
    test: TwoSampleTest
    told: ClassifierTest
    shown: Mapping[str, Float[Tensor, "n 784"]]
    seconds: float

    def nll(self, name: str) -> float:
        """Nats a row of held codes."""
        return -float(self.densities[name].mean())

    def error(self, name: str) -> float:
        """Of that, the standard error."""
        return float(self.densities[name].std()) / math.sqrt(len(self.densities[name]))

    def behind(self, name: str) -> tuple[float, float]:
        """NLL of the flow less that of a baseline, and the standard error of that, row by row."""
        difference = self.densities[name] - self.densities["flow"]
        return float(difference.mean()), float(difference.std()) / math.sqrt(len(difference))


def codes(images: Table, size: Size) -> list[Codes]:
    """One flow for each coder of the images of MNIST."""
    return [_learnt(images, _coded(images, coder), size) for coder in size.coders]


def _coded(images: Table, spec: Latent | int) -> Coded:
    train, held = images.split(1 - HELD)
    if isinstance(spec, Latent):
        learnt = spec.learn()
        first, second = learnt.codes.split(1 - HELD)
        return Coded("convolutional", learnt.model, first, second, learnt.error)
    coder = PrincipalComponents.fit(train.X, spec)
    first, second = (Table(coder.encode(part.X), part.y, numbered("code", spec)) for part in (train, held))
    return Coded("principal components", coder, first, second, reconstruction_error(coder, held.X))


def _learnt(images: Table, coded: Coded, size: Size) -> Codes:
    began, frame = time.process_time(), Standard.fit(coded.train.X.double())
    u, v = frame(coded.train.X.double()), frame(coded.held.X.double())
    y, labels = coded.train.y, coded.held.y
    assert y is not None
    assert labels is not None
    flow = LabelFlow.trained(Empirical(torch.cat([u, encoded(y)], 1)), len(u), size.training)
    each = flow.given(v)
    densities = {"flow": summed(each, y), **_baselines(u, y, v, size)}
    x, z = flow.sample(labels, keys.generator(1))[:TESTED], v[:TESTED]
    right = float((each.argmax(1) == labels).double().mean())
    tests = mmd_test(Median(), z, x, 499), classifier_test(z, x)
    seconds = time.process_time() - began
    return Codes(coded, densities, right, *tests, _shown(images, coded, frame, flow), seconds)


def _baselines(u: Tensor, y: Tensor, v: Tensor, size: Size) -> dict[str, Tensor]:
    """Log-densities of v under three models of u; mixtures are chosen on a tenth of the rows."""
    cut = len(u) // 10
    classes = by_class(u[cut:], y[cut:], u[:cut], (0.0, 1e-2))
    found = chosen_mixture(u[cut:], u[:cut], size.components, (1e-2,))
    laws = {GAUSSIAN: Gaussian.fit(u), "Gaussian a class": classes.law, MIXTURE: found.law}
    return {name: law.log_prob(v) for name, law in laws.items()}


@torch.no_grad()
def _shown(images: Table, coded: Coded, frame: Standard, flow: LabelFlow) -> dict[str, Tensor]:
    """The first held image of each digit, the same coded and decoded, and two samples of it."""
    _, held = images.split(1 - HELD)
    assert held.y is not None
    first = torch.stack([(held.y == digit).nonzero()[0, 0] for digit in range(CLASSES)])
    drawn = flow.sample(torch.arange(2 * CLASSES) % CLASSES, keys.generator(2))
    decoded = coded.coder.decode(torch.cat([coded.held.X[first], frame.inverse(drawn)[0].float()]))
    return {"real": held.X[first], "decoded": decoded[:CLASSES], "samples": decoded[CLASSES:]}
