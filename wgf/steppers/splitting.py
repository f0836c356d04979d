"""Forward–backward splitting: some terms explicitly, the others by another stepper."""

from dataclasses import dataclass, replace
from typing import ClassVar

from wgf.errors import Incompatible
from wgf.functionals.base import Functional, HasVariation, Term, first_variation, route
from wgf.functionals.interaction import Interaction
from wgf.law import Cloud, Empirical, Law, Pushforward
from wgf.maps.compose import Compose, Explicit
from wgf.steppers.base import Info, State, Stepper, carried, displacement, known, observe
from wgf.steppers.jko import check_parts
from wgf.training import Watch


@dataclass(frozen=True)
class Splitting(Stepper):
    """x ← x − τ∇δG/δρ(x) for the terms G of the `forward` classes, then a step of `inner` on the rest. Order 1 in τ.

    With JKO inside it is the Wasserstein proximal gradient (forward–backward) scheme: Salim, Korba, Luise, NeurIPS
    2020,
    arXiv 2002.03035. The forward move is an `Explicit` map, so densities are kept where `inner` keeps them.
    Args: inner, any stepper; forward, classes of terms that go explicitly (they need a first variation).
    """

    inner: Stepper
    forward: tuple[type[Term], ...] = (Interaction,)

    accepts: ClassVar[tuple[type, ...]] = (HasVariation,)

    def __post_init__(self) -> None:
        check_parts("Splitting", (self.inner, Stepper), (self.forward, tuple))

    @property
    def keeps_density(self) -> bool:  # type: ignore[override]
        return self.inner.keeps_density

    @property
    def rows(self) -> int:
        return self.inner.rows

    def init(self, F: Functional, law: Law, seed: int) -> State:
        _, backward = self._split(F)
        return self.inner.init(backward, law, seed)

    def check(self, F: Functional, state: State) -> None:
        forward, backward = self._split(F)
        route(forward, self.accepts, "the forward half of Splitting")
        self.inner.check(backward, state)

    def step(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[State, Info]:
        forward, backward = self._split(F)
        variation = first_variation(forward, Cloud(state.x))
        explicit = Explicit(variation, tau, state.x.shape[1])
        halfway = replace(carried(state, explicit, state.memory), step=state.step)
        after, info = self.inner.step(backward, halfway, tau, watch)
        energy, moved = known(observe(F, after, self.rows), info.energy), displacement(state.x, after.x)
        info = replace(info, energy=energy, moved=moved, variation=variation)
        if info.map is None:
            return after, info
        folded = max(halfway.folded or 0.0, info.measures.get("folded", 0.0))
        return after, replace(info, map=Compose([explicit, info.map]), measures={**info.measures, "folded": folded})

    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        if not isinstance(info.map, Compose):
            return Empirical(state.x)
        explicit, implicit = info.map.parts
        return self.inner.law(Pushforward(previous, explicit), base, state, replace(info, map=implicit))

    def _split(self, F: Functional) -> tuple[Functional, Functional]:
        forward = tuple(part for part in F.terms if isinstance(part[1], self.forward))
        backward = tuple(part for part in F.terms if not isinstance(part[1], self.forward))
        if not forward or not backward:
            names = " or ".join(kind.__name__ for kind in self.forward)
            raise Incompatible(
                f"Splitting needs terms on both sides, but {F} has {'no' if not forward else 'only'} {names};"
                " use the inner stepper alone, or another `forward`"
            )
        return Functional(forward), Functional(backward)
