"""Sums of kernels on the line in O((n + m) log m): powers of |z|, and powers times exponentials, by one-sided moments.

Let M_q(x) = Σ_{y_j < x} w_j (a(x − y_j))^q e^{−a(x − y_j)}, with a = 1 and no exponential for the powers of |z|. From
one point of the sorted y to the next, δ apart, moments move by

    M_q(y + δ) = e^{−aδ} Σ_p C(q, p) (aδ)^{q−p} M_p(y),

sums of terms of one sign: with the same from the right no digits cancel, wherever the points lie and however few of
them are near. Hence the error of a sum is that of its rounding, relative to Σ_j |w_j k(x_i − y_j)|; of a difference of
kernels, relative to the sum of that of each.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from wgf.kernels.families import Energy, Laplace, Matern32, Matern52, Power
from wgf.kernels.radial import Radial
from wgf.kernels.sorting import order_rows

ROW = 1024
"""Prefix sums add so many numbers in a row: rounding grows with this and with m over this, not with m."""

GONE = 1e3
"""e^{−t} is zero from here on."""


@dataclass(frozen=True)
class Piece:
    """k(z) = Σ_q value_q s^q e and k′(z) = sign(z) Σ_q slope_q s^q e, with s = a|z| and e = e^{−s}; or, where `rate` a
    is zero, with s = |z| and e = 1.
    """

    rate: float
    value: tuple[float, ...]
    slope: tuple[float, ...]

    @property
    def order(self) -> int:
        """The largest q."""
        return max(len(self.value), len(self.slope)) - 1


def pieces(kernel: Radial) -> list[Piece] | None:
    """The kernel as pieces of different rates; None where it is of another kind."""
    found: dict[float, Piece] = {}
    for c, part in kernel.parts():
        piece = _piece(part)
        if piece is None:
            return None
        old = found.get(piece.rate, Piece(piece.rate, (), ()))
        found[piece.rate] = Piece(piece.rate, _plus(old.value, c, piece.value), _plus(old.slope, c, piece.slope))
    return list(found.values())


def line_sums(
    kernel: list[Piece],
    x: Float[Tensor, "p n"],
    y: Float[Tensor, "p m"],
    a: Float[Tensor, "k m"] | None,
    b: Float[Tensor, "l m"] | None,
    diagonal: bool = True,
) -> tuple[Float[Tensor, "p k n"] | None, Float[Tensor, "p l n"] | None]:
    """Σ_j a_kj k(x_i − y_j) and Σ_j b_lj k′(x_i − y_j) on each of p lines, in float64; k′(0) counts as zero.

    diagonal=False leaves out j = i, where x and y are the same points.
    """
    (y, order), same = order_rows(y), x.shape == y.shape and torch.equal(x, y)
    below, up_to = _counts(x, y, order if same else None)
    x, y = x.double(), y.double()
    V = None if a is None else x.new_zeros(len(x), len(a), x.shape[1])
    G = None if b is None else x.new_zeros(len(x), len(b), x.shape[1])
    weights = torch.cat([w.double() for w in (a, b) if w is not None])[:, order].transpose(0, 1)
    sides = [  # from the left, and mirrored, from the right
        (1.0, _Side(x, y, weights), below, up_to if diagonal else below),
        (-1.0, _Side(-x, -y.flip(1), weights.flip(2)), y.shape[1] - up_to, y.shape[1] - up_to),
    ]
    for piece in kernel:
        for sign, side, strictly, tied in sides:
            moments = side.moments(piece)
            if V is not None and a is not None:
                V += side.at(tied, piece.rate, piece.value, moments, slice(len(a)))
            if G is not None:
                G += sign * side.at(strictly, piece.rate, piece.slope, moments, slice(0 if a is None else len(a), None))
    if V is not None and a is not None and not diagonal and any(piece.value[0] for piece in kernel):
        V += sum(piece.value[0] for piece in kernel) * _twins(y, weights[:, : len(a)], order)
    return V, G


class _Side:
    """The points of y, in ascending order, that lie to the left of points x."""

    def __init__(self, x: Float[Tensor, "p n"], y: Float[Tensor, "p m"], weights: Float[Tensor, "p c m"]) -> None:
        self.x, self.y, self.weights = x, y, weights

    def moments(self, piece: Piece) -> list[Float[Tensor, "p c m"]]:
        """M_0 … M_order at each of y, itself included."""
        return self._powers(piece.order) if piece.rate == 0 else self._decaying(piece.rate, piece.order)

    def at(
        self, count: Int[Tensor, "p n"], rate: float, factors: tuple[float, ...], moments: list[Tensor], of: slice
    ) -> Float[Tensor, "p c n"]:
        """Σ_q factors_q M_q(x), over the first `count` of y."""
        last = (count - 1).clamp_min(0)
        gap = (self.x - self.y.gather(1, last)).clamp_min(0)[:, None]
        step = (rate * gap).clamp_max(GONE) if rate else gap
        columns = len(range(*of.indices(self.weights.shape[1])))
        index = last[:, None].expand(-1, columns, -1)
        total = self.x.new_zeros(len(index), columns, index.shape[2])
        for p in range(len(factors)):
            polynomial = _polynomial(factors, p, step)
            if polynomial is not None:
                total += polynomial * moments[p][:, of].gather(2, index)
        return total * (torch.exp(-step) if rate else 1.0) * (count > 0)[:, None]

    def _powers(self, order: int) -> list[Tensor]:
        gap = self.y.diff(dim=1)[:, None]
        moments = [_prefix(self.weights)]
        for q in range(1, order + 1):
            steps = sum(math.comb(q, p) * gap ** (q - p) * moments[p][..., :-1] for p in range(q))
            moments.append(pad(_prefix(torch.as_tensor(steps)), (1, 0)))
        return moments

    def _decaying(self, rate: float, order: int) -> list[Tensor]:
        """By doubling: after s steps the moments are over the s nearest points to the left."""
        moments = [self.weights.clone(), *(torch.zeros_like(self.weights) for _ in range(order))]
        reach = 1
        while reach < self.y.shape[1]:
            step = (rate * (self.y[:, reach:] - self.y[:, :-reach])).clamp_max(GONE)[:, None]
            decay = torch.exp(-step)
            if not decay.any():
                break
            for q in range(order, -1, -1):
                older = sum(math.comb(q, p) * step ** (q - p) * moments[p][..., :-reach] for p in range(q + 1))
                moments[q][..., reach:] += decay * older
            reach *= 2
        return moments


def _polynomial(factors: tuple[float, ...], p: int, step: Tensor) -> Tensor | None:
    """What M_p is multiplied by in Σ_q factors_q M_q, `step` further right: Σ_q factors_q C(q, p) step^{q−p}."""
    terms = [factors[q] * math.comb(q, p) * step ** (q - p) for q in range(p, len(factors)) if factors[q]]
    return torch.stack(terms).sum(0) if terms else None


def _prefix(v: Float[Tensor, "*c m"]) -> Float[Tensor, "*c m"]:
    """Prefix sums, in rows of which the totals are then added up."""
    m = v.shape[-1]
    if m <= ROW:
        return v.cumsum(-1)
    rows = pad(v, (0, -m % ROW)).unflatten(-1, (-1, ROW)).cumsum(-1)
    rows[..., 1:, :] += _prefix(rows[..., :-1, -1])[..., None]
    return rows.flatten(-2)[..., :m]


def _runs(y: Float[Tensor, "p m"]) -> tuple[Int[Tensor, "p m"], Int[Tensor, "p m"]]:
    """Where the run of equal numbers that each is in begins, and where it has ended."""
    m = y.shape[1]
    place = torch.arange(m, device=y.device).expand_as(y)
    new = y[:, 1:] != y[:, :-1]
    if new.all():
        return place, place + 1
    begin = pad(torch.where(new, place[:, 1:], 0), (1, 0)).cummax(1).values
    end = pad(torch.where(new, place[:, 1:], m), (0, 1), value=m).flip(1).cummin(1).values.flip(1)
    return begin, end


def _counts(
    x: Float[Tensor, "p n"], y: Float[Tensor, "p m"], order: Int[Tensor, "p m"] | None
) -> tuple[Int[Tensor, "p n"], Int[Tensor, "p n"]]:
    """How many of the sorted y are below each of x, and how many up to it; `order` where they are the same points."""
    begin, end = _runs(y)
    if order is not None:
        return torch.empty_like(order).scatter_(1, order, begin), torch.empty_like(order).scatter_(1, order, end)
    below = torch.searchsorted(y, x.contiguous())
    at = below.clamp_max(y.shape[1] - 1)
    return below, torch.where(y.gather(1, at) == x, end.gather(1, at), below)


def _twins(y: Float[Tensor, "p m"], weights: Float[Tensor, "p c m"], order: Tensor) -> Float[Tensor, "p c m"]:
    """The weight of the other points at the same place, in the order that the points had."""
    twins = torch.zeros_like(weights)
    for flip in (False, True):
        place, w = (y.flip(1), weights.flip(2)) if flip else (y, weights.clone())
        reach = 1
        while reach < y.shape[1] and bool((same := place[:, reach:] == place[:, :-reach]).any()):
            w[..., reach:] += torch.where(same[:, None], w[..., :-reach], 0.0)
            reach *= 2
        before = torch.where((place[:, 1:] == place[:, :-1])[:, None], w[..., :-1], 0.0)
        twins += pad(before, (1, 0)).flip(2) if flip else pad(before, (1, 0))
    return torch.zeros_like(twins).scatter_(2, order[:, None].expand_as(twins), twins)


def _piece(kernel: Radial) -> Piece | None:
    match kernel:
        case Energy(exponent=1.0):
            return Piece(0.0, (0.0, -1.0), (-1.0,))
        case Power(exponent=p) if p in (1, 2, 3, 4):
            return Piece(0.0, (*[0.0] * int(p), 1 / p), (*[0.0] * (int(p) - 1), 1.0))
        case Laplace(bandwidth=h):
            return Piece(1 / h, (1.0,), (-1 / h,))
        case Matern32(bandwidth=h):
            a = math.sqrt(3) / h
            return Piece(a, (1.0, 1.0), (0.0, -a))
        case Matern52(bandwidth=h):
            a = math.sqrt(5) / h
            return Piece(a, (1.0, 1.0, 1 / 3), (0.0, -a / 3, -a / 3))
    return None


def _plus(old: tuple[float, ...], c: float, new: tuple[float, ...]) -> tuple[float, ...]:
    size = max(len(old), len(new))
    return tuple((old[q] if q < len(old) else 0.0) + (c * new[q] if q < len(new) else 0.0) for q in range(size))
