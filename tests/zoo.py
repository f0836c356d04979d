"""The zoo: every map, term, stepper, law and problem, a line each, with what it claims.

The conformance tests run over these lists, and `test_zoo.py` fails while a class of the library is in none of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, distributions

from pdes import barenblatt, heat, log_gas, mckean_vlasov, ornstein_uhlenbeck, porous_medium
from wgf import networks
from wgf.activations import Activation, Relu, Silu, Tanh
from wgf.blurred import Blurred
from wgf.cells import Cells
from wgf.critics import Critic, FourierCritic, ImageCritic, LipschitzCritic, ScalarField
from wgf.data import Moons, SwissRoll
from wgf.functionals import (
    KL,
    KSD2,
    MMD2,
    Alpha,
    Blob,
    DonskerVaradhan,
    Entropy,
    FDivergence,
    Functional,
    HasDual,
    HasNoise,
    HasVariation,
    Hinge,
    Interaction,
    Jeffreys,
    JensenShannon,
    KullbackLeibler,
    Lipschitz,
    OnAbsoluteDensity,
    OnDensity,
    OnSamples,
    OnShards,
    PearsonChi2,
    Potential,
    PowerEntropy,
    Quadratic,
    RatioKL,
    ReverseKullbackLeibler,
    SlicedMMD2,
    SlicedW2,
    SquaredHellinger,
    Term,
    TotalVariation,
    functional,
    score_of,
)
from wgf.functionals.family import F
from wgf.kernels import (
    Energy,
    InverseMultiquadric,
    Laplace,
    Log,
    Matern32,
    Matern52,
    Median,
    MedianLog,
    Mollifier,
    Power,
    Radial,
    Scaled,
    Smoothed,
    Sum,
)
from wgf.kernels import Gaussian as GaussianKernel
from wgf.law import Adapted, Box, Cloud, Empirical, Gaussian, Law, Mixture, Pushforward
from wgf.maps import (
    ICNN,
    RK4,
    Adaptive,
    Affine,
    Compose,
    Dynamic,
    Euler,
    Explicit,
    Extrapolated,
    FiniteDifference,
    Guided,
    Heun,
    Hutchinson,
    Inverse,
    Logit,
    Map,
    NeuralODE,
    NormalScores,
    OTFlow,
    Residual,
    Standard,
    UNet,
    quantile_map,
)
from wgf.maps.integrate import RungeKutta, Scheme
from wgf.pearson import PearsonII
from wgf.pixels import Pixels
from wgf.pooled import PooledMixture
from wgf.problem import Problem
from wgf.ring import Ring
from wgf.smoothed_bootstrap import SmoothedBootstrap
from wgf.steppers import (
    JKO,
    SVGD,
    AdaGrad,
    AdamStep,
    AdjustedLangevin,
    Base,
    CrankNicolson,
    CriticParticles,
    Fresh,
    FromPath,
    Langevin,
    Midpoint,
    Optimiser,
    Particles,
    Previous,
    SaddleJKO,
    Splitting,
    Stepper,
)
from wgf.targets import (
    LogisticPosterior,
    density,
    gaussian_mixture_flow,
    generation,
    grid_of_gaussians_flow,
    hierarchical_logistic,
    images,
    logistic_regression,
    two_circles_flow,
)
from wgf.training import LBFGS, Adam, Alternate

DOUBLE = torch.float64
EYE = torch.eye(2, dtype=DOUBLE)


def randn(seed: int, *shape: int, dtype: torch.dtype = DOUBLE) -> Tensor:
    """Standard normal numbers that depend on `seed` alone."""
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed)).to(dtype)


def doubles(*values: object) -> Tensor:
    """A float64 tensor of these numbers or rows of numbers."""
    return torch.tensor(values, dtype=DOUBLE)


# Maps


@dataclass(frozen=True)
class MapEntry:
    """A map and its claims.

    tight: its cost is ½|T(x) − x|², not only an upper bound of it; exact: its log-determinant is that of its Jacobian,
    not an integral along a motion; identity: the largest |T(x) − x| after a reset, None where nothing is promised;
    """

    name: str
    build: Callable[[torch.dtype], Map]
    tight: bool = True
    exact: bool = True
    identity: float | None = 0.0

    def perturbed(self, dtype: torch.dtype = DOUBLE, scale: float = 0.3, seed: int = 0) -> Map:
        """The map with seeded noise on every weight, in evaluation mode: away from the identity and its symmetries."""
        map, generator = self.build(dtype).to(dtype), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in map.parameters():
                noise = torch.randn(parameter.shape, dtype=DOUBLE, generator=generator)
                parameter.add_((scale * noise).to(dtype))
        return map.eval()


def bumpy(x: Tensor) -> Tensor:
    """V(x) = ¼Σ x_a⁴ + cos x_1: convex on the whole, not quadratic, with no closed gradient."""
    return 0.25 * x.pow(4).sum(-1) + x[:, 0].cos()


def crowd(dtype: torch.dtype) -> Cloud:
    """A small cloud whose interactions make an explicit move."""
    return Cloud(randn(5, 30, 2, dtype=dtype))


def attraction(dtype: torch.dtype) -> Map:
    """An explicit move along the ring interaction of `crowd`."""
    return Explicit(Interaction(Power(4) - Power(2)).first_variation(crowd(dtype)), 0.02, 2)


def moving(name: str, build: Callable[[], Map], identity: float = 0.0) -> MapEntry:
    """A dynamic map's line."""
    return MapEntry(name, lambda dtype: build(), tight=False, exact=False, identity=identity)


