"""Every example runs at its smoke setting, and the numbers that do not need training are right."""

import math
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from wgf import cli, runs, spec

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    for name in ("fokker_planck", "posterior", "new_term", "demo"):
        sys.modules.pop(name, None)


def test_demo_leaves_a_table_and_figures(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the breast-cancer data come with scikit-learn")
    table = runpy.run_path(str(EXAMPLES / "demo.py"))["main"](tmp_path, smoke=True)
    assert table.row_count == 2
    assert {file.name for file in tmp_path.iterdir()} == {"fokker_planck.png", "posterior.png"}


def test_new_term_relaxes_at_its_exact_rate() -> None:
    left = runpy.run_path(str(EXAMPLES / "new_term.py"))["main"](steps=100)
    assert left == pytest.approx(0.98**99, rel=1e-4)  # explicit Euler: (1 − kτ)ⁿ, from the first stored cloud on
    assert left == pytest.approx(math.exp(-2), rel=0.05)


def test_mmd_flows_go_to_both_targets() -> None:
    main = runpy.run_path(str(EXAMPLES / "mmd_flow.py"))["main"]
    left, figure = main(particles=400, targets=500)
    assert set(left) == {"ring", "eight Gaussians"}
    assert max(left.values()) < 1e-3
    assert all(axis.get_xlabel() and axis.get_title() for axis in figure.axes)


def test_svgd_finds_the_posterior() -> None:
    mean, sd, figure = runpy.run_path(str(EXAMPLES / "svgd.py"))["main"](particles=100, steps=100, chains=400)
    assert mean < 0.25
    assert sd < 0.25
    assert all(axis.get_xlabel() and axis.get_title() for axis in figure.axes)


def test_particles_gather_on_their_ring() -> None:
    off, path, figure = runpy.run_path(str(EXAMPLES / "sharded.py"))["main"](particles=500)
    assert abs(off) < 0.01
    assert -1 / 12 <= path.energy[-1] < -0.99 / 12  # no law has less than the ring
    assert figure is not None
    assert all(axis.get_xlabel() and axis.get_title() for axis in figure.axes)


def test_digits_take_fewer_bits_than_under_a_gaussian() -> None:
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    bits, plain, figure = runpy.run_path(str(EXAMPLES / "digits.py"))["main"](iterations=110, particles=8000)
    assert bits < plain
    assert all(axis.get_xlabel() and axis.get_title() for axis in figure.axes)


def smoke(file: Path) -> list[str]:
    """The flags that a spec's own comment says make it short."""
    lines = [line for line in file.read_text().splitlines() if line.startswith("# smoke: ")]
    assert len(lines) == 1, f"{file.name} should say what makes it short, in a line '# smoke: FLAGS'"
    return shlex.split(lines[0].removeprefix("# smoke: "))


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.toml")), ids=lambda file: file.stem)
def test_a_spec_runs_at_its_smoke_setting(file: Path, tmp_path: Path) -> None:
    if file.stem == "posterior":
        pytest.importorskip("sklearn", reason="the breast-cancer data come with scikit-learn")
    full = spec.resolve(spec.read(file))
    assert spec.resolve(full) == full
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", str(file), "--out", str(tmp_path / "run"), *smoke(file)])
    assert ended.value.code == 0
    assert len(runs.rows(tmp_path / "run")) == 3
    run = runs.load(tmp_path / "run")[1]
    assert run.state.x.isfinite().all()
