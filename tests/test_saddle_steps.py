"""What a step of the saddle stepper costs after many others: the same, counted in rows that maps and critics read."""

from typing import ClassVar

import pytest
import torch
import zoo
from torch import Tensor

from validation.studies.saddle_steps import Replayed
from wgf import evolve
from wgf.critics import Critic
from wgf.flow import Path
from wgf.functionals import FDivergence, KullbackLeibler
from wgf.maps import Residual
from wgf.observers import Observer
from wgf.steppers import Base, Previous, SaddleJKO
from wgf.tree import Tree

STEPS = 100


class CountedMap(Residual):
    """A map that counts the rows it moves, in all its copies."""

    rows: ClassVar[int] = 0

    def move(self, x: Tensor) -> Tensor:
        CountedMap.rows += len(x)
        return super().move(x)

    def jacobian(self, x: Tensor) -> tuple[Tensor, Tensor]:
        CountedMap.rows += len(x)
        return super().jacobian(x)


class CountedCritic(Critic):
    """A critic that counts the rows it reads, in all its copies."""

    rows: ClassVar[int] = 0

    def forward(self, x: Tensor) -> Tensor:
        CountedCritic.rows += len(x)
        return super().forward(x)


class Counter(Observer):
    """What each step added to the counts, and the size of the state after it."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, int]] = []
        CountedMap.rows = CountedCritic.rows = 0

    def after(self, path: Path) -> None:
        self.steps.append((CountedMap.rows, CountedCritic.rows, numbers(path.state.tree())))
        CountedMap.rows = CountedCritic.rows = 0


def numbers(tree: Tree) -> int:
    """How many numbers a tree holds."""
    if isinstance(tree, Tensor):
        return tree.numel()
    parts = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    return sum(map(numbers, parts))


def counted(anchor: Previous | Base, steps: int = STEPS) -> tuple[list[tuple[int, int, int]], Path]:
    stepper = SaddleJKO(CountedMap(2, width=4), CountedCritic(2, 4), anchor, zoo.GAME, particles=80, held=20)
    counter = Counter()
    F = FDivergence(KullbackLeibler(), zoo.target())
    return counter.steps, evolve(F, stepper, zoo.start(), [0.01] * steps, observers=[counter])


@pytest.mark.parametrize("anchor", [Previous(), Base()], ids=repr)
def test_a_hundredth_step_costs_what_the_first_did(anchor):
    steps, path = counted(anchor)
    assert len(path) == len(steps) == STEPS
    assert set(steps[1:]) == {steps[1]}
    assert steps[0][:2] == steps[1][:2]
    assert min(steps[1]) > 80  # and they were counted


def test_replaying_every_map_costs_more_with_every_step_and_gives_the_same_particles():
    steps, path = counted(Replayed(), 12)
    rows = torch.tensor([step[0] for step in steps]).double()
    assert (rows.diff().diff() == 0).all()
    assert float(rows.diff()[0]) > 0.5 * float(rows[0])
    stored = counted(Previous(), 12)[1]
    torch.testing.assert_close(path.state.x, stored.state.x, rtol=0, atol=1e-9)
