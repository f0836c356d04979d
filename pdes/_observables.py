"""Numbers that runs of these equations are watched by: moments of the particles."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from wgf.pearson import PearsonII
from wgf.radii import radii


def mean_norm(x: Float[Tensor, "n d"]) -> float:
    """|E x|, in units of x."""
    return float(x.mean(0).norm())


def mean_squared_radius(x: Float[Tensor, "n d"]) -> float:
    """E |x − E x|², the trace of the covariance, in squared units of x."""
    return float((x - x.mean(0)).square().sum(-1).mean())


MOMENTS: dict[str, Callable[[Tensor], float]] = {"mean_norm": mean_norm, "mean_squared_radius": mean_squared_radius}


def radial(law: PearsonII) -> dict[str, Callable[[Tensor], float]]:
    """|E x|, the moment radius spread·√E|x − E x|² of laws of this shape, the largest |x − E x|; all in units of x."""
    return {
        "mean_norm": mean_norm,
        "moment_radius": lambda x: law.spread * mean_squared_radius(x) ** 0.5,
        "largest_radius": lambda x: float(radii(x)[-1]),
    }
