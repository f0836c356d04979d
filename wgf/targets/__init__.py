"""Targets: unnormalised densities to sample from, and the flows towards them as Problems."""

from wgf.targets.axes import along_axes
from wgf.targets.condensed import Condensed
from wgf.targets.density import density
from wgf.targets.design import Design, design
from wgf.targets.generation import generation
from wgf.targets.hierarchical import HierarchicalPosterior, hierarchical_logistic
from wgf.targets.images import images
from wgf.targets.likelihood import LogisticLikelihood
from wgf.targets.logistic import LogisticPosterior, logistic_regression
from wgf.targets.mixture import UnitGaussians, gaussian_mixture, gaussian_mixture_flow
from wgf.targets.toys import grid_of_gaussians_flow, two_circles_flow
from wgf.targets.whitened import Whitened

__all__ = [
    "Condensed",
    "Design",
    "HierarchicalPosterior",
    "LogisticLikelihood",
    "LogisticPosterior",
    "UnitGaussians",
    "Whitened",
    "along_axes",
    "density",
    "design",
    "gaussian_mixture",
    "gaussian_mixture_flow",
    "generation",
    "grid_of_gaussians_flow",
    "hierarchical_logistic",
    "images",
    "logistic_regression",
    "two_circles_flow",
]
