"""A path taken again: its steps evened out, or each cut in several, every map trained on from where it was."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from wgf import checks
from wgf.errors import Incompatible
from wgf.flow import Path, evolve
from wgf.functionals import Functional, Term
from wgf.observers import Observer
from wgf.schedule import evened, refined
from wgf.steppers import JKO, FromPath


def even(
    F: Functional | Term,
    stepper: JKO,
    path: Path,
    rounds: int = 2,
    damping: float = 1.0,
    seed: int = 0,
    observers: Sequence[Observer] = (),
) -> Path:
    """`path` again, as many blocks over the same time, moved until they go equally far: their reparametrisation.

    Every round takes new step sizes from the last displacements (`schedule.evened`) and trains each block on from where
    it was. Raises: InputError for no rounds, or damping outside (0, 1].
    """
    for _ in range(checks.at_least("rounds", rounds, 1)):
        taus = evened(sizes(path), [info.moved for info in path.infos], damping)
        path = evolve(F, warm(stepper, path), path.laws[0], taus, seed=seed, observers=observers)
    return path


def refine(
    F: Functional | Term, stepper: JKO, path: Path, parts: int = 2, seed: int = 0, observers: Sequence[Observer] = ()
) -> Path:
    """`path` with every block cut in `parts`, each trained on from the part of the motion that it was.

    Every part takes the stepper's steps. Raises: InputError for fewer than one part.
    """
    taus = refined(sizes(path), parts)
    return evolve(F, warm(stepper, path, parts), path.laws[0], taus, seed=seed, observers=observers)


def sizes(path: Path) -> list[float]:
    """The step sizes that a path was taken by."""
    return [after - before for before, after in pairwise(path.times)]


def warm(stepper: JKO, path: Path, parts: int = 1) -> JKO:
    """The stepper, its blocks to start as those of `path`, or as their parts. Raises: Incompatible for no steps."""
    if not len(path):
        raise Incompatible("a path without steps has no blocks to go on from")
    return replace(stepper, warm=FromPath(path, parts))
