"""Dynamic maps: the end of ẋ = v(t, x), with cost T∫½|v|²dt and the log-determinant ∫∇·v dt, all by one scheme."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Self

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from wgf import autodiff, checks, keys
from wgf.errors import InputError, NotInvertible
from wgf.maps.base import Flow, Transport, attached, half_square, wanted
from wgf.maps.integrate import RungeKutta, Scheme

SWEEP = 16_384  # rows whose divergences are taken at once
STIFF = 64  # steps beyond which none are proposed


class Dynamic(Flow):
    """x(0) ↦ x(T) along ẋ = v(t, x). Subclasses write three closed forms: v, its divergence, its tangents.

    The cost is T ∫₀ᵀ ½|v|² dt ≥ ½|x(T) − x(0)|², also in its discrete form, so that E[cost]/τ + F serves static and
    dynamic maps alike. The inverse integrates backwards and then corrects against the same forward scheme, so that
    training, scoring and sampling use one discrete map.

    Args: horizon, T > 0; steps, of the scheme over the whole interval; scheme, e.g. RK4(); evaluation_steps, as many
    where the map is not being trained (`eval()`), by default the same; checkpoint, keep of a step only where it begins,
    and take it again for its gradients: memory for one step in place of all, a third more time; random_times, for
    schemes of fixed steps.

    While training, a velocity whose divergence is taken at a few fixed times learns to have it there, and log det is
    then far off: with few steps on thin laws. With `random_times` ∫∇·v dt is taken, while training, at two times a
    step, drawn anew for every batch and opposite one another about the step's middle: an estimate that is right on
    average, whatever v, with the same few steps.
    """

    def __init__(
        self,
        dim: int,
        horizon: float,
        steps: int,
        scheme: Scheme,
        evaluation_steps: int | None = None,
        checkpoint: bool = False,
        random_times: bool = False,
    ) -> None:
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.start, self.end = 0.0, checks.positive("the horizon of a flow", horizon)
        self.steps, self.scheme = checks.at_least("steps", steps, 1), scheme
        self.evaluation_steps, self.checkpoint = evaluation_steps, checkpoint
        if evaluation_steps is not None:
            checks.at_least("evaluation_steps", evaluation_steps, 1)
        if random_times and not isinstance(scheme, RungeKutta):
            raise InputError(f"random_times needs a scheme of fixed steps such as RK4(), got {scheme!r}")
        self.random_times, self._key = random_times, 0

    def redraw(self, key: int) -> None:
        self._key = key

    @property
    def taken(self) -> int:
        """How many steps the scheme takes now."""
        return self.steps if self.training or self.evaluation_steps is None else self.evaluation_steps

    def get_extra_state(self) -> Tensor:
        """The interval of time, which a part of a motion has for itself."""
        return torch.tensor([self.start, self.end], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        self.start, self.end = (float(t) for t in state)

    @abstractmethod
    def velocity(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """v(t, x_i)."""

    @abstractmethod
    def divergences(self, times: Sequence[float], points: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, "k n"]:
        """∇·v at k times and batches of points, in one sweep; while training, an estimate if the map was built so."""

    @abstractmethod
    def velocity_tangents(
        self, t: float, x: Float[Tensor, "n d"], dx: Float[Tensor, "k n d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "k n d"]]:
        """v(t, x_i) and ∇v(t, x_i) dx for k tangents at once."""

    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        """The motion first, then its divergence along it by the scheme's quadrature, between steps by cubic Hermite
        interpolation. RK4 so takes three divergences for every two steps instead of eight, at order four.
        """
        if not isinstance(self.scheme, RungeKutta):
            return self._together(x, logdet)
        h, places = self._dt, self._places(self.scheme) if logdet else []
        last = math.ceil(max((s for s, _ in places), default=0.0))  # past it no velocity is needed
        states, slopes, cost = self._swept(x, logdet and last == self.taken)
        if not logdet:
            return Transport(states[-1], cost)
        points = _hermite(states, slopes, h, [s for s, _ in places])
        times, weights = [self.start + s * h for s, _ in places], [h * weight for _, weight in places]
        return Transport(states[-1], cost, self._weighted_divergence(times, points, weights))

    def _places(self, scheme: RungeKutta) -> list[tuple[float, float]]:
        """Where, in steps, divergences are taken along the motion, and their weights."""
        if not (self.training and self.random_times):
            return scheme.quadrature(self.taken)
        drawn = torch.rand(self.steps, generator=keys.generator(self._key, self.steps)).tolist()
        return [(k + 0.5 * (1 + side * u), 0.5) for k, u in enumerate(drawn) for side in (-1, 1)]

    def _swept(self, x: Tensor, ends: bool) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor]:
        """The states of a motion, the velocities at them (at the last if it `ends` with one), and its cost."""
        states, costs, slopes, h = [x], [], [], self._dt
        for t in self._times[:-1]:
            first = self._kept(lambda x, t=t: self._motion(t, x), states[-1])
            y, cost = self._kept(lambda x, *first, t=t: self._step(t, h, x, first), states[-1], *first)
            slopes.append(first[0])
            states.append(y)
            costs.append(cost)
        if ends:
            slopes.append(self._kept(lambda x: self._motion(self.end, x), states[-1])[0])
        return states, slopes, costs[0] if len(costs) == 1 else torch.stack(costs).sum(0)

    def _motion(self, t: float, x: Tensor) -> tuple[Tensor, ...]:
        """The velocity and, where motion costs more than ½|v|², what it costs beyond."""
        return (self.velocity(t, x),)

    def _step(self, t: float, h: float, x: Tensor, first: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Where a step from x ends, and T times what it costs, by the weights of the scheme."""
        assert isinstance(self.scheme, RungeKutta)
        seen = [first]

        def field(t: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            seen.append(self._motion(t, state[0]))
            return seen[-1][:1]

        (y,) = self.scheme.step(field, t, h, (x,), first[:1])
        velocities, *beyond = (torch.stack(parts) for parts in zip(*seen, strict=True))
        rates = sum(beyond, half_square(velocities))
        return y, rates.new_tensor([h * (self.end - self.start) * b for b in self.scheme.weights]) @ rates

    def _together(self, x: Tensor, logdet: bool) -> Transport:
        """Position, cost and log-determinant as one motion."""

        def slope(t: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            v, *beyond = self._motion(t, state[0])
            rate = (self.end - self.start) * sum(beyond, half_square(v))
            return (v, rate, self.divergences([t], [state[0]])[0]) if logdet else (v, rate)

        state = (x, *(x.new_zeros(len(x)) for _ in range(2 if logdet else 1)))
        parameters = [p for p in self.parameters() if p.requires_grad]
        return Transport(*self.scheme.integrate(slope, state, self.start, self.end, self.taken, parameters=parameters))

    def _weighted_divergence(self, times: list[float], points: Sequence[Tensor], weights: list[float]) -> Tensor:
        """Σ_k w_k ∇·v(t_k, x_k), as many of the k at once as fit a sweep of bounded size."""
        together = 1 if self._thrifty else max(1, SWEEP // max(1, len(points[0])))

        def part(now: slice) -> Tensor:
            return self._kept(lambda *x: x[0].new_tensor(weights[now]) @ self.divergences(times[now], x), *points[now])

        parts = [part(slice(start, start + together)) for start in range(0, len(points), together)]
        return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)

    @property
    def _thrifty(self) -> bool:
        return self.checkpoint and torch.is_grad_enabled()

    def _kept(self, part: Callable[..., Any], *inputs: Tensor) -> Any:
        """part(*inputs); where memory is to be spared, taken again for its gradients."""
        if not self._thrifty:
            return part(*inputs)
        return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)

    @property
    def _dt(self) -> float:
        return (self.end - self.start) / self.taken

    @property
    def _times(self) -> list[float]:
        """When each step begins, and the end."""
        return [self.start + k * self._dt for k in range(self.taken + 1)]

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        state = (x, autodiff.identity_tangents(x))
        y, tangents = self.scheme.integrate(
            lambda t, s: self.velocity_tangents(t, s[0], s[1]), state, self.start, self.end, self.taken
        )
        return y, autodiff.from_tangents(tangents)

    def inverse(
        self, y: Float[Tensor, "n d"], logdet: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
        x = self._solved(y.detach())
        if wanted(y):
            x = attached(self, x, y)
        with torch.set_grad_enabled(wanted(y)):
            value = self.transport(x, logdet=True).logdet if logdet else None
        return x, None if value is None else -value

    @torch.no_grad()
    def _solved(self, y: Tensor) -> Tensor:
        """The x with T(x) = y, or NotInvertible."""
        x, error = self._invert(y)
        failed = ~(error <= self._tolerance(y))
        if failed.any():
            raise NotInvertible(
                f"the round trip of a flow misses {int(failed.sum())} of {len(y)} rows by up to"
                f" {float(error[failed].max()):.2g}: the velocity is too stiff for {self._described};"
                f" {self._advice(y[failed])}"
            )
        return x

    def _invert(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest that was found to the x with T(x) = y, and |T(x) − y|."""
        start = x = self._backwards(y)
        error = (self.transport(x).y - y).norm(dim=-1)
        for _ in range(30):  # x ↦ x + B(y) − B(T(x)) contracts by O(h^order), B the backward scheme
            if bool((error <= 1e-2 * self._tolerance(y)).all()):
                break
            trial = x + start - self._backwards(self.transport(x).y)
            trial_error = (self.transport(trial).y - y).norm(dim=-1)
            better = trial_error < error
            if not better.any():
                break
            x, error = torch.where(better[:, None], trial, x), torch.where(better, trial_error, error)
        return x, error

    def _tolerance(self, y: Tensor) -> Tensor:
        return max(1e3 * torch.finfo(y.dtype).eps, self.scheme.slack) * (1 + y.abs().amax(-1))

    @property
    def _described(self) -> str:
        name = type(self.scheme).__name__
        return f"{self.taken} steps of {name}" if isinstance(self.scheme, RungeKutta) else f"these tolerances of {name}"

    def _advice(self, y: Tensor) -> str:
        """What would bring these rows back."""
        if not isinstance(self.scheme, RungeKutta):
            return "take smaller ones"
        for times in (2, 4, 8, 16, 32, 64):
            if self.taken * times > STIFF:
                break
            finer = self.refined(times)
            if bool((finer._invert(y)[1] <= finer._tolerance(y)).all()):
                return f"{finer.taken} steps would do"
        if 2 * self.taken > STIFF:
            return "take smaller steps of the flow, or train it anew with more of the scheme's"
        return f"up to {STIFF} would not do either: train it with more steps, or take smaller steps of the flow"

    def _backwards(self, y: Tensor) -> Tensor:
        (x,) = self.scheme.integrate(lambda t, s: (self.velocity(t, s[0]),), (y,), self.end, self.start, self.taken)
        return x

    def trajectory(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "k n d"]:
        """x(0), x(h), …, x(T): where the motion stands after each of k − 1 equal steps."""
        states = [x]
        for t, after in pairwise(self._times):
            (x,) = self.scheme.integrate(lambda t, s: (self.velocity(t, s[0]),), (x,), t, after, 1)
            states.append(x)
        return torch.stack(states)

    def refined(self, times: int) -> Self:
        """The same velocity in `times` as many steps, each as much smaller."""
        finer = copy.deepcopy(self)
        finer.multiply(times)
        return finer

    def multiply(self, times: int) -> None:
        """Take `times` as many steps from now on, in training and in evaluation."""
        self.scheme = self.scheme.finer(times)
        self.steps *= checks.at_least("times", times, 1)
        if self.evaluation_steps is not None:
            self.evaluation_steps *= times

    def split(self, parts: int) -> list[Flow]:
        checks.at_least("parts", parts, 1)
        width = (self.end - self.start) / parts
        pieces: list[Flow] = []
        for k in range(parts):
            piece = copy.deepcopy(self)
            piece.start, piece.end = self.start + k * width, self.start + (k + 1) * width
            piece.steps = -(-self.steps // parts)
            if self.evaluation_steps is not None:
                piece.evaluation_steps = -(-self.evaluation_steps // parts)
            pieces.append(piece)
        return pieces


def _hermite(states: Sequence[Tensor], slopes: Sequence[Tensor], h: float, places: Sequence[float]) -> Sequence[Tensor]:
    """The states at `places`, counted in steps, by the cubics through states and slopes: linear in both."""
    factors = torch.zeros(len(places), len(states) + len(slopes), dtype=torch.float64)
    for row, place in zip(factors, places, strict=True):
        k = min(int(place), len(states) - 2)
        s = place - k
        row[k], row[k + 1] = (1 - s) ** 2 * (1 + 2 * s), s * s * (3 - 2 * s)
        if s:
            first = len(states) + k
            row[first], row[first + 1] = h * s * (1 - s) ** 2, -h * s * s * (1 - s)
    return torch.tensordot(factors.to(states[0]), torch.stack([*states, *slopes]), 1).unbind()


def at_times(times: Sequence[float], points: Sequence[Tensor]) -> Tensor:
    """The rows (x, t) of all batches of points, one after the other."""
    return torch.cat([at_time(t, x) for t, x in zip(times, points, strict=True)])


def at_time(t: float | Tensor, x: Tensor) -> Tensor:
    """(x, t) as one row of length d + 1; adaptive schemes differentiate their times, which are tensors."""
    column = t.to(x).expand(len(x), 1) if isinstance(t, Tensor) else x.new_full((len(x), 1), t)
    return torch.cat([x, column], 1)
