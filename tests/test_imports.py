"""Imports run one way: validation → pdes → wgf, and inside wgf from what users call to what everything stands on."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOUSES = ("wgf", "pdes", "validation")  # each may import those before it
FLOORS = (  # of wgf, from the ground up: each may import itself and those before it; any other module is on the roof
    {"errors"},
    {"autodiff", "checks", "keys", "tree"},
    {"law"},
    {"activations", "pearson", "pixels", "pooled", "ring"},
    {"convolutions", "kernels", "layers", "networks", "optimisers", "shards", "traces"},
    {"functionals", "critics", "training"},
    {"fitting"},
    {"maps"},  # above functionals: an explicit move is made of a first variation
    {"steppers"},
    {"methods"},
    {"observers", "problem", "scoring"},
    {"flow"},
)
FILES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for house in HOUSES
    for file in sorted((ROOT / house).rglob("*.py"))
}


def only_for_types(tree: ast.Module) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING:`, which is not run."""
    guards = (n for n in ast.walk(tree) if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING")
    return {inner for guard in guards for statement in guard.body for inner in ast.walk(statement)}


def imports(source: str) -> Iterator[str]:
    """The modules of this repository that a file imports, at its top or inside its functions."""
    tree = ast.parse(source)
    skipped = only_for_types(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute here"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside in FILES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def ours(source: str) -> set[str]:
    return {name for name in imports(source) if name.split(".")[0] in HOUSES}


def floor(module: str) -> int:
    part = module.split(".")[1] if "." in module else ""
    return next((k for k, names in enumerate(FLOORS) if part in names), len(FLOORS))


def wrong(module: str, source: str) -> list[str]:
    """The arrows of a module that run back."""
    house, bad = module.split(".")[0], []
    for target in ours(source):
        there = target.split(".")[0]
        if HOUSES.index(there) > HOUSES.index(house):
            bad.append(f"{there} stands on {house}, so {module} cannot import {target}")
        elif house == there == "wgf" and module != "wgf" and target == "wgf":
            bad.append(f"{module} imports a name from wgf itself, which imports everything; name the module it is from")
        elif house == there == "wgf" and floor(target) > floor(module) and module != "wgf":
            bad.append(f"{module} is below {target}: move what it needs down, or give {target} a floor in this file")
    return bad


@pytest.mark.parametrize("module", FILES)
def test_no_arrow_runs_back(module):
    assert not wrong(module, FILES[module].read_text())


def test_no_modules_import_each_other():
    graph = {module: ours(file.read_text()) - {module} for module, file in FILES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


@pytest.mark.parametrize(
    ("module", "source", "arrows"),
    [
        ("wgf.law", "from wgf.maps.base import Map", 1),
        ("wgf.law", "if TYPE_CHECKING:\n    from wgf.maps.base import Map", 0),
        ("wgf.law", "if TYPE_CHECKING:\n    pass\nelse:\n    from wgf.maps.base import Map", 1),
        ("wgf.law", "def f():\n    import wgf.steppers.jko", 1),
        ("wgf.functionals.base", "from wgf.maps import Map", 1),
        ("wgf.maps.compose", "from wgf.functionals.base import Variation", 0),
        ("wgf.maps.base", "from wgf import Variation, autodiff", 1),
        ("wgf.flow", "from wgf.cli import main", 1),
        ("wgf.flow", "import pdes", 1),
        ("pdes.heat", "from validation import metrics", 1),
        ("validation.metrics", "import wgf\nimport pdes.heat", 0),
    ],
)
def test_the_rule_can_be_broken(module, source, arrows):
    assert len(wrong(module, source)) == arrows


QUIET = """
import importlib, os, socket, sys
import torch

def refuse(*args, **kwargs):
    raise RuntimeError("the network was touched at import")

socket.socket.connect = socket.getaddrinfo = refuse
state, dtype, threads = torch.get_rng_state(), torch.get_default_dtype(), torch.get_num_threads()
for module in sys.argv[1:]:
    importlib.import_module(module)
assert torch.equal(torch.get_rng_state(), state), "torch's random state was used"
assert (torch.get_default_dtype(), torch.get_num_threads()) == (dtype, threads), "torch's settings were changed"
loud = {"pykeops", "keopscore", "ot"} & set(sys.modules)
assert not loud, f"{loud} print and write at import: import them where they are used"
"""


def test_every_module_imports_in_silence(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", QUIET, *FILES], capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert not list(tmp_path.iterdir())


def test_the_modules_tested_are_those_that_run():
    for house in HOUSES:
        assert Path(importlib.util.find_spec(house).origin).parent == ROOT / house
