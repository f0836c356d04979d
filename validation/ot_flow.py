"""The OT-Flow potential as its paper writes it, and weights away from the start: what the closed forms are held to."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import NeuralODE, OTFlow
from wgf.maps import Flow


def potential(map: OTFlow, s: Float[Tensor, "n d+1"]) -> Float[Tensor, " n"]:
    """Φ(s) = wᵀN(s) + ½sᵀ(AᵀA)s + bᵀs + c at s = (x, t), σ(x) = |x| + log(1 + e^{−2|x|}), in plain torch.

    Source: Onken, Wu Fung, Li, Ruthotto, AAAI 2021, arXiv 2006.00104.
    """
    u = activation(s @ map.opening.T + map.opening_bias)
    for inner, bias in zip(map.inner, map.inner_bias, strict=True):
        u = u + activation(u @ inner.T + bias) / len(map.inner)
    curved = ((s @ (map.quadratic.T @ map.quadratic)) * s).sum(1)
    return u @ map.weight + 0.5 * curved + s @ map.linear + map.constant


def activation(x: Tensor) -> Tensor:
    """σ, whose slope is tanh."""
    return x.abs() + torch.log(1 + torch.exp(-2 * x.abs()))


def published(
    map: OTFlow, s: Float[Tensor, "n d+1"], sized: Callable[[Tensor], Tensor] = lambda factor: factor
) -> tuple[Float[Tensor, "n d+1"], Float[Tensor, " n"]]:
    """(∇, ∂_t)Φ and tr ∇²Φ by the paper's closed forms, layer by layer, for autograd to go back through.

    z_L = w, z_{l−1} = z_l + h K_lᵀ(D_l z_l), ∇Φ = K_0ᵀ(D_0 z_0) + (AᵀA)s + b; J_0 = D_0 K_0 E with E the first d unit
    vectors, J_l = J_{l−1} + h D_l K_l J_{l−1}, and tr = Σ_l h_l ⟨(1 − D_l²)z_l, |rows of K_l J_{l−1}|²⟩ + tr EᵀAᵀAE:
    all rows' K_l J at once are one product. Source: arXiv 2006.00104, eqs. (12)–(15).

    Args: sized, taken of every factor; torch.abs makes of each sum that of the sizes of its terms.
    """
    dim, h = map.dim, 1 / len(map.inner)
    opening, quadratic = sized(map.opening), sized(map.quadratic)
    inner, before = [sized(K) for K in map.inner], _before(map, s)
    slopes = [sized(torch.tanh(pre)) for pre in before]
    z = [sized(map.weight).expand_as(slopes[0])]
    for K, slope in zip(reversed(inner), reversed(slopes[1:]), strict=True):
        z.insert(0, z[0] + h * ((slope * z[0]) @ K))
    gradient = (slopes[0] * z[0]) @ opening + (sized(s) @ quadratic.T) @ quadratic + sized(map.linear)
    trace = ((1 - slopes[0].square()) * z[0]) @ opening[:, :dim].square().sum(1) + quadratic[:, :dim].square().sum()
    J = opening[:, :dim, None] * slopes[0].T[:, None, :]  # (m, d, n): what K_l multiplies stands first
    for l, (K, slope) in enumerate(zip(inner, slopes[1:], strict=True), start=1):
        KJ = (K @ J.flatten(1)).view_as(J)
        trace = trace + h * (((1 - slope.square()) * z[l]).T * KJ.square().sum(1)).sum(0)
        if l < len(inner):
            J = J + h * slope.T[:, None, :] * KJ
    return gradient, trace


def _before(map: OTFlow, s: Tensor) -> list[Tensor]:
    """What every layer's activation is taken of."""
    before = [s @ map.opening.T + map.opening_bias]
    u = activation(before[0])
    for l, (K, bias) in enumerate(zip(map.inner, map.inner_bias, strict=True), start=1):
        before.append(u @ K.T + bias)
        if l < len(map.inner):
            u = u + activation(before[-1]) / len(map.inner)
    return before


def divergence_size(map: NeuralODE, s: Float[Tensor, "n d+1"]) -> Float[Tensor, " n"]:
    """Σ_a (|W_L| D_{L−1} … D_1 |W_1|)_aa, D the slopes of tanh: ∇·v with every term's size in place of the term."""
    *hidden, last = (layer for layer in map.network.layers if isinstance(layer, nn.Linear))
    tangents = torch.eye(map.dim + 1, dtype=s.dtype)[: map.dim, None]
    for layer in hidden:
        s = torch.tanh(layer(s))
        tangents = (1 - s.square()) * (tangents @ layer.weight.abs().T)
    return torch.einsum("anj,aj->n", tangents, last.weight.abs())


def with_time(t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d+1"]:
    """The rows s = (x, t)."""
    return torch.cat([x, x.new_full((len(x), 1), t)], 1)


def scatter(map: Flow, generator: torch.Generator, scale: float = 1.0) -> None:
    """Draw all weights anew: matrices from N(0, scale²/columns), vectors from N(0, scale²)."""
    with torch.no_grad():
        for weight in map.parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            weight.copy_(scale * drawn / (math.sqrt(weight.shape[1]) if weight.dim() == 2 else 1))
