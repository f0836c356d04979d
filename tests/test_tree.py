"""Trees on disk: what goes in comes out, whole or not at all, and bad files are named."""

import os
from pathlib import Path

import pytest
import torch
import zoo

from wgf import keys
from wgf.errors import InputError
from wgf.tree import load_tree, save_tree


def round_trip(tree: object, folder: Path) -> object:
    save_tree(tree, folder / "tree.safetensors")
    return load_tree(folder / "tree.safetensors")


def equal(first: object, second: object) -> bool:
    if isinstance(first, torch.Tensor):
        same = isinstance(second, torch.Tensor) and first.shape == second.shape and first.dtype == second.dtype
        return same and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return isinstance(second, list) and len(first) == len(second) and all(map(equal, first, second))
    return type(first) is type(second) and first == second


SHARED = zoo.randn(0, 4, 3)
TREES = {
    "scalars": {"int": 3, "big": 2**62 + 1, "float": 0.1, "inf": float("inf"), "str": "τ", "bool": True, "none": None},
    "tensors": {"double": SHARED, "single": SHARED.float(), "long": torch.arange(3), "flag": torch.tensor([True])},
    "nested": {"a": [{"b": [SHARED, None, 1]}, []], "c": {}},
    "shared": [SHARED, SHARED, SHARED[1:], SHARED.T],
    "strides": [SHARED.T, SHARED[:, ::2], SHARED.expand(2, 4, 3)],
    "shapes": [torch.tensor(1.5), torch.empty(0, 2)],
    "a slash in a name": {"a": {"b": SHARED}, "a/b": SHARED + 1, "": SHARED + 2},
    "nothing": None,
    "a number": 7,
    "a tensor": SHARED,
    "no tensors": {"step": 1},
}


@pytest.mark.parametrize("name", TREES)
def test_a_tree_comes_back_as_it_was(name, tmp_path):
    assert equal(TREES[name], round_trip(TREES[name], tmp_path))


def test_tuples_come_back_as_lists(tmp_path):
    assert round_trip((1, (2, 3)), tmp_path) == [1, [2, 3]]


@pytest.mark.parametrize("bad", [{"state": {0: SHARED}}, {"__tensor__": "x"}], ids=["integer", "reserved"])
def test_keys_that_would_come_back_as_others_are_refused(bad, tmp_path):
    with pytest.raises(InputError, match="strings for keys"):
        save_tree(bad, tmp_path / "tree.safetensors")


def test_what_is_loaded_shares_no_memory(tmp_path):
    first, second = round_trip([SHARED, SHARED], tmp_path)
    first.zero_()
    assert torch.equal(second, SHARED)


@pytest.mark.parametrize("bad", [object(), {"a": [{1, 2}]}, {"state": lambda: None}], ids=["object", "set", "function"])
def test_what_is_no_tree_is_refused_and_nothing_is_written(bad, tmp_path):
    file = tmp_path / "tree.safetensors"
    save_tree({"step": 1}, file)
    with pytest.raises(InputError, match="tensors and JSON scalars only"):
        save_tree(bad, file)
    assert load_tree(file) == {"step": 1}
    assert os.listdir(tmp_path) == [file.name]


def test_an_interrupted_save_leaves_the_file_before_it(tmp_path, monkeypatch):
    file = tmp_path / "tree.safetensors"
    save_tree({"step": 1}, file)

    def full(tensors: object, part: Path, metadata: object) -> None:
        part.write_bytes(b"half a fi")
        raise OSError("no space left on device")

    monkeypatch.setattr("wgf.tree.save_file", full)
    with pytest.raises(OSError, match="no space"):
        save_tree({"step": 2}, file)
    assert load_tree(file) == {"step": 1}


@pytest.mark.parametrize("keep", [0, 4, 30, -1], ids=["empty", "half a length", "half a header", "a byte short"])
def test_a_truncated_file_is_named(keep, tmp_path):
    file = tmp_path / "state-0003.safetensors"
    save_tree(TREES["nested"], file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"state-0003\.safetensors is missing, truncated or not"):
        load_tree(file)


def test_other_files_are_named(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(InputError, match=r"absent\.safetensors is missing"):
        load_tree(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("not a tensor in sight, but long enough to have a length")
    with pytest.raises(InputError, match=r"text\.safetensors is missing, truncated or not"):
        load_tree(tmp_path / "text.safetensors")
    save_file({"w": SHARED.clone()}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match=r"foreign\.safetensors holds tensors but no tree"):
        load_tree(tmp_path / "foreign.safetensors")


def test_keys_are_pure_and_spread():
    assert keys.fold(1, 2, 3) == keys.fold(1, 2, 3)
    folded = {keys.fold(key, step) for key in range(50) for step in range(50)}
    assert len(folded) == 2500
    assert keys.fold(1, 23) != keys.fold(12, 3) != keys.fold(1, 2, 3)
    assert all(0 <= each < 2**63 for each in folded)
    mean = sum(folded) / len(folded) / 2**63
    assert mean == pytest.approx(0.5, abs=4 / (12 * 2500) ** 0.5)
    draws = [torch.rand(3, generator=keys.generator(5, step)) for step in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
