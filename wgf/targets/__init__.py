"""Targets: unnormalised densities to sample from, and the flows towards them as Problems."""

from wgf.targets.design import Design, design
from wgf.targets.generation import generation
from wgf.targets.logistic import LogisticPosterior, logistic_regression
from wgf.targets.mixture import UnitGaussians, gaussian_mixture, gaussian_mixture_flow
from wgf.targets.toys import grid_of_gaussians_flow, two_circles_flow

__all__ = [
    "Design",
    "LogisticPosterior",
    "UnitGaussians",
    "design",
    "gaussian_mixture",
    "gaussian_mixture_flow",
    "generation",
    "grid_of_gaussians_flow",
    "logistic_regression",
    "two_circles_flow",
]