MAPS = [
    MapEntry("Affine(1)", lambda dtype: Affine(1)),
    MapEntry("Affine(3)", lambda dtype: Affine(3)),
    MapEntry("Residual(1)", lambda dtype: Residual(1, width=16)),
    MapEntry("Residual(2)", lambda dtype: Residual(2, width=16, depth=2)),
    MapEntry("Residual(4)", lambda dtype: Residual(4, width=16, depth=3, activation=Silu())),
    MapEntry("Residual(3, knots)", lambda dtype: Residual(3, width=16, knots=5)),
    MapEntry("ICNN(1)", lambda dtype: ICNN(1, width=12, depth=1), identity=1e-4),
    MapEntry("ICNN(2)", lambda dtype: ICNN(2, width=12), identity=1e-4),
    MapEntry("ICNN(3)", lambda dtype: ICNN(3, width=10, depth=3), identity=1e-4),
    MapEntry("UNet", lambda dtype: UNet(1, 2, 4, features=2, levels=1)),
    MapEntry("UNet, colour", lambda dtype: UNet(2, 4, 4, features=1)),
    MapEntry("Standard", lambda dtype: Standard(doubles(1, -2).to(dtype), doubles(3, 0.5).to(dtype)), identity=None),
    MapEntry(
        "NormalScores",
        lambda dtype: NormalScores(
            doubles([-2, -0.1, 0.4, 3], [-1, 1, 2, 2.5]).to(dtype), doubles([-1, 0, 0.5, 2], [-3, -1, 2, 3]).to(dtype)
        ),
        identity=None,
    ),
    MapEntry(
        "quantile_map",
        lambda dtype: quantile_map(randn(40, 60, 2).to(dtype), randn(41, 200, 2).exp().to(dtype), knots=9),
        identity=None,
        tight=False,
    ),
    MapEntry("Logit", lambda dtype: Logit(3, -9.0, 8.0), identity=None),
    moving("OTFlow(1)", lambda: OTFlow(1, width=8, steps=4), identity=1e-6),
    moving("OTFlow(2)", lambda: OTFlow(2, width=9, steps=5, scheme=Heun(), horizon=0.5), identity=1e-6),
    moving("OTFlow(3)", lambda: OTFlow(3, width=8, depth=4, rank=2, steps=4), identity=1e-6),
    moving("NeuralODE(1)", lambda: NeuralODE(1, width=8, depth=1, steps=4)),
    moving("NeuralODE(2)", lambda: NeuralODE(2, width=8, steps=8, scheme=Euler(), horizon=0.5)),
    moving("NeuralODE(3)", lambda: NeuralODE(3, width=8, depth=3, activation=Silu(), trace=Hutchinson(2))),
    moving("NeuralODE(3, context)", lambda: NeuralODE(3, width=8, steps=4, context=1, trace=FiniteDifference())),
    moving("NeuralODE(2, checkpoint)", lambda: NeuralODE(2, width=8, steps=3, checkpoint=True)),
    moving("OTFlow(2, penalised)", lambda: OTFlow(2, width=6, steps=3, hamilton_jacobi=0.5), identity=1e-6),
    MapEntry(
        "Compose", lambda dtype: Compose([Affine(2), Residual(2, width=8), NeuralODE(2, width=8)]), False, exact=False
    ),
    MapEntry("Inverse(Affine)", lambda dtype: Inverse(Affine(3))),
    MapEntry("Inverse(Residual)", lambda dtype: Inverse(Residual(2, width=16))),
    MapEntry("Inverse(NeuralODE)", lambda dtype: Inverse(NeuralODE(2, width=8)), False, exact=False),
    MapEntry("Extrapolated", lambda dtype: Extrapolated(Residual(2, width=16))),
    MapEntry("Guided(bumpy)", lambda dtype: Guided(Residual(2, width=16), lambda x: 0.3 * bumpy(x))),
    MapEntry("Explicit(bumpy)", lambda dtype: Explicit(bumpy, 0.02, 2), identity=None),
    MapEntry("Explicit(interaction)", attraction, identity=None),
]

