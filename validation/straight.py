"""A potential flow with straight paths in closed form: what Hamilton–Jacobi residuals are held to."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.maps import Euler, PotentialFlow
from wgf.maps.integrate import Scheme


class Spreading(PotentialFlow):
    """Φ = −|x|²/2(t + c), x(t) = x(0)(t + c)/c: U = λΦ solves ∂_tU = |∇U|²/2λ, and every scheme follows it exactly.

    Args: dim; c, a time above 0; horizon, steps, scheme as of any dynamic map.
    """

    def __init__(
        self, dim: int, c: float = 0.5, horizon: float = 1.0, steps: int = 5, scheme: Scheme = Euler()
    ) -> None:
        super().__init__(dim, horizon, steps, scheme)
        self.c = checks.positive("c", c)

    def gradient(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d+1"]:
        return torch.cat([-x, 0.5 * x.square().sum(-1, keepdim=True) / (t + self.c)], 1) / (t + self.c)

    def divergences(self, times: Sequence[float], points: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, "k n"]:
        return torch.stack([x.new_full((len(x),), self.dim / (t + self.c)) for t, x in zip(times, points, strict=True)])

    def velocity_tangents(
        self, t: float, x: Float[Tensor, "n d"], dx: Float[Tensor, "k n d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "k n d"]]:
        return x / (t + self.c), dx / (t + self.c)
