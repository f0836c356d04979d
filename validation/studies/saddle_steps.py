"""What a step of the saddle stepper costs after many: the stored pool against replaying every map from ρ₀."""

import statistics
import time
from dataclasses import dataclass, field

import torch
from matplotlib.figure import Figure
from torch import Tensor

from validation.report import Context, Report, at_least, at_most
from validation.studies._plots import axes, finish
from wgf import Alternate, Base, Critic, Gaussian, Path, Previous, Residual, SaddleJKO, evolve
from wgf.functionals import FDivergence, KullbackLeibler
from wgf.maps import Map
from wgf.observers import Observer
from wgf.steppers import State
from wgf.tree import Tree

NAME = "saddle-steps"
DIM = 8
TAU = 0.05
EARLY, LATE = slice(9, 30), slice(-20, None)  # steps 10 to 30, and the last twenty


@dataclass(frozen=True)
class Replayed(Previous):
    """`Previous()` as a straightforward loop has it: particles are drawn from ρ₀ and go through every map since.

    Nothing is stored but the maps, so a batch costs k transports in step k and K steps cost O(K²).
    """

    maps: list[Map] = field(default_factory=list)

    def first(self, state: State) -> State:
        return Base().first(state)

    def source(self, state: State) -> Tensor:
        return Base().source(state)

    def cost(self, map: Map, x: Tensor, old: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            for earlier in self.maps:
                x = earlier(x)
        return super().cost(map, x, x)

    def advance(self, state: State, map: Map, memory: Tree) -> State:
        after = super().advance(state, map, memory)
        self.maps.append(map)
        return after


@dataclass
class Clock(Observer):
    """Seconds of every step by the processor's clock, which other programs do not slow: all that the step does."""

    seconds: list[float] = field(default_factory=list)
    began: float = 0.0

    def begin(self, path: Path, steps: int) -> None:
        self.began = time.process_time()

    def after(self, path: Path) -> None:
        now = time.process_time()
        self.seconds.append(now - self.began)
        self.began = now


def study(quick: bool = False) -> Report:
    """A hundred steps from each anchor (quick: sixty), d = 8, networks of width 64, and as many replayed from ρ₀."""
    steps = 60 if quick else 100
    times = {repr(anchor): _seconds(anchor, steps) for anchor in (Previous(), Base())}
    times["replayed from ρ₀"] = _seconds(Replayed(), steps)
    growth = {name: statistics.median(run[LATE]) / statistics.median(run[EARLY]) for name, run in times.items()}
    checks = [at_most(NAME, f"{name}: last 20 steps over steps 10–30", growth[name], 1.15) for name in list(times)[:2]]
    checks.append(at_least(NAME, "replayed from ρ₀: last 20 steps over steps 10–30", growth["replayed from ρ₀"], 1.5))
    ratio = statistics.median(times["replayed from ρ₀"][LATE]) / statistics.median(times["Previous()"][LATE])
    context = [Context(name, {"seconds a step, median": statistics.median(run)}) for name, run in times.items()]
    context.append(Context("last 20 steps", {"replayed over stored": ratio}))
    return Report(NAME, tuple(checks), tuple(context), _figure(times))


def _seconds(anchor: Previous | Base, steps: int) -> list[float]:
    """Of each step of a flow of KL to samples of a Gaussian; the first one also draws and warms up."""
    game = Alternate(iterations=20, inner=2, refit=10, batch=512)
    stepper = SaddleJKO(Residual(DIM, depth=2), Critic(DIM), anchor, game, particles=20_000, held=1000)
    F = FDivergence(KullbackLeibler(), Gaussian(torch.ones(DIM), 0.5 * torch.eye(DIM)))
    clock = Clock()
    evolve(F, stepper, Gaussian.standard(DIM), [TAU] * steps, seed=0, observers=[clock])
    return clock.seconds


def _figure(times: dict[str, list[float]]) -> Figure:
    figure, (axis,) = axes(1, width=7)
    for name, run in times.items():
        axis.plot(range(1, len(run) + 1), run, ".", ms=4, label=name)
    axis.set_ylim(bottom=0)
    finish(axis, "One step of the saddle stepper", "step k", "seconds of the processor")
    return figure
