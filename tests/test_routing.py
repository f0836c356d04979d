"""What fits what: a stepper that cannot run a term says so before the first step, and says what would do."""

import pytest
import torch
import zoo
from torch import Tensor

from wgf import evolve
from wgf.critics import Critic
from wgf.errors import Incompatible, InputError
from wgf.functionals import (
    Entropy,
    FDivergence,
    HasVariation,
    Interaction,
    KullbackLeibler,
    OnDensity,
    OnSamples,
    Potential,
    PowerEntropy,
    Quadratic,
    Term,
    Variation,
    functional,
)
from wgf.functionals.base import first_variation, route
from wgf.kernels import Power
from wgf.law import Cloud, Empirical, Gaussian
from wgf.maps import Affine, Inverse, Residual
from wgf.steppers import JKO, AdjustedLangevin, Base, Langevin, Midpoint, Particles, SaddleJKO, Splitting
from wgf.training import LBFGS


class OnlyVariation(Term, HasVariation):
    """A term that particles can follow and nothing else can use."""

    def first_variation(self, cloud: Cloud) -> Variation:
        return Variation(lambda x: x.sum(-1))


def jko(dim: int = 2) -> JKO:
    return JKO(Affine(dim), LBFGS(2), particles=20, held=4)


def saddle(dim: int = 2, critic: int = 2) -> SaddleJKO:
    return SaddleJKO(Residual(dim, width=4), Critic(critic, 4), Base(), zoo.GAME, particles=20, held=4)


