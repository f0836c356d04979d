"""Samples of a flow's model by as many steps of RK4 as it takes to carry them back."""

from collections.abc import Callable
from typing import TypeVar

from wgf import Law
from wgf.errors import NotInvertible
from wgf.scoring import halved

FINEST = 64
"""Steps of RK4 a map at most: a flow that needs more is too stiff."""

Drawn = TypeVar("Drawn")


def carried_back(law: Law, draw: Callable[[Law], Drawn], taken: int) -> tuple[Law, Drawn | None, int]:
    """What is drawn of a law whose maps take so many steps, doubled while rows cannot be carried back; None at the end.

    Also the law in the steps that did, and how many they are.
    """
    while True:
        try:
            return law, draw(law), taken
        except NotInvertible:
            if 2 * taken > FINEST:
                return law, None, taken
        law, taken = halved(law), 2 * taken
