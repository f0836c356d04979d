"""Specs: what they leave out is filled in, what they get wrong is named with its path, and they survive TOML."""

import inspect
import math
import re
import tomllib
from pathlib import Path

import pytest
import torch

from wgf import flags, registry, spec
from wgf.activations import Silu
from wgf.critics import Critic
from wgf.errors import SpecError
from wgf.functionals import Interaction, Term
from wgf.maps import ICNN, Affine, Compose, Euler, Heun, Hutchinson, Map, NeuralODE, OTFlow, Residual
from wgf.schedule import Constant, Geometric, Schedule
from wgf.steppers import JKO, Base, Fresh, Langevin, Midpoint, Particles, Previous, SaddleJKO, Splitting, Stepper
from wgf.training import LBFGS, Adam, Recipe

EXAMPLES = Path(__file__).parent.parent / "examples"
BUILT = [problem for problem in registry.declared(spec.PROBLEMS) if problem != "logistic-regression"]


def build(problem: object = "heat", **keys: object) -> spec.Experiment:
    return spec.build({"problem": problem, **keys})


def stepper(said: object, problem: object = "heat") -> Stepper:
    return build(problem, stepper=said).stepper


# What is left out is filled in


@pytest.mark.parametrize("name", registry.components(Stepper))
@pytest.mark.parametrize("problem", BUILT)
def test_a_complete_spec_is_its_own_completion_and_survives_toml(problem, name):
    raw = {"problem": problem, "stepper": name}
    if problem in ("density", "images") and not getattr(registry.components(Stepper)[name], "keeps_density", True):
        with pytest.raises(SpecError, match="cannot learn a density, for its steps are no maps"):
            spec.resolve(raw)
        return
    complete = spec.resolve(raw)
    assert spec.resolve(complete) == complete
    assert tomllib.loads(spec.write(complete)) == complete


@pytest.mark.parametrize("name", registry.components(Stepper))
def test_a_complete_spec_builds_the_same_stepper_as_the_short_one(name):
    short = build(stepper=name)
    again = spec.build(tomllib.loads(spec.write(short.spec)))
    assert repr(again.stepper) == repr(short.stepper)
    assert list(again.taus) == list(short.taus)


def test_every_default_is_written_out():
    said = spec.resolve({"problem": "heat"})
    assert said["seed"] == 0
    assert said["dtype"] == "float32"
    assert said["device"] == "cpu"
    assert said["problem"] == {"type": "heat", "dim": 2, "scale": 1.0, "horizon": 1.0}
    recipe = {key: value for key, value in vars(Adam()).items() if value is not None}
    assert said["stepper"]["training"] == {**recipe, "betas": [0.9, 0.99], "type": "adam"}
    assert said["stepper"]["map"] == {
        "type": "residual",
        "width": 64,
        "depth": 1,
        "activation": {"type": "tanh"},
        "knots": 0,
    }
    unsaid = {"density_batch", "held"}  # None, which TOML cannot say
    assert set(said["stepper"]) == {"type", *inspect.signature(JKO).parameters} - unsaid


def test_a_table_without_a_type_changes_the_default():
    built = stepper({"training": {"iterations": 7}, "map": {"width": 8}})
    assert isinstance(built, JKO)
    assert built.training == Adam(iterations=7)
    assert built.map.network.layers[0].weight.shape == (8, 2)


class Tuned(Langevin):
    """A stepper whose default is an object that is not its class's default."""

    def __init__(self, particles: int = 10, training: Recipe = Adam(iterations=3, batch=5)) -> None:
        super().__init__(particles)
        object.__setattr__(self, "training", training)


def test_a_default_object_keeps_its_own_arguments():
    said = {"type": f"{__name__}:Tuned", "training": {"batch": 9}}
    assert stepper(said).training == Adam(iterations=3, batch=9)
    assert spec.resolve({"problem": "heat", "stepper": said["type"]})["stepper"]["training"]["iterations"] == 3
    assert stepper({**said, "training": {"type": "adam", "batch": 9}}).training == Adam(iterations=3, batch=9)
    assert stepper({**said, "training": "lbfgs"}).training == LBFGS()


def test_a_name_alone_stands_for_its_component():
    built = stepper({"type": "jko", "map": "ot-flow", "training": "lbfgs", "warm": "fresh"})
    assert isinstance(built, JKO)
    assert isinstance(built.map, OTFlow)
    assert (built.training, built.warm) == (LBFGS(), Fresh())


