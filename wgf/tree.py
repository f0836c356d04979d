"""Trees of tensors and JSON scalars: what states are made of, and how they lie on disk (safetensors, no pickle)."""

import json
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from wgf.errors import InputError

Tree: TypeAlias = Any  # dict[str, Tree] | list[Tree] | Tensor | float | int | str | bool | None

_TENSOR = "__tensor__"


def save_tree(tree: Tree, path: Path) -> None:
    """Write `tree` to `path`: tensors as safetensors, the rest as JSON in its header; whole or not at all."""
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_strip(tree, "", tensors))
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata={"tree": skeleton})
    part.replace(path)


def load_tree(path: Path, device: torch.device | str = "cpu") -> Tree:
    """Read what `save_tree` wrote. Raises InputError for a file that is missing, truncated or not a tree."""
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no __iter__ there)
            skeleton = (file.metadata() or {}).get("tree")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is missing, truncated or not a safetensors file ({error})") from error
    if skeleton is None:
        raise InputError(f"{path} holds tensors but no tree; it was not written by save_tree")
    return _fill(json.loads(skeleton), tensors)


def _strip(node: Tree, name: str, tensors: dict[str, Tensor]) -> Tree:
    if isinstance(node, Tensor):
        name = f"{len(tensors)}{name}"  # numbered: "a/b" may be two places
        tensors[name] = node.detach().clone().contiguous()  # a clone: safetensors refuses tensors that share memory
        return {_TENSOR: name}
    if isinstance(node, dict):
        if not all(isinstance(key, str) and key != _TENSOR for key in node):
            raise InputError(f"a state's dictionaries need strings for keys, got {list(node)} at {name or 'its root'}")
        return {key: _strip(value, f"{name}/{key}", tensors) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_strip(value, f"{name}/{i}", tensors) for i, value in enumerate(node)]
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    raise InputError(
        f"a state may hold tensors and JSON scalars only, got {type(node).__name__} at {name or 'its root'}"
    )


def _fill(node: Tree, tensors: dict[str, Tensor]) -> Tree:
    if isinstance(node, dict):
        if set(node) == {_TENSOR}:
            return tensors[node[_TENSOR]]
        return {key: _fill(value, tensors) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, tensors) for value in node]
    return node
