"""The only places that train: `minimise` for maps, `saddle` for a map against critics."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from wgf import checks, keys
from wgf.errors import Diverged, InputError
from wgf.optimisers import Factory, FirstOrder, FusedAdam, TorchOptimiser, gradients

if TYPE_CHECKING:
    from wgf.steppers.base import Live


@dataclass(frozen=True)
class Progress:
    """Where a training run inside a step stands: iteration of `of`, the loss there, seconds since the step began.

    `live`, where the stepper tells, is what is being trained: the map, and what its optimality is measured by.
    """

    iteration: int
    of: int
    loss: float
    seconds: float
    live: "Live | None" = None


Rows: TypeAlias = slice | Tensor
"""What takes rows of a pool: a slice, of which a view comes, or their indices where they run over its end. Views of the
pool are to be read, never written on."""

Watch: TypeAlias = Callable[[Progress], bool]
Curve: TypeAlias = list[tuple[int, float]]


def never(progress: Progress) -> bool:
    """The watch that never stops."""
    return False


class Objective(Protocol):
    """What `minimise` minimises: a loss on some of the training rows, and a score on rows that are not trained on."""

    rows: int

    def loss(self, rows: Rows, key: int) -> Tensor:
        """The loss on these of the training rows; `key` seeds whatever else is random in it."""

    def score(self) -> float:
        """The loss on the rows that choose the best weights."""


class Recipe(ABC):
    """How a map is trained."""

    @abstractmethod
    def minimise(self, objective: Objective, module: nn.Module, key: int, watch: Watch) -> Curve:
        """Train `module` in place; return the scores seen on the way."""


@dataclass(frozen=True)
class Adam(Recipe):
    """Minibatch Adam with cosine decay of the rate and exponential averaging of the weights; the best average is kept.

    Args: iterations; batch, rows an iteration (all of them if there are fewer); rate, the first learning rate;
    final, the
    last one as a share of it; averaging, the weight of the past in the running average; checks, how often the
    average is
    scored and the best kept as a copy; retries, how many times a non-finite loss is answered by the best weights and
    half
    the rate before `Diverged`; patience, after how many scorings in a row without a better one it ends (never, by
    default).
    """

    iterations: int = 400
    batch: int = 4096
    rate: float = 5e-3
    final: float = 0.01
    averaging: float = 0.95
    betas: tuple[float, float] = (0.9, 0.99)
    checks: int = 8
    retries: int = 3
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.patience is not None:
            checks.at_least("patience", self.patience, 1)
        for name in ("iterations", "batch", "checks"):
            checks.at_least(name, getattr(self, name), 1)
        checks.positive("rate", self.rate)
        if not 0 <= self.averaging < 1:
            raise InputError(f"averaging must lie in [0, 1), got {self.averaging!r}")

    def minimise(self, objective: Objective, module: nn.Module, key: int, watch: Watch) -> Curve:
        parameters = [p for p in module.parameters() if p.requires_grad]
        average, best = _copies(parameters), _copies(parameters)
        began, score = time.perf_counter(), objective.score()
        curve: Curve = [(0, score)]
        best_score = score if math.isfinite(score) else math.inf
        rate, retries, iteration, since = self.rate, 0, 0, 0
        optimiser = FusedAdam(parameters, self.betas)
        first, every = keys.fold(key), max(1, self.iterations // self.checks)
        while iteration < self.iterations:
            scale = self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * iteration / self.iterations))
            loss = objective.loss(
                _slices(objective.rows, self.batch, first, iteration, 1, parameters[0].device),
                keys.fold(key, iteration),
            )
            optimiser.step(gradients(loss, parameters), rate * scale)
            _blend(average, parameters, min(self.averaging, (1 + iteration) / (10 + iteration)))
            iteration += 1
            if iteration % every and iteration < self.iterations:
                continue
            score = _scored_at(objective, parameters, average)
            curve.append((iteration, score))
            if not (math.isfinite(score) and math.isfinite(float(loss.detach()))):
                retries += 1
                if retries > self.retries:
                    _assign(parameters, best)
                    raise Diverged(
                        f"the loss was not finite {retries} times, last at iteration {iteration} with rate {rate:.2g}"
                    )
                rate /= 2
                _assign(parameters, best)
                _assign(average, best)
                optimiser = FusedAdam(parameters, self.betas)
                continue
            since = 0 if score < best_score else since + 1
            if score < best_score:
                best_score = score
                _assign(best, average)
            if watch(Progress(iteration, self.iterations, score, time.perf_counter() - began)):
                break
            if self.patience is not None and since >= self.patience:
                break
        _assign(parameters, best)
        if best_score == math.inf:
            raise Diverged(f"no loss was finite in {iteration} iterations of {type(self).__name__}")
        return curve


@dataclass(frozen=True)
class LBFGS(Recipe):
    """Full-batch L-BFGS with strong Wolfe line search, for small maps: no sampling noise of its own.

    Args: iterations, at most; tolerance, on the largest entry of the gradient; history, pairs kept.
    """

    iterations: int = 200
    tolerance: float = 1e-10
    history: int = 20

    def __post_init__(self) -> None:
        checks.at_least("iterations", self.iterations, 1)
        checks.positive("tolerance", self.tolerance)

    def minimise(self, objective: Objective, module: nn.Module, key: int, watch: Watch) -> Curve:
        parameters = [p for p in module.parameters() if p.requires_grad]
        everything = slice(0, objective.rows)
        optimiser = torch.optim.LBFGS(
            parameters,
            max_iter=self.iterations,
            max_eval=4 * self.iterations,
            tolerance_grad=self.tolerance,
            tolerance_change=0.0,
            history_size=self.history,
            line_search_fn="strong_wolfe",
        )
        curve: Curve = []

        def closure() -> Tensor:
            optimiser.zero_grad(set_to_none=True)
            loss = objective.loss(everything, key)
            loss.backward()
            curve.append((len(curve), float(loss.detach())))
            return loss

        start, began = _copies(parameters), time.perf_counter()
        optimiser.step(closure)
        final = float(objective.loss(everything, key).detach())
        if not math.isfinite(final):
            _assign(parameters, start)
            raise Diverged(f"L-BFGS reached a loss of {final} after {len(curve)} evaluations")
        watch(Progress(self.iterations, self.iterations, final, time.perf_counter() - began))
        return curve


@dataclass(frozen=True)
class Alternate:
    """min over a map, max over critics: `inner` critic steps for each map step, both by Adam with decay and averaging.

    Args: iterations, map steps; inner, critic steps for each; refit, critic steps at the end, against the final map;
    batch; rate and critic_rate, first learning rates; final, last as a share of first; averaging; betas, of Adam;
    retries, as in `Adam`; optimiser, a factory of torch optimisers from lists of parameters, to be taken for Adam.
    """

    iterations: int = 400
    inner: int = 4
    refit: int = 400
    batch: int = 2048
    rate: float = 2e-3
    critic_rate: float = 2e-3
    final: float = 0.05
    averaging: float = 0.98
    betas: tuple[float, float] = (0.5, 0.99)
    retries: int = 3
    optimiser: Factory | None = None

    def __post_init__(self) -> None:
        for name in ("iterations", "inner", "batch"):
            checks.at_least(name, getattr(self, name), 1)
        checks.at_least("refit", self.refit, 0)
        for name in ("rate", "critic_rate"):
            checks.positive(name, getattr(self, name))


class Game(Protocol):
    """What `saddle` plays: one value, which the map lowers and the critics raise."""

    rows: int

    def value(self, rows: Rows, key: int) -> float:
        """The value on these rows, up to what no map changes."""

    def descent(self, rows: Rows, key: int) -> list[Tensor]:
        """The gradients of the value in each parameter of the map that is not frozen, in their order."""

    def seen(self, rows: Rows, count: int, key: int) -> Iterable[Any]:
        """What critics see of the map as it stands, in so many of their moves: equal parts of the rows."""

    def ascent(self, seen: Any, key: int) -> list[Tensor]:
        """The gradients of minus the part of the value that critics see, plus their penalties, in each parameter of
        theirs that is not frozen, in the order of `critics.parameters()`."""


def saddle(game: Game, map: nn.Module, critics: nn.Module, recipe: Alternate, key: int, watch: Watch) -> Curve:
    """Play `game` by `recipe` in place; map and critics end at their running averages.

    Raises: Diverged if a value is not finite more than `recipe.retries` times (weights restored, rates halved each
    time).
    """
    players = [[p for p in module.parameters() if p.requires_grad] for module in (map, critics)]
    averages, kept = [_copies(p) for p in players], [_copies(p) for p in players]
    rates, retries, began, curve = [recipe.rate, recipe.critic_rate], 0, time.perf_counter(), []
    device, every, iteration = players[0][0].device, max(1, recipe.iterations // 20), 0
    optimisers, row = _optimisers(players, recipe), keys.fold(key)

    def move(player: int, round: int, scale: float, slopes: list[Tensor]) -> None:
        optimisers[player].step(slopes, rates[player] * scale)
        _blend(averages[player], players[player], min(recipe.averaging, (1 + round) / (10 + round)))

    def batches(round: int, count: int = 1) -> Rows:
        return _slices(game.rows, recipe.batch, row, round, count, device)

    def ascend(scales: Sequence[float], first: int) -> None:
        """The moves of the critics from round `first` on, while the map stands."""
        seen = game.seen(batches(first, len(scales)), len(scales), keys.fold(key, 1, first))
        for round, scale, part in zip(range(first, first + len(scales)), scales, seen, strict=True):
            move(1, round, scale, game.ascent(part, keys.fold(key, 2, round)))

    def descend(round: int, scale: float) -> None:
        try:
            for parameter in players[1]:
                parameter.requires_grad_(False)
            slopes = game.descent(batches(round), keys.fold(key, 0, round))
        finally:
            for parameter in players[1]:
                parameter.requires_grad_(True)
        move(0, round, scale, slopes)

    while iteration < recipe.iterations:
        scale = recipe.final + (1 - recipe.final) * 0.5 * (1 + math.cos(math.pi * iteration / recipe.iterations))
        ascend([scale] * recipe.inner, iteration * recipe.inner)
        told = (iteration + 1) % every == 0 or iteration + 1 == recipe.iterations
        loss = game.value(batches(iteration), keys.fold(key, 0, iteration)) if told else math.nan
        descend(iteration, scale)
        iteration += 1
        if not told:
            continue
        curve.append((iteration, loss))
        if math.isfinite(loss) and all(_finite(average) for average in averages):
            kept = [_copies(average) for average in averages]
            if watch(Progress(iteration, recipe.iterations, loss, time.perf_counter() - began)):
                break
            continue
        retries += 1
        rates = [rate / 2 for rate in rates]
        for player in (0, 1):
            _assign(players[player], kept[player])
            _assign(averages[player], kept[player])
        if retries > recipe.retries:
            raise Diverged(f"the value of the game was not finite {retries} times, last at iteration {iteration}")
        optimisers = _optimisers(players, recipe)
    if not math.isfinite(curve[-1][1]):
        raise Diverged(f"the value of the game was not finite at its last iteration, {iteration}")
    _assign(players[0], averages[0])
    kept[1] = _copies(averages[1])
    scales = [max(0.5 * (1 + math.cos(math.pi * round / recipe.refit)), recipe.final) for round in range(recipe.refit)]
    for round in range(0, recipe.refit, recipe.inner):
        ascend(scales[round : round + recipe.inner], recipe.iterations * recipe.inner + round)
    _assign(players[1], averages[1] if _finite(averages[1]) else kept[1])
    return curve


def _optimisers(players: Sequence[list[nn.Parameter]], recipe: Alternate) -> list[FirstOrder]:
    """One a player."""
    return [TorchOptimiser(p, recipe.optimiser) if recipe.optimiser else FusedAdam(p, recipe.betas) for p in players]


def _slices(rows: int, batch: int, first: int, round: int, count: int, device: torch.device) -> Rows:
    """`count` batches of consecutive rows, round 0 from row `first`, modulo `rows`, on: pools are independent rows, so
    epochs beat redrawing."""
    batch = min(batch, rows)
    start = (first + round * batch) % rows if batch < rows else 0
    stop = start + count * batch
    return slice(start, stop) if stop <= rows else torch.arange(start, stop, device=device) % rows


def _finite(tensors: Sequence[Tensor]) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def _copies(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [p.detach().clone() for p in parameters]


@torch.no_grad()
def _assign(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source)


def _blend(average: list[Tensor], parameters: Sequence[Tensor], past: float) -> None:
    torch._foreach_lerp_(average, [p.detach() for p in parameters], 1 - past)  # cheaper than no_grad


def _scored_at(objective: Objective, parameters: Sequence[Tensor], weights: Sequence[Tensor]) -> float:
    """The score at `weights`, the parameters left as they were."""
    live = _copies(parameters)
    _assign(parameters, weights)
    score = objective.score()
    _assign(parameters, live)
    return score
