"""A problem: what flows downhill, from where, for how long, and what is known of the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from wgf.functionals.base import Functional, Term, functional
from wgf.law import Law


@dataclass(frozen=True)
class Problem:
    """∂_t ρ = ∇·(ρ ∇ δF/δρ), ρ(0) = `initial`, to time `horizon`.

    Args: functional, F; initial, ρ₀; horizon, a time above zero; exact, t ↦ the law at t, where it is known;
    observables, named functions (n, d) -> a number, of the particles; title, one line for tables and
    figures; exact_energy, t ↦ F of the law at t, where it is known in closed form.
    """

    functional: Functional | Term
    initial: Law
    horizon: float
    exact: Callable[[float], Law] | None = None
    observables: Mapping[str, Callable[[Tensor], float]] = field(default_factory=dict)
    title: str = ""
    exact_energy: Callable[[float], float] | None = None

    @property
    def dim(self) -> int:
        """The dimension d of the space."""
        return self.initial.dim

    @property
    def F(self) -> Functional:
        """The functional as a weighted sum of terms."""
        return functional(self.functional)
