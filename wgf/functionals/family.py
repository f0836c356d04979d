"""The family of f-divergences: convex f, their conjugates on their domains, and the heads that keep a critic inside."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from wgf.errors import InputError


class F(ABC):
    """A member of the family D_f(ρ‖π) = ∫ f(dρ/dπ) dπ: f convex, f(1) = f′(1) = 0, with its conjugate on its domain.

    f*(h) = sup_{r ≥ 0} rh − f(r), so that D_f = sup_h E_ρ h − E_π f*(h), at h = f′(dρ/dπ). A critic's raw output u may
    be any real number: log r for most members, h itself where f* grows like a power (`raw` says which). The shift to
    f′(1) = 0 changes no divergence between laws, only h by a constant.
    """

    steepness: ClassVar[float] = math.inf
    """sup |d head/du|: a critic that is L-Lipschitz in u gives an h that is L·steepness-Lipschitz."""

    @abstractmethod
    def value(self, ratio: Tensor) -> Tensor:
        """f(r), r = dρ/dπ ≥ 0."""

    @abstractmethod
    def head(self, u: Tensor) -> Tensor:
        """h = f′(r) from the critic's raw output u, always inside the domain of f*."""

    @abstractmethod
    def conjugate(self, u: Tensor) -> Tensor:
        """f*(head(u)), computed from u without cancellation."""

    def raw(self, ratio: Tensor) -> Tensor:
        """The raw output u at which head(u) = f′(r): log r."""
        return ratio.log()

    def push(self, u: Tensor) -> Tensor:
        """What a map lowers the mean of: h, the first variation of D_f at the optimum."""
        return self.head(u)

    @property
    def name(self) -> str:
        """What tables call this member."""
        return type(self).__name__


class KullbackLeibler(F):
    """KL(ρ‖π): f(r) = r log r − r + 1, f*(h) = e^h − 1 on all of R; h = u, at the optimum log r."""

    steepness = 1.0

    def value(self, ratio: Tensor) -> Tensor:
        return torch.xlogy(ratio, ratio) - ratio + 1

    def head(self, u: Tensor) -> Tensor:
        return u

    def conjugate(self, u: Tensor) -> Tensor:
        return torch.expm1(u)


class ReverseKullbackLeibler(F):
    """KL(π‖ρ): f(r) = r − 1 − log r, f*(h) = −log(1 − h) for h < 1; with h = 1 − e^{−u}, f* = u = log r.

    The literature's f(r) = −log r has h < 0 and f*(h) = −1 − log(−h): the same, h shifted by one.
    """

    def value(self, ratio: Tensor) -> Tensor:
        return ratio - 1 - ratio.log()

    def head(self, u: Tensor) -> Tensor:
        return -torch.expm1(-u)

    def conjugate(self, u: Tensor) -> Tensor:
        return u


class JensenShannon(F):
    """f(r) = r log r − (r+1) log((1+r)/2), that is KL(ρ‖M) + KL(π‖M) with M the midpoint: between 0 and 2 log 2.

    f*(h) = −log(2 − e^h) for h < log 2; with h = log 2 + log σ(u), f* = softplus(u) − log 2; at the optimum u = log r.
    """

    steepness = 1.0

    def value(self, ratio: Tensor) -> Tensor:
        return torch.xlogy(ratio, ratio) - (ratio + 1) * ((1 + ratio) / 2).log()

    def head(self, u: Tensor) -> Tensor:
        return math.log(2) + logsigmoid(u)

    def conjugate(self, u: Tensor) -> Tensor:
        return softplus(u) - math.log(2)


class RatioKL(JensenShannon):
    """The flow of KL(ρ‖π) by the critic of Jensen–Shannon's divergence: a map lowers E_ρ u, u = log r at the optimum.

    The critic is then a logistic regression. Where one law has no mass, the dual of KL lets u grow at a rate that
    nothing bounds, and that of Jensen–Shannon leaves the map no slope; this does neither. Values are Jensen–Shannon's.
    Source: Mohamed, Lakshminarayanan 2016 (arXiv 1610.03483), section 3.
    """

    def push(self, u: Tensor) -> Tensor:
        return u


