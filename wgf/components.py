"""Objects from tables: annotated constructors read what a spec says, and write out what it left unsaid."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from wgf import registry
from wgf.critics import Critic, ScalarField
from wgf.errors import InputError, SpecError
from wgf.maps import Map, Residual
from wgf.registry import Parameter
from wgf.steppers import JKO, Stepper, Variational

STANDING: dict[type, type] = {Map: Residual, ScalarField: Critic, Stepper: JKO, Variational: JKO}
"""What is taken where a component is required and a spec says nothing of it."""

Table: TypeAlias = dict[str, Any]
Read: TypeAlias = tuple[Any, Any]  # what a complete spec says, and the value it stands for; None is left unwritten


@dataclass(frozen=True)
class Reader:
    """Reads components; arguments called `dim` that a spec leaves out are `dim`, and are not written either."""

    dim: int | None = None

    def component(self, base: type, raw: Any, path: str, default: Any = None) -> tuple[Table, Any]:
        """The complete table and the object of the `base` at `path`; `default` holds what `raw` leaves out.

        Raises: SpecError naming the full path of a key, a name or a value that cannot be used.
        """
        table = as_table(raw, path)
        kind = kind_of(base, table, path, default)
        held = default if type(default) is kind else None
        arguments, value = self.call(kind, table, path, held)
        return {"type": table.get("type", name_of(kind)), **arguments}, value

    def call(self, factory: Callable[..., Any], table: Table, path: str, held: Any = None) -> tuple[Table, Any]:
        """`factory` called with what `table` says: the arguments written out, and what it returned."""
        accepted = registry.parameters(factory)
        known = {name: parameter for name, parameter in accepted.items() if parameter.speakable}
        for name, parameter in accepted.items():
            if parameter.required and not parameter.speakable:
                raise SpecError(f"{path}.{name} is required, but no spec can say it: build this from Python")
        refuse_unknown(table, ["type", *known], path)
        written: Table = {}
        arguments: dict[str, Any] = {}
        for name, parameter in known.items():
            if name not in table and name == "dim" and self.dim is not None:
                arguments[name] = self.dim
                continue
            said, arguments[name] = self._argument(name, parameter, table, f"{path}.{name}", held)
            if said is not None:
                written[name] = said
        return written, _called(factory, arguments, path)

    def _argument(self, name: str, parameter: Parameter, table: Table, path: str, held: Any) -> Read:
        default = parameter.default if held is None else getattr(held, name)
        if name in table:
            return self._read(parameter.annotation, table[name], path, None if default is parameter.empty else default)
        if default is not parameter.empty:
            return written_out(parameter.annotation, default), default
        annotation = registry.required(parameter.annotation)
        if registry.is_component(annotation):
            return self.component(annotation, {}, path)
        raise SpecError(f"{path} is missing; it is required")

    def _read(self, annotation: Any, raw: Any, path: str, default: Any) -> Read:
        annotation = registry.required(annotation) if not registry.plain(annotation) else annotation
        if registry.plain(annotation):
            value = scalar(annotation, raw, path)
            return written_out(annotation, value), value
        if registry.is_component(annotation):
            return self.component(annotation, raw, path, default)
        (inner, *_), origin = get_args(annotation), get_origin(annotation)
        if origin is type:
            kind = registry.named(registry.candidates(inner), raw, path, f"the name of {registry.a(inner)}")
            return name_of(kind), kind
        if not isinstance(raw, (list, tuple)):
            raise SpecError(f"{path} must be a list, got {shown(raw)}")
        read = [self._read(inner, part, f"{path}[{k}]", None) for k, part in enumerate(raw)]
        values = [value for _, value in read]
        return [said for said, _ in read], tuple(values) if origin is tuple else values


def kind_of(base: type, table: Table, path: str, default: Any = None) -> type:
    """The class that a table at `path` means: that of its type, of `default`, or what stands for `base`."""
    if "type" in table:
        return registry.component(base, table["type"], f"{path}.type")
    if default is not None:
        return type(default)
    kind = STANDING.get(base, base)
    if kind not in registry.components(base).values():
        valid = ", ".join(registry.components(base)) or "package.module:Class"
        raise SpecError(f"{path} needs a type, which says what {registry.a(base)} it is: {valid}")
    return kind


def scalar(annotation: Any, raw: Any, path: str) -> Any:
    """`raw` as pydantic reads it by the annotation, strictly: integers pass for floats, else types must agree."""
    if isinstance(raw, int) and not -(2**63) <= raw < 2**63:
        raise SpecError(f"{path} must fit in 64 bits, got {shown(raw)}")
    try:
        return TypeAdapter(annotation).validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = path + "".join(f"[{part}]" for part in first["loc"] if isinstance(part, int))
        expected = "is missing" if first["type"] == "missing" else first["msg"].removeprefix("Input ")
        raise SpecError(f"{place} {expected}, got {shown(first.get('input', raw))}") from error


def written_out(annotation: Any, value: Any) -> Any:
    """`value` as a complete spec writes it; None for None."""
    if value is None:
        return None
    if registry.plain(annotation):
        return _without_none(TypeAdapter(annotation).dump_python(value, mode="json"))
    if isinstance(value, type):
        return name_of(value)
    if isinstance(value, Sequence):
        (inner, *_) = get_args(registry.required(annotation))
        return [written_out(inner, part) for part in value]
    said = {
        name: written_out(parameter.annotation, getattr(value, name))
        for name, parameter in registry.parameters(type(value)).items()
        if parameter.speakable
    }
    return {"type": name_of(type(value)), **_without_none(said)}


def name_of(kind: type) -> str:
    """The name by which a spec finds this class: kebab-case where it is exported, package.module:Class otherwise."""
    name = registry.kebab(kind.__name__)
    return name if registry.candidates(kind).get(name) is kind else f"{kind.__module__}:{kind.__qualname__}"


def as_table(raw: Any, path: str) -> Table:
    """`raw` as a table; a name alone stands for the component of that type."""
    if isinstance(raw, str):
        return {"type": raw}
    if isinstance(raw, Mapping):
        return dict(raw)
    raise SpecError(f"{path} must be a name or a table with a type, got {shown(raw)}")


def refuse_unknown(table: Mapping[str, Any], known: Sequence[str], path: str) -> None:
    """Raise SpecError for the first key of `table` that is not known, with the nearest that are."""
    for key, value in table.items():
        if key not in known:
            place = f"{path}.{key}" if path else str(key)
            raise SpecError(f"{place} = {shown(value)} is not a key of this spec; {registry.nearest(key, known)}")


def shown(value: Any) -> str:
    """`value` as an error shows it: one line, not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}…"


def reason(error: Exception) -> str:
    """An error of another library in one line."""
    wanted = re.search(r"tried to allocate (\d+) bytes", str(error))
    if wanted:
        return f"{int(wanted[1]) / 2**30:,.0f} GiB of memory would be needed at once"
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _called(factory: Callable[..., Any], arguments: Mapping[str, Any], path: str) -> Any:
    try:
        return factory(**arguments)
    except InputError as error:
        raise SpecError(f"{path}: {error}") from error
    except (ArithmeticError, MemoryError, RuntimeError, ValueError) as error:
        raise SpecError(f"{path} cannot be built from these values: {reason(error)}") from error


def _without_none(said: Any) -> Any:
    return {key: value for key, value in said.items() if value is not None} if isinstance(said, dict) else said
