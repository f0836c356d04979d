"""f-divergences over Lipschitz critics: finite between any laws, infimal convolutions of D_f with L·W₁."""

from dataclasses import replace

import torch
from torch import Tensor

from wgf import checks, keys
from wgf.autodiff import gradient
from wgf.errors import Incompatible
from wgf.functionals.base import HasDual, Pointwise, Term
from wgf.functionals.divergence import DonskerVaradhan, FDivergence
from wgf.functionals.dual import Dual
from wgf.law import Cloud
from wgf.tree import Tree


class Lipschitz(Term, HasDual):
    """D_f^L(ρ‖π) = sup {E_ρ h − E_π f*(h) : h is L-Lipschitz} = inf_σ D_f(σ‖π) + L·W₁(ρ, σ).

    Never above min(D_f(ρ‖π), L·W₁(ρ, π)), and between two Diracs L|a − b|. The constraint is kept by a penalty on the
    critic, weight · E max(0, |∇h|² − L²) at points tz + (1−t)x between a draw of ρ and one of π: an exact one, of
    bounded slope, so that a large enough weight (W₁/2L will do) leaves the supremum where it is. A critic that is
    Lipschitz by construction needs none: weight 0, and any other critic is refused. Sources: Birrell et al. 2022 (JMLR
    23:39); Gu et al. 2024 (arXiv 2407.11901).

    Args: term, an FDivergence or DonskerVaradhan; L > 0, the constant; weight ≥ 0, of the penalty.
    Raises: InputError for L ≤ 0 or a negative weight; Incompatible for another term.
    """

    def __init__(self, term: FDivergence | DonskerVaradhan, L: float = 1.0, weight: float = 10.0) -> None:
        if not isinstance(term, (FDivergence, DonskerVaradhan)):
            raise Incompatible(f"Lipschitz takes an FDivergence or a DonskerVaradhan, got {type(term).__name__}")
        self.term = term
        self.L, self.weight = checks.positive("the Lipschitz constant L", L), checks.not_negative("weight", weight)

    @property
    def name(self) -> str:
        return f"Lipschitz({self.term.name}, {self.L:g})"

    def reference(self, cloud: Cloud) -> Tree:
        return self.term.reference(cloud)

    def dual(self, reference: Tree) -> Dual:
        dual = self.term.dual(reference)

        def penalty(critic: Pointwise, x: Tensor, z: Tensor, key: int) -> Tensor:
            return self.weight * excess(lambda y: dual.head(critic(y)), x, z, self.L, key)

        return replace(dual, slope=self.L, penalty=penalty if self.weight else None)


def excess(h: Pointwise, x: Tensor, z: Tensor, L: float, key: int) -> Tensor:
    """E max(0, |∇h|² − L²) at random points between rows of x and rows of z, as many as the fewer of the two."""
    n, generator = min(len(x), len(z)), keys.generator(key, device=x.device)
    t = torch.rand(n, 1, generator=generator, device=x.device, dtype=x.dtype)
    between = torch.lerp(x[:n].detach(), z[:n].detach(), t)
    return (gradient(h, between, create_graph=True).square().sum(1) - L**2).clamp_min(0).mean()
