"""The game of a saddle step: what its map lowers and its critics raise, with the slopes of either."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from wgf import keys
from wgf.autodiff import gradient
from wgf.critics import ScalarField
from wgf.fitting import DRAWS, worth
from wgf.functionals.base import HasDual, HasVariation, OnSamples, Variation, weighted
from wgf.functionals.dual import Dual
from wgf.law import Cloud
from wgf.maps.base import Map
from wgf.optimisers import gradients
from wgf.steppers.anchors import Anchor
from wgf.steppers.base import State, unique
from wgf.steppers.fitted import Routed
from wgf.training import Rows

AHEAD = 2**20
"""Numbers of images computed at once for critics to see, where one batch has no more."""


class _Part(NamedTuple):
    """A term taken through its dual: its weight, the dual, the critic, and the weights of that which are trained."""

    weight: float
    dual: Dual
    critic: ScalarField
    trained: list[nn.Parameter]


class _Seen(NamedTuple):
    """Points that a critic is shown: n images, and then draws of Γ."""

    points: Tensor
    n: int

    def split(self) -> tuple[Tensor, Tensor]:
        """Images, draws."""
        return self.points[: self.n], self.points[self.n :]

    def rates(self, dual: Dual, factor: float, u: Tensor) -> Tensor:
        """`factor` times the gradient of the dual's value in the outputs u of its critic at these points."""
        return dual.rates(u, self.points, self.n, factor)


class Game:
    """One step's value: E[cost]/τ + samples' energies + weighted duals."""

    def __init__(self, routed: Routed, anchor: Anchor, state: State, tau: float, held: int, r1: float = 0.0) -> None:
        self.anchor, self.held, self.tau, self.r1 = anchor, held, tau, r1
        self.state, self.source = state, anchor.source(state)
        self.rows = len(state.x) - held
        self.plain = [
            (weight, term) for weight, term, kind in routed if kind is OnSamples and isinstance(term, OnSamples)
        ]
        terms = [(weight, term) for weight, term, kind in routed if kind is HasDual and isinstance(term, HasDual)]
        self.references = [term.reference(Cloud(state.x)) for _, term in terms]
        self.duals: list[tuple[float, str, Dual]] = [
            (weight, term.name, term.dual(reference))
            for (weight, term), reference in zip(terms, self.references, strict=True)
        ]

    def join(self, map: Map, critics: nn.ModuleList) -> None:
        """The players, once they exist."""
        self.map, self.critics = map, critics
        self.weights = [p for p in map.parameters() if p.requires_grad]
        self.parts = []
        for (weight, _, dual), critic in zip(self.duals, critics, strict=True):
            assert isinstance(critic, ScalarField)
            self.parts.append(_Part(weight, dual, critic, [p for p in critic.parameters() if p.requires_grad]))

    @torch.no_grad()
    def value(self, rows: Rows, key: int) -> float:
        self.map.redraw(key)
        y, cost = self._moved(self.map.on(rows), self.source[self.held :][rows], self.state.x[self.held :][rows])
        value = cost.mean() / self.tau
        for weight, term in self.plain:
            value = value + weight * term.energy(Cloud(y)).mean()
        for part in self.parts:
            value = value + part.weight * part.dual.descended(part.critic, y).mean()
        return float(value)

    def descent(self, rows: Rows, key: int) -> list[Tensor]:
        self.map.redraw(key)
        x, old = self.source[self.held :][rows], self.state.x[self.held :][rows]
        share = 1 / len(x)

        def pull(y: Tensor) -> Tensor:
            slopes = [part.dual.slopes(part.critic, y, part.weight * share) for part in self.parts]
            slopes += [term.slopes(Cloud(y), weight * share) for weight, term in self.plain]
            return functools.reduce(torch.add, slopes)

        return self.anchor.gradients(
            self.map.on(rows), self.anchor.brought(x), old, self.weights, pull, share / self.tau
        )

    def seen(self, rows: Rows, count: int, key: int) -> Iterator[tuple["_Seen", ...]]:
        """The images of the rows and as many draws of each Γ: of many batches at once, for the map does not move."""
        total = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
        size = total // count
        for turn, taken in enumerate(_split(rows, size * max(1, AHEAD // (size * self.source.shape[1])))):
            with torch.no_grad():
                y = self.map.on(taken)(self.anchor.brought(self.source[self.held :][taken]))
            drawn = [self.draw(part.dual, len(y), keys.fold(key, turn, k)) for k, part in enumerate(self.parts)]
            both = [torch.cat([y.unflatten(0, (-1, size)), z.unflatten(0, (-1, size))], 1).unbind() for z in drawn]
            yield from (tuple(_Seen(at, size) for at in each) for each in zip(*both, strict=True))

    def ascent(self, seen: tuple["_Seen", ...], key: int) -> list[Tensor]:
        found: list[Tensor] = []
        for k, (part, at) in enumerate(zip(self.parts, seen, strict=True)):
            weight, dual, critic, trained = part
            slopes = critic.gradients(at.points, trained, functools.partial(at.rates, dual, -weight))
            penalties, (y, z) = [], at.split()
            if dual.penalty is not None:
                penalties.append(weight * dual.penalty(critic, y, z, keys.fold(key, k)))
            if self.r1:
                steepness = gradient(critic, z, create_graph=True).square().sum(1).mean()
                penalties.append(0.5 * self.r1 * steepness)
            if penalties:
                more = gradients(functools.reduce(torch.add, penalties), trained)
                slopes = [slope + other for slope, other in zip(slopes, more, strict=True)]
            found += slopes
        return found

    def variation(self, y: Tensor) -> Variation | None:
        """δF/δρ at the law of the rows y by the critics as they stand: what the map descends, up to a constant."""
        parts = [
            (weight, Variation(functools.partial(dual.descended, critic), functools.partial(dual.slopes, critic)))
            for weight, dual, critic, _ in self.parts
        ]
        for weight, term in self.plain:
            if not isinstance(term, HasVariation):
                return None
            parts.append((weight, term.first_variation(Cloud(y))))
        return weighted(parts)

    @torch.no_grad()
    def values(self) -> tuple[dict[str, float], dict[str, float]]:
        """Each dual's value, weight included, at the final map and critic, and the mass E_Γ[dρ/dΓ] of its critic.

        On held rows and 16 times as many draws of Γ, 65,536 at least. The mass is 1 where Γ covers the particles and
        the critic has converged. Where Γ is a box, the share of the rows that left it is reported too.
        """
        y, _ = self._moved(self.map, self.source[: self.held], self.state.x[: self.held])
        seen: dict[str, float] = {}
        measures: dict[str, float] = {}
        for k, ((weight, name, dual), critic) in enumerate(zip(self.duals, self.critics, strict=True)):
            assert isinstance(critic, ScalarField)
            draws = max(DRAWS, 16 * self.held)
            found = worth(dual, critic, y, draws, seed=keys.fold(self.state.key, self.state.step, 5, k))
            name = unique(name, seen)
            seen[name] = weight * found.value
            measures |= found.measures(name)
        return seen, measures

    def _moved(self, map: Map, x: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        return self.anchor.cost(map, self.anchor.brought(x), old)

    def draw(self, dual: Dual, n: int, key: int) -> Tensor:
        """n rows of Γ, in the dtype and on the device of the particles."""
        return dual.gamma.sample(n, keys.generator(key, device=dual.gamma.like.device)).to(self.state.x)


def _split(rows: Rows, size: int) -> Sequence[Rows]:
    """Parts of so many, in their order."""
    if isinstance(rows, Tensor):
        return rows.split(size)
    return [slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]
