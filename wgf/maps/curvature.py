"""The Laplacian of a two-layer potential at the price of one matrix product a gradient, by pairs or by tangents."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wgf.layers import regraphed

BLOCK = 2 * 2**20  # bytes of pair products made at once: what stays in a core's cache
ON_GPU = 256 * 2**20


def curvature(
    D: Float[Tensor, "n m"], c: Float[Tensor, "n k"], K: Float[Tensor, "k m"], B: Float[Tensor, "m d"]
) -> Float[Tensor, " n"]:
    """Σ_j c_j |(K diag(D) B)_j|² for each row (D, c): tr ∇²Φ of the layer c = w σ″, K behind slopes D and weights B.

    |(K diag(D) B)_j|² is a quadratic form in D, so all rows are one product of the pairs D_a D_{a+s} with coefficients
    that no row changes: k·m·(m + 2)/2 multiplications a row where d tangents take k·m·d, and are taken for
    3d ≤ m. Each of the gradients is one more product or none, and nothing of size n·m² is kept.
    """
    if 3 * B.shape[1] <= D.shape[1]:  # past that pairs, which keep nothing, are as fast
        return _ByTangents.apply(D, c, K, B)
    return _ByPairs.apply(D, c, _coefficients(K, B))


class _ByTangents(torch.autograd.Function):
    """H_a = (D ∘ B_a)Kᵀ for the columns B_a; kept, since going back with it costs two products and not three."""

    @staticmethod
    def forward(ctx: Any, D: Tensor, c: Tensor, K: Tensor, B: Tensor) -> Tensor:
        forms, heights = torch.empty_like(c), []
        for rows in _blocks(D, B.shape[1] * max(K.shape)):
            H = (_tangents(D[rows], B).flatten(0, 1) @ K.T).view(B.shape[1], -1, len(K))
            torch.sum(H.square(), 0, out=forms[rows])
            heights.append(H)
        ctx.save_for_backward(D, c, K, B, forms, *heights)
        return (c * forms).sum(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        D, c, K, B, forms, *heights = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (*regraphed(_by_tangents, (D, c, K, B), g),)
        weighted = 2 * g[:, None] * c
        to_D, to_K, to_B = torch.empty_like(D), torch.zeros_like(K), torch.zeros_like(B)
        for rows, H in zip(_blocks(D, B.shape[1] * max(K.shape)), heights, strict=True):
            to_H = (H * weighted[rows]).flatten(0, 1)
            to_K.addmm_(to_H.T, _tangents(D[rows], B).flatten(0, 1))
            back = (to_H @ K).view(B.shape[1], -1, len(B))
            to_B += (back * D[rows]).sum(1).T
            torch.sum(back.mul_(B.T[:, None, :]), 0, out=to_D[rows])
        return to_D, g[:, None] * forms, to_K, to_B


def _by_tangents(D: Tensor, c: Tensor, K: Tensor, B: Tensor) -> Tensor:
    """The same as autograd would have it."""
    return (c * (_tangents(D, B) @ K.T).square().sum(0)).sum(-1)


def _tangents(D: Tensor, B: Tensor) -> Tensor:
    """(d, n, m) with [a, i, j] = D_ij B_ja."""
    return D * B.T[:, None, :]


class _ByPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, D: Tensor, c: Tensor, coefficients: Tensor) -> Tensor:
        forms, slopes = torch.empty_like(c), torch.empty_like(D)
        blocks = _blocks(D, D.shape[1] * (D.shape[1] // 2 + 1))
        m, shifts = D.shape[1], D.shape[1] // 2 + 1
        room = D.new_zeros(blocks[0].stop, shifts, m + shifts)
        for rows in blocks:
            products = _products(D[rows])
            torch.mm(products.flatten(1), coefficients.T, out=forms[rows])
            if ctx.needs_input_grad[0]:
                slopes[rows] = _slope(D[rows], (c[rows] @ coefficients).view_as(products), room[: len(products)])
        ctx.save_for_backward(D, c, coefficients, forms, slopes)
        return (c * forms).sum(-1)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        D, c, coefficients, forms, slopes = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (*regraphed(_by_pairs, (D, c, coefficients), g),)
        weighted = g[:, None] * c
        to_coefficients = D.new_zeros(c.shape[1], D.shape[1] * (D.shape[1] // 2 + 1))
        for rows in _blocks(D, to_coefficients.shape[1]):
            to_coefficients.addmm_(weighted[rows].T, _products(D[rows]).flatten(1))
        return g[:, None] * slopes, g[:, None] * forms, to_coefficients


def _by_pairs(D: Tensor, c: Tensor, coefficients: Tensor) -> Tensor:
    """The same as autograd would have it."""
    return (c * (_products(D).flatten(1) @ coefficients.T)).sum(-1)


def _blocks(D: Tensor, entries: int) -> list[slice]:
    """The rows, as many at once as fit with so many entries each."""
    size = max(1, (ON_GPU if D.is_cuda else BLOCK) // (D.element_size() * entries))
    return [slice(start, min(start + size, len(D))) for start in range(0, len(D), size)]


def _coefficients(K: Tensor, B: Tensor) -> Tensor:
    """V (k, (m//2 + 1)·m) with Σ_{s,a} V_{j,(s,a)} D_a D_{a+s} = |(K diag(D) B)_j|², indices mod m."""
    m, shifts = K.shape[1], K.shape[1] // 2 + 1
    a = torch.arange(m, device=K.device)
    partner = (a + torch.arange(shifts, device=K.device)[:, None]) % m
    times = torch.full((shifts, 1), 2.0, dtype=K.dtype, device=K.device)
    times[0] = 1.0
    if m % 2 == 0:
        times[-1] = 1.0  # half a turn away, each pair comes twice
    gram = times * (B @ B.T)[a, partner]
    return (K[:, None, :] * K[:, partner] * gram).flatten(1)


def _products(D: Tensor) -> Tensor:
    """(n, m//2 + 1, m) with [i, s, a] = D_ia D_i,a+s."""
    return D[:, None, :] * _shifted(D)


def _shifted(D: Tensor) -> Tensor:
    """The view (n, m//2 + 1, m) with [i, s, a] = D_i,(a+s mod m)."""
    n, m = D.shape
    return torch.cat([D, D], 1).as_strided((n, m // 2 + 1, m), (2 * m, 1, 1))


def _slope(D: Tensor, R: Tensor, room: Tensor) -> Tensor:
    """The gradient in D of Σ_{s,a} R_{s,a} D_a D_{a+s}: one sum over s as it stands, one after shifting back by s.

    Rows written one column wider than they are read shift by one more each: `room` (n, m//2 + 1, m + m//2 + 1), zero
    past column m, turns the second sum into a plain one.
    """
    n, shifts, m = R.shape
    torch.mul(R, D[:, None, :], out=room[:, :, :m])
    wide = m + shifts - 1
    back = room.flatten(1)[:, : shifts * wide].view(n, shifts, wide).sum(1)
    slope = R.mul_(_shifted(D)).sum(1) + back[:, :m]
    slope[:, : wide - m] += back[:, m:]
    return slope
