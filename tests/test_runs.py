"""Run folders: the same bits after an interruption, laws rebuilt from weights, and damage refused by name."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import zoo
from matplotlib.figure import Figure
from torch import Tensor

from wgf import runs, spec
from wgf.errors import Diverged, Incompatible, InputError, Unknown
from wgf.flow import Path as Flow
from wgf.functionals import Potential
from wgf.law import Gaussian
from wgf.observers import Observer
from wgf.problem import Problem
from wgf.spec import Experiment
from wgf.steppers import Particles
from wgf.tree import load_tree

POOL = {"particles": 60, "held": 16}
ADAM = {"iterations": 3, "batch": 16, "checks": 1}
GAME = {"iterations": 2, "inner": 1, "refit": 2, "batch": 16}
JKO = {"type": "jko", "map": {"width": 4}, "training": ADAM, **POOL}
SADDLE = {"type": "saddle-jko", "map": {"width": 4}, "critic": {"width": 4}, "training": GAME, **POOL}
ODE = {"type": "neural-ode", "width": 4, "steps": 2, "trace": "hutchinson"}
STEPPERS = {
    "jko": JKO,
    "jko, fresh": {**JKO, "warm": "fresh"},
    "jko, neural ode": {**JKO, "map": ODE},
    "midpoint": {"type": "midpoint", "inner": JKO},
    "saddle, previous": SADDLE,
    "saddle, potential": {**SADDLE, "map": {"type": "ot-flow", "width": 4, "steps": 2}},
    "saddle, base": {**SADDLE, "anchor": "base"},
    "splitting": {"type": "splitting", "inner": JKO},
    "langevin": {"type": "langevin", "particles": 40, "substeps": 2},
}
MAPS = ["jko", "jko, neural ode", "midpoint", "saddle, previous", "saddle, base"]


def experiment(name: str = "jko", steps: int = 4, **keys: object) -> Experiment:
    return spec.build({"problem": "mckean-vlasov", "stepper": STEPPERS[name], "steps": steps, "tau": 0.05, **keys})


class Killed(Exception):
    """Stands for the end of the process."""


class Killer(Observer):
    """Ends the process inside the training of step `step` (counted from 1)."""

    def __init__(self, step: int) -> None:
        self.step, self.taken = step, 0

    def inside(self, progress: object) -> bool:
        if self.taken == self.step - 1:
            raise Killed
        return False

    def after(self, path: Flow) -> None:
        self.taken += 1


def interrupted(asked: Experiment, folder: Path, step: int) -> Path:
    with pytest.raises(Killed):
        runs.run(asked, folder, [Killer(step)])
    return folder


def same(first: Tensor | None, second: Tensor | None) -> bool:
    return first is second is None or torch.equal(first, second)


def lines(folder: Path) -> list[dict[str, object]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in runs.rows(folder)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run of four steps, not to be changed."""
    place = tmp_path_factory.mktemp("run") / "finished"
    runs.run(experiment(), place)
    return place


def copied(folder: Path, to: Path) -> Path:
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    return to


# Going on


@pytest.mark.parametrize("step", [1, 3])
@pytest.mark.parametrize("name", STEPPERS)
def test_an_interrupted_run_goes_on_with_the_same_bits(name, step, tmp_path):
    asked = experiment(name)
    whole = runs.run(asked, tmp_path / "whole")
    torch.manual_seed(step)  # the global generator must not matter
    path = runs.resume(interrupted(asked, tmp_path / "halves", step))
    for part in ("x", "logdet", "log_base", "base"):
        assert same(getattr(path.state, part), getattr(whole.state, part)), part
    assert lines(tmp_path / "halves") == lines(tmp_path / "whole")
    assert (path.times, len(path)) == (whole.times, len(whole))
    for step in range(1, 5):
        ours, theirs = (tmp_path / place / runs.step_name(step) for place in ("halves", "whole"))
        assert flattened(load_tree(ours)["memory"]) == flattened(load_tree(theirs)["memory"])


def flattened(tree: object) -> object:
    if isinstance(tree, Tensor):
        return tree.flatten().tolist()
    if isinstance(tree, dict):
        return {key: flattened(value) for key, value in tree.items()}
    return [flattened(value) for value in tree] if isinstance(tree, list) else tree


