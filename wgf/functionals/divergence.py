"""f-divergences to a law that is known by its samples, as suprema over a critic; and KL to an unnormalised density."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from wgf.functionals.base import Dual, Functional, HasDual, Pointwise, Term
from wgf.functionals.entropy import Entropy
from wgf.functionals.potential import Potential, SampledGradient
from wgf.law import Cloud, Law
from wgf.tree import Tree


def KL(log_density: Pointwise, gradient: Pointwise | None = None) -> Functional:
    """KL(ρ‖π) up to log ∫π: Entropy() + Potential(−log π), for log π (n, d) -> (n,) known up to a constant.

    `gradient` is ∇log π (the score) where it is known in closed form; by default `log_density.gradient` if it has one.
    A log-density that is a sum over data may offer `sampled_gradient(rows, generator)`, the score by some of the rows.
    """
    score = gradient if gradient is not None else getattr(log_density, "gradient", None)
    closed = None if score is None else (lambda x: -score(x))
    sampled = getattr(log_density, "sampled_gradient", None)
    return Entropy() + Potential(lambda x: -log_density(x), closed, sampled and _negative(sampled))


def _negative(sampled: SampledGradient) -> SampledGradient:
    def estimate(rows: int, generator: torch.Generator) -> Pointwise:
        score = sampled(rows, generator)
        return lambda x: -score(x)

    return estimate


class F(ABC):
    """A member of the family D_f(ρ‖π) = ∫ f(dρ/dπ) dπ: f convex, f(1) = 0, with its conjugate on its domain."""

    @abstractmethod
    def value(self, ratio: Tensor) -> Tensor:
        """f(r), r = dρ/dπ ≥ 0."""

    @abstractmethod
    def head(self, u: Tensor) -> Tensor:
        """h = f′(r) from the critic's raw output u = log r, always inside the domain of f*."""

    @abstractmethod
    def conjugate(self, u: Tensor) -> Tensor:
        """f*(head(u)), computed from u without cancellation."""


class KullbackLeibler(F):
    """f(r) = r log r − r + 1, f*(h) = e^h − 1 on all of R; h = u, at the optimum log r."""

    def value(self, ratio: Tensor) -> Tensor:
        return torch.xlogy(ratio, ratio) - ratio + 1

    def head(self, u: Tensor) -> Tensor:
        return u

    def conjugate(self, u: Tensor) -> Tensor:
        return torch.expm1(u)


class JensenShannon(F):
    """f(r) = r log r − (r+1) log((1+r)/2), that is KL(ρ‖M) + KL(π‖M) with M the midpoint: between 0 and 2 log 2.

    f*(h) = −log(2 − e^h) for h < log 2; with h = log 2 + log σ(u), f* = softplus(u) − log 2; at the optimum u = log r.
    """

    def value(self, ratio: Tensor) -> Tensor:
        return torch.xlogy(ratio, ratio) - (ratio + 1) * ((1 + ratio) / 2).log()

    def head(self, u: Tensor) -> Tensor:
        return math.log(2) + logsigmoid(u)

    def conjugate(self, u: Tensor) -> Tensor:
        return softplus(u) - math.log(2)


class FDivergence(Term, HasDual):
    """D_f(ρ‖π) = sup_h E_ρ h − E_π f*(h) for a law π that can be sampled.

    Args: f, a member of the family, e.g. KullbackLeibler() or JensenShannon(); target, π (Empirical(x) for data).
    """

    def __init__(self, f: F, target: Law) -> None:
        self.f, self.target = f, target

    @property
    def name(self) -> str:
        return f"FDivergence({type(self.f).__name__})"

    def reference(self, cloud: Cloud) -> Tree:
        return {}

    def dual(self, reference: Tree) -> Dual:
        return Dual(self.target, a=lambda u, x: self.f.head(u), b=lambda u, z: self.f.conjugate(u), head=self.f.head)
