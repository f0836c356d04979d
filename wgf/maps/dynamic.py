"""Dynamic maps: the end of ẋ = v(t, x), with cost T∫½|v|²dt and the log-determinant ∫∇·v dt, all by one scheme."""

import copy
from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import autodiff, checks
from wgf.errors import NotInvertible
from wgf.maps.base import Flow, Transport, half_square
from wgf.maps.integrate import Scheme, integrate


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
    def velocity_divergence(
        self, t: float, x: Float[Tensor, "n d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
        """v(t, x_i) and ∇·v(t, x_i), or its estimate while training if the map was built with one."""

    @abstractmethod
    def velocity_tangents(
        self, t: float, x: Float[Tensor, "n d"], dx: Float[Tensor, "k n d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "k n d"]]:
        """v(t, x_i) and ∇v(t, x_i) dx for k tangents at once."""

    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        duration, zero = self.end - self.start, x.new_zeros(len(x))

        def plain(t: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            v = self.velocity(t, state[0])
            return v, duration * half_square(v)

        def with_divergence(t: float, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            v, divergence = self.velocity_divergence(t, state[0])
            return v, duration * half_square(v), divergence

        field, state = (with_divergence, (x, zero, zero)) if logdet else (plain, (x, zero))
        return Transport(*integrate(self.scheme, field, state, self.start, self.end, self.steps))

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


def at_time(t: float, x: Tensor) -> Tensor:
    """(x, t) as one row of length d + 1."""
    return torch.cat([x, x.new_full((len(x), 1), t)], 1)
