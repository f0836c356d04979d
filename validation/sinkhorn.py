"""The Sinkhorn divergence of two samples, by POT, and what exact samples of one law score."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from wgf import checks
from wgf.errors import InputError

ROWS = 5000
"""What the duals of the exact problem take, by the network simplex: minutes and gigabytes beyond."""

MET = 1e-4
"""The Euclidean distance of the plan's marginal from the uniform one at which the iteration ends."""


def sinkhorn_divergence(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], blur: float = 0.1, p: int = 2) -> float:
    """S_ε(x, y) = OT_ε(x, y) − ½OT_ε(x, x) − ½OT_ε(y, y) ≥ 0, cost |x − y|^p/p, ε = blur^p, in units of x^p.

    OT_ε = min_P ⟨P, C⟩ + ε KL(P | uniform). S is W_p^p/p of the samples for small blur and an MMD for large; a shift by
    s scores |s|²/2 for p = 2, whatever the blur. Sinkhorn's iteration starts from the duals of the exact problem, so
    that no exponential underflows, and ends when marginals are met within `MET`.
    Source: Feydy et al. 2019 (arXiv 1810.08278), in the units of their geomloss.

    Raises: InputError for rows that are not finite or of different width, a blur that is not above 0, p below 1, more
    than `ROWS` rows, or a blur so far below the spacing of the rows that the iteration does not converge.
    """
    first, second = checks.rows("x", x), checks.rows("y", y)
    if first.shape[1] != second.shape[1]:
        raise InputError(f"x and y must have the same number of columns, got {first.shape[1]} and {second.shape[1]}")
    epsilon = checks.positive("blur", blur) ** checks.at_least("p", p, 1)
    if max(len(first), len(second)) > ROWS:
        raise InputError(f"sinkhorn_divergence takes up to {ROWS} rows, got {len(first)} and {len(second)}")
    one, other = (rows.detach().double().cpu().numpy() for rows in (first, second))
    within = (_entropic(one, one, p, epsilon) + _entropic(other, other, p, epsilon)) / 2
    return _entropic(one, other, p, epsilon) - within


def _entropic(x: NDArray, y: NDArray, p: int, epsilon: float) -> float:
    """OT_ε of uniform weights: the mean of its duals."""
    import ot  # here, because it looks for its backends at import

    a, b = np.full(len(x), 1 / len(x)), np.full(len(y), 1 / len(y))
    cost = ot.dist(x, y, metric="euclidean") ** p / p
    _, exact = ot.emd(a, b, cost, numItermax=10_000_000, log=True)
    f, g = exact["u"], exact["v"]
    reduced = cost - f[:, None] - g  # at least 0, and 0 along the exact plan
    _, log = ot.sinkhorn(
        a, b, reduced, epsilon, method="sinkhorn", numItermax=20_000, stopThr=MET, log=True, warn=False
    )
    if not log["err"] or not log["err"][-1] <= MET:
        raise InputError(f"Sinkhorn's iteration did not converge on {len(x)} and {len(y)} rows at ε = {epsilon:.2g}")
    return float(np.mean(f + epsilon * np.log(log["u"] / a)) + np.mean(g + epsilon * np.log(log["v"] / b)))


class Comparison(NamedTuple):
    """A model's mean score, that of exact samples, and the standard error of their difference."""

    model: float
    exact: float
    error: float


def against_exact(
    model: Callable[[int], Tensor], exact: Callable[[int], Tensor], repetitions: int, blur: float = 0.1, p: int = 2
) -> Comparison:
    """The model's samples and exact ones, each against the same fresh exact samples, `repetitions` ≥ 2 times.

    model and exact draw (n, d) from an integer key. The standard error is that of the paired differences.
    """
    checks.at_least("repetitions", repetitions, 2)
    scores = torch.tensor([_pair(model, exact, k, blur, p) for k in range(repetitions)], dtype=torch.float64)
    error = float((scores[:, 0] - scores[:, 1]).std()) / repetitions**0.5
    return Comparison(float(scores[:, 0].mean()), float(scores[:, 1].mean()), error)


def _pair(
    model: Callable[[int], Tensor], exact: Callable[[int], Tensor], k: int, blur: float, p: int
) -> tuple[float, float]:
    fresh = exact(2 * k)
    return sinkhorn_divergence(model(k), fresh, blur, p), sinkhorn_divergence(exact(2 * k + 1), fresh, blur, p)
