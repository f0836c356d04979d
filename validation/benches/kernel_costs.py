"""The table of costs measured on this machine, left as costs.toml; predictions of the table in use, and its choices.

Rows "by the table" have the predicted seconds for ours_s and the measured ones for peer_s, and no bound; rows "auto"
ask that the engine taken be at most 1.5 times slower than the fastest: bound 1/1.5.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import tomli_w
import torch
from scipy.optimize import least_squares, nnls

from validation.race import Row, Rows
from wgf import keys
from wgf.kernels import Energy, Gaussian, InverseMultiquadric, Log, Matern52, Power, engines
from wgf.kernels.costs import Cost
from wgf.kernels.radial import Radial
from wgf.kernels.sums import ACCURACY, BYTES
from wgf.kernels.task import Task

NAME = "kernel-costs"
TERMS = ("start", "pair", "point", "mode")
"""What a row is fitted for: the predictions of an engine are linear in them."""

WITHIN = 1.5
NEAR = 5.0  # times the least prediction: beyond it an engine is not tried
HEADER = """# Seconds, measured by `wgf bench kernel-costs` on {device}.
# The environment variable WGF_COSTS names a file such as this one, to be read instead of the one in the package.
# Rows of devices that were not there are those of the table that was in use.

"""
log = logging.getLogger("wgf.benches")


@dataclass(frozen=True)
class Size:
    """How far a bench goes: seconds that one measured sum may take, points of the largest, and of those of `auto`."""

    seconds: float
    points: int
    auto: tuple[int, ...]


LARGE = Size(0.3, 300_000, (100, 1000, 10_000, 100_000))
SMALL = Size(0.03, 20_000, (100, 2000))


def bench(quick: bool = False) -> Rows:
    """Every row of the table whose device is here, fitted anew; then a spread of tasks by the table in use."""
    size = SMALL if quick else LARGE
    known = [row for row in engines.table() if _here(row.device) and not (quick and row.engine == "keops")]
    fresh = {_place(row): fitted(row, size) for row in known}
    table = [fresh.get(_place(row), row) for row in engines.table()]
    return Rows(
        [row for case in _spread(size) for row in _judged(*case)],
        {"costs.toml": HEADER.format(device=_device()) + tomli_w.dumps({"cost": [_said(row) for row in table]})},
    )


# Fits


def fitted(row: Cost, size: Size) -> Cost:
    """The row with its terms from measured seconds, by least squares of their logarithms; as it was where none fits."""
    tasks = [task for kernel in _kernels(row) for task in _growing(row, kernel, size)]
    if not tasks:
        return row
    log.info("%s, d = %d, %s, %s", row.engine, row.dim, row.dtype, row.device)
    engine = engines.engine(row.engine)
    units = [_costing(row, (term == other for other in TERMS)) for term in TERMS]
    features = np.array([[engine.seconds(task, unit) for unit in units] for task, _ in tasks])
    return _costing(row, _terms(features, np.array([spent for _, spent in tasks])))


def _terms(features: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Terms t ≥ 0 of least Σ log²(features t / seconds), from those of least Σ (features t / seconds − 1)²."""
    used = features.max(0) > 0
    relative = features[:, used] / seconds[:, None]
    scale = relative.max(0)
    first, _ = nnls(relative / scale, np.ones(len(seconds)))
    share = np.maximum(first, 1e-4)  # an exponential of what is sought, and 0 has none
    found = least_squares(lambda t: np.log(relative / scale @ np.exp(t)), np.log(share), bounds=(-12, np.inf))
    terms = np.zeros(features.shape[1])
    terms[used] = np.exp(found.x) / scale
    return terms


def _costing(row: Cost, terms: Iterable[float]) -> Cost:
    """The row with other terms, to two digits."""
    start, pair, point, mode = (float(f"{value:.2g}") for value in terms)
    return replace(row, start=start, pair=pair, point=point, mode=mode)


def _kernels(row: Cost) -> Iterator[Radial]:
    """Kernels of every kind of work, for a Fourier sum of several widths: many modes, and few."""
    yield from (Gaussian(0.5), Matern52(0.5), Energy(), Power(2))
    if row.engine == "nufft":
        yield from (Gaussian(0.1), Gaussian(0.01), InverseMultiquadric(1.0))


