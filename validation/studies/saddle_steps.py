"""What a step of the saddle stepper costs after many: the stored pool against replaying every map from ρ₀."""

import time
from dataclasses import dataclass, field
from statistics import median

import torch
from matplotlib.figure import Figure
from torch import Tensor

from validation.report import Context, Report, at_least, at_most
from validation.studies._plots import axes, finish
from wgf import Alternate, Base, Critic, Gaussian, Path, Previous, Residual, SaddleJKO, evolve
from wgf.functionals import FDivergence, KullbackLeibler, functional
from wgf.maps import Map
from wgf.observers import Observer
from wgf.steppers import Anchor, State
from wgf.training import never
from wgf.tree import Tree

NAME = "saddle-steps"
DIM = 2
TAU = 0.02
F = functional(FDivergence(KullbackLeibler(), Gaussian(0.5 * torch.ones(DIM), 0.8 * torch.eye(DIM))))
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

    @torch.no_grad()
    def brought(self, x: Tensor) -> Tensor:
        for earlier in self.maps:
            x = earlier(x)
        return x

    def advance(self, state: State, map: Map, memory: Tree) -> State:
        after = super().advance(state, map, memory)
        self.maps.append(map)
        return after


@dataclass
class Clock(Observer):
    """Seconds of every step by the processor's clock, all that the step does, and of a first step made right after it.

    The latter is the same work every time, so that their ratio is free of what other programs do to the machine.
    """

    control: SaddleJKO
    seconds: list[float] = field(default_factory=list)
    firsts: list[float] = field(default_factory=list)

    def begin(self, path: Path, steps: int) -> None:
        self.start, self.began = path.state, time.process_time()

    def after(self, path: Path) -> None:
        stepped = time.process_time()
        self.control.step(F, self.start, TAU, never)
        again = time.process_time()
        self.seconds.append(stepped - self.began)
        self.firsts.append(again - stepped)
        self.began = again

    @property
    def ratios(self) -> list[float]:
        """What each step took, in first steps of the same moment."""
        return [step / first for step, first in zip(self.seconds, self.firsts, strict=True)]


def study(quick: bool = False) -> Report:
    """A hundred steps from each anchor (quick: sixty), d = 2, networks of width 32, and as many replayed from ρ₀."""
    steps = 60 if quick else 100
    anchors: dict[str, Anchor] = {"Previous()": Previous(), "Base()": Base(), "replayed from ρ₀": Replayed()}
    clocks = {name: _timed(anchor, steps) for name, anchor in anchors.items()}
    growth = {name: median(clock.ratios[LATE]) / median(clock.ratios[EARLY]) for name, clock in clocks.items()}
    said = "last 20 steps over steps 10–30"
    checks = [at_most(NAME, f"{name}: {said}", growth[name], 1.15) for name in ("Previous()", "Base()")]
    checks.append(at_least(NAME, f"replayed from ρ₀: {said}", growth["replayed from ρ₀"], 1.5))
    context = [Context(name, {"seconds a step, median": median(clock.seconds)}) for name, clock in clocks.items()]
    late = {name: median(clock.ratios[LATE]) for name, clock in clocks.items()}
    context.append(Context("last 20 steps", {"replayed over stored": late["replayed from ρ₀"] / late["Previous()"]}))
    return Report(NAME, tuple(checks), tuple(context), _figure(clocks))


def _timed(anchor: Anchor, steps: int) -> Clock:
    """A flow of KL to samples of a Gaussian, every step timed."""
    clock = Clock(_stepper(Previous()))
    evolve(F, _stepper(anchor), Gaussian.standard(DIM), [TAU] * steps, seed=0, observers=[clock])
    return clock


def _stepper(anchor: Anchor) -> SaddleJKO:
    game = Alternate(iterations=20, inner=2, refit=10, batch=512)
    return SaddleJKO(Residual(DIM, 32), Critic(DIM, 32), anchor, game, particles=10_000, held=1000)


def _figure(clocks: dict[str, Clock]) -> Figure:
    figure, (axis,) = axes(1, width=7)
    for name, clock in clocks.items():
        axis.plot(range(1, len(clock.ratios) + 1), clock.ratios, ".", ms=4, label=name)
    axis.set_ylim(bottom=0)
    finish(axis, "One step of the saddle stepper", "step k", "time over that of a first step")
    return figure
