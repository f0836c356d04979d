"""JKO-iFlow (Xu, Cheng, Xie, NeurIPS 2023, arXiv 2212.14424): blocks one after the other, evened out, refined later."""

from wgf.maps import RK4, Exact, Map, NeuralODE
from wgf.maps.integrate import Scheme
from wgf.maps.neural_ode import Trace
from wgf.steppers import JKO, WarmStart, Weights
from wgf.training import Adam, Recipe


def jko_iflow(
    dim: int,
    map: Map | None = None,
    training: Recipe = Adam(500, 2048, 5e-3),
    particles: int = 100_000,
    width: int = 64,
    depth: int = 2,
    steps: int = 3,
    evaluation_steps: int = 6,
    scheme: Scheme = RK4(),
    trace: Trace = Exact(),
    context: int = 0,
    checkpoint: bool = False,
    random_times: bool = False,
    warm: WarmStart = Weights(),
    held: int | None = None,
) -> JKO:
    """JKO steps whose maps are neural-ODE blocks, trained one at a time: the memory of one, however many there are.

    min over v of E∫₀¹½|v|²dt/τ_k + KL(ρ₁‖π), on `KL(π)` from `Empirical(rows)`, for any π with a log-density, N(0, I)
    as `Entropy() + Potential(Quadratic(I))`. Step sizes grow: `Geometric(τ_0, ρ, K, cap)`. `Settled(ε)` ends the flow
    once a step moves by less. Then `wgf.refinement.even` spreads the blocks evenly along the path, and `refine` cuts
    each in several.
    Their h_k is our τ_k, their W₂ of a block the displacement that each step reports.

    Args: dim; map, a template in place of the NeuralODE of this width, depth, scheme, trace and context, `steps` of the
    scheme in training and `evaluation_steps` to score and sample; training, of each block; particles, the pool;
    checkpoint, spare memory inside a block; random_times, of divergences while training (`Dynamic`): what few steps
    need on sharp laws; warm, where a block starts, by default from the one before; held, rows that certify and, half as
    many, choose weights (`JKO`).
    """
    block = map or NeuralODE(
        dim,
        width,
        depth,
        steps=steps,
        scheme=scheme,
        trace=trace,
        evaluation_steps=evaluation_steps,
        checkpoint=checkpoint,
        context=context,
        random_times=random_times,
    )
    return JKO(block, training, particles, held, warm=warm)
