"""JKO-Flow (Vidal, Wu Fung, Tenorio, Osher, Nurbekyan, Scientific Reports 2023, arXiv 2211.16757)."""

from wgf.maps import RK4, Map, OTFlow
from wgf.maps.integrate import Scheme
from wgf.steppers import JKO, WarmStart, Weights
from wgf.training import Adam, Recipe


def jko_flow(
    dim: int,
    map: Map | None = None,
    training: Recipe = Adam(500, 2048, 1e-2),
    particles: int = 100_000,
    width: int = 16,
    depth: int = 2,
    horizon: float = 1.0,
    steps: int = 4,
    evaluation_steps: int = 8,
    scheme: Scheme = RK4(),
    hamilton_jacobi: float = 0.0,
    random_times: bool = False,
    warm: WarmStart = Weights(),
    held: int | None = None,
) -> JKO:
    """K proximal steps of size α from data to noise, each one OT-Flow potential with its exact trace.

    min over Φ of E∫₀¹½|v|²dt + α·KL(ρ₁‖N(0, I)), v = −∇Φ, on `Entropy() + Potential(Quadratic(I))` from
    `Empirical(rows)`, τ = α: the data are pushed once a step. `path.inverse(Gaussian.standard(d))` is the model: its
    log-density has the log-determinants of all steps, its samples go back through all of them. K = 1 is the single
    shot, OT-Flow (Onken et al. 2021, arXiv 2006.00104), whose result depends on α; that of several steps hardly does.

    Args: dim; map, a template in place of the OTFlow of this width, depth, horizon, scheme and weight of the
    Hamilton–Jacobi residual, `steps` of the scheme in training and `evaluation_steps` to score and sample; training,
    of each step, with `Adam(patience=…)` as its stop rule; particles, the pool; random_times, of divergences while
    training (`Dynamic`): what few steps need on sharp laws; warm, where a step's map starts; held, rows that certify
    and, half as many, choose weights (`JKO`): of small tables fewer than its default, a quarter of the particles.
    """
    flow = map or OTFlow(
        dim,
        width,
        depth,
        horizon=horizon,
        steps=steps,
        scheme=scheme,
        evaluation_steps=evaluation_steps,
        hamilton_jacobi=hamilton_jacobi,
        random_times=random_times,
    )
    return JKO(flow, training, particles, held, warm=warm)