SCHEMES: list[RungeKutta] = [Euler(), Heun(), RK4()]
ADAPTIVE: list[Scheme] = [Adaptive(1e-9, 1e-9), Adaptive(1e-9, 1e-9, adjoint=True)]

DYNAMICS: dict[str, Callable[[Scheme], Dynamic]] = {
    "OTFlow": lambda scheme: OTFlow(2, width=8, depth=2, scheme=scheme),
    "OTFlow, deep": lambda scheme: OTFlow(2, width=8, depth=3, scheme=scheme),
    "NeuralODE": lambda scheme: NeuralODE(2, width=8, scheme=scheme),
}

ACTIVATIONS: list[Activation] = [Tanh(), Silu(), Relu()]

NETWORKS = {
    "MLP": lambda: networks.MLP(3, 2, width=8, depth=2),
    "Critic": lambda: Critic(2, width=8),
}


# Terms


@dataclass(frozen=True)
class TermEntry:
    """A term and the kinds it claims to be; `closed`: its first variation has a closed gradient."""

    name: str
    build: Callable[[], Term]
    kinds: tuple[type, ...]
    closed: bool = True


KERNELS: list[Radial] = [
    Power(2),
    Power(3),
    Power(4),
    Power(-0.5),
    Energy(),
    Energy(1.3),
    Log(),
    GaussianKernel(0.8),
    Laplace(0.8),
    Matern32(0.8),
    Matern52(0.8),
    InverseMultiquadric(0.8),
    InverseMultiquadric(1.2, 0.7),
    Mollifier(0.4),
    Sum(Power(4), Mollifier(1.0)),
    Scaled(-1.5, Mollifier(0.7)),
    Smoothed(Log(), 0.3),
    Smoothed(Energy(1.3), 0.4),
    Smoothed(Power(-0.5), 0.5),
]

SMOOTH: list[F] = [
    KullbackLeibler(),
    ReverseKullbackLeibler(),
    JensenShannon(),
    RatioKL(),
    PearsonChi2(),
    Alpha(0.5),
    Alpha(1.5),
    Alpha(3),
    Jeffreys(),
    SquaredHellinger(),
]
DIVERGENCES: list[F] = [*SMOOTH, TotalVariation()]

