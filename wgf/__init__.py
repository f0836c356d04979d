"""Wasserstein gradient flows: a functional, a stepper and a law, and any of the three can be exchanged."""

from wgf.critics import Critic
from wgf.errors import Diverged, Incompatible, InputError, NotInvertible, Unknown
from wgf.flow import Path, evolve
from wgf.functionals import (
    KL,
    Blob,
    Entropy,
    FDivergence,
    Interaction,
    JensenShannon,
    KullbackLeibler,
    Potential,
    PowerEntropy,
    Quadratic,
)
from wgf.law import Adapted, Box, Cloud, Empirical, Gaussian, Law, Mixture, Pushforward
from wgf.maps import Affine, Compose, Explicit, Extrapolated, Hutchinson, Inverse, NeuralODE, OTFlow, Residual
from wgf.observers import Metrics, Observer, ProgressBar
from wgf.problem import Problem
from wgf.steppers import (
    JKO,
    AdjustedLangevin,
    Base,
    Fresh,
    Langevin,
    Midpoint,
    Particles,
    Previous,
    SaddleJKO,
    Splitting,
    Weights,
)
from wgf.training import LBFGS, Adam, Alternate

__version__ = "0.1.0"

__all__ = [
    "JKO",
    "KL",
    "LBFGS",
    "Adam",
    "Adapted",
    "AdjustedLangevin",
    "Affine",
    "Alternate",
    "Base",
    "Blob",
    "Box",
    "Cloud",
    "Compose",
    "Critic",
    "Diverged",
    "Empirical",
    "Entropy",
    "Explicit",
    "Extrapolated",
    "FDivergence",
    "Fresh",
    "Gaussian",
    "Hutchinson",
    "Incompatible",
    "InputError",
    "Interaction",
    "Inverse",
    "JensenShannon",
    "KullbackLeibler",
    "Langevin",
    "Law",
    "Metrics",
    "Midpoint",
    "Mixture",
    "NeuralODE",
    "NotInvertible",
    "OTFlow",
    "Observer",
    "Particles",
    "Path",
    "Potential",
    "PowerEntropy",
    "Previous",
    "Problem",
    "ProgressBar",
    "Pushforward",
    "Quadratic",
    "Residual",
    "SaddleJKO",
    "Splitting",
    "Unknown",
    "Weights",
    "evolve",
]