def test_components_nest():
    said = {
        "type": "splitting",
        "forward": ["interaction"],
        "inner": {"type": "saddle-jko", "anchor": "base", "critic": {"width": 5, "activation": "silu"}},
    }
    built = stepper(said, "mckean-vlasov")
    assert isinstance(built, Splitting)
    assert built.forward == (Interaction,)
    assert isinstance(built.inner, SaddleJKO)
    assert built.inner.anchor == Base()
    assert isinstance(built.inner.critic, Critic)
    assert built.inner.critic.network.activation == Silu()


def test_lists_of_components():
    maps = ["affine", {"type": "neural-ode", "scheme": "heun", "trace": {"type": "hutchinson", "probes": 3}}]
    built = stepper({"map": {"type": "compose", "maps": maps}}).map
    assert isinstance(built, Compose)
    assert [type(part) for part in built.parts] == [Affine, NeuralODE]
    assert built.parts[1].scheme == Heun()
    assert built.parts[1].trace == Hutchinson(3)


def test_maps_and_critics_take_the_dimension_of_the_problem_and_do_not_write_it():
    built = build({"type": "heat", "dim": 5}, stepper="saddle-jko")
    assert (built.stepper.map.dim, built.stepper.critic.dim) == (5, 5)
    assert "dim" not in built.spec["stepper"]["map"]
    assert build({**built.spec["problem"], "dim": 3}, stepper=built.spec["stepper"]).stepper.map.dim == 3


def test_the_dtype_is_that_of_the_initial_law():
    assert build().problem.initial.like.dtype == torch.float32
    assert build(dtype="float64").problem.initial.like.dtype == torch.float64


def test_integers_pass_for_numbers():
    assert spec.resolve({"problem": {"type": "heat", "scale": 2}, "tau": 1, "steps": 1})["tau"] == 1.0


# Step sizes


def test_nine_steps_reach_the_horizon_unless_something_is_said():
    assert build({"type": "heat", "horizon": 1.8}).taus == Constant(1.8 / 9, 9)
    assert build(steps=4).taus == Constant(0.25, 4)
    assert build(tau=0.2).taus == Constant(0.2, 5)
    assert build(tau=0.3, steps=2).taus == Constant(0.3, 2)


def test_step_sizes_may_be_listed_or_scheduled():
    assert build(taus=[0.1, 1]).taus == [0.1, 1.0]
    growing = build(schedule={"type": "geometric", "first": 0.1, "ratio": 2, "steps": 4, "cap": 0.5})
    assert list(growing.taus) == [0.1, 0.2, 0.4, 0.5]
    assert spec.resolve(growing.spec) == growing.spec


def test_schedules_are_sequences():
    shrinking = Geometric(1.0, 0.5, 4)
    assert list(shrinking) == [1, 0.5, 0.25, 0.125]
    assert (len(shrinking), shrinking[-1], shrinking[1:3]) == (4, 0.125, [0.5, 0.25])
    assert sum(Constant(0.25, 4)) == 1
    assert Geometric(1.0, 10.0, 1000, cap=2.0)[999] == 2
    with pytest.raises(IndexError):
        shrinking[4]
    for wrong in ((0, 2, 3), (1, -1, 3), (1, 2, 0), (1, 10, 1000), (1, 0.1, 1000), (math.nan, 1, 1)):
        with pytest.raises(ValueError, match="must be"):
            Geometric(*wrong)


# What is wrong is named

