"""Semi-dual JKO (Choi, Choi, Kang, ICML 2024, arXiv 2402.05443): S-JKO."""

from wgf.critics import Critic, ScalarField
from wgf.maps import Map, Residual
from wgf.steppers import Base, SaddleJKO
from wgf.training import Alternate


def semidual_jko(
    dim: int,
    map: Map | None = None,
    critic: ScalarField | None = None,
    training: Alternate = Alternate(),
    particles: int = 100_000,
    r1: float = 0.0,
) -> SaddleJKO:
    """One map from ρ₀ for the whole flow, every step a saddle problem anchored to the images of the step before.

    min over T, max over h of E|T(x₀) − T_old(x₀)|²/2τ + E h(T(x₀)) − E_π f*(h). Their v is −h: the side of the data is
    relaxed, that of the map is not. One step is the source-fixed unbalanced transport map. The cost of a step does not
    grow with their number: T_old(x₀) is stored, and no second network runs.

    Their released code takes the cost as a mean over dimensions, so that the paper's step h is our τ/d. They draw the
    noise of T_old and T independently; ours is paired.

    Args: dim; map, critic, Residual(dim) and Critic(dim) unless said otherwise; training, the game; particles, the
    pool; r1, the weight of the critic's gradient penalty on data.
    """
    return SaddleJKO(map or Residual(dim), critic or Critic(dim), Base(), training, particles, r1=r1)
