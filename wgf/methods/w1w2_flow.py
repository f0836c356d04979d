"""W₁⊕W₂ proximal flows (Gu, Katsoulakis, Rey-Bellet, Zhang 2024, arXiv 2407.11901)."""

from wgf.critics import Critic, ScalarField
from wgf.maps import Euler, Map, OTFlow
from wgf.maps.integrate import Scheme
from wgf.steppers import Previous, SaddleJKO
from wgf.training import Alternate


def w1w2_flow(
    dim: int,
    map: Map | None = None,
    critic: ScalarField | None = None,
    training: Alternate = Alternate(),
    particles: int = 100_000,
    horizon: float = 1.0,
    steps: int = 5,
    scheme: Scheme = Euler(),
) -> SaddleJKO:
    """One map from noise to data, the end of ẋ = −∇U/λ: kinetic energy as the price of motion, Lipschitz critics.

    min over U, max over L-Lipschitz φ of λE∫₀ᵀ½|v|²dt + E φ(x(T)) − E_π f*(φ), on `Lipschitz(FDivergence(f, data), L)`
    (the W₁ proximal), with one step of τ = T/λ (the W₂ proximal); their four cases are the term with and without
    Lipschitz, and τ = T/λ or ∞. The map is Φ = U/λ. With τ larger the law is nearer to the data, and less of its shape
    is decided by the kinetic energy.

    At the optimum ∂_tU = |∇U|²/2λ, U(T, ·) = φ and paths are straight: `wgf.optimality` measures how nearly, and stops.

    Args: dim; map, an OTFlow(dim) unless said otherwise, of horizon T in so many steps of the scheme; critic,
    Critic(dim) unless said otherwise; training, the game; particles, the pool of noise.
    """
    flow = map or OTFlow(dim, 64, 3, horizon=horizon, steps=steps, scheme=scheme)
    return SaddleJKO(flow, critic or Critic(dim, 64, 3), Previous(), training, particles)