SAMPLED = (OnSamples, HasVariation)
SHARDED = (*SAMPLED, OnShards)
TERMS = [
    TermEntry("Quadratic", lambda: Potential(Quadratic(doubles([2, 0.5], [0.5, 1]), doubles(1, -1))), SHARDED),
    TermEntry("Potential", lambda: Potential(bumpy), SHARDED, closed=False),
    *[TermEntry(f"Interaction({W})", lambda W=W: Interaction(W), SHARDED) for W in KERNELS],
    TermEntry("Blob(Entropy)", lambda: Blob(Entropy(), Mollifier(0.5)), SHARDED),
    TermEntry("Blob(PowerEntropy(2))", lambda: Blob(PowerEntropy(2), Mollifier(0.5)), SHARDED),
    TermEntry("Blob(PowerEntropy(3))", lambda: Blob(PowerEntropy(3), Mollifier(0.5)), SHARDED),
    *[
        TermEntry(f"MMD2({k})", lambda k=k: MMD2(k, 0.5 + randn(3, 7, 2)), SHARDED)
        for k in (GaussianKernel(0.8), Energy())
    ],
    TermEntry("MMD2(law)", lambda: MMD2(Matern52(1.0), Gaussian.standard(2, dtype=DOUBLE), rows=20), SHARDED),
    TermEntry("KSD2(Gaussian)", lambda: KSD2(GaussianKernel(0.8), score_of(lambda x: -bumpy(x))), SHARDED),
    TermEntry("KSD2(IMQ)", lambda: KSD2(InverseMultiquadric(1.2), Potential(Quadratic(EYE))), SHARDED),
    TermEntry("SlicedW2", lambda: SlicedW2(0.5 + randn(3, 5, 2), 16), SAMPLED),
    TermEntry("SlicedMMD2(Energy)", lambda: SlicedMMD2(Energy(), 0.5 + randn(3, 50, 2), 16), SAMPLED),
    TermEntry("SlicedMMD2(Laplace)", lambda: SlicedMMD2(Laplace(0.8) + Matern52(0.5), randn(3, 50, 2), 16), SAMPLED),
    TermEntry("Entropy", Entropy, (OnDensity, HasNoise, HasDual)),
    TermEntry("Entropy(centres)", lambda: Entropy(centres=2), (OnDensity, HasNoise, HasDual)),
    TermEntry("PowerEntropy(1.5)", lambda: PowerEntropy(1.5), (OnDensity, OnAbsoluteDensity, HasDual)),
    TermEntry("PowerEntropy(2)", lambda: PowerEntropy(2), (OnDensity, OnAbsoluteDensity, HasDual)),
    TermEntry("PowerEntropy(3)", lambda: PowerEntropy(3), (OnDensity, OnAbsoluteDensity, HasDual)),
    *[
        TermEntry(f"FDivergence({f.name})", lambda f=f: FDivergence(f, Gaussian.standard(2)), (HasDual,))
        for f in DIVERGENCES
    ],
    TermEntry("DonskerVaradhan", lambda: DonskerVaradhan(Gaussian.standard(2)), (HasDual,)),
    TermEntry("Hinge", lambda: Hinge(Gaussian.standard(2)), (HasDual,)),
    TermEntry("Lipschitz", lambda: Lipschitz(FDivergence(KullbackLeibler(), Gaussian.standard(2))), (HasDual,)),
]


CRITICS: dict[str, Callable[[], ScalarField]] = {
    "Critic": lambda: Critic(3, 8),
    "Critic, quadratic": lambda: Critic(3, 8, quadratic=True),
    "FourierCritic": lambda: FourierCritic(3, 5, 0.5, 4.0, 2.0, 8),
    "LipschitzCritic": lambda: LipschitzCritic(3, 2.0, 8),
    "LipschitzCritic, deep": lambda: LipschitzCritic(5, 1.0, 4, 3),
    "ImageCritic": lambda: ImageCritic(2, 5, 7, features=3, blocks=2),
}


# Steppers


@dataclass(frozen=True)
class StepperEntry:
    """A stepper on a functional it accepts; its `keeps_density` is the claim that is tested."""

    name: str
    build: Callable[[], Stepper]
    F: Callable[[], Functional]


def V() -> Potential:
    """½(x − b)ᵀA(x − b) in two dimensions, A neither diagonal nor commuting with the covariance of `start`."""
    return Potential(Quadratic(doubles([2, 0.5], [0.5, 1]), doubles(1, -1)))


def start() -> Gaussian:
    """Where the steppers of the zoo start from."""
    return Gaussian(doubles(0.5, 0), doubles([1, 0.3], [0.3, 0.5]))


def target() -> Gaussian:
    """What divergences compare with."""
    return Gaussian(doubles(1, -1), doubles([0.5, 0], [0, 1]))


def free() -> Functional:
    """Entropy() + V: the Ornstein–Uhlenbeck flow."""
    return Entropy() + V()


