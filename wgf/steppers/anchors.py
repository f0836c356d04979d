"""Anchors of a saddle step: from where its map starts, and what its cost is paid from."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from wgf.errors import Incompatible
from wgf.law import Law
from wgf.maps.base import Map, Static, half_square
from wgf.steppers.base import Info, State, carried, pushed
from wgf.tree import Tree


class Anchor(ABC):
    """Where a step's map starts, and so what the next one costs."""

    @abstractmethod
    def first(self, state: State) -> State:
        """The first state, with the base rows where they are needed."""

    @abstractmethod
    def source(self, state: State) -> Tensor:
        """The rows (N, d) that the map acts on."""

    def brought(self, x: Tensor) -> Tensor:
        """Rows of the source as the map meets them; by default as they are."""
        return x

    @abstractmethod
    def cost(self, map: Map, x: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        """T(x) and its cost per row, from the rows `old` where the particles stood."""

    def from_rows(self, map: Map, x: Tensor, old: Tensor) -> Tensor | None:
        """The rows r with cost ½|T(x) − r|²; None where only the map knows what it costs."""
        return None

    def gradients(
        self,
        map: Map,
        x: Tensor,
        old: Tensor,
        weights: list[nn.Parameter],
        pull: Callable[[Tensor], Tensor],
        rate: float,
    ) -> list[Tensor]:
        """Of rate·Σ cost plus what has the slope pull(y) at the images y, in these weights of the map."""
        rows = self.from_rows(map, x, old)
        if rows is not None:
            return map.gradients(x, weights, lambda y: pull(y).add(y - rows, alpha=rate) if rate else pull(y))
        with torch.enable_grad():
            y, cost = self.cost(map, x, old)
        outputs, slopes = [y], [pull(y.detach())]
        if rate and cost.requires_grad:
            outputs, slopes = [y, cost], [*slopes, torch.full_like(cost, rate)]
        return list(torch.autograd.grad(outputs, weights, slopes, materialize_grads=True))

    @abstractmethod
    def advance(self, state: State, map: Map, memory: Tree) -> State:
        """The state after the step."""

    @abstractmethod
    def law(self, previous: Law, base: Law, info: Info) -> Law:
        """The law after the step."""


@dataclass(frozen=True)
class Previous(Anchor):
    """T acts on the stored pool: maps compose, and a step costs the same however many came before (Fan et al. 2022)."""

    def first(self, state: State) -> State:
        return state

    def source(self, state: State) -> Tensor:
        return state.x

    def cost(self, map: Map, x: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        moved = map.transport(x)
        return moved.y, moved.cost

    def from_rows(self, map: Map, x: Tensor, old: Tensor) -> Tensor | None:
        return x if isinstance(map, Static) else None

    def advance(self, state: State, map: Map, memory: Tree) -> State:
        return carried(state, map, memory)

    def law(self, previous: Law, base: Law, info: Info) -> Law:
        return pushed(previous, info)


@dataclass(frozen=True)
class Base(Anchor):
    """T acts on draws of ρ₀: one map for the whole flow, anchored to the stored images T_old(x₀) of the same rows.

    Cost ½|T(x₀) − T_old(x₀)|², the noise of both paired (Choi et al. 2024, arXiv 2402.05443, draw it independently).
    """

    def first(self, state: State) -> State:
        return replace(state, base=state.x)

    def source(self, state: State) -> Tensor:
        if state.base is None:
            raise Incompatible("the anchor Base() needs a state with base rows; start the flow with it")
        return state.base

    def cost(self, map: Map, x: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        y = map.transport(x).y
        return y, half_square(y - old)

    def from_rows(self, map: Map, x: Tensor, old: Tensor) -> Tensor | None:
        return old

    def advance(self, state: State, map: Map, memory: Tree) -> State:
        fresh = None if state.logdet is None else torch.zeros_like(state.logdet)
        return carried(replace(state, x=self.source(state), logdet=fresh), map, memory)

    def law(self, previous: Law, base: Law, info: Info) -> Law:
        return pushed(base, info)
