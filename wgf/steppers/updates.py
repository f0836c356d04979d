"""Updates: how particles follow a velocity, by a plain step or by an optimiser whose state is saved with them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.tree import Tree

Factory: TypeAlias = Callable[[list[Tensor]], torch.optim.Optimizer]


class Update(ABC):
    """x ← x + h·(what is made of the velocity). A pure function: what it remembers is a tree, handed in and out."""

    @abstractmethod
    def __call__(
        self, x: Float[Tensor, "n d"], velocity: Float[Tensor, "n d"], h: float, memory: Tree
    ) -> tuple[Float[Tensor, "n d"], Tree]:
        """The particles after a step of size h, and what to remember; the first `memory` is None."""


@dataclass(frozen=True)
class Plain(Update):
    """x ← x + h v: explicit Euler. Only with this update are times along a path those of the gradient flow."""

    def __call__(self, x: Tensor, velocity: Tensor, h: float, memory: Tree) -> tuple[Tensor, Tree]:
        return x + h * velocity, None


@dataclass(frozen=True)
class AdaGrad(Update):
    """x ← x + h v/(ε + √G), coordinate by coordinate, G ← a G + (1 − a) v² from G = v² on; h is a length.

    The running average of the experiments of Liu & Wang (NeurIPS 2016), with a = `averaging` = 0.9, in place of the sum
    of squares of Duchi, Hazan & Singer (JMLR 2011): that sum is `Optimiser(torch.optim.Adagrad)`.
    """

    averaging: float = 0.9
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 <= self.averaging < 1:
            raise InputError(f"averaging must lie in [0, 1), got {self.averaging!r}")
        checks.positive("epsilon", self.epsilon)

    def __call__(self, x: Tensor, velocity: Tensor, h: float, memory: Tree) -> tuple[Tensor, Tree]:
        square, past = velocity.square(), None if memory is None else memory["square"]
        square = square if past is None else torch.lerp(square, past.to(square), self.averaging)
        return x + h * velocity / (self.epsilon + square.sqrt()), {"square": square}


@dataclass(frozen=True)
class Optimiser(Update):
    """A step of a torch optimiser on the gradient −v, with h as its learning rate.

    Args: factory, called with the list of tensors to move, e.g. torch.optim.Adagrad or
    lambda points: torch.optim.SGD(points, lr=1.0, momentum=0.9); its learning rate is replaced by h. A spec can name a
    subclass or `Adam`-like updates, not a function. Not for optimisers that ask for the loss (L-BFGS).
    """

    factory: Factory

    def __call__(self, x: Tensor, velocity: Tensor, h: float, memory: Tree) -> tuple[Tensor, Tree]:
        points = x.detach().clone()
        points.grad = -velocity
        optimiser = self.factory([points])
        if not isinstance(optimiser, torch.optim.Optimizer) or isinstance(optimiser, torch.optim.LBFGS):
            made = type(optimiser).__name__
            raise InputError(f"the factory must make a torch optimiser that needs gradients only, got {made}")
        if memory is not None:
            optimiser.load_state_dict({**optimiser.state_dict(), "state": {0: _copied(memory["state"])}})
        for group in optimiser.param_groups:
            group["lr"] = h
        optimiser.step()
        return points.detach(), {"state": optimiser.state_dict()["state"].get(0, {})}


@dataclass(frozen=True)
class AdamStep(Update):
    """x ← x + h m̂/(√v̂ + ε): Adam (Kingma & Ba, ICLR 2015, Algorithm 1) on the gradient −v, writable in a spec."""

    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"betas must lie in [0, 1), got {self.betas!r}")
        checks.positive("epsilon", self.epsilon)

    def __call__(self, x: Tensor, velocity: Tensor, h: float, memory: Tree) -> tuple[Tensor, Tree]:
        return Optimiser(self._adam)(x, velocity, h, memory)

    def _adam(self, points: list[Tensor]) -> torch.optim.Optimizer:
        return torch.optim.Adam(points, betas=self.betas, eps=self.epsilon)


def _copied(state: Any) -> Any:
    """Optimisers change their state in place, and the state before a step must stay as it was."""
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}
