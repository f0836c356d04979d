"""Every engine against float64 sums over all pairs: each kernel, dtype, dimension and kind of cloud that it serves."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import torch
from matplotlib.figure import Figure
from torch import Tensor

from validation.pairwise import Truth, errors, truths
from validation.report import Check, Context, Report, at_most
from validation.studies._plots import axes, finish
from wgf import keys
from wgf.kernels import (
    Energy,
    Gaussian,
    InverseMultiquadric,
    Laplace,
    Log,
    Matern32,
    Matern52,
    Mollifier,
    Power,
    Radial,
    _dense,
    engines,
)
from wgf.kernels.smoothed import Smoothed
from wgf.kernels.sums import ACCURACY, BYTES
from wgf.kernels.task import Task, Unavailable

NAME = "kernel-engines"
TOLERANCES = {torch.float32: (1e-3, 1e-5), torch.float64: (1e-3, 1e-6, 1e-9, 1e-12)}
"""What nufft is asked for; the others reach `ACCURACY` whatever they are asked for."""

MANY, ROWS = 100_000, 100
"""Points of the large clouds, and how many of their rows are compared."""


def kernels(h: float, dim: int) -> dict[str, Radial]:
    """Each family, at bandwidths of the order of the distances, h√d, and sums of them."""
    h = h * math.sqrt(dim)
    found: dict[str, Radial] = {
        "Gaussian": Gaussian(0.6 * h),
        "Laplace": Laplace(h),
        "Matern32": Matern32(0.8 * h),
        "Matern52": Matern52(0.8 * h),
        "IMQ ½": InverseMultiquadric(h),
        "IMQ 0.7": InverseMultiquadric(0.5 * h, 0.7),
        "Energy 1": Energy(),
        "Energy 1.3": Energy(1.3),
        "|z|²": Power(2),
        "|z|³": Power(3),
        "|z|⁴": Power(4),
        "|z|^−½": Power(-0.5),
        "log": Log(),
        "smoothed log": Smoothed(Log(), 0.2 * h),
        "smoothed |z|^½": Smoothed(Power(0.5), 0.2 * h),
        "ring": Power(4) - 0.7 * Power(2),
        "Gaussian − ½ Matern52": Gaussian(h) - 0.5 * Matern52(0.5 * h),
        "Morse": 0.5 * Laplace(2 * h) - Laplace(h),
    }
    mollifier = Mollifier(0.5 * h)
    if float(mollifier.value(torch.zeros((), dtype=torch.float64), dim)) < 1e30:  # or float32 could not hold it
        found["Mollifier"] = mollifier
    return found


Cloud = Callable[[int, int, torch.Generator], Tensor]


def _normal(n: int, dim: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, dim, dtype=torch.float64, generator=generator)


def _tight(n: int, dim: int, generator: torch.Generator) -> Tensor:
    return 1e3 + 0.01 * _normal(n, dim, generator)


def _clusters(n: int, dim: int, generator: torch.Generator) -> Tensor:
    centres = 1e3 * _normal(4, dim, generator)
    return centres[torch.arange(n) % 4] + 0.01 * _normal(n, dim, generator)


def _many_clusters(n: int, dim: int, generator: torch.Generator) -> Tensor:
    centres = 3e3 * _normal(-(-n // 8), dim, generator)
    return centres.repeat_interleave(8, 0)[:n] + 0.003 * _normal(n, dim, generator)


def _outliers(n: int, dim: int, generator: torch.Generator) -> Tensor:
    x = _normal(n, dim, generator)
    return torch.cat([x[: n - n // 50 - 1], 1e4 * x[n - n // 50 - 1 :]])


def _coincident(n: int, dim: int, generator: torch.Generator) -> Tensor:
    x = _normal(n, dim, generator)
    return torch.cat([x[: (n + 1) // 2], x[: n // 2]])


CLOUDS: dict[str, tuple[Cloud, float]] = {  # and the length of their kernels
    "spread": (_normal, 1.0),
    "a tight cluster far away": (_tight, 0.01),
    "four tight clusters": (_clusters, 0.01),
    "tight clusters of eight": (_many_clusters, 0.01),
    "far outliers": (_outliers, 1.0),
    "coincident points": (_coincident, 1.0),
}


@dataclass(frozen=True)
class Case:
    """Points, weights, and the kernels that are summed over them."""

    cloud: str
    task: Task
    kernels: Mapping[str, Radial]

    def __str__(self) -> str:
        task, diagonal = self.task, "" if self.task.diagonal else ", no diagonal"
        return f"{self.cloud}, d = {task.dim}, {len(task.x)} × {len(task.y)}{diagonal}"


@dataclass
class Worst:
    """The largest errors of an engine at a dtype and tolerance: overall, where, and by cloud."""

    value: float = 0.0
    slope: float = 0.0
    where: dict[str, str] = field(default_factory=lambda: {"value": "", "slope": ""})
    clouds: dict[str, float] = field(default_factory=dict)
    sums: int = 0

    def see(self, value: float, slope: float, kernel: str, case: Case) -> None:
        self.sums += 1
        for name, error in (("value", value), ("slope", slope)):
            if error > getattr(self, name):
                setattr(self, name, error)
                self.where[name] = f"{kernel}, {case}"
            self.clouds[case.cloud] = max(self.clouds.get(case.cloud, 0.0), error)


Key = tuple[str, torch.dtype, float]


@dataclass
class Found:
    """What the study gathers: errors, how many sums each engine refused, and kernels that only dense serves."""

    worst: dict[Key, Worst] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    offered: dict[str, set[str]] = field(default_factory=dict)

    def take(self, case: Case, names: Sequence[str] = engines.NAMES) -> None:
        """Every kernel of a case by every engine that serves it."""
        for (name, kernel), truth in zip(
            case.kernels.items(), truths([*case.kernels.values()], case.task), strict=True
        ):
            task = case.task.of(kernel)
            for engine in names:
                if engine == "keops" and not _compiled_by_keops(name, task):
                    continue
                asked = TOLERANCES[task.x.dtype] if engine == "nufft" else (ACCURACY[task.x.dtype],)
                for tolerance in asked:
                    self._try(engine, name, replace(task, tolerance=tolerance), truth, case)

    def _try(self, engine: str, name: str, task: Task, truth: Truth, case: Case) -> None:
        serving = engines.engine(engine)
        try:
            answer = None if serving.refusal(task) else serving.evaluate(task)
        except Unavailable:
            answer = None
        if answer is None:
            self.refused[engine] = self.refused.get(engine, 0) + 1
            return
        if task.dim <= 3 and len(task.y) >= 17:
            self.offered.setdefault(name, set()).add(engine)
        worst = self.worst.setdefault((engine, task.x.dtype, task.tolerance), Worst())
        longer = engine == "dense" and task.dim > _dense.MATMUL
        worst.see(*errors(answer, truth, task.x.dtype, engine == "nufft", longer), name, case)


def _compiled_by_keops(name: str, task: Task) -> bool:
    """KeOps compiles a formula for tens of seconds: two kernels in one dimension stand for all."""
    return task.dim == 3 and task.diagonal and name in ("Gaussian", "Energy 1")


def cases(quick: bool) -> Iterator[Case]:
    """All clouds, dtypes and dimensions; quick: every other one without its diagonal, in place of both, and smaller."""
    dims = (1, 2, 10, 33) if quick else (1, 2, 3, 5, 10, 16, 33, 64)
    sizes = (1, 2, 17, 300) if quick else (1, 2, 17, 1000)
    small = product(CLOUDS, dims, sizes, (torch.float32, torch.float64), (True, False))
    for seed, (cloud, dim, n, dtype, diagonal) in enumerate(small):
        if not quick or (seed + seed // 2 + seed // 4 + seed // 16) % 2 == 0:
            yield _case(cloud, dim, n, n, dtype, diagonal, seed)
    large = product(("spread", "four tight clusters"), (2,) if quick else (1, 2, 3, 10), (torch.float32, torch.float64))
    for seed, (cloud, dim, dtype) in enumerate(large):
        yield _case(cloud, dim, ROWS, MANY, dtype, True, 10_000 + seed)


def _case(cloud: str, dim: int, n: int, m: int, dtype: torch.dtype, diagonal: bool, seed: int) -> Case:
    draw, h = CLOUDS[cloud]
    generator = keys.generator(0, seed)
    y = draw(m, dim, generator).to(dtype)
    x = y if n == m else y[torch.randperm(m, generator=generator)[:n]]
    signed, b = _normal(m, 1, generator), _normal(m, 1 if dim > 3 else 2, generator)
    a = torch.cat([signed, _columns(y, seed)], 1)
    names = kernels(h, dim)
    if m == MANY:
        names = {name: names[name] for name in ("Gaussian", "Matern32", "Energy 1", "log", "ring")}
    task = Task(Gaussian(1.0), x, y, a.to(dtype), b.to(dtype), diagonal, budget=BYTES)
    return Case(cloud, task, names)


def _columns(y: Tensor, seed: int) -> Tensor:
    """Even weights; on every other one of the points alone; or one that is a million times the others."""
    even = torch.full((len(y), 1), 1 / len(y), dtype=torch.float64)
    if seed % 3 == 1:
        even[::2] = 0
    if seed % 3 == 2:
        even[len(y) // 2] *= 1e6
    return even


def study(quick: bool = False) -> Report:
    """N from 1 to 10⁵, d from 1 to 64, six kinds of clouds, several signed right-hand sides, values and gradients.

    Errors are relative to Σ|w k| and Σ|w ∇k| of the row, for nufft of the largest row; a number that is not finite is
    an infinite error. KeOps, which compiles for tens of seconds, takes two kernels in three dimensions (quick: none).
    """
    found = Found()
    for case in cases(quick):
        found.take(case)
    return Report(NAME, tuple(checks(found)), tuple(_context(found)), _figure(found))


def checks(found: Found) -> Iterator[Check]:
    for (engine, dtype, tolerance), worst in found.worst.items():
        label = _label(engine, dtype, tolerance)
        yield at_most(NAME, f"{label}: values, worst of {worst.sums} sums", worst.value, tolerance)
        yield at_most(NAME, f"{label}: gradients", worst.slope, tolerance)
    alone = sum(not served - {"dense", "keops"} for served in found.offered.values())
    yield at_most(NAME, "kernels that no fast engine serves in d ≤ 3", alone, 0)


def _label(engine: str, dtype: torch.dtype, tolerance: float) -> str:
    asked = f" asked for {tolerance:.0e}" if engine == "nufft" else ""
    return f"{engine}{asked}, {str(dtype).removeprefix('torch.')}"


def _context(found: Found) -> Iterator[Context]:
    for key, worst in found.worst.items():
        for name, where in worst.where.items():
            if where:
                yield Context(f"{_label(*key)}, worst {name}: {where}", {"error": getattr(worst, name)})
    for engine in engines.NAMES:
        sums = sum(worst.sums for (name, *_), worst in found.worst.items() if name == engine)
        yield Context(engine, {"sums served": sums, "refused": found.refused.get(engine, 0)})


def _figure(found: Found) -> Figure:
    figure, (axis,) = axes(1, width=9, height=4.5)
    places = {key: k for k, key in enumerate(found.worst)}
    for cloud, marker in zip(CLOUDS, "osD^v*", strict=True):
        seen = {
            k: max(worst.clouds[cloud], 1e-18)
            for key, k in places.items()
            if cloud in (worst := found.worst[key]).clouds
        }
        axis.plot([*seen], [*seen.values()], marker, ms=5, mfc="none", label=cloud)
    for (_, _, tolerance), k in places.items():
        axis.plot([k - 0.4, k + 0.4], [tolerance] * 2, "k-", lw=1.2, label="bound" if k == 0 else None)
    axis.set_xticks(
        [*places.values()], [_label(*key).replace(" asked", "\nasked") for key in places], rotation=60, fontsize="small"
    )
    axis.set_yscale("log")
    finish(axis, "Errors of values and gradients, worst over kernels", "engine", "error over Σ|w k|, Σ|w ∇k|")
    return figure
