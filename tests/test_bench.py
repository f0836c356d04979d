"""Races and `wgf bench`: turns, medians, answers checked before any time counts, failures that leave the others."""

import json
import math

import numpy as np
import pytest

from validation import race as races
from validation.benches import _peers_potential as peers
from validation.benches import potential
from validation.race import Contestant, Result, Row, Truth, allowance, compete, race, versus
from wgf import cli
from wgf.benches import conduct
from wgf.errors import InputError

CASE = {"n": 4}
OURS = "fake_contestants:quick"


def run(peers, ours=OURS, rounds=2, truth="fake_contestants:truth", **settings):
    return race("mine", "n = 4", ours, peers, CASE, truth=truth, tolerance=1e-6, rounds=rounds, **settings)


def test_a_slower_peer_has_the_ratio_of_the_seconds():
    slow = Contestant("fake_contestants:slow", {"pause": 0.1})
    (row,) = run({"sleeper": slow}, ours=Contestant("fake_contestants:slow", {"pause": 0.05}), bounds=1.5, rounds=3)
    assert row.bench == "mine"
    assert row.peer == "n = 4: sleeper"
    assert 0.05 <= row.ours_s < 0.09 < 0.1 <= row.peer_s < 0.15
    assert row.ratio == row.peer_s / row.ours_s
    assert row.holds
    assert row.bound == 1.5
    assert row.error == 0
    assert row.note == ""


def test_a_bound_that_is_missed_does_not_hold_and_one_that_is_not_there_does():
    slow = {"a": "fake_contestants:quick", "b": "fake_contestants:quick"}
    a, b = run(slow, ours="fake_contestants:slow", bounds={"a": 2.0})
    assert (a.holds, a.bound) == (False, 2.0)
    assert (b.holds, b.bound) == (True, None)


def test_every_failure_leaves_a_row_with_its_reason_and_the_others_run_on():
    off = {"just right": {"off": 0.99e-6}, "just wrong": {"off": 2e-6}}
    peers = {name: Contestant("fake_contestants:slow", settings) for name, settings in off.items()}
    peers |= {name: f"fake_contestants:{name}" for name in ("misshapen", "lost", "crashes", "dies", "fails_later")}
    peers["missing"] = "fake_contestants:nobody"
    peers["allowed more"] = Contestant("fake_contestants:slow", {"off": 0.5}, tolerance=0.5)
    rows = {row.peer.removeprefix("n = 4: "): row for row in run(peers)}
    assert [name for name, row in rows.items() if row.holds] == ["just right", "allowed more"]
    notes = {name: row.note for name, row in rows.items() if not row.holds}
    assert notes == {
        "just wrong": "the peer gave a wrong answer: its error is 2e-06, at most 1e-06 is allowed",
        "misshapen": "the peer gave an answer of shape (4, 2), not (4,)",
        "lost": "the peer gave a wrong answer: its error is nan, at most 1e-06 is allowed",
        "crashes": "the peer failed: ArithmeticError: no luck",
        "dies": "the peer died with status 7: last words",
        "fails_later": "the peer failed: ArithmeticError: only once",
        "missing": "the peer failed: AttributeError: module 'fake_contestants' has no attribute 'nobody'",
    }
    assert all(math.isnan(row.ratio) and row.row()["ratio"] is None for row in rows.values() if not row.holds)
    assert all(row.ours_s < 0.01 for row in rows.values())


def test_where_ours_is_wrong_no_row_holds():
    (row,) = run({"quick": OURS}, ours=Contestant("fake_contestants:slow", {"off": 1.0}))
    assert not row.holds
    assert row.note == "ours gave a wrong answer: its error is 1, at most 1e-06 is allowed"
    assert row.error == 1


def test_a_peer_that_hangs_is_ended():
    (row,) = run({"hangs": "fake_contestants:hangs"}, timeout=3.0)
    assert row.note == "the peer took more than 3 s"


def test_turns_are_taken_one_after_the_other(tmp_path):
    file = tmp_path / "turns"
    names = ("A", "B", "C")
    peers = {n: Contestant("fake_contestants:remembers", {"name": n, "file": str(file)}) for n in names}
    compete(peers, CASE, truth="fake_contestants:truth", tolerance=0.0, rounds=3)
    assert file.read_text() == "ABC" * 4  # the first answers, then the rounds


