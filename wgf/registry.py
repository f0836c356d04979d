"""What a spec can name: components by their base class, problems and studies by their entry points."""

import difflib
import importlib
import inspect
import re
from abc import ABC
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, get_type_hints

from wgf.errors import SpecError

PACKAGES = (
    "wgf.steppers",
    "wgf.maps",
    "wgf.training",
    "wgf.activations",
    "wgf.critics",
    "wgf.schedule",
    "wgf.functionals",
    "wgf.kernels",
    "wgf.data",
)
"""Where our components are exported; those of other packages come through entry points of the group wgf.components."""

LISTS = (list, tuple, Sequence)
_SCALARS = (bool, int, float, str, NoneType)


@dataclass(frozen=True)
class Parameter:
    """One argument of a constructor, by its annotation and its default (`inspect.Parameter.empty` where required)."""

    annotation: Any
    default: Any

    empty = inspect.Parameter.empty

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is self.empty

    @property
    def speakable(self) -> bool:
        """Whether a spec can give it: JSON scalars, lists and tables of them, components, and lists of components."""
        return _speakable(self.annotation)


def components(base: type) -> dict[str, type]:
    """The concrete classes under `base` (itself included) that a spec can build, by kebab-case name."""
    return {name: kind for name, kind in candidates(base).items() if _buildable(kind)}


def candidates(base: type) -> dict[str, type]:
    """The exported concrete classes under `base`, by kebab-case name, those included that only Python can build."""
    found: dict[str, type] = {}
    for name, kind in _exports():
        if issubclass(kind, base) and not inspect.isabstract(kind) and not _declared_abstract(kind):
            found.setdefault(name, kind)
    return dict(sorted(found.items()))


def component(base: type, name: object, path: str) -> type:
    """The class that `name` (kebab-case, or package.module:Class) means where a `base` is wanted at `path`."""
    if isinstance(name, str) and ":" in name:
        kind = imported(name, path)
        if not (isinstance(kind, type) and issubclass(kind, base) and not inspect.isabstract(kind)):
            raise SpecError(f"{path} = {name!r} is not {a(base)} that can be built")
        return kind
    return named(components(base), name, path, a(base))


def parameters(factory: Callable[..., Any]) -> dict[str, Parameter]:
    """The arguments of a class or a function by name, those of *args and **kwargs left out."""
    signed = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
    hints = get_type_hints(signed, include_extras=True)
    return {
        name: Parameter(hints.get(name, inspect.Parameter.empty), parameter.default)
        for name, parameter in inspect.signature(factory).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }


def returned(function: Callable[..., Any]) -> Any:
    """What a function is annotated to return, None where that is not said."""
    try:
        return get_type_hints(function).get("return")
    except (NameError, TypeError):
        return None


def declared(group: str) -> dict[str, EntryPoint]:
    """The entry points of `group` by name: the catalogue, and what other packages add to it."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def loaded(group: str, name: object, path: str, what: str) -> Any:
    """The object that `name` (an entry point of `group`, or package.module:name) means at `path`."""
    if isinstance(name, str) and ":" in name:
        return imported(name, path)
    point = named(declared(group), name, path, what)
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise SpecError(f"{path} = {name!r} cannot be loaded from {point.value}: {error}") from error


def imported(name: str, path: str) -> Any:
    """What package.module:name means on Python's own path."""
    module, _, attribute = name.partition(":")
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", name):
        raise SpecError(f"{path} = {name!r} should read package.module:name")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"{path} = {name!r} cannot be imported ({error}); is its folder on PYTHONPATH?") from error


def named(known: dict[str, Any], name: object, path: str, what: str) -> Any:
    """known[name], or one sentence with the nearest valid names."""
    if isinstance(name, str) and name in known:
        return known[name]
    raise SpecError(f"{path} = {name!r} is not {what}; {nearest(name, known)}")


def nearest(name: object, known: Iterable[str]) -> str:
    """What was meant, if something is near; otherwise all that is valid."""
    valid = list(known)
    close = difflib.get_close_matches(str(name).lower().replace("_", "-"), valid, 2, 0.6) or difflib.get_close_matches(
        str(name), valid, 2, 0.6
    )
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"choose from {', '.join(valid)}" if valid else "there are none"


def plain(annotation: Any) -> bool:
    """Whether an annotation speaks of JSON scalars, and lists and tables of them, alone."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is None:
        return annotation in _SCALARS or annotation is Ellipsis
    if origin is Annotated:
        return plain(arguments[0])
    return origin is Literal or (origin in (Union, UnionType, dict, *LISTS) and all(plain(part) for part in arguments))


def required(annotation: Any) -> Any:
    """X of X | None; other annotations as they are."""
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    parts = [part for part in get_args(annotation) if part is not NoneType]
    return parts[0] if len(parts) == 1 else annotation


def is_component(annotation: Any) -> bool:
    """Whether an annotation is a class of components, such as Map or Critic."""
    if get_origin(annotation) is not None or plain(annotation) or annotation is object:
        return False
    named = isinstance(annotation, type) and not getattr(annotation, "_is_protocol", False)
    return named and bool(candidates(annotation))


def a(kind: type) -> str:
    """The class's name with its article."""
    return f"{'an' if kind.__name__[0] in 'AEIO' else 'a'} {kind.__name__}"


def kebab(name: str) -> str:
    """SaddleJKO -> saddle-jko, OTFlow -> ot-flow, RK4 -> rk4."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower()


@cache
def _exports() -> tuple[tuple[str, type], ...]:
    ours = [
        (kebab(name), value)
        for package in PACKAGES
        for name, value in vars(importlib.import_module(package)).items()
        if isinstance(value, type) and value.__module__.startswith(package) and not name.startswith("_")
    ]
    group = "wgf.components"
    theirs = [(name, loaded(group, name, group, "a component")) for name in declared(group)]
    return (*ours, *((name, kind) for name, kind in theirs if isinstance(kind, type)))


def _declared_abstract(kind: type) -> bool:
    return any(base in (ABC, Protocol) for base in kind.__bases__)


def _buildable(kind: type) -> bool:
    return all(parameter.speakable for parameter in parameters(kind).values() if parameter.required)


def _speakable(annotation: Any) -> bool:
    annotation = annotation if plain(annotation) else required(annotation)
    if plain(annotation) or is_component(annotation):
        return True
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is type:
        return isinstance(arguments[0], type) and bool(candidates(arguments[0]))
    return origin in LISTS and len(set(arguments) - {Ellipsis}) == 1 and _speakable(arguments[0])
