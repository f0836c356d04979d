"""Radial kernels and the sums over pairs of points behind interactions, mollified entropies, MMD, KSD and SVGD."""

from wgf.kernels.families import (
    Energy,
    Gaussian,
    InverseMultiquadric,
    Laplace,
    Log,
    Matern32,
    Matern52,
    Mollifier,
    Power,
)
from wgf.kernels.radial import Elementary, Radial, Scaled, Sum
from wgf.kernels.sums import kernel_sum, kernel_sum_gradient, kernel_sums

__all__ = [
    "Elementary",
    "Energy",
    "Gaussian",
    "InverseMultiquadric",
    "Laplace",
    "Log",
    "Matern32",
    "Matern52",
    "Mollifier",
    "Power",
    "Radial",
    "Scaled",
    "Sum",
    "kernel_sum",
    "kernel_sum_gradient",
    "kernel_sums",
]
