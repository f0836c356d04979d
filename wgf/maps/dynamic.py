"""Dynamic maps: the end of ẋ = v(t, x), with cost T∫½|v|²dt and the log-determinant ∫∇·v dt, all by one scheme."""

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import autodiff, checks
from wgf.errors import NotInvertible
from wgf.maps.base import Flow, Transport, half_square
from wgf.maps.integrate import Scheme, integrate

SWEEP = 16_384  # rows whose divergences are taken at once


class Dynamic(Flow):
    """x(0) ↦ x(T) along ẋ = v(t, x). Subclasses write three closed forms: v, its divergence, its tangents.

    The cost is T ∫₀ᵀ ½|v|² dt ≥ ½|x(T) − x(0)|², also in its discrete form, so that E[cost]/τ + F serves static and
    dynamic maps alike. The inverse integrates backwards and then corrects against the same forward scheme, so that
    training, scoring and sampling use one discrete map.

    Args: horizon, T > 0; steps, of the scheme over the whole interval; scheme, e.g. RK4().
    """

    def __init__(self, dim: int, horizon: float, steps: int, scheme: Scheme) -> None:
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.start, self.end = 0.0, checks.positive("the horizon of a flow", horizon)
        self.steps, self.scheme = checks.at_least("steps", steps, 1), scheme

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
        if logdet:
            return self._transport_with_logdet(x)
        state = (x, x.new_zeros(len(x)))
        return Transport(*integrate(self.scheme, self._field, state, self.start, self.end, self.steps))

    def _field(self, t: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return self._slope(self.velocity(t, state[0]))

    def _slope(self, v: Tensor) -> tuple[Tensor, ...]:
        return v, (self.end - self.start) * half_square(v)

    def _transport_with_logdet(self, x: Tensor) -> Transport:
        """The motion first, then its divergence along it by the scheme's quadrature, between steps by cubic Hermite
        interpolation. RK4 so takes three divergences for every two steps instead of eight, at order four.
        """
        h, places = (self.end - self.start) / self.steps, self.scheme.quadrature(self.steps)
        last = math.ceil(max(s for s, _ in places))  # past it no velocity is needed
        times = [self.start + k * h for k in range(self.steps + 1)]
        states: list[tuple[Tensor, ...]] = [(x, x.new_zeros(len(x)))]
        slopes = [self._slope(self.velocity(self.start, x))]
        for t in times[:-1]:
            states.append(self.scheme.step(self._field, t, h, states[-1], slopes[-1]))
            if len(slopes) <= last:
                slopes.append(self._slope(self.velocity(t + h, states[-1][0])))
        points = []
        for s, weight in places:
            k = min(int(s), self.steps - 1)
            ends = (states[k][0], slopes[k][0], states[k + 1][0], slopes[min(k + 1, last)][0])
            points.append((self.start + s * h, _hermite(*ends, h, s - k), h * weight))
        return Transport(states[-1][0], states[-1][1], self._weighted_divergence(points))

    def _weighted_divergence(self, points: list[tuple[float, Tensor, float]]) -> Tensor:
        """Σ_k w_k ∇·v(t_k, x_k), as many of the k at once as fit a sweep of bounded size."""
        together = max(1, SWEEP // len(points[0][1]))
        total = torch.zeros_like(points[0][1][:, 0])
        for start in range(0, len(points), together):
            times, places, weights = zip(*points[start : start + together], strict=True)
            total = total + total.new_tensor(weights) @ self.divergences(times, places)
        return total

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        state = (x, autodiff.identity_tangents(x))
        y, tangents = integrate(
            self.scheme, lambda t, s: self.velocity_tangents(t, s[0], s[1]), state, self.start, self.end, self.steps
        )
        return y, autodiff.from_tangents(tangents)

    @torch.no_grad()
    def inverse(
        self, y: Float[Tensor, "n d"], logdet: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
        start = x = self._backwards(y)
        tolerance = 1e3 * torch.finfo(y.dtype).eps * (1 + y.abs().amax(-1))
        error = (self.transport(x).y - y).norm(dim=-1)
        for _ in range(30):  # x ↦ x + B(y) − B(T(x)) contracts by O(h^order), B the backward scheme
            if bool((error <= 1e-2 * tolerance).all()):
                break
            trial = x + start - self._backwards(self.transport(x).y)
            trial_error = (self.transport(trial).y - y).norm(dim=-1)
            better = trial_error < error
            if not better.any():
                break
            x, error = torch.where(better[:, None], trial, x), torch.where(better, trial_error, error)
        failed = ~(error <= tolerance)
        if failed.any():
            raise NotInvertible(
                f"the round trip of a flow misses {int(failed.sum())} of {len(y)} rows by up to"
                f" {float(error[failed].max()):.2g}: the velocity is too stiff for {self.steps} steps of"
                f" {type(self.scheme).__name__}; take more steps"
            )
        value = self.transport(x, logdet=True).logdet if logdet else None
        return x, None if value is None else -value

    def _backwards(self, y: Tensor) -> Tensor:
        (x,) = integrate(self.scheme, lambda t, s: (self.velocity(t, s[0]),), (y,), self.end, self.start, self.steps)
        return x

    def trajectory(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "k n d"]:
        """x(0), x(h), …, x(T): where the scheme stands after each of its k − 1 steps."""
        h, states = (self.end - self.start) / self.steps, [x]
        for k in range(self.steps):
            (x,) = self.scheme.step(lambda t, s: (self.velocity(t, s[0]),), self.start + k * h, h, (x,))
            states.append(x)
        return torch.stack(states)

    def refined(self, times: int) -> Self:
        """The same velocity in `times` as many steps, each as much smaller."""
        finer = copy.deepcopy(self)
        finer.steps = self.steps * checks.at_least("times", times, 1)
        return finer

    def split(self, parts: int) -> list[Flow]:
        checks.at_least("parts", parts, 1)
        width = (self.end - self.start) / parts
        pieces: list[Flow] = []
        for k in range(parts):
            piece = copy.deepcopy(self)
            piece.start, piece.end = self.start + k * width, self.start + (k + 1) * width
            piece.steps = -(-self.steps // parts)
            pieces.append(piece)
        return pieces


def _hermite(x: Tensor, v: Tensor, y: Tensor, w: Tensor, h: float, s: float) -> Tensor:
    """The cubic through x with slope v and, a step h later, y with slope w, at the share s of the step."""
    if s == 0:
        return x
    slope = s * (1 - s) * ((1 - s) * v - s * w)
    return x + s * s * (3 - 2 * s) * (y - x) + h * slope


def at_times(times: Sequence[float], points: Sequence[Tensor]) -> Tensor:
    """The rows (x, t) of all batches of points, one after the other."""
    return torch.cat([at_time(t, x) for t, x in zip(times, points, strict=True)])


def at_time(t: float, x: Tensor) -> Tensor:
    """(x, t) as one row of length d + 1."""
    return torch.cat([x, x.new_full((len(x), 1), t)], 1)
