"""When a flow has come far enough: rules that `evolve` asks after each step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wgf import checks

if TYPE_CHECKING:
    from wgf.flow import Path


@dataclass(frozen=True)
class Settled:
    """Stop after a step that moved the law by less than `tolerance`: √E|x⁺ − x|², for a JKO step W₂(ρ⁺, ρ).

    Args: tolerance, a length above 0, in the units of x. Raises: InputError otherwise.
    """

    tolerance: float

    def __post_init__(self) -> None:
        checks.positive("tolerance", self.tolerance)

    def __call__(self, path: "Path") -> bool:
        return bool(path.infos) and path.infos[-1].moved < self.tolerance