def crowded() -> Functional:
    """Entropy() + V and quadratic attraction: McKean–Vlasov."""
    return free() + Interaction(0.5 * Power(2))


def sampled() -> Functional:
    """The posterior of a logistic regression in two dimensions, which can be estimated from some of its rows."""
    return KL(LogisticPosterior(randn(0, 30, 2), torch.where(randn(1, 30) > 0, 1, -1)))


POOL = {"particles": 160, "held": 40}
ADAM = Adam(iterations=6, batch=32, checks=2)
GAME = Alternate(iterations=3, inner=2, refit=2, batch=32)


class Earlier:
    """A path of one step, as a warm start reads it."""

    @property
    def maps(self) -> list[Map]:
        return [Residual(2, width=8)]

    def __repr__(self) -> str:
        return "Earlier()"


STEPPERS = [
    StepperEntry("Particles(Euler)", lambda: Particles(60, Euler(), 2), lambda: V() + Interaction(Power(4) - Power(2))),
    StepperEntry("Particles(Heun)", lambda: Particles(60, Heun()), lambda: V() + Blob(Entropy(), Mollifier(0.5))),
    StepperEntry("Langevin", lambda: Langevin(60, 3), crowded),
    StepperEntry("AdjustedLangevin", lambda: AdjustedLangevin(60, 3), free),
    StepperEntry("SVGD(Plain)", lambda: SVGD(60, substeps=2), crowded),
    StepperEntry("SVGD(AdaGrad)", lambda: SVGD(60, MedianLog(40), AdaGrad()), free),
    StepperEntry("SVGD(AdamStep)", lambda: SVGD(60, Median(), AdamStep(), 5), sampled),
    StepperEntry("SVGD(Optimiser)", lambda: SVGD(60, update=Optimiser(torch.optim.Adagrad), batch=5), sampled),
    StepperEntry("JKO(Affine)", lambda: JKO(Affine(2), LBFGS(20), **POOL), free),
    StepperEntry("JKO(Residual)", lambda: JKO(Residual(2, width=8), ADAM, **POOL), crowded),
    StepperEntry("JKO(FromPath)", lambda: JKO(Residual(2, width=8), ADAM, warm=FromPath(Earlier()), **POOL), free),
    StepperEntry("JKO(Fresh)", lambda: JKO(Residual(2, width=8), ADAM, density_batch=8, warm=Fresh(), **POOL), free),
    StepperEntry(
        "JKO(PowerEntropy)", lambda: JKO(Residual(2, width=8), ADAM, **POOL), lambda: functional(PowerEntropy(2))
    ),
    StepperEntry("JKO(OTFlow)", lambda: JKO(OTFlow(2, width=8, steps=2), ADAM, **POOL), free),
    StepperEntry("JKO(NeuralODE)", lambda: JKO(NeuralODE(2, width=8, steps=2, trace=Hutchinson()), ADAM, **POOL), free),
    StepperEntry("Midpoint(Affine)", lambda: Midpoint(JKO(Affine(2), LBFGS(20), **POOL)), free),
    StepperEntry("Midpoint(Residual)", lambda: Midpoint(JKO(Residual(2, width=8), ADAM, **POOL)), free),
    StepperEntry(
        "CrankNicolson(JKO)",
        lambda: CrankNicolson(JKO(Residual(2, width=8), ADAM, **POOL), Critic(2, 8), Adam(6, 32), held=40),
        crowded,
    ),
    StepperEntry(
        "CrankNicolson(SaddleJKO)",
        lambda: CrankNicolson(
            SaddleJKO(Residual(2, width=8), Critic(2, 8), Previous(), GAME, **POOL), Critic(2, 8), Adam(6, 32)
        ),
        lambda: free() + 0.5 * FDivergence(JensenShannon(), target()),
    ),
    StepperEntry("Splitting(JKO)", lambda: Splitting(JKO(Affine(2), LBFGS(20), **POOL)), crowded),
    StepperEntry("Splitting(Langevin)", lambda: Splitting(Langevin(60, 3)), crowded),
    StepperEntry(
        "Splitting(SaddleJKO)",
        lambda: Splitting(SaddleJKO(Residual(2, width=8), Critic(2, 8), Base(), GAME, **POOL)),
        crowded,
    ),
    StepperEntry(
        "CriticParticles",
        lambda: CriticParticles(Critic(2, 8), Adam(30, 64), particles=200, held=40),
        lambda: free() + 0.5 * FDivergence(JensenShannon(), target()),
    ),
    StepperEntry(
        "CriticParticles(Lipschitz)",
        lambda: CriticParticles(Critic(2, 8), Adam(30, 64), particles=200, held=40),
        lambda: functional(Lipschitz(FDivergence(KullbackLeibler(), target()))),
    ),
    StepperEntry(
        "SaddleJKO(Previous)",
        lambda: SaddleJKO(Residual(2, width=8), Critic(2, 8), Previous(), GAME, **POOL),
        lambda: free() + 0.5 * FDivergence(JensenShannon(), target()),
    ),
    StepperEntry(
        "SaddleJKO(OTFlow)",
        lambda: SaddleJKO(OTFlow(2, width=8, steps=2, scheme=Euler()), Critic(2, 8), Previous(), GAME, **POOL),
        lambda: functional(Lipschitz(FDivergence(KullbackLeibler(), target()))),
    ),
    StepperEntry(
        "SaddleJKO(Base)",
        lambda: SaddleJKO(Residual(2, width=8), Critic(2, 8), Base(), GAME, **POOL),
        lambda: functional(FDivergence(KullbackLeibler(), target())),
    ),
]