def test_what_a_kill_between_two_files_leaves_does_not_count(folder, tmp_path):
    asked = experiment()
    halves = interrupted(asked, tmp_path / "halves", 3)
    (halves / runs.step_name(3)).write_bytes(b"half a file")
    (halves / runs.pool_name(3)).write_bytes(b"half a file")
    (halves / "step-0003.safetensors.part").write_bytes(b"half")
    with (halves / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 3, "ti')
    assert len(runs.load(halves)[1]) == 2
    path = runs.resume(halves)
    assert torch.equal(path.state.x, runs.load(folder)[1].state.x)
    assert lines(halves) == lines(folder)
    assert [json.loads(line)["step"] for line in (halves / "metrics.jsonl").read_text().splitlines()] == [0, 1, 2, 3, 4]
    assert not list(halves.glob("*.part"))


def test_a_kill_while_a_figure_is_written_does_no_harm(folder, tmp_path):
    class Torn:
        def savefig(self, file: Path, dpi: int) -> None:
            file.write_bytes(b"half a figure")
            raise Killed

    place = copied(folder, tmp_path / "copy")
    assert runs.add_figure(place, Figure()) == place / "figures" / "run.png"
    with pytest.raises(Killed):
        runs.add_figure(place, Torn())
    assert len(runs.load(place)[1]) == 4
    runs.add_figure(place, Figure())
    (place / "figures" / "run.png").write_bytes(b"another figure")
    with pytest.raises(InputError, match=r"figures/run\.png is truncated"):
        runs.load(place)


def test_a_finished_run_has_nothing_left_to_do(folder, tmp_path):
    place = copied(folder, tmp_path / "copy")
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    assert len(runs.resume(place)) == 4
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before


def test_the_written_spec_gives_the_same_bits(folder, tmp_path):
    again = runs.run(spec.build(spec.read(folder / runs.SPEC)), tmp_path / "again")
    assert torch.equal(again.state.x, runs.load(folder)[1].state.x)
    assert (tmp_path / "again" / runs.SPEC).read_bytes() == (folder / runs.SPEC).read_bytes()


# What lies in the folder


def test_weights_of_every_step_and_the_pool_of_the_last(folder):
    names = sorted(file.name for file in folder.iterdir())
    assert names == [
        "manifest.json",
        "metrics.jsonl",
        "pool-0004.safetensors",
        "spec.toml",
        *(f"step-{step:04d}.safetensors" for step in (1, 2, 3, 4)),
    ]


def test_the_manifest_has_the_size_and_the_hash_of_every_file(folder):
    listed = json.loads((folder / "manifest.json").read_text())
    assert (listed["steps"], listed["of"]) == (4, 4)
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "manifest.json"}
    assert listed["files"] == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }


def test_metrics_have_a_line_for_the_start_and_one_a_step(folder):
    _, path = runs.load(folder)
    rows = runs.rows(folder)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["time"] for row in rows] == path.times
    assert [row["energy"] for row in rows] == path.energy
    assert rows[-1]["observed.mean_norm"] == pytest.approx(float(path.state.x.mean(0).norm()))
    assert rows[-1]["moved"] > 0
    assert {"certificate", "certificate_se", "seconds", "mean_error", "covariance_error"} <= set(rows[-1])


def test_a_run_by_a_potential_flow_reports_its_optimality(tmp_path):
    runs.run(experiment("saddle, potential", 2), tmp_path / "run")
    measured = {"Hamilton–Jacobi residual", "terminal error", "kinetic energy", "straightness"}
    assert all(measured <= set(row) for row in lines(tmp_path / "run")[1:])


def test_numbers_that_are_not_known_are_null(tmp_path):
    runs.run(experiment("langevin", 1), tmp_path / "run")
    assert [row["energy.Entropy"] for row in runs.rows(tmp_path / "run")] == [None, None]
    assert math.isnan(runs.load(tmp_path / "run")[1].energies[1]["Entropy"])


# What is read back


@pytest.mark.parametrize("name", MAPS)
def test_laws_are_rebuilt_from_the_weights(name, tmp_path):
    path = runs.run(experiment(name, 3), tmp_path / "run")
    _, again = runs.load(tmp_path / "run")
    for ours, theirs in zip(again.laws, path.laws, strict=True):
        draws = [law.sample(20, torch.Generator().manual_seed(1)) for law in (ours, theirs)]
        assert torch.equal(*draws)
    x = path.final.sample(5, torch.Generator().manual_seed(2)).double()
    if again.final.has_density:
        torch.testing.assert_close(again.final.to(torch.float64).log_prob(x), path.final.to(torch.float64).log_prob(x))
    assert again.energies == path.energies
    assert [info.certificate for info in again.infos] == [info.certificate for info in path.infos]
    assert [info.curve for info in again.infos] == [info.curve for info in path.infos]


def test_a_rebuilt_path_can_be_inverted(tmp_path):
    path = runs.run(experiment("jko", 2), tmp_path / "run")
    reference = Gaussian.standard(2)
    both = [
        p.inverse(reference).sample(6, torch.Generator().manual_seed(0)) for p in (path, runs.load(tmp_path / "run")[1])
    ]
    assert torch.equal(*both)


