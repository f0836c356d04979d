"""How far samples or a model are from the truth, in float64, each number with its floor or its standard error."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from validation.gaussian import symmetric_kl
from wgf import checks
from wgf.errors import InputError
from wgf.flow import Path
from wgf.functionals import Functional, HasNoise, Term, first_variation, functional
from wgf.law import Cloud, Gaussian, Law, Pushforward

PAIRS = 5000**2  # what `wasserstein2` takes: the network simplex needs minutes and gigabytes beyond


class Estimate(NamedTuple):
    """A Monte-Carlo estimate: its value and its standard error, in the same units."""

    value: float
    error: float


class Moments(NamedTuple):
    """z-scores of the means (d,) and of the covariance entries (d, d)."""

    mean: Tensor
    covariance: Tensor


def moment_matched_symkl(x: Float[Tensor, "n d"], exact: Gaussian) -> float:
    """KL both ways between the Gaussian fitted to the rows of x and the exact one, in nats: the estimator of Fan et al.

    It sees two moments only, and n exact samples score `sampling_floor(exact, n)`; not to be mixed with
    `monte_carlo_symkl`.

    Raises: InputError unless x is finite of shape (n, d) with n > d.
    """
    samples = _double("x", x, exact.dim)
    if len(samples) <= exact.dim:
        raise InputError(f"fitting a Gaussian in {exact.dim} dimensions takes more rows than that, got {len(samples)}")
    return float(symmetric_kl(Gaussian.fit(samples), exact.to(torch.float64)))


def sampling_floor(exact: Gaussian, n: int) -> float:
    """E[moment_matched_symkl] of n independent exact samples: d(d + 3) / 2(n − d − 2), whatever mean and covariance.

    Exact, from E Ŝ = (n−1)/n S and E Ŝ⁻¹ = n/(n−d−2) S⁻¹ (Wishart) and the independence of mean and covariance; to
    leading order d/n from the mean and d(d + 1)/2n from the covariance.

    Raises: InputError for n < d + 3, where the expectation is infinite.
    """
    d = exact.dim
    checks.at_least("n", n, d + 3)
    return d * (d + 3) / (2 * (n - d - 2))


def monte_carlo_kls(model: Law, exact: Law, n: int, generator: torch.Generator) -> tuple[Estimate, Estimate]:
    """E_model[log model − log exact] and E_exact[log exact − log model], in nats: at least 0, but for sampling error.

    n samples of each law. On the model's samples its density is carried forward through its maps, on the exact ones it
    is evaluated, which inverts them. A constant error of log model cancels in the sum of the two: look at each. The
    model works in its own dtype: below about 1e-4 give `model.to(torch.float64)`.

    Raises: InputError for n < 2 or laws of different dimension; Unknown where a density is.
    """
    checks.at_least("n", n, 2)
    if model.dim != exact.dim:
        raise InputError(f"two laws of one dimension are needed, got dimensions {model.dim} and {exact.dim}")
    cloud = model.cloud(n, generator) if isinstance(model, Pushforward) else _scored(model, n, generator)
    forward = cloud.log_density.double() - exact.log_prob(cloud.x.to(exact.like)).double()
    x = exact.sample(n, generator)
    backward = exact.log_prob(x).double() - model.log_prob(x.to(model.like)).double()
    return _estimate(forward), _estimate(backward)


def monte_carlo_symkl(model: Law, exact: Law, n: int, generator: torch.Generator) -> Estimate:
    """The sum of `monte_carlo_kls`: the estimator of Mokrov et al. It sees every moment; not to be mixed with
    `moment_matched_symkl`.
    """
    forward, backward = monte_carlo_kls(model, exact, n, generator)
    return Estimate(forward.value + backward.value, math.hypot(forward.error, backward.error))


def _estimate(rows: Tensor) -> Estimate:
    return Estimate(float(rows.mean()), float(rows.std()) / len(rows) ** 0.5)


def moment_errors(x: Float[Tensor, "n d"], exact: Gaussian) -> Moments:
    """Sample means and covariances against the exact ones, in their standard errors: N(0, 1) for exact samples.

    The variance of a sample mean is S_ii/n, that of an (unbiased) sample covariance (S_ii S_jj + S_ij²)/(n − 1).

    Raises: InputError unless x is finite of shape (n, d) with n ≥ 2.
    """
    samples = _double("x", x, exact.dim)
    n, S = checks.at_least("the number of rows", len(samples), 2), exact.covariance.double()
    variance = S.diagonal()
    error = ((torch.outer(variance, variance) + S.square()) / (n - 1)).sqrt()
    mean = (samples.mean(0) - exact.mean.double()) / (variance / n).sqrt()
    return Moments(mean, (samples.T.cov().reshape(S.shape) - S) / error)


def dissipation(F: Functional | Term, cloud: Cloud, score: Callable[[Tensor], Tensor] | None = None) -> float:
    """∫|∇δF/δρ|² dρ = −dF/dt along the flow, at the rows of the cloud, in units of F over time.

    `score`, ∇log ρ (n, d) -> (n, d), is what an entropy's first variation needs, ∇δ(∫ρ log ρ)/δρ = ∇log ρ.
    Raises: Incompatible for a term that has no first variation on particles, such as Entropy() without a score.
    """
    total = functional(F)
    noisy = [(w, term) for w, term in total.terms if isinstance(term, HasNoise) and score is not None]
    slope = torch.zeros_like(cloud.x)
    for weight, term in noisy:
        assert score is not None
        slope = slope + weight * term.temperature * score(cloud.x)
    rest = Functional(tuple(part for part in total.terms if part not in noisy))
    if rest.terms:
        slope = slope + first_variation(rest, cloud).gradient(cloud.x)
    return float(slope.double().square().sum(-1).mean())


def energy_decay(path: Path) -> list[float]:
    """−ΔF/τ over each step of a path: what `dissipation` is compared with, at the middle of the step."""
    known = pairwise(zip(path.energy, path.times, strict=True))
    return [(before - after) / (end - start) for (before, start), (after, end) in known]


def wasserstein2(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> float:
    """W₂ (not squared) between two empirical laws, exactly, by the network simplex of POT, in units of x.

    Cost about O(n³) and n·m numbers of memory. n exact samples of one law are at a distance of order n^{−1/d} from n
    others: compare with that floor.

    Raises: InputError for n·m above 5000², or rows of different dimension.
    """
    first, second = _double("x", x), _double("y", y, x.shape[-1])
    if len(first) * len(second) > PAIRS:
        pairs = f"{len(first)}·{len(second)}"
        raise InputError(f"wasserstein2 takes n·m up to {PAIRS}, got {pairs}; try sliced_wasserstein2")
    import ot  # here, because it looks for its backends at import

    cost = ot.dist(first.cpu().numpy(), second.cpu().numpy(), metric="sqeuclidean")
    squared, log = ot.emd2([], [], cost, numItermax=10_000_000, log=True)
    if log["warning"] is not None:
        raise InputError(f"the network simplex did not converge on these {cost.shape} costs: {log['warning']}")
    return float(max(squared, 0.0)) ** 0.5


def _scored(law: Law, n: int, generator: torch.Generator) -> Cloud:
    x = law.sample(n, generator)
    return Cloud(x, x.new_zeros(n), law.log_prob(x))


def _double(name: str, x: Tensor, dim: int | None = None) -> Tensor:
    return checks.rows(name, x, dim).detach().double()
