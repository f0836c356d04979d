"""Functionals: what flows downhill."""

from wgf.functionals.base import (
    Functional,
    HasDual,
    HasNoise,
    HasVariation,
    OnAbsoluteDensity,
    OnDensity,
    OnSamples,
    OnShards,
    Term,
    Variation,
    first_variation,
    functional,
)
from wgf.functionals.blob import Blob
from wgf.functionals.divergence import KL, DonskerVaradhan, FDivergence, Hinge
from wgf.functionals.dual import Dual
from wgf.functionals.entropy import Entropy, PowerEntropy
from wgf.functionals.family import (
    Alpha,
    F,
    Jeffreys,
    JensenShannon,
    KullbackLeibler,
    PearsonChi2,
    RatioKL,
    ReverseKullbackLeibler,
    SquaredHellinger,
    TotalVariation,
)
from wgf.functionals.interaction import Interaction
from wgf.functionals.ksd import KSD2, score_of
from wgf.functionals.lipschitz import Lipschitz
from wgf.functionals.mmd import MMD2
from wgf.functionals.potential import Potential, Quadratic
from wgf.functionals.sliced import SlicedMMD2, SlicedW2

__all__ = [
    "KL",
    "KSD2",
    "MMD2",
    "Alpha",
    "Blob",
    "DonskerVaradhan",
    "Dual",
    "Entropy",
    "F",
    "FDivergence",
    "Functional",
    "HasDual",
    "HasNoise",
    "HasVariation",
    "Hinge",
    "Interaction",
    "Jeffreys",
    "JensenShannon",
    "KullbackLeibler",
    "Lipschitz",
    "OnAbsoluteDensity",
    "OnDensity",
    "OnSamples",
    "OnShards",
    "PearsonChi2",
    "Potential",
    "PowerEntropy",
    "Quadratic",
    "RatioKL",
    "ReverseKullbackLeibler",
    "SlicedMMD2",
    "SlicedW2",
    "SquaredHellinger",
    "Term",
    "TotalVariation",
    "Variation",
    "first_variation",
    "functional",
    "score_of",
]