class PearsonChi2(F):
    """χ²(ρ‖π) = ∫(ρ − π)²/π: f(r) = (r − 1)², f*(h) = h + h²/4 for h ≥ −2 and −1 below; h = u, at the optimum 2(r − 1).

    f*, with its slope, is continuous at the kink.
    """

    steepness = 1.0

    def value(self, ratio: Tensor) -> Tensor:
        return (ratio - 1).square()

    def head(self, u: Tensor) -> Tensor:
        return u

    def conjugate(self, u: Tensor) -> Tensor:
        inside = u.clamp_min(-2)
        return inside + inside.square() / 4

    def raw(self, ratio: Tensor) -> Tensor:
        return 2 * (ratio - 1)


@dataclass(frozen=True)
class Alpha(F):
    """Amari's α-divergence: f(r) = (r^α − αr + α − 1)/(α(α − 1)), α > 0, α ≠ 1.

    KL as α → 1, reverse KL as α → 0, χ²/2 at α = 2, twice the squared Hellinger distance at α = ½. With
    y = 1 + (α−1)h = r^{α−1}, f*(h) = (y^{α/(α−1)} − 1)/α for y > 0. For α < 1, h = (e^{(α−1)u} − 1)/(α − 1) with
    u = log r; for α > 1, h = u and f* = −1/α for y ≤ 0.
    Raises: InputError for α ≤ 0 or α = 1.
    """

    alpha: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha > 0) or self.alpha == 1:
            raise InputError(
                "Alpha needs a finite α > 0 other than 1 (that one is KullbackLeibler(), and 0"
                f" ReverseKullbackLeibler()), got {self.alpha!r}"
            )

    @property
    def steepness(self) -> float:  # type: ignore[override]
        """1 for α > 1, where h = u."""
        return 1.0 if self.alpha > 1 else math.inf

    @property
    def name(self) -> str:
        return f"Alpha({self.alpha:g})"

    def value(self, ratio: Tensor) -> Tensor:
        a = self.alpha
        return (ratio.pow(a) - a * ratio + a - 1) / (a * (a - 1))

    def head(self, u: Tensor) -> Tensor:
        return u if self.alpha > 1 else torch.expm1((self.alpha - 1) * u) / (self.alpha - 1)

    def conjugate(self, u: Tensor) -> Tensor:
        a = self.alpha
        if a < 1:
            return torch.expm1(a * u) / a
        y = (1 + (a - 1) * u).clamp_min(0)
        return (y.pow(a / (a - 1)) - 1) / a

    def raw(self, ratio: Tensor) -> Tensor:
        return (ratio.pow(self.alpha - 1) - 1) / (self.alpha - 1) if self.alpha > 1 else ratio.log()


class Jeffreys(F):
    """KL(ρ‖π) + KL(π‖ρ): f(r) = (r − 1) log r; with u = log r, h = u + 1 − e^{−u} covers R and f* = u + e^u − 1."""

    def value(self, ratio: Tensor) -> Tensor:
        return (ratio - 1) * ratio.log()

    def head(self, u: Tensor) -> Tensor:
        return u - torch.expm1(-u)

    def conjugate(self, u: Tensor) -> Tensor:
        return u + torch.expm1(u)


class SquaredHellinger(F):
    """∫(√ρ − √π)², between 0 and 2: f(r) = (√r − 1)², f*(h) = h/(1 − h) for h < 1.

    With u = log r, h = 1 − e^{−u/2} and f* = e^{u/2} − 1.
    """

    def value(self, ratio: Tensor) -> Tensor:
        return (ratio.sqrt() - 1).square()

    def head(self, u: Tensor) -> Tensor:
        return -torch.expm1(-u / 2)

    def conjugate(self, u: Tensor) -> Tensor:
        return torch.expm1(u / 2)


class TotalVariation(F):
    """½∫|ρ − π|, between 0 and 1: f(r) = ½|r − 1|, f*(h) = h for |h| ≤ ½.

    h = ½ tanh(u), at the optimum ½ sign(r − 1), where u is infinite.
    """

    steepness = 0.5

    def value(self, ratio: Tensor) -> Tensor:
        return 0.5 * (ratio - 1).abs()

    def head(self, u: Tensor) -> Tensor:
        return 0.5 * torch.tanh(u)

    def conjugate(self, u: Tensor) -> Tensor:
        return 0.5 * torch.tanh(u)

    def raw(self, ratio: Tensor) -> Tensor:
        return (ratio - 1).sign().atanh()
