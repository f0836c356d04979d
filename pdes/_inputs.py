"""What a spec can say (lists of numbers, a time) as float64 tensors, or one sentence that names what is wrong."""

import math

import torch
from torch import Tensor

from wgf.errors import InputError


def doubles(name: str, value: object) -> Tensor:
    """Nested lists of numbers as a float64 tensor, never by way of float32.

    Raises: InputError for anything that is not a rectangular list of real numbers.
    """
    try:
        return torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be a rectangular list of real numbers, got {value!r}") from error


def time(t: float) -> float:
    """A time: a finite number not below 0. Raises: InputError otherwise."""
    if not (math.isfinite(t) and t >= 0):
        raise InputError(f"a time must be a finite number of at least 0, got {t!r}")
    return float(t)


def not_negative(name: str, value: float) -> float:
    """A finite number not below 0. Raises: InputError otherwise."""
    if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= 0):
        raise InputError(f"{name} must be a finite number of at least 0, got {value!r}")
    return float(value)