WRONG = [
    ({}, "problem is missing", "heat"),
    ({"problem": "heta"}, "problem.type = 'heta'", "did you mean heat?"),
    ({"problem": 3}, "problem must be a name or a table", "got 3"),
    ({"problem": {"dim": 3}}, "problem needs a type", "heat"),
    ({"problem": {"type": "heat", "dmi": 3}}, "problem.dmi = 3", "did you mean dim?"),
    ({"problem": {"type": "heat", "xyzzy": 3}}, "problem.xyzzy = 3", "choose from type, dim, scale, horizon"),
    ({"problem": {"type": "heat", "dim": "abc"}}, "problem.dim should be a valid integer", "'abc'"),
    ({"problem": {"type": "heat", "dim": 2.0}}, "problem.dim should be a valid integer", "2.0"),
    ({"problem": {"type": "heat", "dim": True}}, "problem.dim should be a valid integer", "True"),
    ({"problem": {"type": "heat", "dim": 10**30}}, "problem.dim must fit in 64 bits", ""),
    ({"problem": {"type": "heat", "dim": 10**12}}, "problem cannot be built", "GiB of memory"),
    ({"problem": {"type": "heat", "dim": 0}}, "problem: dim must be an integer of at least 1", "0"),
    ({"problem": {"type": "heat", "scale": float("nan")}}, "problem: scale", "nan"),
    ({"problem": {"type": "ornstein-uhlenbeck", "matrix": [[1, 2], [2, 1]]}}, "problem: matrix", "positive definite"),
    ({"problem": {"type": "ornstein-uhlenbeck", "matrix": [[1, "a"], [2, 1]]}}, "problem.matrix[0][1]", "'a'"),
    ({"problem": {"type": "ornstein-uhlenbeck", "centre": [1, 2, 3]}}, "problem: centre", "(3,)"),
    ({"problem": {"type": "logistic-regression", "data": "wnie"}}, "problem.data.type = 'wnie'", "wine"),
    ({"problem": "os:system"}, "problem.type = 'os:system'", "return a Problem"),
    ({"problem": "no_such_module:heat"}, "no_such_module", "PYTHONPATH"),
    ({"problem": "pdes.heat:haet"}, "pdes.heat:haet", "cannot be imported"),
    ({"problem": ":heat"}, "':heat'", "package.module:name"),
    ({"problem": "heat", "colour": 1}, "colour = 1", "choose from seed, dtype, device, tau"),
    ({"problem": "heat", "steper": "jko"}, "steper = 'jko'", "stepper"),
    ({"problem": "heat", "seed": 1.5}, "seed should be a valid integer", "1.5"),
    ({"problem": "heat", "dtype": "float16"}, "dtype should be 'float32' or 'float64'", "float16"),
    ({"problem": "heat", "device": "gpu"}, "device = 'gpu' should be 'cpu', 'cuda'", "cuda:1"),
    ({"problem": "heat", "device": 0}, "device = 0 should be 'cpu', 'cuda'", "cuda:1"),
    ({"problem": "heat", "device": "cuda:01"}, "device = 'cuda:01' should be 'cpu', 'cuda'", "cuda:1"),
    ({"problem": "heat", "device": "meta"}, "device = 'meta' should be 'cpu', 'cuda'", "cuda:1"),
    ({"problem": "heat", "device": "cuda:99"}, "device = 'cuda:99' is not to be had here", "CUDA devices"),
    ({"problem": "heat", "tau": -1}, "tau must be a finite number above 0", "-1"),
    ({"problem": "heat", "tau": 0.3}, "tau = 0.3 does not divide the horizon 1", "0.333333"),
    ({"problem": "heat", "tau": 7}, "tau = 7 does not divide the horizon 1", "tau = 1 for 1 step"),
    ({"problem": "heat", "steps": 0}, "steps must be an integer of at least 1", "0"),
    ({"problem": "heat", "taus": []}, "taus must list at least one", "[]"),
    ({"problem": "heat", "taus": [1, 0]}, "taus[1] must be a finite number above 0", "0"),
    ({"problem": "heat", "taus": 3}, "taus should be a valid array", "3"),
    ({"problem": "heat", "taus": [1], "tau": 1}, "given twice", "taus and by tau and steps"),
    ({"problem": "heat", "schedule": "constant"}, "schedule.tau is missing", ""),
    ({"problem": "heat", "schedule": {"first": 1}}, "schedule needs a type", "constant, geometric"),
    ({"problem": "heat", "stepper": "jok"}, "stepper.type = 'jok' is not a Stepper", "did you mean jko?"),
    ({"problem": "heat", "stepper": "JKO"}, "stepper.type = 'JKO' is not a Stepper", "did you mean jko?"),
    ({"problem": "heat", "stepper": {"type": 3}}, "stepper.type = 3 is not a Stepper", "midpoint"),
    ({"problem": "heat", "stepper": {"map": {"type": "residaul"}}}, "stepper.map.type = 'residaul'", "residual?"),
    ({"problem": "heat", "stepper": {"map": {"widht": 1}}}, "stepper.map.widht = 1", "did you mean width?"),
    ({"problem": "heat", "stepper": {"map": {"width": "64"}}}, "stepper.map.width should be a valid integer", "'64'"),
    ({"problem": "heat", "stepper": {"map": {"width": 0}}}, "stepper.map: ", "width"),
    ({"problem": "heat", "stepper": {"map": 3}}, "stepper.map must be a name or a table", "3"),
    ({"problem": "heat", "stepper": {"map": {"type": "explicit"}}}, "stepper.map.type = 'explicit'", "choose from"),
    ({"problem": "heat", "stepper": {"map": {"type": "os:system"}}}, "stepper.map.type = 'os:system'", "a Map"),
    ({"problem": "heat", "stepper": {"particles": 10, "held": 6}}, "stepper: held", "6 of 10"),
    ({"problem": "heat", "stepper": {"training": {"betas": [0.5]}}}, "stepper.training.betas[1] is missing", "[0.5]"),
    (
        {"problem": "heat", "stepper": {"type": "midpoint", "inner": {"map": {"activation": "siul"}}}},
        "stepper.inner.map.activation.type = 'siul'",
        "silu",
    ),
    ({"problem": "heat", "stepper": {"type": "midpoint", "inner": "langevin"}}, "stepper.inner.type", "saddle-jko"),
    ({"problem": "heat", "stepper": {"type": "splitting", "forward": ["entorpy"]}}, "stepper.forward[0]", "entropy"),
    ({"problem": "heat", "stepper": {"type": "splitting", "forward": "entropy"}}, "stepper.forward must be a list", ""),
]


