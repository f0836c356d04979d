"""Samples of a flow's model by as many steps of RK4 as it takes to carry them back."""

from collections.abc import Callable

from wgf import Law
from wgf.errors import NotInvertible
from wgf.scoring import Drawn, in_finer_steps

FINEST = 64
"""Steps of RK4 a map at most: a flow that needs more is too stiff."""


def carried_back(law: Law, draw: Callable[[Law], Drawn], taken: int) -> tuple[Law, Drawn | None, int]:
    """What is drawn of a law whose maps take so many steps, doubled while rows cannot be carried back; None at the end.

    Also the law in the steps that did, or as it came, and how many they are, or were at most.
    """
    doublings = (FINEST // taken).bit_length() - 1
    try:
        law, drawn, done = in_finer_steps(law, draw, doublings)
    except NotInvertible:
        return law, None, taken << doublings
    return law, drawn, taken << done
