"""The KeOps engine: formulas written from the profiles, two of them compiled, and what happens without a compiler."""

import logging
import math
import os
import re
import subprocess
import sys

import pytest
import torch
import zoo

from wgf.errors import Incompatible
from wgf.kernels import (
    Gaussian,
    InverseMultiquadric,
    Laplace,
    Log,
    Matern52,
    Power,
    _dense,
    _keops,
    engines,
    kernel_sum,
)
from wgf.kernels._formula import written
from wgf.kernels.radial import Elementary
from wgf.kernels.task import Task

ELEMENTARY = [kernel for kernel in zoo.KERNELS if all(isinstance(part, Elementary) for _, part in kernel.parts())]
every_kernel = pytest.mark.parametrize("kernel", ELEMENTARY, ids=lambda kernel: kernel.name)
ACCURACY = {torch.float32: 1e-5, torch.float64: 1e-11}


# Formulas, read as Python


MEANING = {
    "Exp": math.exp,
    "Log": lambda x: math.log(x) if x else -math.inf,
    "Sqrt": math.sqrt,
    "IntCst": float,
    "Zero": lambda dim: 0.0,
    "Minus": lambda x: -x,
    "Elem": lambda c, i: c[i],
}


def meaning(formula: str, numbers: list[float], r: float) -> float:
    """What a formula in r is worth; of IfElse only the branch that is taken is looked at."""
    text = formula
    while (start := text.rfind("IfElse(")) >= 0:
        parts, depth, at = [""], 0, start + len("IfElse(")
        while depth or text[at] != ")":
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            if text[at] == "," and not depth:
                parts.append("")
            else:
                parts[-1] += text[at]
            at += 1
        test, yes, no = parts
        text = f"{text[:start]}(({yes}) if ({test}) >= 0 else ({no})){text[at + 1 :]}"
    return eval(text, {**MEANING, "c": numbers, "r": r})


@every_kernel
@pytest.mark.parametrize("r", [0.0, 0.3, 2.0])
def test_a_formula_means_what_the_profile_says(kernel, r):
    formulas, numbers = written(kernel, 3, "r", 1)
    expected = kernel.jet(torch.tensor(r, dtype=zoo.DOUBLE), 3, 1)
    for formula, k in zip(formulas, expected, strict=True):
        assert meaning(formula, numbers, r) == pytest.approx(float(k), rel=1e-13, abs=1e-14)


def test_kernels_that_differ_in_their_numbers_share_a_formula():
    one, numbers = written(2.5 * Gaussian(0.3) + Matern52(1.0), 2, "r", 1)
    other, others = written(-1.1 * Gaussian(7.0) + Matern52(0.1), 2, "r", 1)
    assert one == other
    assert numbers != others
    assert written(Gaussian(1.0), 2, "r", 0)[0] != written(Laplace(1.0), 2, "r", 0)[0]
    assert not re.search(r"\d\.\d", "".join(one))  # KeOps keeps constants in float32


# Sums


def compared(kernel, dtype, diagonal):
    """Errors relative to Σ|w k| and Σ|w ∇k|, on spread points, a far cluster, an outlier and coincident points."""
    x = zoo.randn(0, 330, 2)
    x[100:200] = 200 + 0.05 * x[100:200]
    x[7], x[0] = x[3], 40.0
    x = x.to(dtype)
    a, b = (zoo.randn(seed, 330, 1).to(dtype) for seed in (1, 2))
    V, G = _keops.evaluate(Task(kernel, x, x, a, b, diagonal))
    wide = [part.double() for part in (x, x, a, b)]
    v, g = _dense.evaluate(Task(kernel, *wide, diagonal))
    delta = wide[0][:, None] - wide[0][None]
    k, slope = kernel.jet(delta.square().sum(-1), 2, 1)
    apart = torch.ones_like(k) if diagonal else 1 - torch.eye(len(k), dtype=k.dtype)
    scale = (k.abs() * apart) @ wide[2].abs()
    steep = (2 * slope.abs() * delta.norm(dim=-1) * apart) @ wide[3].abs()
    off = ((V.double() - v).abs() / scale.clamp_min(1e-300)).max()
    off_slope = ((G.double() - g).norm(dim=-1) / steep.clamp_min(1e-300)).max()
    assert V.dtype == dtype
    return float(off), float(off_slope)


