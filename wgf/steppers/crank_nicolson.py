"""The Crank–Nicolson step: half of F as a JKO step takes it, half through its first variation where the step starts."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import autodiff, checks
from wgf.critics import ScalarField
from wgf.errors import Incompatible
from wgf.functionals import Entropy, Interaction, Potential
from wgf.functionals.base import Functional, HasDual, HasVariation, Variation, route
from wgf.law import Cloud, Law
from wgf.maps.base import Map
from wgf.steppers.base import Info, State, Variational
from wgf.steppers.fitted import Fitter, Routed
from wgf.steppers.jko import JKO, check_parts
from wgf.steppers.saddle import SaddleJKO
from wgf.training import Adam, Recipe, Watch
from wgf.tree import Tree

ROWS = 256
"""Rows that the curvature of a potential is averaged over."""


@dataclass(frozen=True)
class CrankNicolson(Variational):
    """ρ⁺ = argmin ½F(ρ) + ½∫δF/δρ(ρ_k) dρ + W₂²(ρ, ρ_k)/2τ, by the maps of `inner`. Of order one, as plain JKO.

    δF/δρ(ρ_k) is closed where particles can evaluate it, and elsewhere that of a critic fitted to ρ_k, for an entropy
    log h + log Γ, Γ the Gaussian of the particles; critics are warm-started. Every linear part of F is taken as plain
    JKO takes it, since there both halves are one. The certificate is that of this objective.

    An entropy of weight w leaves T ↦ ½E T·KT − ½w E log det ∇T + …, K = I/τ + A − ½wS⁻¹, S the covariance of the
    particles and A the mean Hessian of potential and interaction: bounded below if and only if K is positive definite,
    on a line 1/τ + a > w/2s². Elsewhere the step is refused before anything is trained.
    Sources: Carrillo, Craig, Wang, Wei 2022 (Found. Comput. Math. 22); Fan et al. 2022 (arXiv 2112.02424).

    Args: inner, a JKO or SaddleJKO; critic, a template; training, of a critic in each step, the first one for `first`
    times as many iterations where that is an `Adam`; held, rows that choose a critic's weights.
    """

    inner: Variational
    critic: ScalarField
    training: Recipe = Adam(200, 2048, 3e-3)
    held: int | None = None
    first: int = 5

    accepts: ClassVar[tuple[type, ...]] = (HasVariation, HasDual)
    instead: ClassVar[str] = "JKO"
    keeps_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checks.at_least("first", self.first, 1)
        if self.held is not None:
            checks.at_least("held", self.held, 1)
        check_parts("CrankNicolson", (self.critic, ScalarField), (self.training, Recipe))
        if not isinstance(self.inner, (JKO, SaddleJKO)):
            raise Incompatible(f"CrankNicolson needs a JKO or a SaddleJKO inside, got {type(self.inner).__name__}")

    @property
    def rows(self) -> int:
        return self.inner.rows

    def init(self, F: Functional, law: Law, seed: int) -> State:
        return self.inner.init(F, law, seed)

    def check(self, F: Functional, state: State) -> None:
        self.inner.check(F, state)
        self._fitter.check(self._curved(F), state)

    def solve(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[Map, Tree, Info]:
        _refuse_unbounded(F, state.x, tau)
        variation, fitted = self._fitter.variation(self._curved(F), state, watch)
        map, memory, info = self.inner.solve(_halved(F, variation), state, tau, watch)
        dual = {name: 2 * value for name, value in info.dual.items()}
        return map, {**memory, **self._fitter.memory(fitted)}, replace(info, dual=dual)

    def advance(self, state: State, map: Map, memory: Tree) -> State:
        return self.inner.advance(state, map, memory)

    def remembered(self, memory: Tree, like: Tensor) -> Map:
        return self.inner.remembered(memory, like)

    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        return self.inner.law(previous, base, state, info)

    def _curved(self, F: Functional) -> Routed:
        """The terms that are not linear in ρ, with the way in which their variations are known."""
        curved = Functional(tuple(part for part in F.terms if not isinstance(part[1], Potential)))
        return route(curved, self.accepts, "CrankNicolson", self.instead)

    @property
    def _fitter(self) -> Fitter:
        return Fitter(self.critic, self.training, self.held, self.first, "frozen")


def _halved(F: Functional, variation: Variation) -> Functional:
    """½F + ½∫ψ dρ, ψ the variation of all but the linear terms, which stay as they are."""
    linear = all(isinstance(term, Potential) for _, term in F.terms)
    halves = tuple((weight if isinstance(term, Potential) else weight / 2, term) for weight, term in F.terms)
    return Functional(halves if linear else (*halves, (0.5, Potential(variation))))


def _refuse_unbounded(F: Functional, x: Float[Tensor, "N d"], tau: float) -> None:
    """Raise Incompatible where K = I/τ + A − ½wS⁻¹ is not positive definite."""
    temperature = sum(weight for weight, term in F.terms if isinstance(term, Entropy))
    if temperature <= 0:
        return
    covariance = Entropy().reference(Cloud(x))["covariance"].double()
    narrow = 0.5 * temperature * torch.linalg.inv(covariance)
    curvature = _curvature(F, x).double()
    values, vectors = torch.linalg.eigh(narrow - curvature)
    if values[-1] < 1 / tau:
        return
    direction = vectors[:, -1]
    left = 1 / tau + float(direction @ curvature @ direction)
    raise Incompatible(
        f"the Crank–Nicolson step of size {tau:g} is unbounded below, for where the particles are narrowest"
        f" 1/τ + a = {left:.4g} is not above w/2s² = {float(direction @ narrow @ direction):.4g}, a the curvature of"
        f" the potential, s² their variance, w the weight of the entropy; take tau below {1 / float(values[-1]):.3g}"
    )


def _curvature(F: Functional, x: Float[Tensor, "N d"]) -> Float[Tensor, "d d"]:
    """The mean Hessian of the potentials and interactions at some of the particles."""
    cloud, rows = Cloud(x), x[:ROWS]
    total = x.new_zeros(x.shape[1], x.shape[1])
    for weight, term in F.terms:
        if isinstance(term, (Potential, Interaction)):
            total = total + weight * _hessian(term.first_variation(cloud), rows).mean(0)
    return (total + total.T).detach() / 2


def _hessian(variation: Variation, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d d"]:
    return autodiff.jacobian(lambda y: variation.gradient(y, create_graph=True), x)[1]
