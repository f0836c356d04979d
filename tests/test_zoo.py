"""The zoo is complete: every class of the library that claims something is in a list that tests the claim."""

import importlib
import inspect
import pkgutil
import tomllib
from abc import ABC
from collections.abc import Iterable
from pathlib import Path

import pytest
import zoo

import wgf
from wgf.activations import Activation
from wgf.conditional import Given
from wgf.functionals import Term
from wgf.functionals.divergence import F
from wgf.kernels import Radial
from wgf.law import Law
from wgf.maps import Map
from wgf.maps.integrate import Scheme
from wgf.runs import FromRun
from wgf.steppers import Stepper
from wgf.steppers.anchors import Anchor
from wgf.steppers.jko import WarmStart
from wgf.steppers.updates import Update
from wgf.training import Recipe

for module in pkgutil.walk_packages(wgf.__path__, "wgf."):
    importlib.import_module(module.name)


def concrete(family: type) -> set[type]:
    """The public concrete classes of the library below `family`; one that names ABC as a base is a contract."""
    children = set(family.__subclasses__())
    below = children.union(*(concrete(child) for child in children))
    library = {kind for kind in below if kind.__module__.split(".")[0] == "wgf" and ABC not in kind.__bases__}
    return {kind for kind in library if not inspect.isabstract(kind) and not kind.__name__.startswith("_")}


def types(objects: Iterable[object]) -> set[type]:
    return {type(each) for each in objects}


STEPPERS = [entry.build() for entry in zoo.STEPPERS]
INSIDE = [*STEPPERS, *(stepper.inner for stepper in STEPPERS if hasattr(stepper, "inner"))]

LISTED = {
    Map: types(entry.build(zoo.DOUBLE) for entry in zoo.MAPS),
    Scheme: types([*zoo.SCHEMES, *zoo.ADAPTIVE]),
    Activation: types(zoo.ACTIVATIONS),
    Term: types(entry.build() for entry in zoo.TERMS),
    F: types(zoo.DIVERGENCES),
    Radial: types(zoo.KERNELS),
    Stepper: types(STEPPERS),
    WarmStart: types(stepper.warm for stepper in INSIDE if hasattr(stepper, "warm")),
    Anchor: types(stepper.anchor for stepper in INSIDE if hasattr(stepper, "anchor")),
    Recipe: types(stepper.training for stepper in INSIDE if hasattr(stepper, "training")),
    Update: types(stepper.update for stepper in INSIDE if hasattr(stepper, "update")),
    Law: types(entry.build() for entry in zoo.LAWS),
}

ELSEWHERE = {Given, FromRun}  # no law of (u, c), and what reads a run folder: tests/test_learning.py


@pytest.mark.parametrize("family", LISTED, ids=lambda family: family.__name__)
def test_every_class_of_the_library_is_in_the_zoo(family):
    missing = {kind.__name__ for kind in concrete(family) - LISTED[family] - ELSEWHERE}
    assert not missing, f"add a line to tests/zoo.py for {sorted(missing)}"


def test_the_walk_sees_the_classes_it_should():
    assert {"Affine", "OTFlow"} <= {kind.__name__ for kind in concrete(Map)}
    assert not {"Static", "Dynamic", "Flow"} & {kind.__name__ for kind in concrete(Map)}


def test_every_problem_of_the_command_line_is_in_the_zoo():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    offered = project["project"]["entry-points"]["wgf.problems"]
    listed = {entry.name: f"{entry.build.__module__}:{entry.build.__name__}" for entry in zoo.PROBLEMS}
    assert set(offered) == set(listed)
    for name, where in offered.items():
        module, function = where.split(":")
        assert getattr(importlib.import_module(module), function).__name__ == listed[name].split(":")[1]


@pytest.mark.parametrize("entry", zoo.PROBLEMS, ids=lambda entry: f"{entry.name}-{'-'.join(entry.arguments)}")
def test_a_problem_is_ready_to_flow(entry):
    problem = entry()
    x = problem.initial.sample(20, zoo.torch.Generator().manual_seed(0))
    assert x.shape == (20, problem.dim)
    assert x.dtype == zoo.DOUBLE
    assert problem.initial.has_density == (problem.learning is None)  # data are rows
    assert problem.horizon > 0
    assert problem.title
    for observable in problem.observables.values():
        assert isinstance(observable(x), float)
    assert {type(term) for _, term in problem.F.terms} <= LISTED[Term]
