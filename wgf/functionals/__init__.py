"""Functionals: what flows downhill."""

from wgf.functionals.base import (
    Dual,
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
from wgf.functionals.divergence import KL, FDivergence, JensenShannon, KullbackLeibler
from wgf.functionals.entropy import Entropy, PowerEntropy
from wgf.functionals.interaction import Interaction
from wgf.functionals.ksd import KSD2, score_of
from wgf.functionals.mmd import MMD2
from wgf.functionals.potential import Potential, Quadratic
from wgf.functionals.sliced import SlicedMMD2, SlicedW2

__all__ = [
    "KL",
    "KSD2",
    "MMD2",
    "Blob",
    "Dual",
    "Entropy",
    "FDivergence",
    "Functional",
    "HasDual",
    "HasNoise",
    "HasVariation",
    "Interaction",
    "JensenShannon",
    "KullbackLeibler",
    "OnAbsoluteDensity",
    "OnDensity",
    "OnSamples",
    "OnShards",
    "Potential",
    "PowerEntropy",
    "Quadratic",
    "SlicedMMD2",
    "SlicedW2",
    "Term",
    "Variation",
    "first_variation",
    "functional",
    "score_of",
]