def test_threads_are_said_before_a_process_starts_and_what_it_prints_is_no_answer():
    who = {"a": Contestant("fake_contestants:tells_its_threads", environment={"MINE": "5"})}
    result = compete(who, CASE, truth=(np.array([3.0, 3.0, 5.0]), 1.0), tolerance=0.0, rounds=1, threads=3)["a"]
    assert result.note == ""


def test_the_truth_may_be_of_some_rows_and_relative_to_a_scale():
    slow = {"off": Contestant("fake_contestants:slow", {"off": 0.5}, tolerance=0.3)}
    result = compete(slow, CASE, truth="fake_contestants:truth_of_two_rows", tolerance=0.0, rounds=1)["off"]
    assert (result.note, result.error) == ("", 0.25)
    assert Truth(np.zeros(2), np.array([0.0, 1.0])).error(np.zeros(2)) == 0
    assert Truth(np.zeros(2), np.array([0.0, 1.0])).error(np.array([1e-9, 0.0])) > 1
    assert Truth(np.zeros(0), 1.0).error(np.zeros(0)) == 0


def test_memory_is_that_of_the_process():
    results = compete(
        {"a": OURS, "b": "fake_contestants:large"}, CASE, truth=(np.arange(4.0), 1.0), tolerance=0.0, rounds=1
    )
    assert 60 * 2**20 < results["b"].peak - results["a"].peak < 200 * 2**20


def test_without_a_truth_or_rounds_there_is_no_race():
    with pytest.raises(RuntimeError, match="the truth failed: ArithmeticError"):
        run({}, truth="fake_contestants:no_truth")
    with pytest.raises(InputError, match="1 round or more, got 0"):
        run({}, rounds=0)


def test_an_allowance_is_a_peer_that_takes_what_is_allowed():
    row = allowance("mine", "3 s", 3.0, 2.0, 1e-7)
    assert row == Row("mine", "3 s", 1.5, 2.0, 3.0, 1e-7, 1.0, True)
    row = allowance("mine", "1 GiB", 2.0**30, 2.0**31, seconds=False)
    assert row == Row("mine", "1 GiB", 0.5, None, None, None, 1.0, False)
    assert not versus("mine", "x", Result(1.0, 0, 0, 0), Result(0.9, 0, 0, 0), 1.0).holds


# The command


BENCHES = """
from validation.race import Row, Rows

def good(quick):
    shown = Row("my-good", "shown", 0.5, 2.0, 1.0, 0.0, None, True)
    return [Row("my-good", f"quick {quick}", 2.0, 1.0, 2.0, 1e-7, 1.5, True), shown]

def bad(quick):
    files = {"left.toml": "a = 1\\n"}
    nan = float("nan")
    return Rows([Row("my-bad", "[peer]", nan, 1.0, nan, 1e-7, 1.5, False, "the peer died [7]")], files)

def crashes(quick):
    raise ArithmeticError("out of luck\\nand more")

def empty(quick):
    return []


def parts(quick):
    yield good(quick)
    yield []
    yield good(quick)[:1]
    raise ArithmeticError("out of luck")
"""


@pytest.fixture
def wgf(capfd):
    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return call


NAMES = ("good", "bad", "crashes", "empty", "parts")


