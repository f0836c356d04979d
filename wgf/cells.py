"""Rows on a grid, such as pixels in whole numbers, spread over the cells that they stand for."""

import copy
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import checks
from wgf.errors import Unknown
from wgf.law import Empirical, OfRows


class Cells(OfRows):
    """The law of T(x_i + step·u), i uniform on the rows and u on [0, 1)^d: a model of it cannot learn where u fell.

    u is drawn anew for every sample, so that a pool of many times the rows has each of them in many places of its cell:
    uniform dequantisation (Theis, van den Oord, Bethge, ICLR 2016, arXiv 1511.01844).

    Args: x (n, d), corners of cells; step > 0, their width; map, T, the identity where it is None. x + step·u and T are
    computed in the dtype of x, whatever that of the samples. Raises: InputError for bad rows or another step.
    """

    def __init__(
        self,
        x: Float[Tensor, "n d"],
        step: float = 1.0,
        map: Callable[[Tensor], Tensor] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.rows = Empirical(x)
        self.step, self.map = checks.positive("the step of Cells", step), map
        self.dtype = self.rows.x.dtype if dtype is None else dtype

    @property
    def like(self) -> Tensor:
        return self.rows.x[0].to(self.dtype)

    @property
    def has_density(self) -> bool:
        return False

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        return self._spread(self.rows.sample(n, generator), generator)

    def disjoint(self, sizes: Sequence[int], generator: torch.Generator) -> Float[Tensor, "n d"]:
        """As that of `Empirical`: parts that share no row, wherever in their cells the samples lie."""
        return self._spread(self.rows.disjoint(sizes, generator), generator)

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        raise Unknown("a law of cells has a density on them alone, which says nothing of other rows: learn one")

    def to(self, target: torch.dtype | torch.device | str) -> "Cells":
        if isinstance(target, torch.dtype):
            return Cells(self.rows.x, self.step, self.map, target)
        map = copy.deepcopy(self.map).to(target) if isinstance(self.map, nn.Module) else self.map
        return Cells(self.rows.x.to(target), self.step, map, self.dtype)

    def spread(self, generator: torch.Generator) -> Float[Tensor, "n d"]:
        """Every row once, in its order."""
        return self._spread(self.rows.x, generator)

    @torch.no_grad()
    def _spread(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        y = x + self.step * torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=generator)
        return (y if self.map is None else self.map(y)).to(self.dtype)
