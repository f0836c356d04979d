"""MMD² and KSD² of 10⁵ points in 64 dimensions: memory under a GiB, and the values of plain blocks in float64."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from validation._runner import Contestant, Runner
from validation.race import Result, Row, allowance, versus
from validation.stein import ksd2_v
from wgf import keys
from wgf.kernels import Gaussian, InverseMultiquadric
from wgf.two_sample import mmd2_biased

NAME = "mmd-ksd"
MEMORY = 2**30
DIM, BANDWIDTH, SHIFT = 64, 8.0, 0.05
TOLERANCE = 1e-9
TILE = (256, 2048)  # of the plain blocks, rows and columns: what stays in a cache
Thunk = Callable[[], np.ndarray]
SIDES = {"MMD²": ("mmd", "mmd_blocks"), "KSD²": ("ksd", "ksd_blocks")}


def bench(quick: bool = False) -> Iterator[list[Row]]:
    """For each: seconds of one evaluation, imports included, against torch in blocks; and the process's peak memory.

    d = 64, float32 points, 10⁵ of them (MMD²: in each sample), Gaussian of bandwidth 8 for MMD² and an inverse
    multiquadric of 8 for KSD² to N(0, I). The plain blocks are of float64, and their value is the truth. Quick: 10⁴.
    """
    case = {"points": 10_000 if quick else 100_000}
    for label, (mine, theirs) in SIDES.items():
        place = f"{label}, N = {case['points']:,}, d = {DIM}"
        value, ours = _once(mine, case)
        truth, plain = _once(theirs, case)
        error = abs(value - truth) / abs(truth)
        note = ours.note or ("" if error <= TOLERANCE else f"gave a wrong value: its error is {error:.2g}")
        ours = replace(ours, error=error, note=note)
        seconds = versus(NAME, f"{place}: torch in blocks, float64", ours, plain)
        memory = allowance(NAME, f"{place}: a GiB of memory", MEMORY, ours.peak, error, seconds=False)
        yield [seconds, replace(memory, holds=memory.holds and not note, note=note)]


def _once(factory: str, case: Mapping[str, Any]) -> tuple[float, Result]:
    """One answer of a process of its own."""
    with Runner(Contestant(f"{__name__}:{factory}"), case, os.cpu_count() or 1, 3600.0) as runner:
        answer = runner.answer()
        value = math.nan if answer is None else float(answer[0])
        peak = runner.peak()
        return value, Result(runner.first_s, 0.0, peak, runner.first_s, runner.note)


def samples(case: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """N(0, I) and N(0.05, I), float32."""
    generator = keys.generator(0)
    x, y = (torch.randn(case["points"], DIM, generator=generator) for _ in range(2))
    return x, y + SHIFT


def mmd(case: Mapping[str, Any]) -> Thunk:
    """Ours."""
    x, y = samples(case)
    return lambda: np.array([float(mmd2_biased(Gaussian(BANDWIDTH), x, y))])


def ksd(case: Mapping[str, Any]) -> Thunk:
    """Ours."""
    _, y = samples(case)
    return lambda: np.array([float(ksd2_v(InverseMultiquadric(BANDWIDTH), y, lambda x: -x))])


def mmd_blocks(case: Mapping[str, Any]) -> Thunk:
    """Blocks of |x|² + |y|² − 2xy."""
    x, y = (part.double() for part in samples(case))

    def block(x: Tensor, y: Tensor) -> float:
        return float(squared(x, y).mul_(-0.5 / BANDWIDTH**2).exp_().sum())

    def mean(x: Tensor, y: Tensor) -> float:
        tiles = product(x.split(TILE[0]), y.split(TILE[1]))
        return math.fsum(block(*tile) for tile in tiles) / (len(x) * len(y))

    return lambda: np.array([mean(x, x) + mean(y, y) - 2 * mean(x, y)])


def ksd_blocks(case: Mapping[str, Any]) -> Thunk:
    """Blocks, the terms of u one by one, for k = q^{−1/2}, q = 1 + r/c²."""
    points, c2 = samples(case)[1].double(), BANDWIDTH**2

    def block(x: Tensor, y: Tensor) -> float:
        r, s, t = squared(x, y), -x, -y
        q = 1 + r / c2
        k, slope = q**-0.5, -0.5 / c2 * q**-1.5
        curve = 0.75 / c2**2 * q**-2.5
        cross = x @ t.T - (y * t).sum(1) - (x * s).sum(1, keepdim=True) + s @ y.T
        return float((s @ t.T * k + 2 * slope * cross - 4 * r * curve - 2 * DIM * slope).sum())

    tiles = list(product(points.split(TILE[0]), points.split(TILE[1])))
    return lambda: np.array([math.fsum(block(*tile) for tile in tiles) / len(points) ** 2])


def squared(x: Tensor, y: Tensor) -> Tensor:
    """|x_i − y_j|² by a matrix product."""
    return torch.addmm(y.square().sum(1)[None], x, y.T, alpha=-2).add_(x.square().sum(1, keepdim=True)).clamp_min_(0)