@pytest.mark.parametrize(("wrong", "place", "advice"), WRONG, ids=[place for _, place, _ in WRONG])
def test_what_is_wrong_is_named_in_one_sentence(wrong, place, advice):
    with pytest.raises(SpecError) as caught:
        spec.build(wrong)
    assert place in str(caught.value)
    assert advice in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_toml_are_refused(tmp_path):
    file = tmp_path / "a.toml"
    with pytest.raises(SpecError, match=r"a\.toml cannot be read: No such file"):
        spec.read(file)
    file.write_text("problem = ")
    with pytest.raises(SpecError, match=r"a\.toml is not valid TOML"):
        spec.read(file)
    file.write_bytes(b"\xff")
    with pytest.raises(SpecError, match=r"a\.toml is not valid TOML"):
        spec.read(file)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.toml")), ids=lambda file: file.name)
def test_the_examples_are_specs(file):
    pytest.importorskip("sklearn", reason="the data come with scikit-learn")
    complete = spec.resolve(spec.read(file))
    assert spec.resolve(complete) == complete


# The registry


def test_components_go_by_the_kebab_case_of_their_class():
    assert registry.components(Map)["ot-flow"] is OTFlow
    assert registry.components(Stepper) == {
        registry.kebab(kind.__name__): kind for kind in registry.components(Stepper).values()
    }
    assert {"saddle-jko", "midpoint", "particles"} <= set(registry.components(Stepper))
    assert [registry.kebab(name) for name in ("NeuralODE", "RK4", "BreastCancer")] == [
        "neural-ode",
        "rk4",
        "breast-cancer",
    ]


def test_abstract_classes_and_those_that_need_functions_are_not_offered():
    assert "explicit" not in registry.components(Map)
    assert "dynamic" not in registry.components(Map)
    assert "potential" not in registry.components(Term)
    assert registry.components(torch.Tensor) == {}
    assert set(registry.components(Schedule)) == {"constant", "geometric"}


