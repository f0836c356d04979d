"""Whether two samples are of one law: MMD², unbiased and biased, its permutation test, and a classifier's."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys
from wgf.errors import InputError
from wgf.kernels import Bandwidth, Fixed, Radial, kernel_sum

BYTES = 2**28
"""What the matrix of all pairs, or the sums of all permutations at a time, may take."""

HALVED = 2**12
"""Points beyond which a sample's pairs with itself are summed once each, by halves."""


@dataclass(frozen=True)
class Discrepancy:
    """A number with the name of what it measures, kernel and bandwidth included."""

    name: str
    value: float

    def __float__(self) -> float:
        return self.value


@dataclass(frozen=True)
class TwoSampleTest:
    """The unbiased MMD², and p = (1 + #{permuted ≥ observed}) / (B + 1): under one law, P(p ≤ α) ≤ α exactly."""

    statistic: Discrepancy
    p: float
    permutations: int


def mmd2_unbiased(
    kernel: Radial | Bandwidth, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], engine: str = "auto"
) -> Discrepancy:
    """Σ_{i≠j} k(x_i, x_j)/n(n−1) + Σ_{i≠j} k(y_i, y_j)/m(m−1) − 2 Σ k(x_i, y_j)/nm, of mean MMD²: it may be negative.

    Source: Gretton et al., *A kernel two-sample test*, JMLR 2012, eq. (3). In float64, O(n + m) memory. Raises:
    InputError for fewer than two points, other widths, or entries that are not finite.
    """
    x, y, rule = _read(kernel, x, y, 2)
    k, n, m = rule.kernel(x, y), len(x), len(y)
    xx, yy = (_own_total(k, points, engine, diagonal=False) for points in (x, y))
    value = xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * _total(k, x, y, engine) / (n * m)
    return Discrepancy(f"unbiased MMD², {rule.name}", value)


def mmd2_biased(
    kernel: Radial | Bandwidth, x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], engine: str = "auto"
) -> Discrepancy:
    """MMD² of the empirical laws, diagonals included: never negative, and above MMD² by O(1/n + 1/m) on average.

    Source: Gretton et al., JMLR 2012, eq. (5). Raises: as `mmd2_unbiased`.
    """
    x, y, rule = _read(kernel, x, y, 1)
    k, n, m = rule.kernel(x, y), len(x), len(y)
    xx, yy = (_own_total(k, points, engine) for points in (x, y))
    return Discrepancy(f"biased MMD², {rule.name}", xx / n**2 + yy / m**2 - 2 * _total(k, x, y, engine) / (n * m))


def mmd_test(
    kernel: Radial | Bandwidth,
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    permutations: int = 500,
    seed: int = 0,
    engine: str = "auto",
) -> TwoSampleTest:
    """Whether x and y are of one law, by permutations of the unbiased MMD².

    A bandwidth rule sees the pooled points, which permutations leave as they are. All permutations share one pass over
    the pairs, as columns of weights: with K without its diagonal and s the indicator of the first sample,
    Σ_xx = sᵀKs, Σ_xy = sᵀK1 − Σ_xx, Σ_yy = 1ᵀK1 − 2Σ_xy − Σ_xx.

    Raises: InputError for fewer than one permutation, and as `mmd2_unbiased`.
    """
    checks.at_least("permutations", permutations, 1)
    x, y, rule = _read(kernel, x, y, 2)
    pooled, n = torch.cat([x, y]), len(x)
    null = permuted(rule.kernel(x, y), pooled, n, permutations, seed, engine)
    observed, rest = float(null[0]), null[1:]
    slack = 1e-12 * (abs(observed) + float(rest.abs().max()))  # permutations that change nothing count as equal
    p = (1 + int((rest >= observed - slack).sum())) / (permutations + 1)
    return TwoSampleTest(Discrepancy(f"unbiased MMD², {rule.name}", observed), p, permutations)


def permuted(
    kernel: Radial, pooled: Float[Tensor, "N d"], n: int, permutations: int, seed: int, engine: str = "auto"
) -> Float[Tensor, " B+1"]:
    """The unbiased MMD² of the first n points against the rest, and of `permutations` random choices of n."""
    N, generator = len(pooled), keys.generator(seed, device=pooled.device)
    m, width = N - n, max(1, BYTES // (8 * N * 4))
    ones = pooled.new_ones(N, 1)
    matrix = _matrix(kernel, pooled) if 8 * N * N <= BYTES else None
    rows, found = _apply(kernel, pooled, ones, matrix, engine), []
    for start in range(0, permutations + 1, width):
        columns = min(width, permutations + 1 - start)
        s = pooled.new_zeros(N, columns)
        order = torch.rand(columns, N, generator=generator, device=pooled.device).argsort(1)[:, :n]
        s.scatter_(0, order.T, 1.0)
        if start == 0:
            s[:, 0] = (torch.arange(N, device=pooled.device) < n).to(s)
        xx = (s * _apply(kernel, pooled, s, matrix, engine)).sum(0)
        xy = (rows.T @ s)[0] - xx
        yy = rows.sum() - 2 * xy - xx
        found.append(xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m))
    return torch.cat(found)


