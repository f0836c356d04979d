"""The table of costs: read, refused where it is none, measured anew; and the sums that the benches compare."""

import dataclasses
import tomllib

import numpy as np
import pytest
import torch
import zoo

from validation.benches import _peers, kernel_costs, kernel_sums
from validation.race import Truth
from wgf.errors import InputError
from wgf.kernels import Gaussian, costs, engines
from wgf.kernels.costs import Cost
from wgf.kernels.task import Task

GOOD = '[[cost]]\nengine = "dense"\ndevice = "cpu"\ndtype = "float64"\ndim = 2\nstart = 0\n'


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Write a table that WGF_COSTS names."""
    file = tmp_path / "mine.toml"
    monkeypatch.setenv("WGF_COSTS", str(file))
    engines.table.cache_clear()
    yield file
    monkeypatch.undo()
    engines.table.cache_clear()


def test_the_table_in_use_is_the_one_that_the_environment_names(named):
    x = zoo.randn(0, 300, 2)
    task = Task(Gaussian(1.0), x, x, x, None)
    row = GOOD.replace("start = 0", "start = 1.5")
    for fast, slow in (("numba", "dense"), ("dense", "numba")):
        named.write_text(GOOD.replace("dense", fast) + row.replace("dense", slow))
        engines.table.cache_clear()
        assert engines.table() == (Cost(fast, "cpu", "float64", 2, 0), Cost(slow, "cpu", "float64", 2, 1.5))
        assert engines.choose(task) == fast


def test_an_engine_whose_start_alone_is_too_long_is_not_asked_for_its_plan(named, monkeypatch):
    x = zoo.randn(0, 300, 2)
    slow = GOOD.replace("dense", "nufft").replace("start = 0", "start = 1.5")
    named.write_text(GOOD.replace("dense", "numba") + slow)
    engines.table.cache_clear()
    asked = []
    monkeypatch.setattr(engines.engine("nufft"), "refusal", asked.append)
    assert engines.choose(Task(Gaussian(1.0), x, x, x, None)) == "numba"
    assert asked == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cost = [", "is not TOML"),
        ("cost = 3", r"must hold tables \[\[cost\]\]"),
        ("cost = [3]", "number 1 is not a table"),
        (GOOD + "[other]", "and nothing else"),
        (GOOD + GOOD + "pears = 1", "number 2: 'pears' is not one of engine, device, dtype, dim, start, pair"),
        (GOOD + "pair = -1e-9", "pair must be a finite number of seconds, 0 or more, got -1e-09"),
        (GOOD + "pair = nan", "got nan"),
        (GOOD + "pair = '1'", "got '1'"),
        (GOOD + "least = 2.5", "least must be a whole number from 0 on, got 2.5"),
        (GOOD.replace("dim = 2", "dim = 0"), "dim must be a whole number from 1 on, got 0"),
        (GOOD.replace("dim = 2", "dim = true"), "dim must be a number, got True"),
        (GOOD.replace('"cpu"', "1"), "device must be a text, got 1"),
        (GOOD.replace("dim = 2\nstart = 0", ""), "number 1 has no dim, start"),
        (GOOD.replace("dense", "abacus"), "speaks of 'abacus', which is none of the engines moments"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(named, text, message):
    named.write_text(text)
    with pytest.raises(InputError, match=message) as refused:
        engines.table()
    assert "\n" not in str(refused.value).strip()


def test_a_table_that_is_not_there_is_named(named):
    with pytest.raises(InputError, match=r"WGF_COSTS = .*mine.toml cannot be read: No such file"):
        engines.table()


def test_the_table_in_the_package_serves_every_precision_on_a_cpu():
    rows = costs.read()
    assert {(row.engine, row.dtype) for row in rows if row.device == "cpu"} == {
        (name, dtype) for name in engines.NAMES for dtype in ("float32", "float64")
    }
    places = [(row.engine, row.device, row.dtype, row.dim) for row in rows]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("engine", engines.NAMES)
def test_a_row_is_fitted_to_what_is_measured(engine, monkeypatch):
    row = next(row for row in costs.read() if (row.engine, row.device) == (engine, "cpu"))
    row = dataclasses.replace(row, dim=1 if engine == "sorted" else 2)
    true = dataclasses.replace(row, **{term: getattr(row, term) * 3 for term in kernel_costs.TERMS})
    monkeypatch.setattr(kernel_costs, "measured", lambda task, name: engines.engine(name).seconds(task, true))
    fitted = kernel_costs.fitted(row, kernel_costs.Size(0.05, 10_000, ()))
    task = kernel_costs._task(next(iter(kernel_costs._kernels(row))), 3000, row.dim, row.dtype, "cpu")
    if engines.engine(engine).refusal(task) is None:
        one, other = (engines.engine(engine).seconds(task, cost) for cost in (fitted, true))
        assert one == pytest.approx(other, rel=0.05)
    assert dataclasses.replace(fitted, **{term: getattr(row, term) for term in kernel_costs.TERMS}) == row


def test_a_table_measured_anew_can_be_read_and_says_which_engine_auto_takes(monkeypatch):
    few = [row for row in costs.read() if row.engine in ("dense", "moments") and row.dtype == "float64"]
    monkeypatch.setattr(engines, "table", lambda: tuple(few))
    monkeypatch.setattr(kernel_costs, "SMALL", kernel_costs.Size(0.002, 400, (100,)))
    rows = kernel_costs.bench(quick=True)
    fresh = costs.parsed(rows.files["costs.toml"], "fresh")
    assert [kernel_costs._place(row) for row in fresh] == [kernel_costs._place(row) for row in few]
    assert "WGF_COSTS" in rows.files["costs.toml"].splitlines()[1]
    assert tomllib.loads(rows.files["costs.toml"])
    autos = [row for row in rows if "auto, which takes" in row.peer]
    assert any("takes moments" in row.peer for row in autos)
    assert all(row.bound and row.holds == (row.peer_s / row.ours_s >= row.bound) for row in autos)
    tables = [row for row in rows if "by the table" in row.peer]
    assert all(row.bound is None and row.holds and row.ratio == row.peer_s / row.ours_s for row in tables)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("dim", [2, 20])
def test_ours_and_torch_in_blocks_are_the_sums_that_are_raced(dim, gradient):
    case = {"points": 300, "dim": dim, "gradient": gradient, "dtype": "float32", "tolerance": 1e-5}
    case["bandwidth"] = 0.5 * dim**0.5
    known = Truth(*_peers.truth(case))
    assert known.values.shape == (300, dim + 1 if gradient else 1)
    assert known.error(kernel_sums.sums(case)()) < 1e-5
    assert known.error(_peers.blocked_torch(case)()) < 1e-5
    x, w = (part.double() for part in _peers.cloud(case))
    by_hand = (w * Gaussian(case["bandwidth"]).value((x[4] - x).square().sum(1), dim)).sum()
    assert float(by_hand) == pytest.approx(known.values[list(known.rows).index(4), 0], rel=1e-12)


def test_the_velocity_of_a_million_is_judged_on_some_rows():
    case = {"points": 5000, "dim": 2, "gradient": True, "dtype": "float64", "bandwidth": 0.1, "rows": 20}
    known = Truth(*kernel_sums.velocity_truth(case))
    assert known.values.shape == (20, 2)
    assert known.error(kernel_sums.velocity(case)()) < 1e-6
    assert np.all(np.diff(known.rows) > 0)
    assert torch.get_num_threads() == 1
