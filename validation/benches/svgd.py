"""One direction of Stein variational gradient descent against public implementations: 10⁴ particles, float32."""

import math
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from validation.race import Contestant, Row, race
from wgf import keys
from wgf.kernels import Gaussian
from wgf.steppers import stein_velocity

NAME = "svgd"
BOUND = 5.0
TOLERANCE = 1e-5
"""What our answer may be off, relative to 1/n Σ_j k (|s_j| + 1/h)."""

THEIRS = 1e-3
"""What a peer's may be: in float32 |x|² + |y|² − 2xy costs digits, and is theirs to lose."""

PEERS = {  # name: (factory, the package it needs, whether the bound is for it)
    "PyTorch, pairwise matrices": ("torch_pairs", "torch", True),
    "NumPy, pairwise matrices": ("numpy_pairs", "scipy", True),
    "simpleSVGD": ("simple_svgd", "simpleSVGD", True),
    "BlackJAX": ("blackjax_svgd", "blackjax", True),
    "JAX, pairwise matrices": ("jax_pairs", "jax", False),
}


def bench(quick: bool = False) -> Iterator[list[Row]]:
    """d = 2 and 10, the target N(0, I), and the bandwidth of `MedianLog` handed to all as a number.

    The matrices are those of the public scripts, the gradient of the kernel written out. BlackJAX takes the gradient
    pair by pair. A peer that is not installed leaves a row that says so. JAX's matrices are fused by its compiler, in
    a script of ours and no public one: that row is only shown.
    """
    for dim in (2, 10):
        case = {"particles": 1000 if quick else 10_000, "dim": dim}
        label = f"N = {case['particles']:,}, d = {dim}"
        here = {name: peer for name, peer in PEERS.items() if find_spec(peer[1])}
        bounds = {name: BOUND for name, (*_, judged) in here.items() if judged and not quick}
        yield race(
            NAME,
            label,
            f"{__name__}:ours",
            {name: Contestant(f"{__name__}:{factory}", tolerance=THEIRS) for name, (factory, *_) in here.items()},
            case,
            truth=f"{__name__}:truth",
            tolerance=TOLERANCE,
            bounds=bounds,
            rounds=3 if quick else 5,
        )
        yield [_absent(label, name, package) for name, (_, package, _) in PEERS.items() if name not in here]


def ours(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """Our direction."""
    x, h = cloud(case)
    points = torch.from_numpy(x)
    kernel = Gaussian(h)
    return lambda: stein_velocity(kernel, points, -points).numpy()


def torch_pairs(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """Tensors of all pairs: K s − Kx/h² + x Σ_j K/h², with torch.cdist."""
    x, h = cloud(case)
    points = torch.from_numpy(x)

    def direction() -> np.ndarray:
        K = torch.exp(-(torch.cdist(points, points) ** 2) / (2 * h * h))
        push = (points * K.sum(1, keepdim=True) - K @ points) / h**2
        return ((K @ -points + push) / len(points)).numpy()

    return direction


def numpy_pairs(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """The same on arrays, with SciPy's distances, as in the code that came with the paper."""
    from scipy.spatial.distance import pdist, squareform

    x, h = cloud(case)

    def direction() -> np.ndarray:
        K = np.exp(-(squareform(pdist(x)) ** 2) / (2 * h * h))
        push = (x * K.sum(1, keepdims=True) - K @ x) / h**2
        return (K @ -x + push) / len(x)

    return direction


def simple_svgd(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """The kernel of simpleSVGD, and the direction as its `update` makes it."""
    from simpleSVGD.kernels import rbf_kernel

    x, h = cloud(case)

    def direction() -> np.ndarray:
        K, push = rbf_kernel(x, h=h)
        return (np.matmul(K, -x) + push) / len(x)

    return direction


def blackjax_svgd(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """A step of BlackJAX, compiled; so large that x drowns in it, and the direction keeps its digits."""
    import jax
    import optax
    from blackjax.vi import svgd

    (x, h), large = cloud(case), 1e6
    descent = optax.sgd(large)
    step = svgd.build_kernel(descent)
    state = svgd.init(jax.numpy.asarray(x), {"length_scale": 2 * h * h}, descent)
    moved = jax.jit(lambda state: (step(state, lambda at: -at, svgd.rbf_kernel).particles - state.particles) / large)
    return lambda: np.asarray(moved(state))


def jax_pairs(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """Arrays of all pairs under jax.jit."""
    import jax
    import jax.numpy as jnp

    x, h = cloud(case)
    points = jnp.asarray(x)

    @jax.jit
    def direction(x: Any) -> Any:
        square = (x * x).sum(1)
        K = jnp.exp(-(square[:, None] + square[None] - 2 * x @ x.T) / (2 * h * h))
        return (K @ -x + (x * K.sum(1)[:, None] - K @ x) / h**2) / len(x)

    return lambda: np.asarray(direction(points))


def truth(case: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In float64, of the points as cast, for some of the rows."""
    x, h = cloud(case)
    wide, rows = x.astype(np.float64), np.linspace(0, len(x) - 1, 200).astype(int)
    delta = wide[rows, None] - wide[None]
    K = np.exp(-(delta**2).sum(-1) / (2 * h * h))
    exact = (-K @ wide + np.einsum("ij,ijc->ic", K, delta) / h**2) / len(x)
    return exact, K @ (np.abs(wide) + 1 / h) / len(x), rows


def cloud(case: Mapping[str, Any]) -> tuple[np.ndarray, float]:
    """Standard normal particles, and the bandwidth that the rule of the paper gives them: 2h² = med²/ln(n + 1)."""
    n, d = case["particles"], case["dim"]
    x = torch.randn(n, d, generator=keys.generator(0))
    median = float(torch.pdist(x[:1000]).median())
    return x.numpy(), median / math.sqrt(2 * math.log(n + 1))


def _absent(label: str, name: str, package: str) -> Row:
    return Row(NAME, f"{label}: {name}", None, None, None, None, None, True, f"skipped: {package} is not installed")
