"""Numbers that runs of these equations are watched by: moments of the particles."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor


def mean_norm(x: Float[Tensor, "n d"]) -> float:
    """|E x|, in units of x."""
    return float(x.mean(0).norm())


def mean_squared_radius(x: Float[Tensor, "n d"]) -> float:
    """E |x − E x|², the trace of the covariance, in squared units of x."""
    return float((x - x.mean(0)).square().sum(-1).mean())


MOMENTS: dict[str, Callable[[Tensor], float]] = {"mean_norm": mean_norm, "mean_squared_radius": mean_squared_radius}