def _growing(row: Cost, kernel: Radial, size: Size) -> Iterator[tuple[Task, float]]:
    """Tasks of more and more points, and their seconds, until one takes its time."""
    points, spent = 100, 0.0
    while points <= size.points and spent < size.seconds:
        task = _task(kernel, points, row.dim, row.dtype, row.device)
        if engines.engine(row.engine).refusal(task) is None:
            spent = measured(task, row.engine)
            yield task, spent
        points = int(3.2 * points)


# Choices


def _spread(size: Size) -> Iterator[tuple[str, Task]]:
    """A spread of tasks, named."""
    kernels: Sequence[Radial] = (Gaussian(0.3), Energy(), InverseMultiquadric(1.0))
    places = {(row.device, row.dtype) for row in engines.table() if _here(row.device)}
    for device, dtype in sorted(places):
        for dim, kernel in [
            (1, Energy()),
            (2, Log()),
            (2, Power(2)),
            *((dim, kernel) for dim in (2, 3, 10, 30) for kernel in kernels),
        ]:
            for points in size.auto:
                task = _task(kernel, points, dim, dtype, device)
                if (_predicted(task, engines.choose(task)) or 0) <= size.seconds:
                    yield f"{type(kernel).__name__}, d = {dim}, N = {points:,}, {dtype}, {device}", task


def _judged(label: str, task: Task) -> list[Row]:
    """Every engine that can and whose prediction is near the best: predicted against measured; then the one taken."""
    log.info("%s", label)
    taken = engines.choose(task)
    predicted = {name: s for name in engines.NAMES if (s := _predicted(task, name)) is not None}
    near = [name for name in predicted if predicted[name] <= NEAR * predicted[taken]]
    seconds = {name: measured(task, name) for name in near}
    best = min(seconds, key=seconds.__getitem__)
    rows = [
        Row(NAME, f"{label}: {n}, by the table", s / predicted[n], predicted[n], s, None, None, True)
        for n, s in seconds.items()
    ]
    ratio = seconds[best] / seconds[taken]
    auto = f"{label}: auto, which takes {taken}; the fastest is {best}"
    return [*rows, Row(NAME, auto, ratio, seconds[taken], seconds[best], None, 1 / WITHIN, ratio >= 1 / WITHIN)]


def _predicted(task: Task, name: str) -> float | None:
    row = engines.cost(task, name)
    if row is None or task.pairs < row.least or engines.engine(name).refusal(task) is not None:
        return None
    return engines.engine(name).seconds(task, row)


# Tasks and their times


def measured(task: Task, name: str) -> float:
    """Least seconds of an engine on a task, compilers left out: of three calls, or of as many as 0.02 s hold."""
    _waited(task, name)
    calls = max(3, min(100, int(0.02 / max(_waited(task, name), 1e-6))))
    return min(_waited(task, name) for _ in range(calls))


def _waited(task: Task, name: str) -> float:
    started = time.perf_counter()
    engines.engine(name).evaluate(replace(task))  # a new task, of which the engine knows nothing
    if task.x.is_cuda:
        torch.cuda.synchronize(task.x.device)
    return time.perf_counter() - started


def _task(kernel: Radial, points: int, dim: int, dtype: str, device: str) -> Task:
    """One value and one gradient of standard normal points, at a kernel scaled with √d."""
    kind = getattr(torch, dtype)
    x = torch.randn(points, dim, generator=keys.generator(0), dtype=torch.float64) / dim**0.5
    x = x.to(device, kind)
    w = torch.full((points, 1), 1 / points, dtype=kind, device=device)
    return Task(kernel, x, x, w, w, True, ACCURACY[kind], BYTES)


def _place(row: Cost) -> tuple[str, str, str, int]:
    return row.engine, row.device, row.dtype, row.dim


def _said(row: Cost) -> dict[str, object]:
    """A row without what is at its default."""
    defaults = {field.name: field.default for field in fields(row)}
    return {key: value for key, value in asdict(row).items() if value != defaults[key]}


def _here(device: str) -> bool:
    return device == "cpu" or (device == "cuda" and torch.cuda.is_available())


def _device() -> str:
    gpu = f" and {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{torch.get_num_threads()} CPU threads{gpu}"
