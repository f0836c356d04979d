"""Targets: unnormalised densities to sample from, and the flows towards them as Problems."""

from wgf.targets.design import Design, design
from wgf.targets.generation import generation
from wgf.targets.logistic import LogisticPosterior, logistic_regression
from wgf.targets.mixture import UnitGaussians, gaussian_mixture, gaussian_mixture_flow

__all__ = [
    "Design",
    "LogisticPosterior",
    "UnitGaussians",
    "design",
    "gaussian_mixture",
    "gaussian_mixture_flow",
    "generation",
    "logistic_regression",
]
