"""Maps that know the potential: another map plus a learnt share of its slope."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from wgf import autodiff
from wgf.errors import InputError
from wgf.functionals.base import Pointwise
from wgf.functionals.potential import Potential
from wgf.law import Cloud
from wgf.maps.base import Map, Static

BLOCK, BENT = 4096, 256
"""Rows whose slopes, and whose second derivatives, are taken at once: of the latter autograd keeps all V makes."""


class Guided(Static):
    """T(x) = T₀(x) − s∇V(x), the number s a weight of the map, 0 at the start.

    A step of a flow in V moves particles along −∇V, whose walls and ridges no network finds in so many iterations as it
    takes to follow them: where modes are many and far apart, T₀ alone sends particles of light modes to heavy ones. Of
    the rows that a saddle step trains on, ∇V is taken once, not once in every batch. The same idea in neural samplers:
    Zhang, Chen 2022 (arXiv 2111.15141), §5.

    Args: map, T₀, a static map such as Residual(d); V, (n, d) -> (n,), or a Potential, whose closed gradient is used
    where there is one. Determinants need second derivatives of V by autograd, d passes of them; weights are saved, V is
    not: a run is resumed with the same V.
    Raises: InputError for a map that is not static or a V that is no function; on training, for a V that does not take
    the particles.
    """

    def __init__(self, map: Static, V: Pointwise | Potential) -> None:
        super().__init__()
        if not isinstance(map, Static):
            raise InputError(f"Guided needs a static map such as Residual(d), got {map!r}")
        if not (callable(V) or isinstance(V, Potential)):
            raise InputError(f"Guided needs V, a function (n, d) -> (n,) or a Potential, got {V!r}")
        self.map, self.dim = map, map.dim
        self.step = nn.Parameter(torch.zeros(1))
        self._rows: Tensor | None = None
        self._slopes: Tensor | None = None
        potential = V if isinstance(V, Potential) else Potential(V)
        self.probe = potential.probe
        self.slope = lambda x: potential.first_variation(Cloud(x)).gradient(x, x.requires_grad).to(x)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        self.map.reset(generator)
        self.step.zero_()

    def recentre(self, x: Float[Tensor, "n d"]) -> None:
        self.map.recentre(x)
        self.probe(x[:2])
        self._rows, self._slopes = x, None

    def train(self, mode: bool = True) -> "Guided":
        if not mode:
            self._rows = self._slopes = None
        return super().train(mode)

    def on(self, rows: slice | Int[Tensor, " m"]) -> Map:
        if self._rows is None:
            return self
        if self._slopes is None:
            self._slopes = torch.cat([self.slope(part).detach() for part in self._rows.split(BLOCK)])
        return _Known(self, self._slopes[rows])

    def redraw(self, key: int) -> None:
        self.map.redraw(key)

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self.map.move(x) - self.step * self.slope(x)

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        y, J = self.map.jacobian(x)
        slope, hessian = autodiff.jacobian(self.slope, x) if x.requires_grad else self._bent(x)
        return y - self.step * slope, J - self.step * hessian

    def _bent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """∇V and ∇²V, part by part: what is kept of one is let go before the next."""
        parts = [[each.detach() for each in autodiff.jacobian(self.slope, part)] for part in x.split(BENT)]
        slopes, hessians = zip(*parts, strict=True)
        return torch.cat(slopes), torch.cat(hessians)


class _Known(Static):
    """A guided map for rows whose slopes are known."""

    def __init__(self, whole: Guided, slopes: Float[Tensor, "m d"]) -> None:
        super().__init__()
        self.dim, self.whole, self.slopes = whole.dim, (whole,), slopes  # in a tuple: it is no part of this module

    def move(self, x: Float[Tensor, "m d"]) -> Float[Tensor, "m d"]:
        return self.whole[0].map.move(x) - self.whole[0].step * self.slopes

    def jacobian(self, x: Float[Tensor, "m d"]) -> tuple[Float[Tensor, "m d"], Float[Tensor, "m d d"]]:
        return self.whole[0].jacobian(x)
