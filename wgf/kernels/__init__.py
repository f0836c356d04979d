"""Radial kernels and the sums over pairs of points behind interactions, mollified entropies, MMD, KSD and SVGD."""

from wgf.kernels.bandwidth import Bandwidth, Fixed, Median, MultiScale
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
from wgf.kernels.median_log import MedianLog
from wgf.kernels.radial import Elementary, Radial, Scaled, Sum
from wgf.kernels.smoothed import Smoothed
from wgf.kernels.sums import kernel_sum, kernel_sum_gradient, kernel_sums

__all__ = [
    "Bandwidth",
    "Elementary",
    "Energy",
    "Fixed",
    "Gaussian",
    "InverseMultiquadric",
    "Laplace",
    "Log",
    "Matern32",
    "Matern52",
    "Median",
    "MedianLog",
    "Mollifier",
    "MultiScale",
    "Power",
    "Radial",
    "Scaled",
    "Smoothed",
    "Sum",
    "kernel_sum",
    "kernel_sum_gradient",
    "kernel_sums",
]
