"""What there is to choose from, by name: components, and the problems, studies and benches of entry points."""

from importlib.metadata import EntryPoint
from typing import Any

from wgf import registry
from wgf.benches import BENCHES
from wgf.data import Dataset
from wgf.maps import Map
from wgf.schedule import Schedule
from wgf.spec import METHODS, PROBLEMS
from wgf.steppers import Stepper
from wgf.studies import STUDIES
from wgf.training import Recipe

KINDS: dict[str, type] = {
    "steppers": Stepper,
    "maps": Map,
    "training recipes": Recipe,
    "schedules": Schedule,
    "data sets": Dataset,
}


def everything() -> dict[str, dict[str, Any]]:
    """By title, what each name stands for; where an entry point cannot be loaded, why."""
    found: dict[str, dict[str, Any]] = {"problems": _declared(PROBLEMS), "methods": _declared(METHODS)}
    found |= {title: dict(registry.components(kind)) for title, kind in KINDS.items()}
    return found | {"studies": _declared(STUDIES), "benches": _declared(BENCHES)}


def _declared(group: str) -> dict[str, Any]:
    return {name: _loaded(point) for name, point in registry.declared(group).items()}


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        return f"(cannot be loaded: {error})"
