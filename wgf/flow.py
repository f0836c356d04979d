"""The one loop, and the path it leaves."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TypeAlias

from torch import Tensor

from wgf import checks, shards
from wgf.errors import Diverged, Incompatible, InputError
from wgf.functionals.base import Functional, Term, functional
from wgf.functionals.potential import Potential
from wgf.law import Law, Pushforward
from wgf.maps.base import Map
from wgf.maps.compose import Compose, Inverse
from wgf.observers import Observer
from wgf.steppers.base import Info, State, Stepper, observe
from wgf.training import Progress


@dataclass
class Path:
    """A flow as far as it has come: K steps leave K + 1 laws, times and energies, and K infos."""

    laws: list[Law]
    times: list[float]
    energies: list[dict[str, float]]
    state: State
    infos: list[Info] = field(default_factory=list)

    @property
    def final(self) -> Law:
        """The last law."""
        return self.laws[-1]

    @property
    def energy(self) -> list[float]:
        """F along the path, NaN where a term is not known. Without a base density, up to one constant."""
        return [math.fsum(energy.values()) if energy else math.nan for energy in self.energies]

    @property
    def maps(self) -> list[Map]:
        """The map of each step, from the law before. Raises: Incompatible where a step is not one (Langevin, say)."""
        steps = [_between(before, after) for before, after in pairwise(self.laws)]
        return [parts[0] if len(parts) == 1 else Compose(parts) for parts in steps]

    def inverse(self, reference: Law, since: int = 0) -> Law:
        """`reference` pulled back through every step: data from noise, where the flow took data to noise.

        `since` = k leaves out the first k steps: what the flow has made of the data by step k, as the model has it. The
        reference takes the dtype and the device of the flow.
        Raises: Incompatible where a step is not a map; InputError for a path of no more than k steps.
        """
        if checks.at_least("since", since, 0) >= len(self):
            raise InputError(f"a path of {len(self)} steps has none to go back through since step {since}")
        like, maps = self.final.like, _between(self.laws[since], self.final)
        return Pushforward(reference.to(like.dtype).to(like.device), Inverse(Compose(maps)))

    def __len__(self) -> int:
        return len(self.infos)


def _between(before: Law, after: Law) -> list[Map]:
    """The maps that carry `before` to `after`, in the order in which they act."""
    maps: list[Map] = []
    while isinstance(after, Pushforward) and after is not before:
        maps.insert(0, after.map)
        after = after.base
    if not maps or after is not before:
        raise Incompatible("only a path whose every step is a map can be inverted; this one has steps that are not")
    return maps


Stop: TypeAlias = Callable[[Path], bool]


def evolve(
    F: Functional | Term,
    stepper: Stepper,
    rho0: Law | Tensor,
    taus: Iterable[float],
    *,
    seed: int = 0,
    observers: Sequence[Observer] = (),
    stop: Stop | None = None,
    path: Path | None = None,
) -> Path:
    """Flow `rho0` down `F` by `stepper`, one step for each τ in `taus`; time is the sum of the steps taken.

    Args: F, a functional; stepper; rho0, a law; taus, step sizes above zero (∞, no cost, for a SaddleJKO);
    seed, the only source of randomness: the same seed, machine and thread count give the same bits; observers, told of
    every step and able to stop inside one; stop, asked after each step; path, one to go on from: its state, not `rho0`,
    is then where the flow starts, and a longer copy is returned.
    Raises: Incompatible before the first step if the stepper cannot run F; InputError for a bad τ; Diverged if training
    fails or particles fly off to infinity. What is raised after the first step has the path so far as its attribute
    `path`.
    """
    total = functional(F)
    sizes = step_sizes(taus)
    if math.inf in sizes and not stepper.unbounded:
        name = type(stepper).__name__
        raise InputError(f"tau must be a finite number above 0, got inf: {name} takes no step without a cost")
    checks.at_least("seed", seed, 0)
    if not stepper.sharded:
        shards.refuse(type(stepper).__name__, "run it in one process, outside shards.group(), or take Particles")
    base = rho0 if isinstance(rho0, Law) else _as_law(rho0)
    shards.same(total, stepper, seed, sizes, base.dim, None if path is None else path.times)
    if path is None:
        path = _begin(total, stepper, base, seed)
    else:
        shards.belongs(path.state.memory)
        stepper.check(total, path.state)
        path = Path([*path.laws], [*path.times], [*path.energies], path.state, [*path.infos])
    observers = observers if shards.current().rank == 0 else ()
    for observer in observers:
        observer.begin(path, len(sizes))

    def watch(progress: Progress) -> bool:
        answers = [observer.inside(progress) for observer in observers]  # every observer is told
        return any(answers)

    try:
        for tau in sizes:
            state, info = stepper.step(total, path.state, tau, watch)
            _refuse_explosion(state, tau)
            path.laws.append(stepper.law(path.final, path.laws[0], state, info))
            path.times.append(path.times[-1] + tau)
            path.energies.append(dict(info.energy))
            path.infos.append(info)
            path.state = state
            for observer in observers:
                added = observer.measures(path)
                path.infos[-1] = replace(path.infos[-1], measures={**path.infos[-1].measures, **added})
            for observer in observers:
                observer.after(path)
            if stop is not None and shards.agreed(partial(stop, path)):
                break
    except (Diverged, InputError) as error:
        error.path = path
        raise
    finally:
        for observer in observers:
            observer.end(path)
    return path


def step_sizes(taus: Iterable[float]) -> list[float]:
    """The step sizes as floats above zero, ∞ included; scalars of tensors and arrays count as numbers."""
    try:
        sizes = [float(tau) for tau in taus]
    except (TypeError, ValueError) as error:
        raise InputError(f"taus must be a sequence of step sizes such as [0.1] * 9, got {taus!r}") from error
    return [tau if tau == math.inf else checks.positive("tau", tau) for tau in sizes]


def _begin(F: Functional, stepper: Stepper, law: Law, seed: int) -> Path:
    state = stepper.init(F, law, seed)
    stepper.check(F, state)
    for _, term in F.terms:
        if isinstance(term, Potential):
            term.probe(state.x[:3])
    return Path([law], [0.0], [observe(F, state, stepper.rows)], state)


def _refuse_explosion(state: State, tau: float) -> None:
    device = state.x.device
    lost = shards.total(int((~state.x.isfinite().all(-1)).sum()), device)
    if lost:
        particles = shards.total(len(state.x), device)
        raise Diverged(
            f"{lost} of {particles} particles are no longer finite after step {state.step}, of size {tau:g}; take"
            " smaller steps, or more sub-steps"
        )


def _as_law(value: object) -> Law:
    raise InputError(f"rho0 must be a law, got {type(value).__name__}; wrap samples as Empirical(x)")