# Laws


@dataclass(frozen=True)
class LawEntry:
    """A law with its mean, its covariance, and whether it has a density."""

    name: str
    build: Callable[[], Law]
    mean: Tensor
    covariance: Tensor
    density: bool = True


MEAN, COVARIANCE = doubles(1, -2), doubles([2, 0.6], [0.6, 0.5])


def halving() -> Map:
    """x ↦ (½x_1, x_2 + 1)."""
    map = Affine(2).to(DOUBLE)
    with torch.no_grad():
        map.matrix[0, 0], map.shift[1] = 0.5, 1.0
    return map.requires_grad_(False)


LAWS = [
    LawEntry("Gaussian", lambda: Gaussian(MEAN, COVARIANCE), MEAN, COVARIANCE),
    LawEntry(
        "Mixture",
        lambda: Mixture([Gaussian(-MEAN, EYE), Gaussian(MEAN, COVARIANCE)], doubles(1, 3)),
        MEAN / 2,
        (EYE + 3 * COVARIANCE) / 4 + 0.75 * torch.outer(MEAN, MEAN),
    ),
    LawEntry(
        "PooledMixture",
        lambda: PooledMixture(torch.stack([-MEAN, MEAN]), COVARIANCE, doubles(1, 3)),
        MEAN / 2,
        COVARIANCE + 0.75 * torch.outer(MEAN, MEAN),
    ),
    LawEntry(
        "Box", lambda: Box(doubles(-1, 0), doubles(2, 0.5)), doubles(0.5, 0.25), torch.diag(doubles(9, 0.25) / 12)
    ),
    LawEntry("Adapted", lambda: Adapted(distributions.MultivariateNormal(MEAN, COVARIANCE)), MEAN, COVARIANCE),
    LawEntry("Ring", lambda: Ring(2.0, 0.3), 0 * MEAN, (2 + 0.09) * EYE),
    LawEntry(
        "Pixels",
        lambda: Pixels(doubles([1, 2, 0], [3, 0, 2]), (-0.9, 0), (1.8, 0.9)),
        0.9 * doubles(0.25, 0.4375),
        0.81 * doubles([0.6875 + 1 / 12, -0.015625], [-0.015625, 0.05859375 + 1 / 48]),
    ),
    LawEntry("Blurred", lambda: Blurred(Gaussian(MEAN, COVARIANCE), 0.5), MEAN, COVARIANCE + 0.25 * EYE, density=False),
    LawEntry(
        "SmoothedBootstrap, shrunk",
        lambda: SmoothedBootstrap(torch.arange(10, dtype=DOUBLE).reshape(5, 2), 0.5, shrunk=True),
        doubles(4, 5),
        (8 + 0.25 * 10) / 1.25 * torch.ones(2, 2, dtype=DOUBLE),
        density=False,
    ),
    LawEntry(
        "SmoothedBootstrap",
        lambda: SmoothedBootstrap(torch.arange(10, dtype=DOUBLE).reshape(5, 2), 0.5),
        doubles(4, 5),
        8 * torch.ones(2, 2, dtype=DOUBLE) + 0.25 * 10 * torch.ones(2, 2, dtype=DOUBLE),
        density=False,
    ),
    LawEntry(
        "Cells",
        lambda: Cells(doubles([0, 2], [1, -1]), 2.0, Affine(2).to(DOUBLE)),
        doubles(1.5, 1.5),
        doubles([0.25, -0.75], [-0.75, 2.25]) + EYE / 3,
        density=False,
    ),
    LawEntry("PearsonII", lambda: PearsonII(2, 4.0, 2.0), 0 * MEAN, 2 * EYE),
    LawEntry(
        "Empirical",
        lambda: Empirical(torch.arange(10, dtype=DOUBLE).reshape(5, 2)),
        doubles(4, 5),
        torch.full((2, 2), 8.0, dtype=DOUBLE),
        density=False,
    ),
    LawEntry(
        "Pushforward",
        lambda: Pushforward(Gaussian(MEAN, COVARIANCE), halving()),
        doubles(0.5, -1),
        doubles([0.5, 0.3], [0.3, 0.5]),
    ),
]


