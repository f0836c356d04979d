"""Radial kernels and the sums over pairs of particles that interaction energies and mollified entropies need."""

from wgf.kernels.radial import Gaussian, Power, Radial, Scaled, Sum
from wgf.kernels.sums import kernel_sum, kernel_sum_gradient

__all__ = ["Gaussian", "Power", "Radial", "Scaled", "Sum", "kernel_sum", "kernel_sum_gradient"]
