"""Run folders: every finished step is kept whole, and an interrupted run goes on with the bits it would have had.

A folder holds spec.toml (complete), metrics.jsonl (a line for the start and one a step), step-NNNN.safetensors (what
the stepper remembers of each step), pool-NNNN.safetensors (the particles, of the latest step only), figures/, and
manifest.json, which is replaced after each step: what it does not list does not count.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path as Folder
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from wgf import manifest, shards, spec
from wgf.components import reason
from wgf.errors import InputError, Unknown
from wgf.flow import Path, evolve
from wgf.law import Empirical, Law
from wgf.manifest import GROWING, Manifest
from wgf.maps import Flow, Map
from wgf.moments import compared
from wgf.observers import Observer, measured
from wgf.optimality import Optimality
from wgf.refinement import sizes
from wgf.schedule import evened, refined
from wgf.spec import Experiment
from wgf.steppers import FromPath, WarmStart
from wgf.steppers.base import Certificate, Info, State, Variational
from wgf.tree import Tree, load_tree, save_tree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPEC, FIGURE = "spec.toml", "figures/run.png"
CODE = "code = true  # started from Python, by objects that no spec can say: wgf.runs.resume(folder, experiment=...)\n"


def run(experiment: Experiment, folder: Folder, observers: Sequence[Observer] = ()) -> Path:
    """Flow `experiment` and keep it in `folder`, which is made if need be.

    Raises: InputError for a folder that is not empty, and for whatever the flow refuses before its first step: nothing
    is written then. Diverged as `evolve`; the steps finished before it are kept.
    """
    refuse_used(folder)
    start = begin(experiment)
    saver = Saver(experiment, Manifest(folder))
    return _evolve(experiment, experiment.taus, start, [saver, *observers])


def resume(folder: Folder, observers: Sequence[Observer] = (), experiment: Experiment | None = None) -> Path:
    """Take the steps that the run in `folder` still lacks, with the bits that it would have had uninterrupted.

    `experiment` is needed for a run that was started from code, and read from spec.toml otherwise.
    Raises: InputError, naming the file, where one is missing, truncated or edited.
    """
    return proceed(folder, *load(folder, experiment), observers)


def proceed(folder: Folder, experiment: Experiment, path: Path, observers: Sequence[Observer] = ()) -> Path:
    """Go on with the run in `folder` from what `load` found there."""
    saver = Saver(experiment, manifest.read(folder))
    before, now = saver.manifest.about.get("device", spec.CPU), _device(path)
    if before != now and not experiment.ended(path):
        raise InputError(f"{folder} was run on {before}, this is {now}: it can be read here, and gone on with there")
    saver.tidy()
    if experiment.ended(path):
        return path
    return _evolve(experiment, experiment.taus[len(path) :], path, [saver, *observers])


def load(folder: Folder, experiment: Experiment | None = None) -> tuple[Experiment, Path]:
    """A run as far as it has come: what was asked for, and its path, the laws rebuilt from the weights of each step.

    Laws of steps that were no maps, of which no particles are kept, raise `Unknown` when asked for samples. Where the
    run's device is not to be had, its path is read onto the CPU.
    Raises: InputError as `resume`.
    """
    listed = manifest.read(folder)
    listed.check()
    experiment = _experiment(folder) if experiment is None else experiment
    path = begin(experiment)
    device = path.state.x.device
    for step in range(1, int(listed.about.get("steps", 0)) + 1):
        tree = load_tree(folder / step_name(step), device)
        pool = load_tree(folder / pool_name(step), device) if pool_name(step) in listed.files else None
        try:
            _follow(experiment, path, tree, pool)
        except (KeyError, TypeError, InputError) as error:
            raise _foreign(folder / step_name(step), listed, error) from error
    return experiment, path


def _foreign(file: Folder, listed: Manifest, error: Exception) -> InputError:
    """What to say of a file that this version cannot read, though it is whole."""
    wrote, now = listed.about.get("wgf", "another version"), version("wgf-toolkit")
    return InputError(f"{file} cannot be read: it was written by wgf {wrote}, this is wgf {now} ({reason(error)})")


def begin(experiment: Experiment) -> Path:
    """The path before the first step; raises InputError where the run cannot be."""
    try:
        return _evolve(experiment, [], None, [])
    except (ArithmeticError, MemoryError, RuntimeError) as error:
        raise InputError(f"this run cannot draw its particles: {reason(error)}") from error


def rows(folder: Folder) -> list[dict[str, Any]]:
    """What each finished step measured, the start first: the lines of metrics.jsonl that the manifest lists."""
    size = manifest.read(folder).files[GROWING]["bytes"]
    with (folder / GROWING).open("rb") as stream:
        return [json.loads(line) for line in stream.read(size).splitlines()]


def add_figure(folder: Folder, figure: "Figure", name: str = FIGURE) -> Folder:
    """Keep `figure` in the run folder, listed in its manifest; where it lies."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    listed = manifest.read(folder)
    if name in listed.files:
        listed.commit([], dropped=[name])  # until it is whole again, so that an interruption here does no harm
    figure.savefig(file, dpi=150)
    listed.commit([name])
    return file


