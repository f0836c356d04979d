"""f-divergences to a law that is known by its samples, as suprema over a critic; and KL to an unnormalised density."""

import copy
import math

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import keys
from wgf.errors import InputError, NotInvertible
from wgf.functionals.base import Functional, HasDual, Pointwise, Term
from wgf.functionals.dual import Dual, log_mean_exp
from wgf.functionals.entropy import Entropy
from wgf.functionals.family import F
from wgf.functionals.potential import Potential, SampledGradient
from wgf.law import Cloud, Law
from wgf.tree import Tree


def KL(log_density: Pointwise | Law, gradient: Pointwise | None = None) -> Functional:
    """KL(ρ‖π) up to log ∫π: Entropy() + Potential(−log π), for log π (n, d) -> (n,) known up to a constant, or a law.

    `gradient` is ∇log π (the score) where it is known in closed form; by default `log_density.gradient` if it has one.
    A log-density that is a sum over data may offer `sampled_gradient(rows, generator)`, the score by some of the rows.
    A law is taken as it is now: training its maps later does not change F.
    Raises: InputError for a law without a density, or with one that is 0 somewhere: nothing would keep particles in.
    """
    if isinstance(log_density, Law):
        return KL(_scored(log_density), gradient)
    score = gradient if gradient is not None else getattr(log_density, "gradient", None)
    closed = None if score is None else (lambda x: -score(x))
    sampled = getattr(log_density, "sampled_gradient", None)
    return Entropy() + Potential(lambda x: -log_density(x), closed, sampled and _negative(sampled))


class _Density:
    """log π of a law, in the dtype and on the device of the points."""

    def __init__(self, law: Law) -> None:
        self._laws = {(law.like.dtype, law.like.device): copy.deepcopy(law)}

    def at(self, x: Float[Tensor, "n d"]) -> Law:
        """The law where the points are."""
        known = (x.dtype, x.device)
        if known not in self._laws:
            self._laws[known] = next(iter(self._laws.values())).to(x.dtype).to(x.device)
        return self._laws[known]

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return self.at(x).log_prob(x)


class _DensityWithScore(_Density):
    """The same of a law whose score is known in closed form."""

    def gradient(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self.at(x).score(x)


def _scored(law: Law) -> _Density:
    if not law.has_density:
        raise InputError(
            f"KL needs a density, and this {type(law).__name__} has none; FDivergence(KullbackLeibler(), law) needs"
            " samples only"
        )
    if _bounded(law):
        raise InputError(
            f"KL needs a density above 0 everywhere, and that of this {type(law).__name__} is 0 outside of its support:"
            " its slope keeps no particle inside"
        )
    return _Density(law) if type(law).score is Law.score else _DensityWithScore(law)


def _bounded(law: Law) -> bool:
    """Whether the density vanishes far from samples, one way or the other."""
    x = law.sample(8, keys.generator(0, device=law.like.device))
    away = 1e3 * (1 + x.abs())
    try:
        with torch.no_grad():
            return bool((law.log_prob(torch.cat([x + away, x - away])) == -math.inf).any())
    except NotInvertible:
        return False
    except InputError:
        raise
    except ValueError:  # what distributions of torch say of points outside
        return True


def _negative(sampled: SampledGradient) -> SampledGradient:
    def estimate(rows: int, generator: torch.Generator) -> Pointwise:
        score = sampled(rows, generator)
        return lambda x: -score(x)

    return estimate


class _ToSamples(Term, HasDual):
    """A term that compares with a law π which can be sampled: Γ = π, whatever the particles do."""

    def __init__(self, target: Law) -> None:
        if not isinstance(target, Law):
            got = type(target).__name__
            raise InputError(f"the target of {type(self).__name__} must be a law, got {got}; wrap data as Empirical(x)")
        self.target = target

    def reference(self, cloud: Cloud) -> Tree:
        return {}


class FDivergence(_ToSamples):
    """D_f(ρ‖π) = sup_h E_ρ h − E_π f*(h) for a law π that can be sampled (Nguyen, Wainwright, Jordan 2010, eq. 9).

    Args: f, a member of the family, e.g. KullbackLeibler() or JensenShannon(); target, π (Empirical(x) for data).
    """

    def __init__(self, f: F, target: Law) -> None:
        super().__init__(target)
        if not isinstance(f, F):
            raise InputError(f"FDivergence needs a member of the family such as KullbackLeibler(), got {f!r}")
        self.f = f

    @property
    def name(self) -> str:
        return f"FDivergence({self.f.name})"

    def dual(self, reference: Tree) -> Dual:
        return Dual(
            self.target,
            a=lambda u, x: self.f.head(u),
            b=lambda u, z: self.f.conjugate(u),
            head=self.f.head,
            push=lambda u, x: self.f.push(u),
            steepness=self.f.steepness,
        )


class DonskerVaradhan(_ToSamples):
    """KL(ρ‖π) = sup_u E_ρ u − log E_π e^u, for a law π that can be sampled (Donsker, Varadhan 1983).

    At every critic at least as large as the dual of FDivergence(KullbackLeibler(), π), which it equals where
    E_π e^u = 1; but the log of a mean over a batch is biased, upwards in this value, by about Var(e^u)/(2n).
    """

    def dual(self, reference: Tree) -> Dual:
        return Dual(
            self.target,
            a=lambda u, x: u,
            b=lambda u, z: u,
            head=lambda u: u,
            merge=log_mean_exp,
            steepness=1.0,
        )


class Hinge(_ToSamples):
    """2 TV(ρ, π) = ∫|ρ − π| = 2 + sup_u E_ρ min(0, u − 1) − E_π max(0, u + 1), the game of image generators.

    The critic, high on ρ, is trained on that; the map lowers E_ρ u, which does not vanish where the critic is certain.
    Sources: Lim, Ye 2017 (arXiv 1705.02894); Miyato et al. 2018 (arXiv 1802.05957), eq. 17.
    """

    def dual(self, reference: Tree) -> Dual:
        return Dual(
            self.target,
            a=lambda u, x: (u - 1).clamp_max(0),
            b=lambda u, z: (u + 1).clamp_min(0),
            head=lambda u: u,
            push=lambda u, x: u,
            const=2.0,
            steepness=1.0,
        )
