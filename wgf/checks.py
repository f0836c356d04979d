"""Checks at the boundary: each returns its argument or raises one sentence that names it."""

import math
import numbers

import torch
from torch import Tensor

from wgf.errors import InputError


def positive(name: str, value: float) -> float:
    """Return `value` if it is a finite number above zero."""
    if not (_is_number(value) and 0 < value < math.inf):
        raise InputError(f"{name} must be a finite number above 0, got {value!r}")
    return float(value)


def not_negative(name: str, value: float) -> float:
    """Return `value` if it is a finite number from zero on."""
    if not (_is_number(value) and 0 <= value < math.inf):
        raise InputError(f"{name} must be a finite number from 0 on, got {value!r}")
    return float(value)


def from_one(name: str, value: float) -> float:
    """Return `value` if it is a finite number from one on."""
    if not (_is_number(value) and 1 <= value < math.inf):
        raise InputError(f"{name} must be a finite number from 1 on, got {value!r}")
    return float(value)


def finite(name: str, value: float) -> float:
    """Return `value` if it is a finite number."""
    if not (_is_number(value) and math.isfinite(value)):
        raise InputError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def nonzero(name: str, value: float) -> float:
    """Return `value` if it is a finite number other than zero."""
    if not (_is_number(value) and value != 0 and math.isfinite(value)):
        raise InputError(f"{name} must be a finite number other than 0, got {value!r}")
    return float(value)


def at_least(name: str, value: int, least: int) -> int:
    """Return `value` if it is an integer not below `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be an integer of at least {least}, got {value!r}")
    return value


def _is_number(value: object) -> bool:
    """Whether it is a real number, NumPy's included; True and False are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def real(name: str, value: object, like: Tensor | None = None) -> Tensor:
    """Return `value` as a real floating-point tensor with finite entries.

    Tensors and arrays keep their floating dtype; lists and integers take that of `like`, or the default dtype.
    """
    dtype = torch.get_default_dtype() if like is None else like.dtype
    try:
        tensor = value if isinstance(value, Tensor) else torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be an array of numbers, got {value!r}") from error
    if tensor.is_complex():
        raise InputError(f"{name} must be real, got dtype {tensor.dtype}")
    if isinstance(value, (list, tuple, int, float)):
        tensor = torch.tensor(value, dtype=dtype)
    elif not tensor.is_floating_point():
        tensor = tensor.to(dtype)
    if not torch.isfinite(tensor).all():
        bad = int((~torch.isfinite(tensor)).sum())
        raise InputError(f"{name} has {bad} entries that are NaN or infinite; every entry must be finite")
    return tensor


def rows(name: str, value: object, dim: int | None = None) -> Tensor:
    """Return `value` as finite samples of shape (n, d), n at least 1, with d = `dim` where it is given."""
    tensor = real(name, value)
    if tensor.ndim != 2 or tensor.shape[0] == 0 or tensor.shape[1] == 0:
        raise InputError(f"{name} must have shape (n, d) with n and d at least 1, got {tuple(tensor.shape)}")
    if dim is not None and tensor.shape[1] != dim:
        raise InputError(f"{name} must have {dim} columns, got {tensor.shape[1]}")
    return tensor


def vector(name: str, value: object, dim: int | None = None, like: Tensor | None = None) -> Tensor:
    """Return `value` as a finite vector of shape (d,)."""
    tensor = real(name, value, like)
    if tensor.ndim != 1 or tensor.numel() == 0 or (dim is not None and tensor.numel() != dim):
        raise InputError(f"{name} must have shape ({dim or 'd'},), got {tuple(tensor.shape)}")
    return tensor


def spd(name: str, value: object, dim: int | None = None, like: Tensor | None = None) -> Tensor:
    """Return `value` if it is a symmetric positive definite matrix (to rounding)."""
    matrix = real(name, value, like)
    d = dim if dim is not None or matrix.ndim != 2 else matrix.shape[0]
    if matrix.numel() == 0 or tuple(matrix.shape) != (d, d):
        raise InputError(
            f"{name} must be a square matrix of shape ({dim or 'd'}, {dim or 'd'}), got {tuple(matrix.shape)}"
        )
    slack = 100 * torch.finfo(matrix.dtype).eps * matrix.abs().max()
    skew = float((matrix - matrix.T).abs().max())
    if skew > slack:
        raise InputError(f"{name} must be symmetric; it differs from its transpose by {skew:.3g}")
    smallest = float(torch.linalg.eigvalsh(matrix)[0])
    if smallest <= 0:
        raise InputError(f"{name} must be positive definite; its smallest eigenvalue is {smallest:.3g}")
    return matrix


def alike(name: str, value: Tensor, reference_name: str, reference: Tensor) -> Tensor:
    """Return `value` if it has the dtype and device of `reference`."""
    if value.dtype != reference.dtype or value.device != reference.device:
        raise InputError(
            f"{name} is {value.dtype} on {value.device}, but {reference_name} is {reference.dtype} on"
            f" {reference.device}; convert one of them with .to(...)"
        )
    return value