def refuse_used(folder: Folder) -> None:
    """Raise InputError unless `folder` is an empty folder, or nothing yet."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder that is empty or does not exist")
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty; name another folder, or go on with its run by wgf resume {folder}")


def step_name(step: int) -> str:
    """The file of a step's weights."""
    return f"step-{step:04d}.safetensors"


def pool_name(step: int) -> str:
    """The file of the particles after a step."""
    return f"pool-{step:04d}.safetensors"


@dataclass(frozen=True)
class FromRun(WarmStart):
    """`FromPath` of the path that another run folder keeps, read when a step is to be trained.

    Args: folder, a run whose maps have the template's form; parts, in how many each of its steps is cut.
    """

    folder: str
    parts: int = 1

    def __call__(self, template: Map, state: State) -> Map:
        stamp = (
            manifest.fingerprint(Folder(self.folder) / manifest.NAME)["sha256"] if Folder(self.folder).is_dir() else ""
        )
        return FromPath(_path(self.folder, stamp), self.parts)(template, state)


@lru_cache(maxsize=1)
def _path(folder: str, stamp: str) -> Path:
    """The path of a run, as it was when its manifest had this stamp."""
    return load(Folder(folder))[1]


def again(folder: Folder, parts: int = 1, evenly: bool = False, device: str | None = None) -> dict[str, Any]:
    """The spec of a run that takes the steps of the one in `folder` again, each map trained on from where it was.

    Over the same time: in as many steps, moved until they go equally far (`evenly`), or with each cut in `parts`; on
    its device, or another.
    Raises: InputError for a run from code, or one whose method cannot be told where its maps start.
    """
    experiment, path = load(folder)
    if experiment.spec is None or not len(path):
        raise InputError(f"{folder} has no steps that a spec can say, to be taken again")
    taus = sizes(path)
    if evenly:
        taus = evened(taus, [info.moved for info in path.infos])
    said = {key: value for key, value in experiment.spec.items() if key not in ("tau", "steps", "schedule", "settled")}
    mover = "method" if "method" in said else "stepper"
    if "warm" not in said[mover]:
        raise InputError(f"the {mover} of {folder} cannot be told where its maps start; that of jko or jko-flow can")
    if parts > 1 and not all(isinstance(map, Flow) for map in path.maps):
        raise InputError(f"the maps of {folder} are no motions, so they cannot be cut in {parts} parts")
    warm = {"type": "wgf.runs:FromRun", "folder": str(folder.resolve()), "parts": parts}
    place = device or spec.read(folder / SPEC).get("device", spec.CPU)
    return {**said, "device": place, "taus": refined(taus, parts), mover: {**said[mover], "warm": warm}}


