"""The command line: what it writes, what it prints, and one line with status 2 for whatever cannot be."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from wgf import cli, flags, runs

SMALL = ["--particles", "60", "--set", "stepper.held=16", "--set", "stepper.training.iterations=3"]


@pytest.fixture
def wgf(capfd):
    """Run a command line in this process: its status, standard output and standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return ended.value.code, out, err

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder, not to be changed."""
    place = tmp_path_factory.mktemp("cli") / "run"
    with pytest.raises(SystemExit):
        cli.main(["run", "ornstein-uhlenbeck", "--steps", "2", *SMALL, "--out", str(place)])
    return place


# What works


def test_run_leaves_a_folder_a_table_and_a_figure(wgf, tmp_path):
    place = tmp_path / "deep" / "run"
    status, out, err = wgf("run", "ornstein-uhlenbeck", "--stepper", "jko", "--tau", 0.45, *SMALL, "--out", place)
    assert status == 0
    assert {file.name for file in place.iterdir()} >= {"spec.toml", "metrics.jsonl", "manifest.json", "figures"}
    assert (place / "figures" / "run.png").read_bytes().startswith(b"\x89PNG")
    assert "figures/run.png" in json.loads((place / "manifest.json").read_text())["files"]
    for word in ("Ornstein–Uhlenbeck in dimension 2", "certificate", "Δmean", "figure: "):
        assert word in out
    assert "left" in err  # the bar, with the time left, is on standard error alone
    assert "left" not in out
    assert len([line for line in out.splitlines() if line.split()[:1] in (["0"], ["1"], ["2"])]) == 3


def test_flags_override_the_file(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text(
        'taus = [0.1, 0.2]\nseed = 3\n[problem]\ntype = "heat"\ndim = 4\n[stepper]\ntype = "midpoint"\ninner.held = 7\n'
    )
    plain = flags.assemble(str(file))
    assert plain == tomllib.loads(file.read_text())
    raw = flags.assemble(
        str(file),
        tau=0.5,
        seed=4,
        dtype="float64",
        particles=900,
        settings=["dim=2", "stepper.inner.map=affine"],
        device="cuda",
    )
    assert raw == {
        "seed": 4,
        "dtype": "float64",
        "device": "cuda",
        "tau": 0.5,
        "problem": {"type": "heat", "dim": 2},
        "stepper": {"type": "midpoint", "inner": {"held": 7, "particles": 900, "map": "affine"}},
    }
    assert flags.assemble(str(file), stepper="midpoint")["stepper"]["inner"] == {"held": 7}
    assert flags.assemble(str(file), stepper="jko")["stepper"] == {"type": "jko"}
    assert flags.assemble("heat", particles=5, stepper="langevin")["stepper"] == {"type": "langevin", "particles": 5}


def test_settings_are_read_as_toml_or_json_and_else_as_text():
    read = {
        "12": 12,
        "0.5": 0.5,
        "true": True,
        "[[1, 0], [0, 2.5]]": [[1, 0], [0, 2.5]],
        '"a b"': "a b",
        "wine": "wine",
        '{type = "wine"}': {"type": "wine"},
        '{"type": "wine"}': {"type": "wine"},
        "1\nb = 2": "1\nb = 2",
        "": "",
    }
    assert {text: flags.literal(text) for text in read} == read


def test_a_name_becomes_a_table_where_something_is_set_inside_it():
    raw = flags.assemble("heat", settings=["stepper.map=ot-flow", "stepper.map.width=8"])
    assert raw["stepper"]["map"] == {"type": "ot-flow", "width": 8}


def test_the_spec_of_a_run_gives_the_same_bits(wgf, folder, tmp_path):
    status, _, _ = wgf("run", folder / "spec.toml", "--out", tmp_path / "again")
    assert status == 0
    assert torch.equal(runs.load(tmp_path / "again")[1].state.x, runs.load(folder)[1].state.x)


def test_resume_goes_on_where_a_run_was_interrupted(wgf, folder, tmp_path, monkeypatch):
    place, after = tmp_path / "run", runs.Saver.after

    def kill(saver: runs.Saver, path: object) -> None:
        after(saver, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.Saver, "after", kill)
    status, _, err = wgf("run", "ornstein-uhlenbeck", "--steps", 2, *SMALL, "--out", place)
    assert (status, len(runs.load(place)[1])) == (130, 1)
    assert f"wgf resume {place} goes on" in " ".join(err.split())
    monkeypatch.setattr(runs.Saver, "after", after)
    status, out, _ = wgf("resume", place)
    assert status == 0
    assert "Δmean" in out
    assert torch.equal(runs.load(place)[1].state.x, runs.load(folder)[1].state.x)
    status, _, err = wgf("resume", place)
    assert (status, f"{place} has taken all of its 2 steps\n") == (0, err)


def test_show_prints_what_run_printed(wgf, folder):
    status, out, _ = wgf("show", folder)
    assert status == 0
    assert "Δcov" in out
    assert str(folder / "figures" / "run.png") in out


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_sample_draws_the_last_law_and_score_reads_it(wgf, folder, tmp_path, suffix):
    file, scores = tmp_path / f"x.{suffix}", tmp_path / f"scores.{suffix}"
    assert wgf("sample", folder, "-n", 50, "--seed", 3, "--out", file)[0] == 0
    law = runs.load(folder)[1].final
    x = law.sample(50, torch.Generator().manual_seed(0))
    read = np.load(file)["x"] if suffix == "npz" else np.loadtxt(file, delimiter=",", skiprows=1)
    assert read.shape == x.shape
    status, out, _ = wgf("score", folder, file, "--out", scores)
    value = law.to(torch.float64).log_prob(torch.tensor(read, dtype=torch.float64))
    assert status == 0
    assert f"{float(value.mean()):.4f}" in out
    written = np.load(scores)["x"] if suffix == "npz" else np.loadtxt(scores, skiprows=1)
    np.testing.assert_allclose(written.reshape(-1), value.numpy(), rtol=1e-6)


def test_list_names_everything(wgf):
    status, out, _ = wgf("list")
    assert status == 0
    for name in ("ornstein-uhlenbeck", "saddle-jko", "ot-flow", "adam", "breast-cancer", "german-credit", "geometric"):
        assert name in out


def test_help_and_version(wgf):
    assert "validate" in wgf("--help")[1]
    assert "validate" in wgf()[1]
    assert wgf("--version")[1].startswith("wgf ")
    assert "KEY=VALUE" in wgf("run", "--help")[1]


# Studies

STUDIES = '''
from matplotlib.figure import Figure
from validation.report import Context, Report, at_least, at_most, within

def good(quick):
    """Holds."""
    check = at_most("good", "error [nats]", 0.5 if quick else 0.7, 1.0)
    return Report("good", (check,), (Context("beside", {"x": 1.0}),), Figure())

def bad(quick):
    """Does not hold."""
    return Report("bad", (within("bad", "order", float("nan"), 0.9, 1.1), at_least("bad", "share", 1.0, 0.5)))

def crashes(quick):
    """Crashes."""
    raise ZeroDivisionError("by nought\\nor so")

def empty(quick):
    """Checks nothing."""
    return Report("empty", ())

def parts(quick):
    """Two parts, of which the second crashes."""
    yield Report("parts", (at_most("parts", "first", 0.5, 1.0),), figure=Figure())
    raise ZeroDivisionError("by nought")
'''


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """Studies of another package, and no others."""
    (tmp_path / "four_studies.py").write_text(STUDIES)
    info = tmp_path / "four-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: four\nVersion: 1.0\n")
    lines = "".join(f"my-{name} = four_studies:{name}\n" for name in ("good", "bad", "crashes", "empty", "parts"))
    (info / "entry_points.txt").write_text(f"[wgf.studies]\nmy-missing = four_studies:missing\n{lines}")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_validate_writes_every_check_and_says_whether_all_hold(wgf, studies, tmp_path):
    status, out, _ = wgf(
        "validate", "my-good", "--quick", "--json", tmp_path / "a.json", "--figures", tmp_path / "figures"
    )
    assert status == 0
    assert "1 of 1 checks hold" in out
    assert "error [nats]" in out
    assert "beside: x" in out
    assert json.loads((tmp_path / "a.json").read_text()) == [
        {"study": "good", "quantity": "error [nats]", "value": 0.5, "bound": 1.0, "holds": True}
    ]
    assert (tmp_path / "figures" / "my-good.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["my-bad", "my-crashes", "my-empty", "my-missing"])
def test_a_study_that_fails_is_a_failed_check_and_the_others_still_run(wgf, studies, tmp_path, name):
    status, out, err = wgf("validate", name, "my-good", "--json", tmp_path / "a.json")
    rows = json.loads((tmp_path / "a.json").read_text())
    assert status == 1
    assert [row["study"] for row in rows if row["holds"]][-1] == "good"
    assert not rows[0]["holds"]
    assert rows[0]["value"] is None
    assert set(rows[0]) == {"study", "quantity", "value", "bound", "holds"}
    if name == "my-crashes":
        assert rows[0]["quantity"] == "crashed: ZeroDivisionError: by nought"
        assert "ZeroDivisionError" in err
    assert "NO" in out


def test_parts_of_a_study_are_kept_as_they_are_done(wgf, studies, tmp_path):
    status, out, _ = wgf("validate", "my-parts", "--json", tmp_path / "a.json", "--figures", tmp_path / "figures")
    assert status == 1
    assert [row["quantity"] for row in json.loads((tmp_path / "a.json").read_text())] == [
        "first",
        "crashed: ZeroDivisionError: by nought",
    ]
    assert "1 of 2 checks hold" in out
    assert (tmp_path / "figures" / "my-parts.png").exists()


# What cannot be: status 2, one line, nothing written

HEAT, OU = ("run", "heat"), ("run", "ornstein-uhlenbeck")
BAD = {
    "unknown problem": (("run", "heta"), "did you mean heat?"),
    "unknown stepper": ((*HEAT, "--stepper", "jok"), "did you mean jko?"),
    "unknown key": ((*HEAT, "--set", "dmi=2"), "problem.dmi = 2 is not a key of this spec; did you mean dim?"),
    "unknown nested key": ((*HEAT, "--set", "stepper.map.widht=2"), "stepper.map.widht = 2"),
    "not from the root": ((*OU, "--set", "data.type=wine"), "did you mean problem.data.type?"),
    "no value": ((*HEAT, "--set", "dim"), "KEY=VALUE"),
    "tau zero": ((*HEAT, "--tau", "0"), "tau must be a finite number above 0, got 0"),
    "tau negative": ((*HEAT, "--tau=-0.1"), "tau must be a finite number above 0, got -0.1"),
    "tau nan": ((*HEAT, "--tau", "nan"), "tau must be a finite number above 0, got nan"),
    "tau no number": ((*HEAT, "--tau", "abc"), "'abc' is not a number"),
    "tau past the horizon": ((*HEAT, "--tau", "0.3"), "does not divide the horizon"),
    "steps zero": ((*HEAT, "--steps", "0"), "steps must be an integer of at least 1, got 0"),
    "seed no integer": ((*HEAT, "--seed", "1.5"), "'1.5' is not a whole number"),
    "dtype": ((*HEAT, "--dtype", "float16"), "float16"),
    "device": ((*HEAT, "--device", "gpu"), "device = 'gpu' should be 'cpu', 'cuda'"),
    "device that is not there": ((*HEAT, "--device", "cuda:99"), "device = 'cuda:99' is not to be had here"),
    "not positive definite": ((*OU, "--set", "matrix=[[1, 2], [2, 1]]"), "matrix must be positive definite"),
    "not symmetric": ((*OU, "--set", "matrix=[[1, 0], [0.5, 1]]"), "matrix must be symmetric"),
    "not square": ((*OU, "--set", "matrix=[[1, 0]]"), "matrix must be a square matrix"),
    "ragged": ((*OU, "--set", "matrix=[[1, 0], [0]]"), "matrix must be a rectangular list"),
    "nan in data": ((*OU, "--set", "centre=[nan, 0]"), "centre has 1 entries that are NaN"),
    "wrong width": ((*OU, "--set", "centre=[1, 2, 3]"), "centre must have shape (2,), got (3,)"),
    "map of another width": ((*HEAT, "--set", "stepper.map.dim=3"), "the map acts on 3 dimensions"),
    "functional that cannot run": ((*HEAT, "--stepper", "particles"), "Particles cannot run Entropy"),
    "interaction under adjusted": (
        ("run", "mckean-vlasov", "--stepper", "adjusted-langevin"),
        "AdjustedLangevin cannot run Interaction",
    ),
    "splitting without interaction": ((*HEAT, "--stepper", "splitting"), "Splitting needs terms on both sides"),
    "pool too small": ((*HEAT, "--particles", "10", "--set", "stepper.held=6"), "held must be at most half"),
    "pool too large": ((*HEAT, "--stepper", "langevin", "--particles", 10**14), "GiB of memory"),
    "dimension too large": ((*HEAT, "--set", "dim=1000000000000"), "GiB of memory"),
    "no such file": (("run", "nowhere.toml"), "nowhere.toml cannot be read"),
    "any function at all": (("run", "os:system"), "not a function annotated to return a Problem"),
    "unknown option": ((*HEAT, "--bogus"), "No such option"),
    "unknown command": (("frobnicate",), "No such command"),
    "too many arguments": ((*HEAT, "heat"), "heat"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_status_two(wgf, tmp_path, name):
    arguments, said = BAD[name]
    status, out, err = wgf(*arguments, *(["--out", tmp_path / "run"] if arguments[0] == "run" else []))
    assert status == 2
    assert err.startswith("wgf: ")
    assert err.count("\n") == 1
    assert said in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_left_alone(wgf, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    status, _, err = wgf("run", "heat", "--out", tmp_path)
    assert (status, err.count("\n")) == (2, 1)
    assert f"{tmp_path} is not empty" in err
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_an_output_folder_is_asked_for(wgf):
    assert wgf("run", "heat") == (2, "", "wgf: Missing option '--out'.\n")


@pytest.mark.parametrize("command", ["show", "resume", "sample", "score"])
def test_folders_that_hold_no_run_are_refused(wgf, tmp_path, command):
    more = {"sample": ["--out", tmp_path / "x.csv"], "score": [tmp_path / "x.csv"]}.get(command, [])
    status, _, err = wgf(command, tmp_path / "nothing", *more)
    assert (status, err.count("\n")) == (2, 1)
    assert "is not a run folder" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("x1,x2\n1,2\n3,nan\n", "1 entries that are NaN"),
        ("x1,x2,x3\n1,2,3\n", "must have 2 columns, got 3"),
        ("x1,x2\n1,2\n3\n", "does not hold rows of numbers"),
        ("x1,x2\n1,b\n", "does not hold rows of numbers"),
        ("", "must have shape (n, d)"),
        (None, "cannot be read"),
    ],
)
def test_rows_that_cannot_be_scored_are_refused(wgf, folder, tmp_path, content, said):
    file = tmp_path / "rows.csv"
    if content is not None:
        file.write_text(content)
    status, _, err = wgf("score", folder, file)
    assert (status, err.count("\n")) == (2, 1)
    assert said in err


def test_other_files_that_cannot_be_are_refused(wgf, folder, tmp_path):
    for arguments, said in (
        (("sample", folder, "--out", tmp_path / "x.txt"), "must end in .csv or .npz"),
        (("sample", folder, "-n", 0, "--out", tmp_path / "x.csv"), "-n must be an integer of at least 1, got 0"),
        (("sample", folder, "--out", tmp_path / "no" / "x.csv"), "No such file"),
        (("score", folder, folder / "spec.toml"), "must end in .csv or .npz"),
        (("validate", "nosuch"), "choose from"),
        (("validate", "heat", "--json", tmp_path / "no" / "a.json"), "No such file"),
    ):
        status, _, err = wgf(*arguments)
        assert (status, err.count("\n")) == (2, 1)
        assert said in err
    assert list(tmp_path.iterdir()) == []


def test_laws_without_a_density_cannot_be_scored(wgf, tmp_path):
    place, file = tmp_path / "run", tmp_path / "x.csv"
    assert wgf("run", "heat", "--stepper", "langevin", "--particles", 20, "--steps", 1, "--out", place)[0] == 0
    assert wgf("sample", place, "-n", 5, "--out", file)[0] == 0
    status, _, err = wgf("score", place, file)
    assert (status, err) == (2, "wgf: an empirical law has no density\n")


def test_the_installed_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "wgf.cli", "run", "heta", "--out", tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent.parent,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "wgf: problem.type = 'heta' is not a problem; did you mean heat?\n"
