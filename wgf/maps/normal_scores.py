"""Columns brought to normal marginals: a fixed map by monotone splines, fitted in closed form."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.maps.base import Static, Transport, half_square

FARTHEST, BEYOND = 3.0, 5
"""The outermost knots have scores ±3, or less where fewer than so many rows would lie beyond."""

CROWDED = 20
"""Rows between two knots, at least: chords of fewer, the outermost above all, are mostly chance."""


class NormalScores(Static):
    """T_a(x) ≈ Φ⁻¹(F_a(x_a)), F_a the distribution function of column a: marginals that are continuous become N(0, 1).

    T_a takes knots x_k to scores z_k by the monotone rational-quadratic spline (Gregory, Delbourgo, IMA J. Numer. Anal.
    2 (1982) 123–130) whose slope at a knot is the harmonic mean of those of the chords beside it (Fritsch, Butland,
    SIAM J. Sci. Stat. Comput. 5 (1984) 300–304), and goes on in straight lines with the slopes of the outermost chords:
    once differentiable, inverse and log|det ∇T| in closed forms. Nothing is trained. Where ρ is the law of the scores
    of rows, Pushforward(ρ, Inverse(T)) is that of the rows in their own units, with skewed and heavy-tailed marginals
    that a flow of ρ need not learn. As maps of densities: Durkan, Bekasov, Murray, Papamakarios, NeurIPS 2019, arXiv
    1906.04032, §3.1.

    Args: knots (d, k), in units of x, and scores (d, k), k ≥ 2, both increasing in every row.
    Raises: InputError for entries that are not finite, knots or scores out of order, or shapes that differ.
    """

    knots: Tensor
    scores: Tensor

    def __init__(self, knots: Float[Tensor, "d k"], scores: Float[Tensor, "d k"]) -> None:
        super().__init__()
        knots = checks.rows("the knots of NormalScores", knots)
        scores = checks.rows("the scores of NormalScores", scores).to(knots)
        if knots.shape != scores.shape or knots.shape[1] < 2:
            raise InputError(
                f"NormalScores needs as many scores as knots, 2 a column at least, got knots of shape"
                f" {tuple(knots.shape)} and scores of shape {tuple(scores.shape)}"
            )
        for name, values in (("knots", knots), ("scores", scores)):
            still = (values.diff(dim=1) <= 0).any(1)
            if still.any():
                raise InputError(f"the {name} of column {int(still.nonzero()[0]) + 1} do not increase")
        self.dim = len(knots)
        self.register_buffer("knots", knots.detach().clone())
        self.register_buffer("scores", scores.detach().clone())

    @classmethod
    def fit(cls, x: Float[Tensor, "n d"], knots: int = 41) -> "NormalScores":
        """The map whose knots are quantiles of the rows, at levels Φ(z) for scores z evenly apart, at most so many.

        Knots with fewer than `CROWDED` rows between them are dropped. A value that several knots share, as of columns
        with few values, is one knot, whose score is the mean of the normal scores of its rows. Quantiles are those of
        float64, kept in the dtype of the rows, on their device.
        Raises: InputError for rows that are not finite, constant columns, fewer than 3 rows, knots below 3, or columns
        whose quantiles their dtype cannot tell apart.
        """
        x, knots = checks.rows("the rows of NormalScores", x), checks.at_least("knots", knots, 3)
        if len(x) < 3:
            raise InputError(f"NormalScores needs 3 rows to be fitted to, got {len(x)}")
        flat = (x == x[0]).all(0)
        if flat.any():
            raise InputError(f"column {int(flat.nonzero()[0]) + 1} of the rows is constant: it has no scores; drop it")
        scores = _scores(len(x), knots)
        ordered = x.detach().double().cpu().T.sort(1).values.T
        places = torch.special.ndtr(scores) * (len(x) - 1)
        low = places.floor().long()
        quantiles = torch.lerp(ordered[low], ordered[(low + 1).clamp(max=len(x) - 1)], (places - low)[:, None])
        quantiles = quantiles.to(x.dtype).double()
        fitted = [_knots(column, scores, own) for column, own in zip(quantiles.T, ordered.T.contiguous(), strict=True)]
        found, at = (torch.stack(each).to(x) for each in zip(*fitted, strict=True))
        same = (found.diff(dim=1) <= 0).any(1)
        if same.any():
            column, dtype = int(same.nonzero()[0]) + 1, str(x.dtype).removeprefix("torch.")
            raise InputError(
                f"{dtype} cannot tell the quantiles of column {column} apart; centre it, or widen the dtype"
            )
        return cls(found, at)

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self._moved(x)[0]

    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        y, slopes = self._moved(x)
        return Transport(y, half_square(y - x), slopes.log().sum(1) if logdet else None)

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        y, slopes = self._moved(x)
        return y, torch.diag_embed(slopes)

    def inverse(
        self, y: Float[Tensor, "n d"], logdet: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
        inside = _within(y, self.scores)
        piece = self._piece(inside, self.scores)
        rise = inside - piece.score
        late = 2 * rise > piece.height  # solved for from the nearer end: from the other one, digits cancel
        rise = torch.where(late, piece.height - rise, rise)
        first, second = torch.where(late, piece.after, piece.before), torch.where(late, piece.before, piece.after)
        bend = first + second - 2 * piece.chord
        a = piece.height * (piece.chord - first) + rise * bend
        b = piece.height * first - rise * bend
        c = -piece.chord * rise
        near = 2 * c / (-b - (b.square() - 4 * a * c).sqrt())
        share, rest = torch.where(late, 1 - near, near), torch.where(late, near, 1 - near)
        slopes = piece.slope(share, rest)
        x = torch.where(late, piece.knot + piece.width - near * piece.width, piece.knot + near * piece.width)
        return x + (y - inside) / slopes, -slopes.log().sum(1) if logdet else None

    def _moved(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """T(x), and the slope of every coordinate."""
        inside = _within(x, self.knots)
        piece = self._piece(inside, self.knots)
        share, rest = (inside - piece.knot) / piece.width, (piece.knot + piece.width - inside) / piece.width
        slopes = piece.slope(share, rest)
        return piece.value(share, rest) + (x - inside) * slopes, slopes

    def _piece(self, at: Tensor, ends: Tensor) -> "_Piece":
        """The pieces between whose `ends` the entries lie."""
        found = torch.searchsorted(ends, at.detach().T.contiguous(), right=True).sub_(1).clamp_(0, ends.shape[1] - 2)
        widths, heights = self.knots.diff(dim=1), self.scores.diff(dim=1)
        chords = heights / widths
        beside = 2 / (1 / chords[:, 1:] + 1 / chords[:, :-1])
        slopes = torch.cat([chords[:, :1], beside, chords[:, -1:]], 1)
        tables = self.knots, self.scores, widths, heights, chords, slopes, slopes[:, 1:]
        return _Piece(*(table.gather(1, found).T for table in tables))


class _Piece(NamedTuple):
    """Of every entry the piece of the spline it lies on: its first knot and score, its width, height and chord, and the
    slopes at its ends."""

    knot: Tensor
    score: Tensor
    width: Tensor
    height: Tensor
    chord: Tensor
    before: Tensor
    after: Tensor

    def value(self, share: Tensor, rest: Tensor) -> Tensor:
        """At this share of the width; `rest` is 1 − share, kept beside it for its digits."""
        over = self.height * (self.chord * share.square() + self.before * share * rest)
        return self.score + over / self._under(share, rest)

    def slope(self, share: Tensor, rest: Tensor) -> Tensor:
        over = self.after * share.square() + 2 * self.chord * share * rest + self.before * rest.square()
        return (self.chord / self._under(share, rest)).square() * over

    def _under(self, share: Tensor, rest: Tensor) -> Tensor:
        return self.chord + (self.after + self.before - 2 * self.chord) * share * rest


def _within(values: Tensor, ends: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(values, ends[:, 0]), ends[:, -1])


def _scores(rows: int, knots: int) -> Tensor:
    """Scores evenly apart, from the middle outwards without those that would leave too few rows between two."""
    reach = min(FARTHEST, _score(max(0.75, 1 - BEYOND / rows)))
    above = torch.linspace(0, reach, max(2, (knots + 1) // 2), dtype=torch.float64).tolist()
    kept = above[:1]
    for score in above[1:]:
        if rows * (_level(score) - _level(kept[-1])) >= CROWDED:
            kept.append(score)
    kept = kept if len(kept) > 1 else [0.0, reach]
    return torch.tensor([-score for score in kept[:0:-1]] + kept, dtype=torch.float64)


def _level(score: float) -> float:
    return float(torch.special.ndtr(torch.tensor(score, dtype=torch.float64)))


def _score(level: float) -> float:
    return float(torch.special.ndtri(torch.tensor(level, dtype=torch.float64)))


def _mean_score(low: Tensor, high: Tensor) -> Tensor:
    """The mean of N(0, 1) between its quantiles at two levels: (φ(a) − φ(b))/(Φ(b) − Φ(a))."""
    heights = [torch.exp(-0.5 * torch.special.ndtri(level).square()) / math.sqrt(2 * math.pi) for level in (low, high)]
    return (heights[0] - heights[1]) / (high - low)


def _knots(quantiles: Tensor, scores: Tensor, ordered: Tensor) -> tuple[Tensor, Tensor]:
    """As many knots that differ, and their scores: one for each value, more on the chords of the widest pieces."""
    found, group = torch.unique_consecutive(quantiles, return_inverse=True)
    times, n = torch.bincount(group), len(ordered)
    at = torch.zeros_like(found).index_add_(0, group, scores) / times
    below = torch.searchsorted(ordered, found).double() / n
    above = torch.searchsorted(ordered, found, right=True).double() / n
    at = torch.where((times > 1) & (above > below), _mean_score(below, above), at)
    if len(found) == 1:  # all but a few rows share one value: the means of those below and above it are knots as well
        sides = [ordered < found, ordered > found]
        means = [ordered[side].mean() if side.any() else None for side in sides]
        ends = _mean_score(torch.zeros_like(below), below), _mean_score(above, torch.ones_like(above))
        beside = [(mean[None], end) for mean, end in zip(means, ends, strict=True) if mean is not None]
        joined = torch.cat([found, *(mean for mean, _ in beside)]).sort()
        found, at = joined.values, torch.cat([at, *(end for _, end in beside)])[joined.indices]
    while len(found) < len(scores):
        k = int(at.diff().argmax())
        found = torch.cat([found[: k + 1], found[k : k + 2].mean(0, keepdim=True), found[k + 1 :]])
        at = torch.cat([at[: k + 1], at[k : k + 2].mean(0, keepdim=True), at[k + 1 :]])
    return found, at
