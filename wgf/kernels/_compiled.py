"""Sums as compiled loops: source written for a kernel, a dimension and a number of columns, compiled once and kept."""

import hashlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from wgf.kernels._source import Expression, Writer, orders_of
from wgf.kernels.radial import Elementary, Radial

TILE = 1024
"""Pairs whose terms are added in the working precision; the sums of tiles are added in float64."""


@dataclass(frozen=True)
class Shape:
    """What a loop is generated for: dimension d, k columns of values, l of gradients, and the working precision."""

    dim: int
    values: int
    slopes: int
    double: bool


@dataclass(frozen=True)
class Loop:
    """A compiled loop and the numbers it takes."""

    run: Callable[..., None]
    numbers: tuple[float, ...]


def loop(kernel: Radial, shape: Shape) -> Loop:
    """The loop of this kernel, compiled at its first call."""
    source, numbers = written(kernel, shape)
    return Loop(_module(source).run, numbers)


@cache
def written(kernel: Radial, shape: Shape) -> tuple[str, tuple[float, ...]]:
    """The source for Σ c_i k_i of elementary kernels: bandwidths and factors are its arguments, not its text."""
    m, order = Writer(), 1 if shape.slopes else 0
    numbers: list[float] = []

    def number(value: float) -> Expression:
        numbers.append(value)
        return Expression(m, f"p{len(numbers) - 1}")

    totals: list[Expression | None] = [None, None]
    for factor, part in kernel.parts():
        assert isinstance(part, Elementary)
        scale = number(factor)
        singular = order >= part.bounded
        if singular:
            m.write("r if r > zero else one")
        r = Expression(m, m.write("r if r > zero else one").name) if singular else Expression(m, "r")
        p = [number(value) for value in part.parameters(shape.dim)]
        at_zero = _at_zero(part, shape.dim, order)
        for n, k in enumerate(orders_of(part, m, r, p, order)):
            if n == 0 and not shape.values:
                continue
            if singular:
                k = m.write(f"{k} if r > zero else {number(at_zero[n])}")
            term = k * scale
            so_far = totals[n]
            totals[n] = term if so_far is None else so_far + term
    return _text(shape, m, totals, len(numbers)), tuple(numbers)


def _at_zero(part: Elementary, dim: int, order: int) -> list[float]:
    zero = torch.zeros((), dtype=torch.float64)
    return [float(k) for k in part.jet(zero, dim, order)]


def _text(shape: Shape, m: Writer, totals: Sequence[Expression | None], numbers: int) -> str:
    """The module: constants, and `run(x, y, a, b, p, skip, V, G, start, stop)` over rows of contiguous columns."""
    d, k, l = shape.dim, shape.values, shape.slopes
    kind = "float64" if shape.double else "float32"
    bits = 64 if shape.double else 32
    sums = [f"v{c}" for c in range(k)] + [f"g{c}_{a}" for c in range(l) for a in range(d)]
    inner = [f"d{a} = x{a} - ys{a}[j]" for a in range(d)]
    inner.append("r = " + " + ".join(f"d{a} * d{a}" for a in range(d)))
    inner += m.lines
    inner += [f"v{c} += as{c}[j] * {totals[0]}" for c in range(k)]
    for c in range(l):
        inner.append(f"q{c} = bs{c}[j] * {totals[1]}")
        inner += [f"g{c}_{a} += q{c} * d{a}" for a in range(d)]
    lines = [
        f"import numpy as np\nfrom numba import njit\n"
        f"from wgf.kernels._arithmetic import FAST, exp{bits} as exp, log{bits} as log\n"
        f"from math import sqrt\n\nzero, one = np.{kind}(0), np.{kind}(1)",
        *(f"{name} = np.{kind}({value!r})" for value, name in m.constants.items()),
        "\n@njit(nogil=True, cache=True, error_model='numpy', fastmath=FAST)",
        "def run(x, y, a, b, p, skip, V, G, start, stop):",
        *(f"    p{n} = p[{n}]" for n in range(numbers)),
        "    m = y.shape[1]",
        *(f"    y{a} = y[{a}]" for a in range(d)),
        *(f"    a{c} = a[{c}]" for c in range(k)),
        *(f"    b{c} = b[{c}]" for c in range(l)),
        "    for i in range(start, stop):",
        *(f"        x{a} = x[{a}, i]" for a in range(d)),
        *(f"        S{name} = 0.0" for name in sums),
        "        low, away = 0, skip[i]",
        "        while low < m:",
        f"            high = min(low + {TILE}, m)",
        "            if low <= away < high:",
        "                high = away",
        *(f"            ys{a} = y{a}[low:high]" for a in range(d)),
        *(f"            as{c} = a{c}[low:high]" for c in range(k)),
        *(f"            bs{c} = b{c}[low:high]" for c in range(l)),
        *(f"            {name} = zero" for name in sums),
        "            for j in range(high - low):",
        *(f"                {line}" for line in inner),
        *(f"            S{name} += {name}" for name in sums),
        "            low = high + 1 if high == away else high",
        *(f"        V[i, {c}] = Sv{c}" for c in range(k)),
        *(f"        G[i, {c}, {a}] = 2.0 * Sg{c}_{a}" for c in range(l) for a in range(d)),
    ]
    return "\n".join(lines) + "\n"


@cache
def _module(source: str) -> ModuleType:
    """The module of this source: a file in the cache folder, so that numba keeps what it compiled beside it."""
    stamp = source.encode() + Path(__file__).with_name("_arithmetic.py").read_bytes()  # which it inlines
    name = "wgf_sum_" + hashlib.sha256(stamp).hexdigest()[:20]
    file = _folder() / f"{name}.py"
    if not file.exists():
        fresh = file.with_suffix(f".{os.getpid()}")
        fresh.write_text(source, encoding="utf-8")
        fresh.replace(file)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # numba looks for it there
    spec.loader.exec_module(module)
    return module


@cache
def _folder() -> Path:
    """$WGF_CACHE, the user's cache folder, or a temporary one where neither can be written."""
    named = os.environ.get("WGF_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    for folder in ([Path(named)] if named else []) + [home / "wgf"]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="wgf-"))
