"""A problem: what flows downhill, from where, for how long, and what is known of the answer."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import keys
from wgf.functionals.base import Functional, Term, functional
from wgf.law import Law, Pushforward
from wgf.maps import Inverse, Map, quantile_map
from wgf.scoring import in_finer_steps

if TYPE_CHECKING:
    from wgf.flow import Path


DOUBLINGS = 3
"""How often the steps of a model that cannot be sampled are doubled, to find what its quantiles are mapped by."""


@dataclass(frozen=True)
class Learning:
    """A flow from data to noise, and what it is learnt from: the model is the noise, carried back.

    Args: reference, the law π of the noise; frame, the map from the data's own units to the flow's; train (n, d) and
    held (m, d), rows in their own units, the second never seen in training; names of the d columns; mapped, samples of
    the model by which `quantile_map` gives it the marginals of `train`, 0 for the model as it is.
    """

    reference: Law
    frame: Map
    train: Float[Tensor, "n d"]
    held: Float[Tensor, "m d"]
    names: tuple[str, ...]
    mapped: int = 0

    def model(self, path: "Path", since: int = 0) -> Law:
        """The law that `path` has learnt of the data, in their own units and in float64; with `since`, of what so many
        steps make of them, in those of the flow.

        log p(x) = log π(T(x)) + log|det ∇T(x)|, T the frame and all steps (and before them, where the model is mapped,
        the inverse of its `quantile_map`). Raises: as `Path.inverse`, and mapped as `sample` and `quantile_map`.
        """
        learnt = path.inverse(self.reference, since).to(torch.float64)
        if since:
            return learnt
        frame = copy.deepcopy(self.frame).to(learnt.like.device)  # in the data's units, single precision loses digits
        model = Pushforward(learnt, Inverse(frame))
        return self._mapped(model) if self.mapped else model

    def _mapped(self, model: Law) -> Law:
        """By the same samples every time, which nobody else draws, in finer steps where they take those."""

        def draw(law: Law) -> Float[Tensor, "n d"]:
            return law.sample(self.mapped, keys.generator(0, 3, device=law.like.device))

        _, x, _ = in_finer_steps(model, draw, DOUBLINGS)
        return Pushforward(model, quantile_map(x, self.train.to(x)))


@dataclass(frozen=True)
class Problem:
    """∂_t ρ = ∇·(ρ ∇ δF/δρ), ρ(0) = `initial`, to time `horizon`.

    Args: functional, F; initial, ρ₀; horizon, a time above zero; exact, t ↦ the law at t, where it is known;
    observables, named functions (n, d) -> a number, of the particles; title, one line for tables and
    figures; exact_energy, t ↦ F of the law at t, where it is known in closed form; learning, where the flow carries
    data to noise so that their law be learnt.
    """

    functional: Functional | Term
    initial: Law
    horizon: float
    exact: Callable[[float], Law] | None = None
    observables: Mapping[str, Callable[[Tensor], float]] = field(default_factory=dict)
    title: str = ""
    exact_energy: Callable[[float], float] | None = None
    learning: Learning | None = None

    def learnt(self, path: "Path") -> Law:
        """What a flow of this problem is run for: its last law, or the model of the data that it carried to noise.

        Raises: Incompatible where a model needs steps that are maps, and these are none.
        """
        return path.final if self.learning is None else self.learning.model(path)

    @property
    def dim(self) -> int:
        """The dimension d of the space."""
        return self.initial.dim

    @property
    def F(self) -> Functional:
        """The functional as a weighted sum of terms."""
        return functional(self.functional)
