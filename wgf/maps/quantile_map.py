"""Marginals of one law given to another: quantiles to quantiles, column by column."""

from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.maps.compose import Compose, Inverse
from wgf.maps.normal_scores import NormalScores

SHARED = 0.1
"""Share of the rows of a continuous column that may have one value, as where a measurement is cut off."""


def quantile_map(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], knots: int = 41) -> Compose:
    """T_a = G_a⁻¹ ∘ F_a, F_a and G_a the distribution functions of column a of x and of y.

    Of all increasing maps the one, column by column, that gives the marginals of y to the law of x, where both are
    continuous: the optimal map of each marginal. What couples the columns (the copula) stays that of x. Both functions
    are monotone splines (`NormalScores`), so inverse and log|det ∇T| are closed forms, and nothing is trained; beyond
    the outermost knots T goes on in straight lines, past the ends of y as well. Where x are samples of a model of data
    y, Pushforward(model, T) is a model with their marginals, up to the errors of both samples' quantiles, and has a
    density if the model has. Flows trained by likelihood alone have marginals somewhat too wide or too narrow; T mends
    samples, and may cost some likelihood. As in the correction of climate models: Cannon, Sobie, Murdock, J. Climate 28
    (2015) 6938–6959; the copula: Sklar 1959.

    Args: x (n, d) and y (m, d), rows of the two laws, n, m ≥ 3; knots, as of `NormalScores.fit`.
    Raises: InputError for rows of different width, dtype or device, for columns of y that are not continuous (one value
    in more than a tenth of the rows), and as `NormalScores.fit`.
    """
    x, y = checks.rows("the rows to map from", x), checks.rows("the rows to map to", y)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"quantile_map needs rows of one width, got {x.shape[1]} and {y.shape[1]} columns")
    checks.alike("the rows to map to", y, "those to map from", x)
    check_continuous(y)
    return Compose([NormalScores.fit(x, knots), Inverse(NormalScores.fit(y, knots))])


def check_continuous(y: Float[Tensor, "m d"]) -> None:
    """Refuse columns with one value in more than a tenth of the rows: a continuous map cannot give such marginals."""
    for number, column in enumerate(y.T, 1):
        times = column.unique(return_counts=True)[1].max()
        if times > max(1, SHARED * len(y)):
            raise InputError(
                f"column {number} has one value in {int(times)} of {len(y)} rows: quantiles can be mapped to those of"
                " continuous columns only"
            )
