"""Variational Wasserstein gradient flow (Fan, Zhang, Taghvaei, Chen, ICML 2022, arXiv 2112.02424)."""

from collections.abc import Sequence

from wgf.critics import Critic, ScalarField
from wgf.errors import InputError
from wgf.functionals import Term
from wgf.maps import Map, Residual
from wgf.steppers import CrankNicolson, Midpoint, Previous, SaddleJKO, Splitting, Stepper
from wgf.training import Alternate


def variational_wgf(
    dim: int,
    map: Map | None = None,
    critic: ScalarField | None = None,
    training: Alternate = Alternate(),
    particles: int = 100_000,
    forward: Sequence[type[Term]] = (),
    second_order: bool = False,
    crank_nicolson: bool = False,
) -> Stepper:
    """The primal–dual JKO scheme, every step a map of the particles of the step before (Algorithm 1).

    min over T, max over h of E|T(x) − x|²/2τ + E a(h, T(x)) − E_Γ b(h, z), Γ refitted to the particles in every step.
    Terms without a dual, such as potentials, enter as they are.

    Args: dim; map, Residual(dim) unless said otherwise (ICNN(dim) is the other the paper takes); critic, Critic(dim)
    unless said otherwise; training, the game; particles, the pool; forward, classes of terms that go explicitly, such
    as Interaction: the paper's forward–backward scheme; second_order, the midpoint step in place of the paper's, which
    the bias of plain JKO does not bind; crank_nicolson, the paper's own scheme for that, which is of order one, its
    first variation by another critic of the same form.
    Raises: InputError for both second_order and crank_nicolson.
    """
    if second_order and crank_nicolson:
        raise InputError("second_order and crank_nicolson are two schemes; keep one of them")
    inner = SaddleJKO(map or Residual(dim), critic or Critic(dim), Previous(), training, particles)
    step: Stepper = Midpoint(inner) if second_order else inner
    if crank_nicolson:
        step = CrankNicolson(inner, inner.critic)
    return Splitting(step, tuple(forward)) if forward else step