@pytest.mark.slow
@pytest.mark.parametrize("diagonal", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@every_kernel
def test_sums_are_those_of_differences(kernel, dtype, diagonal):
    assert max(compared(kernel, dtype, diagonal)) < ACCURACY[dtype]


def test_one_formula_serves_every_bandwidth_singular_or_not_without_the_diagonal(capfd):
    kernels = [1.5 * InverseMultiquadric(h, 0.3) - Log() for h in (0.4, 2.0)]
    before = _keops._compiled.cache_info().currsize
    for kernel in kernels:
        assert max(compared(kernel, torch.float64, False)) < 1e-11
    assert _keops._compiled.cache_info().currsize == before + 1
    assert capfd.readouterr() == ("", "")


def test_several_columns_weights_and_index_pairs_are_one_formula():
    x, y = zoo.randn(0, 9, 3), zoo.randn(1, 7, 3)
    a, b = zoo.randn(2, 7, 2), zoo.randn(3, 7, 2)
    own = torch.tensor([6, 5, 4, 3, 2, 1, 0, -1, -1])
    for task in (Task(Power(3), x, y, a, b, False, own=own),):
        for mine, truth in zip(_keops.evaluate(task), _dense.evaluate(task), strict=True):
            torch.testing.assert_close(mine, truth, rtol=1e-12, atol=1e-13)


def test_indices_are_exact_in_float32_far_beyond_what_it_counts():
    rows = torch.tensor([2**24, 2**24 + 1, 2**35 + 1])
    high, low = _keops._index(rows, torch.zeros(1)).long().unbind(1)
    assert torch.equal(high * _keops.INDEX + low, rows)


# Where it cannot


class _Odd(Gaussian.__mro__[2]):  # Radial
    def jet(self, squared, dim, order):
        return (squared,) * (order + 1)


def test_it_refuses_what_it_cannot_say_and_what_was_found_missing(monkeypatch):
    x = zoo.randn(0, 4, 2)
    assert not issubclass(_Odd, Elementary)
    assert _keops.refusal(Task(_Odd(), x, x, x, None)) == "_Odd is not written in elementary functions"
    assert _keops.refusal(Task(Gaussian(1.0), x, x, x, None)) is None
    meta = torch.empty(2, 2, device="meta")
    assert "not on meta" in _keops.refusal(Task(Gaussian(1.0), meta, meta, None, None))
    monkeypatch.setitem(_keops._broken, "cpu", "it is broken")
    assert _keops.refusal(Task(Gaussian(1.0), x, x, x, None)) == "it is broken"
    with pytest.raises(Incompatible, match=r"'keops' cannot take this sum of .*: it is broken; .*dense can"):
        kernel_sum(Gaussian(1.0), x, x, engine="keops")


WITHOUT = """
import logging, torch
from wgf.kernels import Gaussian, engines, kernel_sum
from wgf.kernels.engines import Cost
from wgf.kernels.task import Unavailable

logging.basicConfig(format="%(message)s", level=logging.WARNING)
x = torch.randn(300, 2, dtype=torch.float64)
try:
    kernel_sum(Gaussian(1.0), x, x, engine="keops")
except Unavailable as missing:
    assert "found no C++ compiler: install g++" in str(missing), missing
else:
    raise AssertionError("it compiled without a compiler")
from wgf.kernels import _keops
_keops._broken.clear()
engines.table = lambda: (Cost("keops", "cpu", "float64", 2, 0.0), Cost("dense", "cpu", "float64", 2, 1.0))
for _ in range(2):  # the second time it is not tried
    value = kernel_sum(Gaussian(1.0), x, x)
assert torch.equal(value, kernel_sum(Gaussian(1.0), x, x, engine="dense"))
"""


def test_without_a_compiler_another_engine_is_taken_and_a_line_says_so(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("CXX", "PATH")}
    environment |= {"KEOPS_CACHE_FOLDER": str(tmp_path / "keops"), "PATH": str(tmp_path), "RANK": "3"}
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    lines = [line for line in run.stderr.splitlines() if line.startswith("keops")]
    assert lines == [
        "keops: KeOps found no C++ compiler: install g++, or name yours in the environment variable CXX;"
        " taking another engine"
    ]
    assert [folder.name for folder in (tmp_path / "keops").iterdir()] == ["rank3"]


def test_auto_never_compiles_for_a_small_sum(caplog):
    x = zoo.randn(0, 50, 2)
    with caplog.at_level(logging.INFO):
        assert engines.choose(Task(Gaussian(1.0), x, x, x, None)) != "keops"
    rows = [row for row in engines.table() if row.engine == "keops"]
    assert rows
    assert all(row.least >= 10**8 for row in rows)
