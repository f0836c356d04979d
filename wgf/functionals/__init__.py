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
    Term,
    Variation,
    first_variation,
    functional,
)
from wgf.functionals.blob import Blob
from wgf.functionals.divergence import KL, FDivergence, JensenShannon, KullbackLeibler
from wgf.functionals.entropy import Entropy, PowerEntropy
from wgf.functionals.interaction import Interaction
from wgf.functionals.potential import Potential, Quadratic

__all__ = [
    "KL",
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
    "Potential",
    "PowerEntropy",
    "Quadratic",
    "Term",
    "Variation",
    "first_variation",
    "functional",
]
