"""What an engine is asked for: one pass over the pairs of two sets of points."""

from dataclasses import dataclass, field, replace
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from wgf.kernels.radial import Radial


@dataclass(frozen=True)
class Task:
    """V_ik = Σ_j a_jk k(x_i − y_j) and G_ik = Σ_j b_jk ∇k(x_i − y_j), either or both, in one pass.

    x (n, d), y (m, d), value_weights a (m, k) and gradient_weights b (m, l), None where that sum is not wanted: all of
    one dtype, float32 or float64, on one device, finite, and without gradients. `diagonal` False leaves out the pairs
    i = j, of n = m points; or the pairs (i, own_i), where `own` says which j that is. tolerance: the error allowed,
    relative to Σ_j |a_jk k(x_i − y_j)| (of the largest row, for engines that say so). budget: bytes for what is
    intermediate.
    """

    kernel: Radial
    x: Float[Tensor, "n d"]
    y: Float[Tensor, "m d"]
    value_weights: Float[Tensor, "m k"] | None
    gradient_weights: Float[Tensor, "m l"] | None
    diagonal: bool = True
    tolerance: float = 1e-5
    budget: int = 2**29
    own: Int[Tensor, " n"] | None = None
    plans: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What engines found out about this task, by their names, so that they do so once."""

    @property
    def dim(self) -> int:
        """d."""
        return self.x.shape[1]

    @property
    def pairs(self) -> int:
        """n·m."""
        return len(self.x) * len(self.y)

    @property
    def columns(self) -> int:
        """How many numbers a row of the answers has: k + l·d."""
        values = 0 if self.value_weights is None else self.value_weights.shape[1]
        slopes = 0 if self.gradient_weights is None else self.gradient_weights.shape[1]
        return values + slopes * self.dim

    def of(self, kernel: Radial) -> "Task":
        """The same sums of another kernel."""
        return replace(self, kernel=kernel)


Answer = tuple[Float[Tensor, "n k"] | None, Float[Tensor, "n l d"] | None]
"""V and G, None where not asked for."""


class Unavailable(RuntimeError):
    """An engine found at its first call that something it needs, such as a compiler, is missing."""
