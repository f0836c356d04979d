"""Validation: metrics, exact sub-problems, and the studies that hold the toolkit to them."""

from validation.gaussian import bures_squared, jko_map, jko_step, midpoint_step, symmetric_kl
from validation.metrics import (
    Estimate,
    Moments,
    dissipation,
    energy_decay,
    moment_errors,
    moment_matched_symkl,
    monte_carlo_kls,
    monte_carlo_symkl,
    sampling_floor,
    wasserstein2,
)
from validation.report import Check, Context, Report, at_least, at_most, within
from validation.sliced import sliced_wasserstein2

__all__ = [
    "Check",
    "Context",
    "Estimate",
    "Moments",
    "Report",
    "at_least",
    "at_most",
    "bures_squared",
    "dissipation",
    "energy_decay",
    "jko_map",
    "jko_step",
    "midpoint_step",
    "moment_errors",
    "moment_matched_symkl",
    "monte_carlo_kls",
    "monte_carlo_symkl",
    "sampling_floor",
    "sliced_wasserstein2",
    "symmetric_kl",
    "wasserstein2",
    "within",
]