def test_classes_and_problems_of_ones_own_by_module_and_name(tmp_path, monkeypatch):
    (tmp_path / "mine_by_name.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    built = build("mine_by_name:saddle_point", stepper={"map": {"type": "mine_by_name:Wide", "width": 3}})
    assert isinstance(built.stepper.map, Residual)
    assert built.spec["stepper"]["map"]["type"] == "mine_by_name:Wide"
    assert spec.resolve(built.spec) == built.spec
    with pytest.raises(SpecError, match=r"problem\.f is required, but no spec can say it"):
        build("mine_by_name:needs_code")
    with pytest.raises(SpecError, match="not a function annotated to return a Problem"):
        build("mine_by_name:unsaid")


def test_other_packages_add_components_and_problems_by_entry_points(tmp_path, monkeypatch):
    (tmp_path / "mine_by_entry.py").write_text(OWN)
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[wgf.components]\nvery-wide = mine_by_entry:Wide\n[wgf.problems]\nsaddle-point = mine_by_entry:saddle_point\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._exports.cache_clear()
    try:
        built = build("saddle-point", stepper={"type": "midpoint", "inner": {"map": "very-wide"}})
        assert isinstance(built.stepper, Midpoint)
        assert built.spec["stepper"]["inner"]["map"] == {"type": "very-wide", "width": 7}
        with pytest.raises(SpecError, match="did you mean very-wide"):
            build("saddle-point", stepper={"map": "vary-wide"})
    finally:
        registry._exports.cache_clear()


OWN = '''
from wgf import Entropy, Gaussian, Problem, Residual

class Wide(Residual):
    """One very wide layer."""
    def __init__(self, dim: int, width: int = 7) -> None:
        super().__init__(dim, width)

def saddle_point(dim: int = 2) -> Problem:
    """A problem of one's own."""
    return Problem(Entropy(), Gaussian.standard(dim), 1.0)

def needs_code(power: Entropy, f: type(lambda: 0)) -> Problem:
    """Only Python can call this."""
    return saddle_point()

def unsaid(dim: int = 2):
    """Returns nobody knows what."""
    return saddle_point()
'''


def test_schemes_are_components_too():
    built = stepper({"type": "particles", "scheme": "heun", "substeps": 3})
    assert built == Particles(scheme=Heun(), substeps=3)
    assert stepper("particles") == Particles(scheme=Euler())


# Methods


@pytest.fixture
def methods(monkeypatch):
    """The entry points of the package, whatever was installed."""
    from importlib.metadata import EntryPoint

    from wgf import registry

    names = {"variational-wgf": "wgf.methods:variational_wgf", "semidual-jko": "wgf.methods:semidual_jko"}
    names["w1w2-flow"] = "wgf.methods:w1w2_flow"
    points = {name: EntryPoint(name, value, spec.METHODS) for name, value in names.items()}
    points["no-stepper"] = EntryPoint("no-stepper", "wgf.keys:fold", spec.METHODS)
    declared = registry.declared
    monkeypatch.setattr(registry, "declared", lambda group: points if group == spec.METHODS else declared(group))


def test_a_method_stands_for_its_stepper(methods):
    built = spec.build(
        {"problem": {"type": "heat", "dim": 3}, "method": {"type": "semidual-jko", "critic": {"width": 5}}}
    )
    assert isinstance(built.stepper, SaddleJKO)
    assert built.stepper.anchor == Base()
    assert built.stepper.map.dim == built.stepper.critic.dim == 3
    assert built.spec["method"]["particles"] == 100_000
    assert "stepper" not in built.spec
    assert spec.resolve(built.spec) == built.spec
    assert spec.build(built.spec).stepper.critic.network.layers[0].weight.shape == (5, 3)


def test_variational_wgf_composes_its_parts(methods):
    said = {"type": "variational-wgf", "map": "icnn", "forward": ["interaction"], "second_order": True}
    built = spec.build({"problem": "mckean-vlasov", "method": said}).stepper
    assert isinstance(built, Splitting)
    assert built.forward == (Interaction,)
    assert isinstance(built.inner, Midpoint)
    assert isinstance(built.inner.inner.map, ICNN)


def test_w1w2_flow_is_a_potential_flow_from_the_particles(methods):
    said = {"type": "w1w2-flow", "horizon": 5.0, "steps": 7, "scheme": "heun"}
    experiment = spec.build({"problem": {"type": "wgf.targets:generation", "L": 2.0}, "method": said, "steps": 1})
    built = experiment.stepper
    assert isinstance(built.map, OTFlow)
    assert (built.map.end, built.map.steps, built.map.scheme, built.anchor) == (5.0, 7, Heun(), Previous())
    assert experiment.problem.functional.L == 2.0
    assert list(experiment.taus) == [experiment.problem.horizon]
    assert spec.resolve(experiment.spec) == experiment.spec


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"method": "semidual-jkoo"}, "method.type = 'semidual-jkoo' is not a method; did you mean semidual-jko"),
        ({"method": {}}, "method needs a type; choose from"),
        ({"method": "semidual-jko", "stepper": "jko"}, "the stepper is given twice, by stepper and by method"),
        ({"method": "no-stepper"}, "is not a function annotated to return a Stepper"),
        ({"method": {"type": "semidual-jko", "r1": -1.0}}, "method: r1 must be a finite number from 0 on, got -1.0"),
        ({"method": {"type": "semidual-jko", "widht": 1}}, "method.widht = 1 is not a key"),
    ],
)
def test_bad_methods_are_refused(methods, raw, message):
    with pytest.raises(SpecError, match=re.escape(message)):
        spec.build({"problem": "heat", **raw})


def test_flags_choose_a_method(methods):
    assert flags.assemble("heat", method="semidual-jko", particles=9)["method"] == {
        "type": "semidual-jko",
        "particles": 9,
    }
    with pytest.raises(SpecError, match="--stepper jko and --method semidual-jko both say how to step"):
        flags.assemble("heat", "jko", method="semidual-jko")
