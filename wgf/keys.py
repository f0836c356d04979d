"""Randomness as one integer key: folded with step and iteration, never stored, the global generators untouched."""

import hashlib

import torch


def fold(key: int, *parts: int) -> int:
    """A new 63-bit key from `key` and integers such as the step and the iteration: a pure function."""
    text = ":".join(str(int(part)) for part in (key, *parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(key: int, *parts: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator for `fold(key, *parts)` on `device`."""
    return torch.Generator(device=device).manual_seed(fold(key, *parts))
