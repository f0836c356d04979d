"""Columns brought to normal marginals: a fixed map by monotone splines, fitted in closed form."""

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
"""Rows a knot, at least."""


class NormalScores(Static):
    """T_a(x) ≈ Φ⁻¹(F_a(x_a)), F_a the distribution function of column a: every marginal becomes N(0, 1).

    T_a takes knots x_k to scores z_k by the monotone rational-quadratic spline whose slope at a knot is the harmonic
    mean of those of the chords beside it, and goes on in straight lines with the slopes of the outermost chords: once
    differentiable, inverse and log|det ∇T| in closed forms. Nothing is trained. Where ρ is the law of the scores of
    rows, Pushforward(ρ, Inverse(T)) is that of the rows in their own units, with skewed and heavy-tailed marginals that
    a flow of ρ need not learn. Splines: Gregory, Delbourgo, IMA J. Numer. Anal. 2 (1982) 123–130; as maps of densities:
    Durkan, Bekasov, Murray, Papamakarios, NeurIPS 2019, arXiv 1906.04032, §3.1.

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
        """The map whose knots are quantiles of the rows, at levels Φ(z) for scores z evenly apart.

        Where values repeat, a knot has the mean of their scores. Fewer knots are taken of fewer than `CROWDED` times as
        many rows. Quantiles are those of float64, kept in the dtype of the rows, on their device.
        Raises: InputError for rows that are not finite, constant columns, fewer than 3 rows, or knots below 2.
        """
        x, knots = checks.rows("the rows of NormalScores", x), checks.at_least("knots", knots, 2)
        if len(x) < 3:
            raise InputError(f"NormalScores needs 3 rows to be fitted to, got {len(x)}")
        flat = (x == x[0]).all(0)
        if flat.any():
            raise InputError(f"column {int(flat.nonzero()[0]) + 1} of the rows is constant: it has no scores; drop it")
        reach = min(FARTHEST, _score(max(0.75, 1 - BEYOND / len(x))))
        scores = torch.linspace(-reach, reach, max(2, min(knots, len(x) // CROWDED)), dtype=torch.float64)
        ordered = x.detach().double().sort(0).values
        places = torch.special.ndtr(scores).to(x.device) * (len(x) - 1)
        low = places.floor().long()
        quantiles = torch.lerp(ordered[low], ordered[(low + 1).clamp(max=len(x) - 1)], (places - low)[:, None])
        fitted = [_knots(column, scores, own) for column, own in zip(quantiles.T.cpu(), ordered.T.cpu(), strict=True)]
        found, at = (torch.stack(each).to(x) for each in zip(*fitted, strict=True))
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
        rise, bend = inside - piece.score, piece.after + piece.before - 2 * piece.chord
        a = piece.height * (piece.chord - piece.before) + rise * bend
        b = piece.height * piece.before - rise * bend
        c = -piece.chord * rise
        share = 2 * c / (-b - (b.square() - 4 * a * c).clamp_min(0).sqrt())
        slopes = piece.slope(share)
        x = piece.knot + share * piece.width + (y - inside) / slopes
        return x, -slopes.log().sum(1) if logdet else None

    def _moved(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """T(x), and the slope of every coordinate."""
        inside = _within(x, self.knots)
        piece = self._piece(inside, self.knots)
        share = (inside - piece.knot) / piece.width
        slopes = piece.slope(share)
        return piece.value(share) + (x - inside) * slopes, slopes

    def _piece(self, at: Tensor, ends: Tensor) -> "_Piece":
        """The pieces between whose `ends` the entries lie."""
        found = torch.searchsorted(ends, at.detach().T.contiguous(), right=True).sub_(1).clamp_(0, ends.shape[1] - 2)
        widths, heights = self.knots.diff(dim=1), self.scores.diff(dim=1)
        chords = heights / widths
        beside = 2 * chords[:, 1:] * chords[:, :-1] / (chords[:, 1:] + chords[:, :-1])
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

    def value(self, share: Tensor) -> Tensor:
        """At this share of the width."""
        over = self.height * (self.chord * share.square() + self.before * share * (1 - share))
        return self.score + over / self._under(share)

    def slope(self, share: Tensor) -> Tensor:
        rest = 1 - share
        over = self.after * share.square() + 2 * self.chord * share * rest + self.before * rest.square()
        return (self.chord / self._under(share)).square() * over

    def _under(self, share: Tensor) -> Tensor:
        return self.chord + (self.after + self.before - 2 * self.chord) * share * (1 - share)


def _within(values: Tensor, ends: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(values, ends[:, 0]), ends[:, -1])


def _score(level: float) -> float:
    return float(torch.special.ndtri(torch.tensor(level, dtype=torch.float64)))


def _knots(quantiles: Tensor, scores: Tensor, ordered: Tensor) -> tuple[Tensor, Tensor]:
    """As many knots that differ, and their scores: one for each value, more on the chords of the widest pieces."""
    found, group = torch.unique_consecutive(quantiles, return_inverse=True)
    if len(found) == 1:  # all but a few rows share one value
        found, at = ordered[[0, -1]], scores[[0, -1]]
    else:
        at = torch.zeros_like(found).index_add_(0, group, scores) / torch.bincount(group)
    while len(found) < len(scores):
        k = int(at.diff().argmax())
        found = torch.cat([found[: k + 1], found[k : k + 2].mean(0, keepdim=True), found[k + 1 :]])
        at = torch.cat([at[: k + 1], at[k : k + 2].mean(0, keepdim=True), at[k + 1 :]])
    return found, at