def _apply(kernel: Radial, points: Tensor, columns: Tensor, matrix: Tensor | None, engine: str) -> Tensor:
    if matrix is not None:
        return matrix @ columns
    return kernel_sum(kernel, points, points, columns, diagonal=False, engine=engine)


def _matrix(kernel: Radial, points: Tensor) -> Tensor:
    """All pairs, the diagonal left out."""
    squared = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist").square_()
    return kernel.value(squared, points.shape[1]).fill_diagonal_(0)


def _own_total(kernel: Radial, x: Tensor, engine: str, diagonal: bool = True) -> float:
    """Σ_ij k(x_i, x_j): above three dimensions, where every engine walks through the pairs, each of them once."""
    if x.shape[1] <= 3 or len(x) <= HALVED:
        return _total(kernel, x, x, engine, diagonal)
    first, second = x.tensor_split(2)
    own = _own_total(kernel, first, engine, diagonal) + _own_total(kernel, second, engine, diagonal)
    return own + 2 * _total(kernel, first, second, engine)


def _total(kernel: Radial, x: Tensor, y: Tensor, engine: str, diagonal: bool = True) -> float:
    ones = y.new_ones(len(y))
    return float(kernel_sum(kernel, x, y, ones, diagonal=diagonal, engine=engine).sum())


def _read(kernel: Radial | Bandwidth, x: Tensor, y: Tensor, least: int) -> tuple[Tensor, Tensor, Bandwidth]:
    x, y = checks.rows("x", x), checks.rows("y", y)
    if x.shape[1] != y.shape[1]:
        raise InputError(f"x and y must have the same number of columns, got {x.shape[1]} and {y.shape[1]}")
    checks.alike("y", y, "x", x)
    if min(len(x), len(y)) < least:
        raise InputError(f"this MMD² needs at least {least} points in each sample, got {len(x)} and {len(y)}")
    return x.detach().double(), y.detach().double(), kernel if isinstance(kernel, Bandwidth) else Fixed(kernel)


@dataclass(frozen=True)
class ClassifierTest:
    """How often a classifier tells two samples apart on rows it was not trained on; half the time where none can.

    accuracy, the mean of those on x and on y; p of an accuracy as large if no classifier could tell, by the normal law.
    """

    accuracy: float
    standard_error: float
    p: float


def classifier_test(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"], seed: int = 0, folds: int = 5) -> ClassifierTest:
    """The two-sample test of a classifier: gradient-boosted trees by scikit-learn, cross-validated.

    Source: Lopez-Paz and Oquab, *Revisiting classifier two-sample tests*, ICLR 2017, arXiv 1610.06545. As many rows are
    taken of each sample as the smaller has. Raises: InputError for fewer rows than folds, other widths, rows that are
    not finite, and where scikit-learn is missing.
    """
    checks.at_least("folds", folds, 2)
    y = checks.rows("y", y)
    x = checks.rows("x", x, y.shape[1])
    each = min(len(x), len(y))
    if each < folds:
        raise InputError(f"a classifier needs at least {folds} rows of each sample, one a fold, got {each}")
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
    except ImportError as error:
        raise InputError("the classifier test needs scikit-learn: pip install 'wgf-toolkit[data]'") from error
    generator = keys.generator(seed)
    parts = [part[torch.randperm(len(part), generator=generator)[:each]] for part in (x.cpu(), y.cpu())]
    rows, labels = torch.cat(parts).double().numpy(), np.repeat([0, 1], each)
    chance = keys.fold(seed) % 2**32
    judge = HistGradientBoostingClassifier(max_iter=100, random_state=chance)
    said = cross_val_predict(judge, rows, labels, cv=StratifiedKFold(folds, shuffle=True, random_state=chance))
    accuracy = float((said == labels).mean())
    spread = math.sqrt(accuracy * (1 - accuracy) / (2 * each))
    beyond = (accuracy - 0.5) * math.sqrt(8 * each)  # deviations of a coin tossed as often
    return ClassifierTest(accuracy, spread, 0.5 * math.erfc(beyond / math.sqrt(2)))
