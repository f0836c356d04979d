"""KSD² of a sample to a target known by its score: the U-statistic, unbiased, and the V-statistic, never negative."""

from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.functionals import Potential, score_of
from wgf.functionals.base import Pointwise
from wgf.functionals.ksd import scores
from wgf.functionals.stein import stein_totals
from wgf.kernels import Bandwidth, Fixed, Radial
from wgf.two_sample import Discrepancy


def ksd2_u(kernel: Radial | Bandwidth, x: Float[Tensor, "n d"], score: Pointwise | Potential | Tensor) -> Discrepancy:
    """Σ_{i≠j} u(x_i, x_j) / n(n−1), of mean KSD²: it may be negative. In float64, in blocks, each pair once.

    score: (n, d) -> (n, d), a Potential V for π ∝ e^{−V}, or the scores at x themselves, (n, d).
    Raises: InputError for fewer than two points, or scores of another shape or not finite; Incompatible for a kernel
    that is not twice differentiable at zero.
    """
    total, own, rule = _sums(kernel, x, score, 2)
    n = len(x)
    return Discrepancy(f"KSD² (U), {rule.name}", (total - own) / (n * (n - 1)))


def ksd2_v(kernel: Radial | Bandwidth, x: Float[Tensor, "n d"], score: Pointwise | Potential | Tensor) -> Discrepancy:
    """Σ_ij u(x_i, x_j) / n², the KSD² of the empirical law, never negative; otherwise as `ksd2_u`."""
    total, _, rule = _sums(kernel, x, score, 1)
    return Discrepancy(f"KSD² (V), {rule.name}", total / len(x) ** 2)


def _sums(
    kernel: Radial | Bandwidth, x: Tensor, score: Pointwise | Potential | Tensor, least: int
) -> tuple[float, float, Bandwidth]:
    x = checks.rows("x", x).detach()
    if len(x) < least:
        raise InputError(f"this KSD² needs at least {least} points, got {len(x)}")
    if isinstance(score, Tensor):
        at = scores(lambda _: score, x)
    else:
        at = scores(score_of(score) if isinstance(score, Potential) else score, x)
    checks.real("the scores", at)
    rule = kernel if isinstance(kernel, Bandwidth) else Fixed(kernel)
    return *stein_totals(rule.kernel(x), x, at.detach()), rule