class Saver(Observer):
    """Keeps each step in the folder of a manifest as soon as it is finished; nothing is written before `begin`."""

    def __init__(self, experiment: Experiment, listed: Manifest) -> None:
        self.experiment, self.manifest, self.folder = experiment, listed, listed.folder

    def begin(self, path: Path, steps: int) -> None:
        if self.manifest.files:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        said = self.experiment.spec
        (self.folder / SPEC).write_text(CODE if said is None else spec.write(said), encoding="utf-8")
        energy = {f"energy.{name}": value for name, value in path.energies[0].items()}
        self._append({"step": 0, "time": 0.0, "energy": path.energy[0], **energy}, path)
        self.manifest.commit([SPEC, GROWING], **_about(), device=_device(path), steps=0, of=steps)

    def after(self, path: Path) -> None:
        step, state, info = len(path), path.state, path.infos[-1]
        seen = {"time": path.times[-1], "energies": path.energies[-1], "info": _told(info)}
        save_tree({**seen, "step": state.step, "memory": state.memory}, self.folder / step_name(step))
        pool = {"x": state.x, "logdet": state.logdet, "log_base": state.log_base}
        save_tree(pool, self.folder / pool_name(step))
        self._append(measured(path), path)
        old = [name for name in self.manifest.files if name.startswith("pool-") and name != pool_name(step)]
        self.manifest.commit([GROWING, step_name(step), pool_name(step)], old, steps=step)
        for name in old:
            (self.folder / name).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove what an interruption left behind: files and lines that the manifest does not list."""
        for pattern in ("step-*", "pool-*", "*.part"):
            for file in self.folder.glob(pattern):
                if file.name not in self.manifest.files:
                    file.unlink()
        with (self.folder / GROWING).open("rb+") as stream:
            stream.truncate(self.manifest.files[GROWING]["bytes"])

    def _append(self, row: Mapping[str, Any], path: Path) -> None:
        told = {**row, **compared(self.experiment.problem, path.times[-1], path.state.x)}
        line = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in told.items()}
        with (self.folder / GROWING).open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")


class _Lost(Law):
    """The law of a step of which no particles were kept: only its dimension and dtype are known."""

    def __init__(self, like: Tensor) -> None:
        self._like = like

    @property
    def like(self) -> Tensor:
        return self._like

    @property
    def has_density(self) -> bool:
        return False

    def sample(self, n: int, generator: torch.Generator | None = None) -> NoReturn:
        raise Unknown("a run folder keeps the particles of its latest step only, and this step was not a map")

    def log_prob(self, x: Tensor) -> NoReturn:
        raise Unknown("this step of a saved run was not a map, so its density is not known")

    def to(self, target: torch.dtype | torch.device | str) -> "_Lost":
        return _Lost(self._like.to(target))


def _evolve(experiment: Experiment, taus: Sequence[float], path: Path | None, observers: Sequence[Observer]) -> Path:
    problem = experiment.problem
    shards.refuse("a run folder", "use evolve, and keep path.final, which holds all particles")
    told = [Optimality(), *observers]
    return evolve(
        problem.F,
        experiment.stepper,
        problem.initial,
        taus,
        seed=experiment.seed,
        observers=told,
        stop=experiment.stop,
        path=path,
    )


def _experiment(folder: Folder) -> Experiment:
    said = spec.read(folder / SPEC)
    if "code" in said:
        raise InputError(f"{folder} was started from Python, by objects that no spec can say: resume it from Python")
    return spec.build(spec.here(said))


def _follow(experiment: Experiment, path: Path, tree: Tree, pool: Tree) -> None:
    """`path` one step further, by what was kept of that step; `pool` is its particles, where they were kept."""
    state = replace(path.state, step=tree["step"], memory=tree["memory"], **(pool or {}))
    info, stepper, law = _heard(tree["info"]), experiment.stepper, path.final
    if isinstance(stepper, Variational):
        info = replace(info, map=stepper.remembered(state.memory, path.laws[0].like))
        law = stepper.law(path.final, path.laws[0], state, info)
    else:
        law = _Lost(path.laws[0].like) if pool is None else Empirical(state.x)
    path.laws.append(law)
    path.times.append(tree["time"])
    path.energies.append(tree["energies"])
    path.infos.append(info)
    path.state = state


def _told(info: Info) -> Tree:
    """What a step reported, as a tree; its live objects are left out."""
    seen = info.certificate
    return {
        "energy": dict(info.energy),
        "moved": info.moved,
        "certificate": None if seen is None else {"value": seen.value, "standard_error": seen.standard_error},
        "dual": dict(info.dual),
        "measures": dict(info.measures),
        "curve": [list(point) for point in info.curve],
        "seconds": info.seconds,
    }


def _heard(told: Tree) -> Info:
    seen = told["certificate"]
    curve = [(int(iteration), float(score)) for iteration, score in told["curve"]]
    return Info(**{**told, "certificate": None if seen is None else Certificate(**seen), "curve": curve})


def _device(path: Path) -> str:
    """Whose random numbers a path has: two kinds of GPU draw different ones."""
    device = path.state.x.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _about() -> dict[str, str]:
    return {"wgf": version("wgf-toolkit"), "torch": str(torch.__version__)}