@pytest.fixture
def benches(tmp_path, monkeypatch):
    """Benches of another package."""
    (tmp_path / "other_benches.py").write_text(BENCHES)
    info = tmp_path / "other_benches-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-benches\nVersion: 1\n")
    lines = "".join(f"my-{name} = other_benches:{name}\n" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[wgf.benches]\n{lines}")
    monkeypatch.syspath_prepend(tmp_path)


def test_bench_shows_and_writes_every_row(wgf, benches, tmp_path):
    file = tmp_path / "rows.json"
    status, out, _ = wgf("bench", "my-good", "--quick", "--json", file)
    assert status == 0
    assert "2 of 2 rows hold" in out
    assert "≥ 1.5" in out
    first, second = json.loads(file.read_text())
    assert first == {
        "bench": "my-good",
        "peer": "quick True",
        "ratio": 2.0,
        "ours_s": 1.0,
        "peer_s": 2.0,
        "error": 1e-7,
        "bound": 1.5,
        "holds": True,
    }
    assert second["bound"] is None


def test_a_bench_that_fails_is_a_row_that_does_not_hold_and_the_others_still_run(wgf, benches, tmp_path, monkeypatch):
    file = tmp_path / "rows.json"
    names = ("my-crashes", "my-empty", "my-bad", "my-good")
    status, out, err = wgf("bench", *names, "--json", file, "--out", tmp_path / "left")
    assert status == 1
    assert "2 of 5 rows hold" in out
    assert "[peer] the peer died [7]" in " ".join(out.split())
    assert "Traceback" in err
    rows = json.loads(file.read_text())
    assert [row["bench"] for row in rows] == [*names, "my-good"]
    assert rows[0]["peer"] == "crashed: ArithmeticError: out of luck"
    assert rows[1]["peer"] == "made no comparison"
    assert (rows[2]["ratio"], rows[2]["note"]) == (None, "the peer died [7]")
    assert (tmp_path / "left" / "left.toml").read_text() == "a = 1\n"
    monkeypatch.chdir(tmp_path)
    _, out, _ = wgf("bench", "my-bad")
    assert "--out FOLDER would keep left.toml" in out
    assert not (tmp_path / "left.toml").exists()


def test_a_bench_in_parts_is_told_part_by_part(benches, tmp_path):
    """What was done before a crash is kept, and is there before the rest has begun."""
    told = conduct(["my-parts"], True)
    assert [row["holds"] for row in next(told).rows] == [True, True]
    assert [row["holds"] for row in next(told).rows] == [True]
    last = next(told)
    assert [row["peer"] for row in last.rows] == ["crashed: ArithmeticError: out of luck"]
    assert "Traceback" in last.crash
    assert next(told, None) is None


def test_an_unknown_bench_is_answered_by_the_nearest(wgf, benches):
    status, out, err = wgf("bench", "my-goood")
    assert (status, out) == (2, "")
    assert err == "wgf: BENCH = 'my-goood' is not a bench; did you mean my-good?\n"


def test_benches_are_listed(wgf, benches):
    status, out, _ = wgf("list")
    assert status == 0
    assert "benches" in out
    assert "my-good" in out


def test_progress_is_said_through_the_log(caplog):
    with caplog.at_level("INFO", logger="wgf.benches"):
        run({"quick": OURS}, rounds=1)
    assert [record.getMessage() for record in caplog.records] == [
        "the truth is computed",
        "ours is built, and answers",
        "quick is built, and answers",
        "ours, round 1 of 1",
        "quick, round 1 of 1",
    ]
    assert races.log.name == "wgf.benches"


# The bench of the potential


def test_an_iteration_and_its_published_forms_agree_at_small_steps():
    """Their quadratures of the log-determinant differ by O(h⁴): 16 times less at half the step."""
    case = {"dim": 3, "width": 12, "rows": 50, "dtype": "float64"}
    gaps = []
    for steps in (8, 16):
        fine = {**case, "steps": steps}
        mine, *others = (found(fine)() for found in (potential.ours, peers.layer_by_layer, peers.reverse_passes))
        np.testing.assert_allclose(others[0], others[1], rtol=0, atol=1e-12 * np.abs(mine).max())
        gaps.append(np.abs(mine - others[0]).max() / np.abs(mine).max())
    assert gaps[1] < 1e-5
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(4, abs=0.3)


def test_graphs_made_anew_give_the_same_gradient():
    case = {"dim": 12, "width": 8, "rows": 20, "dtype": "float64", "steps": 1}
    np.testing.assert_allclose(peers.reverse_passes(case)(), peers.layer_by_layer(case)(), rtol=0, atol=1e-11)


def test_the_truth_is_right_and_a_wrong_slope_is_seen():
    case = {"dim": 2, "width": 16, "rows": 200, "steps": 4}
    truth = Truth(*peers.truth(case))
    right = potential.ours(case)()
    assert truth.error(right) < potential.TOLERANCE
    right[7] *= 1.1
    assert truth.error(right) > potential.TOLERANCE


def test_training_holds_only_where_it_is_quick_and_comes_near():
    runs = [(60.0, 1e-4), (60.0, -1e-5), (60.0, 2e-4), (130.0, 1e-4), (60.0, math.nan)]
    rows = [potential.judged(*run) for run in runs]
    assert [row.holds for row in rows] == [True, True, False, False, False]
    assert [row.note for row in rows][1:4] == ["", "MMD² is 0.0002, above 0.00015", ""]