# Problems


@dataclass(frozen=True)
class ProblemEntry:
    """A problem of the catalogue, named as on the command line, with constructor arguments that move its numbers."""

    name: str
    build: Callable[..., Problem]
    arguments: dict[str, object] = field(default_factory=dict)

    def __call__(self) -> Problem:
        return self.build(**self.arguments)


PROBLEMS = [
    ProblemEntry("ornstein-uhlenbeck", ornstein_uhlenbeck),
    ProblemEntry("ornstein-uhlenbeck", ornstein_uhlenbeck, {"dim": 1, "seed": 3}),
    ProblemEntry("ornstein-uhlenbeck", ornstein_uhlenbeck, {"dim": 6, "seed": 1}),
    ProblemEntry("ornstein-uhlenbeck", ornstein_uhlenbeck, {"matrix": [[2, 0.5], [0.5, 1]], "centre": [1, -1]}),
    ProblemEntry("heat", heat, {"dim": 3, "scale": 0.7}),
    ProblemEntry("mckean-vlasov", mckean_vlasov),
    ProblemEntry("mckean-vlasov", mckean_vlasov, {"dim": 4, "confinement": 0.3, "attraction": 2.0, "temperature": 1.5}),
    ProblemEntry("mckean-vlasov", mckean_vlasov, {"dim": 1, "attraction": 0}),
    ProblemEntry("log-gas", log_gas),
    ProblemEntry("log-gas", log_gas, {"dim": 1, "radius": 2.0, "epsilon": 0.1}),
    ProblemEntry("barenblatt", barenblatt),
    ProblemEntry("barenblatt", barenblatt, {"dim": 3, "exponent": 3.0, "start": 0.2}),
    ProblemEntry("porous-medium", porous_medium, {"dim": 3, "start": 1e-3, "horizon": 0.025}),
    ProblemEntry("gaussian-mixture", gaussian_mixture_flow, {"dim": 3}),
    ProblemEntry("grid-of-gaussians", grid_of_gaussians_flow, {"side": 3}),
    ProblemEntry("two-circles", two_circles_flow, {"f": JensenShannon()}),
    ProblemEntry("logistic-regression", logistic_regression),
    ProblemEntry("generation", generation),
    ProblemEntry("generation", generation, {"data": Moons(500, dim=7), "f": JensenShannon(), "L": None}),
    ProblemEntry("hierarchical-logistic", hierarchical_logistic),
    ProblemEntry("density", density),
    ProblemEntry("images", images),
    ProblemEntry("density", density, {"data": SwissRoll(300), "standardise": False, "share": 0.5}),
]


def names(entries: list) -> list[str]:
    """Test ids."""
    return [getattr(entry, "name", None) or type(entry).__name__ for entry in entries]