@pytest.mark.parametrize("name", ["langevin", "splitting"])
def test_particles_of_earlier_steps_are_lost_where_steps_are_no_maps(name, tmp_path):
    path = runs.run(experiment(name, 2), tmp_path / "run")
    _, again = runs.load(tmp_path / "run")
    assert torch.equal(again.final.x, path.state.x)
    with pytest.raises(Unknown, match="latest step only"):
        again.laws[1].sample(3)
    with pytest.raises(Unknown, match="density is not known"):
        again.laws[1].to(torch.float64).log_prob(path.state.x)
    with pytest.raises(Incompatible, match="every step is a map"):
        again.inverse(Gaussian.standard(2))


# What is refused

FILES = ["spec.toml", "metrics.jsonl", "step-0002.safetensors", "pool-0004.safetensors"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-7]), "is truncated"),
        (lambda file: file.write_bytes(file.read_bytes()[:-9] + b"#" + file.read_bytes()[-8:]), "was edited"),
        (lambda file: file.unlink(), "is missing"),
    ],
    ids=["truncated", "edited", "missing"],
)
def test_damage_is_refused_by_name(name, damage, said, folder, tmp_path):
    place = copied(folder, tmp_path / "copy")
    damage(place / name)
    for open_it in (runs.load, runs.resume):
        with pytest.raises(InputError, match=said) as caught:
            open_it(place)
        assert name in str(caught.value)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"files": {"a": 3}}', '{"files": 1}'])
def test_a_damaged_manifest_is_refused(content, folder, tmp_path):
    place = copied(folder, tmp_path / "copy")
    if content is None:
        (place / "manifest.json").unlink()
    else:
        (place / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json"):
        runs.load(place)


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("42")
    with pytest.raises(InputError, match="is not empty"):
        runs.run(experiment(), tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="is a file"):
        runs.run(experiment(), tmp_path / "thesis.tex")


def test_what_cannot_run_leaves_nothing(tmp_path):
    asked = spec.build({"problem": "heat", "stepper": "particles"})
    with pytest.raises(Incompatible, match="Particles cannot run Entropy"):
        runs.run(asked, tmp_path / "run")
    with pytest.raises(InputError, match="GiB of memory"):
        runs.run(
            spec.build({"problem": "heat", "stepper": {"type": "langevin", "particles": 10**14}}), tmp_path / "run"
        )
    assert not (tmp_path / "run").exists()


# From Python


def coded() -> Experiment:
    problem = Problem(Potential(lambda x: 0.5 * x.square().sum(-1)), zoo.start().to(torch.float32), 1.0)
    return Experiment(problem, Particles(20), [0.1] * 3)


def test_a_run_of_a_device_that_is_not_here_is_read_on_the_cpu_and_not_gone_on_with(tmp_path, monkeypatch):
    asked = experiment("jko")
    assert asked.spec is not None
    with monkeypatch.context() as there:
        there.setattr(runs, "_device", lambda path: "Some GPU")
        interrupted(replace(asked, spec={**asked.spec, "device": "cuda:99"}), tmp_path / "run", 3)
    found, path = runs.load(tmp_path / "run")
    assert found.spec["device"] == "cpu"
    assert len(path) == 2
    assert path.final.sample(5).device.type == "cpu"
    with pytest.raises(InputError, match=r"run was run on Some GPU, this is cpu: it can be read here, and gone on"):
        runs.resume(tmp_path / "run")
    assert len(runs.rows(tmp_path / "run")) == 3
    with pytest.raises(InputError, match="device = 'cuda:99' is not to be had here"):
        spec.build(runs.again(tmp_path / "run", evenly=True))
    assert spec.build(runs.again(tmp_path / "run", evenly=True, device="cpu")).spec["device"] == "cpu"


def test_a_finished_run_of_another_device_has_nothing_left_to_do(tmp_path, monkeypatch):
    with monkeypatch.context() as there:
        there.setattr(runs, "_device", lambda path: "Some GPU")
        whole = runs.run(experiment("jko", 1), tmp_path / "run")
    assert torch.equal(runs.resume(tmp_path / "run").state.x, whole.state.x)


def test_a_run_that_no_spec_can_say_goes_on_from_python_only(tmp_path):
    whole = runs.run(coded(), tmp_path / "whole")
    halves = interrupted(coded(), tmp_path / "halves", 2)
    assert "code = true" in (halves / runs.SPEC).read_text()
    with pytest.raises(InputError, match="resume it from Python"):
        runs.resume(halves)
    assert torch.equal(runs.resume(halves, experiment=coded()).state.x, whole.state.x)


class Explodes(Observer):
    """Training that diverges at step 3."""

    def inside(self, progress: object) -> bool:
        if self.taken == 2:
            raise Diverged("the loss was not finite")
        return False

    taken = 0

    def after(self, path: Flow) -> None:
        self.taken += 1


def test_steps_before_a_divergence_are_kept(tmp_path):
    with pytest.raises(Diverged) as caught:
        runs.run(experiment(), tmp_path / "run", [Explodes()])
    _, kept = runs.load(tmp_path / "run")
    assert torch.equal(kept.state.x, caught.value.path.state.x)
    assert len(kept) == 2
