"""The variational implicit midpoint rule: half a JKO step, then as far again."""

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from wgf.errors import Incompatible
from wgf.functionals.base import Functional
from wgf.law import Law
from wgf.maps.base import Map
from wgf.maps.compose import Extrapolated
from wgf.steppers.anchors import Previous
from wgf.steppers.base import Info, State, Variational, pushed
from wgf.steppers.crank_nicolson import CrankNicolson
from wgf.steppers.saddle import SaddleJKO
from wgf.training import Watch
from wgf.tree import Tree


@dataclass(frozen=True)
class Midpoint(Variational):
    """T the map of `inner` for the step τ/2; particles move by 2T − id. Order 2 in τ.

    The energy need not fall and the map may fold where τλ > 2, λ the curvature of F: `measures["folded"]` is the
    share of
    scored rows with det(2∇T − I) ≤ 0, and the law's density is refused where it is positive. The certificate is that of
    the half step. Source: Legendre and Turinici, *Second-order in time schemes for gradient flows in Wasserstein and
    geodesic metric spaces*, C. R. Math. 355 (2017) 345–353.
    """

    inner: Variational

    accepts: ClassVar[tuple[type, ...]] = ()
    keeps_density: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Variational):
            raise Incompatible(
                f"Midpoint needs a stepper that finds a map, such as JKO, got {type(self.inner).__name__}"
            )
        if isinstance(self.inner, (CrankNicolson, Midpoint)):
            raise Incompatible(
                f"Midpoint extrapolates the JKO step of τ/2, which a {type(self.inner).__name__} does not take; put a"
                " JKO or a SaddleJKO inside"
            )
        if isinstance(self.inner, SaddleJKO) and not isinstance(self.inner.anchor, Previous):
            raise Incompatible(
                "Midpoint goes as far again from where the particles stand, so its SaddleJKO needs the anchor"
                f" Previous(), got {type(self.inner.anchor).__name__}()"
            )

    @property
    def rows(self) -> int:
        return self.inner.rows

    def init(self, F: Functional, law: Law, seed: int) -> State:
        return self.inner.init(F, law, seed)

    def check(self, F: Functional, state: State) -> None:
        self.inner.check(F, state)

    def solve(self, F: Functional, state: State, tau: float, watch: Watch) -> tuple[Map, Tree, Info]:
        half, memory, info = self.inner.solve(F, state, tau / 2, watch)
        whole = Extrapolated(half).eval()
        half_way = {f"critic at half step, {name}": value for name, value in info.dual.items()}
        return whole, memory, replace(info, dual={}, measures={**info.measures, **half_way})

    def advance(self, state: State, map: Map, memory: Tree) -> State:
        return self.inner.advance(state, map, memory)

    def remembered(self, memory: Tree, like: Tensor) -> Map:
        return Extrapolated(self.inner.remembered(memory, like)).eval()

    def law(self, previous: Law, base: Law, state: State, info: Info) -> Law:
        return pushed(previous, info)