DIVERGENCE = FDivergence(KullbackLeibler(), zoo.target())
ATTRACTION = Interaction(Power(2))
REFUSED = {  # stepper, functional, what the sentence must name
    "Particles, Entropy": (Particles(20), zoo.free(), ["Particles", "Entropy", "HasVariation", "Langevin", "Blob"]),
    "Particles, divergence": (Particles(20), DIVERGENCE, ["Particles", "FDivergence", "HasDual"]),
    "Langevin, PowerEntropy": (Langevin(20), zoo.V() + PowerEntropy(2), ["Langevin", "PowerEntropy(2)", "JKO"]),
    "Langevin, divergence": (Langevin(20), zoo.free() + DIVERGENCE, ["Langevin", "FDivergence"]),
    "Langevin, cold": (Langevin(20), zoo.V() - 0.5 * Entropy(), ["Langevin", "temperature", "-0.5"]),
    "MALA, interaction": (AdjustedLangevin(20), zoo.crowded(), ["AdjustedLangevin", "Interaction", "Potential"]),
    "MALA, no noise": (AdjustedLangevin(20), zoo.V(), ["AdjustedLangevin", "Entropy()"]),
    "MALA, no potential": (AdjustedLangevin(20), Entropy(), ["AdjustedLangevin", "Potential(V)"]),
    "JKO, divergence": (jko(), DIVERGENCE, ["JKO", "FDivergence", "OnSamples or OnDensity", "SaddleJKO"]),
    "JKO, variation": (jko(), zoo.free() + OnlyVariation(), ["JKO", "OnlyVariation", "HasVariation"]),
    "Midpoint, divergence": (Midpoint(jko()), DIVERGENCE, ["JKO", "FDivergence", "SaddleJKO"]),
    "saddle, no dual": (saddle(), zoo.V(), ["SaddleJKO", "Potential", "use JKO"]),
    "saddle, variation": (saddle(), OnlyVariation() + Entropy(), ["SaddleJKO", "OnlyVariation", "JKO"]),
    "saddle, negative": (saddle(), zoo.V() - 0.5 * Entropy(), ["SaddleJKO", "Entropy", "negative", "-0.5"]),
    "saddle, negative divergence": (saddle(), zoo.free() - DIVERGENCE, ["SaddleJKO", "FDivergence", "-1"]),
    "splitting, nothing forward": (Splitting(jko()), zoo.free(), ["Splitting", "no Interaction"]),
    "splitting, nothing backward": (Splitting(jko()), ATTRACTION, ["Splitting", "only Interaction"]),
    "splitting, no variation": (Splitting(jko(), (Entropy,)), zoo.free(), ["forward half of Splitting", "Entropy"]),
    "splitting, inner": (Splitting(jko()), ATTRACTION + DIVERGENCE, ["JKO", "FDivergence", "SaddleJKO"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_the_first_step(case):
    stepper, F, names = REFUSED[case]
    steps = []
    with pytest.raises(InputError) as caught:
        evolve(F, stepper, zoo.start(), [0.1], stop=steps.append)
    assert type(caught.value) is Incompatible
    assert not steps
    sentence = str(caught.value)
    assert [name for name in names if name not in sentence] == []
    assert "\n" not in sentence


MISMATCHED = {
    "map": (jko(3), zoo.free(), "the map acts on 3 dimensions, but the initial law has 2"),
    "map of a saddle": (saddle(3, 2), zoo.free(), "the map acts on 3"),
    "critic": (saddle(2, 5), zoo.free(), "the critic reads 5 dimensions"),
    "samples": (
        saddle(), FDivergence(KullbackLeibler(), Gaussian.standard(3)), r"samples of width 3, but the particles have 2"
    ),
    "map inside Midpoint": (Midpoint(jko(3)), zoo.free(), "the map acts on 3"),
    "map inside Splitting": (Splitting(jko(3)), zoo.crowded(), "the map acts on 3"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISMATCHED)
def test_dimensions_must_agree(case):
    stepper, F, message = MISMATCHED[case]
    with pytest.raises(Incompatible, match=message):
        evolve(F, stepper, zoo.start(), [0.1])


def test_a_power_entropy_needs_a_density():
    rows = Empirical(zoo.randn(0, 50, 2))
    with pytest.raises(Incompatible, match=r"PowerEntropy\(2\) on particles of which \d+ carry no density"):
        evolve(PowerEntropy(2), jko(), rows, [0.1])
    assert len(evolve(Entropy(), jko(), rows, [0.1])) == 1  # its increment needs none


def test_each_term_takes_the_first_kind_that_it_is():
    F = 2 * Entropy() + zoo.V() - 3 * PowerEntropy(2)
    assert [(w, kind) for w, _, kind in route(F, (OnSamples, OnDensity), "here")] == [
        (2, OnDensity), (1, OnSamples), (-3, OnDensity)
    ]  # fmt: skip
    assert [kind for *_, kind in route(functional(zoo.V()), (HasVariation, OnSamples), "here")] == [HasVariation]


def test_a_negative_weight_is_only_refused_through_a_dual():
    assert len(evolve(zoo.V() - 0.1 * Entropy(), jko(), zoo.start(), [0.1])) == 1
    assert len(evolve(-0.1 * zoo.V(), Particles(20), zoo.start(), [0.1])) == 1


def test_a_variation_cannot_be_summed_without_its_parts():
    with pytest.raises(Incompatible, match="Entropy has no first variation"):
        first_variation(zoo.free(), Cloud(zoo.randn(0, 5, 2)))


def never_asked(x: Tensor) -> Tensor:
    raise AssertionError("the functional was evaluated before its arguments were checked")


BAD = {
    "tau must be a finite number above 0, got 0.0": lambda: evolve(zoo.free(), jko(), zoo.start(), [0.1, 0.0]),
    "tau must be a finite number above 0, got -0.1": lambda: evolve(zoo.free(), jko(), zoo.start(), [-0.1]),
    "tau must be a finite number above 0, got nan": lambda: evolve(zoo.free(), jko(), zoo.start(), [float("nan")]),
    "tau must be a finite number above 0, got inf": lambda: evolve(zoo.free(), jko(), zoo.start(), [float("inf")]),
    "taus must be a sequence of step sizes": lambda: evolve(zoo.free(), jko(), zoo.start(), ["x"]),
    "got -1": lambda: evolve(Potential(never_asked), Particles(20), zoo.start(), [-1]),
    "rho0 must be a law, got Tensor; wrap": lambda: evolve(zoo.free(), jko(), torch.zeros(5, 2), [0.1]),
    "expected a functional": lambda: evolve(zoo.bumpy, jko(), zoo.start(), [0.1]),
    "held must be at most half of the particles, got 60 of 100": lambda: JKO(Affine(2), particles=100, held=60),
    "held must be at most half of the particles, got 6 of 10": lambda: SaddleJKO(
        Affine(2), Critic(2), particles=10, held=6
    ),
    "particles must be an integer of at least 2": lambda: JKO(Affine(2), particles=1),
    "held must be an integer of at least 0": lambda: JKO(Affine(2), held=-1),
    "held must be an integer of at least 1": lambda: SaddleJKO(Affine(2), Critic(2), held=0),
    "density_batch must be": lambda: JKO(Affine(2), density_batch=0),
    "particles must be an integer of at least 1": lambda: Particles(0),
    "substeps must be an integer of at least 1": lambda: Langevin(10, 0),
    "substeps must be an integer of at least 1, got 1.5": lambda: AdjustedLangevin(10, 1.5),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused_by_name(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()


@pytest.mark.parametrize(
    ("V", "words"),
    [
        (Quadratic(torch.eye(3)), "in 2 dimensions"),
        (lambda x: x, r"must map \(n, 2\) to \(n,\), but gave \(3, 2\)"),
        (lambda x: 0.0, "but gave float"),
    ],
    ids=["wrong dimension", "a row each", "no tensor"],
)
def test_a_potential_that_does_not_fit_is_refused_before_the_first_step(V, words):
    with pytest.raises(InputError, match=words):
        evolve(Potential(V), Particles(10), Gaussian.standard(2), [0.1])


def test_an_inverse_is_refused_as_a_map_to_train():
    stepper = JKO(Inverse(Affine(2)), particles=100, held=10)
    with pytest.raises(Incompatible, match="Inverse cannot be trained"):
        evolve(Entropy() + Potential(Quadratic(torch.eye(2))), stepper, Gaussian.standard(2), [0.1])


def test_a_potential_that_autograd_cannot_see_is_refused_or_takes_its_gradient():
    def hidden(x):
        return 0.5 * x.detach().square().sum(1)

    start, stepper = Gaussian.standard(2, 3.0), JKO(Affine(2), LBFGS(), particles=200, held=0)
    for each in (stepper, Particles(100)):
        with pytest.raises(InputError, match="not differentiable by autograd"):
            evolve(Entropy() + Potential(hidden) if each is stepper else Potential(hidden), each, start, [0.5])
    told = evolve(Entropy() + Potential(hidden, lambda x: x), stepper, start, [0.5])
    seen = evolve(Entropy() + Potential(Quadratic(torch.eye(2))), stepper, start, [0.5])
    torch.testing.assert_close(told.state.x, seen.state.x, rtol=0, atol=1e-4)
