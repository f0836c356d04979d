"""A potential flow with straight paths in closed form: what Hamilton–Jacobi residuals are held to."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.maps import Euler, PotentialFlow
from wgf.maps.integrate import Scheme
from wgf.optimality import hamilton_jacobi


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


def relative_residual(map: PotentialFlow, times: Sequence[float], x: Float[Tensor, "n d"]) -> float:
    """max |∂_tΦ − ½|∇Φ|²| over the rows and times, relative to ½|∇Φ(0, x_i)|²."""
    size = 0.5 * map.gradient(0.0, x)[:, :-1].square().sum(-1)
    return max(float((hamilton_jacobi(map, t, x) / size).abs().max()) for t in times)
