"""Rows on a grid, such as pixels in whole numbers, spread over the cells that they stand for."""

import copy
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import checks
from wgf.errors import InputError, Unknown
from wgf.law import Empirical, OfRows


class Cells(OfRows):
    """The law of T(x_i + step·u), i uniform on the rows and u on [0, 1)^d: data on a grid, spread out.

    u is drawn anew for every sample: a model of many times as many samples as rows cannot learn where each u fell.
    Uniform dequantisation (Theis, van den Oord, Bethge, ICLR 2016, arXiv 1511.01844).

    Args: x (n, d), corners of cells; step > 0, their width; map, T, the identity where it is None; context (n, k),
    labels or covariates of the rows, which are appended to T(x_i + step·u) as they are (`wgf.conditional`); dtype of
    the samples: all of it is computed in that of x. Raises: InputError for bad rows, another step, or too few contexts.
    """

    def __init__(
        self,
        x: Float[Tensor, "n d"],
        step: float = 1.0,
        map: Callable[[Tensor], Tensor] | None = None,
        context: Float[Tensor, "n k"] | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.x = checks.rows("the corners of Cells", x)
        self.step, self.map = checks.positive("the step of Cells", step), map
        self.context = None if context is None else checks.rows("the context of Cells", context).to(self.x)
        if self.context is not None and len(self.context) != len(self.x):
            raise InputError(f"Cells need a context for each of {len(self.x)} rows, got {len(self.context)}")
        self.dtype = self.x.dtype if dtype is None else dtype

    @property
    def like(self) -> Tensor:
        corner = self.x[:1] if self.map is None else self.map(self.x[:1] + 0.5 * self.step)
        joined = corner if self.context is None else torch.cat([corner, self.context[:1]], 1)
        return joined[0].detach().to(self.dtype)

    @property
    def has_density(self) -> bool:
        return False

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d+k"]:
        return self._spread(Empirical(self._joined).sample(n, generator), generator)

    def disjoint(self, sizes: Sequence[int], generator: torch.Generator) -> Float[Tensor, "n d+k"]:
        """As that of `Empirical`: parts that share no row, wherever in their cells the samples lie."""
        return self._spread(Empirical(self._joined).disjoint(sizes, generator), generator)

    def spread(self, generator: torch.Generator) -> Float[Tensor, "n d+k"]:
        """A sample of every row, in their order."""
        return self._spread(self._joined, generator)

    def log_prob(self, x: Float[Tensor, "n d+k"]) -> Float[Tensor, " n"]:
        raise Unknown("a law of cells has a density on them alone, which says nothing of other rows: learn one")

    def to(self, target: torch.dtype | torch.device | str) -> "Cells":
        if isinstance(target, torch.dtype):
            return Cells(self.x, self.step, self.map, self.context, target)
        map = copy.deepcopy(self.map).to(target) if isinstance(self.map, nn.Module) else self.map
        return Cells(self.x.to(target), self.step, map, self.context, self.dtype)

    @property
    def _joined(self) -> Tensor:
        return self.x if self.context is None else torch.cat([self.x, self.context], 1)

    @torch.no_grad()
    def _spread(self, rows: Tensor, generator: torch.Generator | None) -> Tensor:
        corners, context = rows.tensor_split([self.x.shape[1]], 1)
        u = torch.rand(corners.shape, dtype=rows.dtype, device=rows.device, generator=generator)
        ends = corners + self.step
        x = torch.minimum(corners + self.step * u, torch.nextafter(ends, corners))  # never the next cell, by rounding
        return torch.cat([x if self.map is None else self.map(x), context], 1).to(self.dtype)
