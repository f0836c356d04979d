"""Sums of kernels along directions: k_Θ(z) = mean over θ of k(⟨θ, z⟩), by sorting the projections on each of them.

For θ uniform on the sphere of R^d, the mean of |⟨θ, z⟩| is c_d |z| with c_d = Γ(d/2) / (√π Γ((d+1)/2)): sliced sums of
the energy kernel are its sums in R^d, times c_d, up to the Monte-Carlo error of the directions. Source: Hertrich, Wald,
Altekrüger, Hagemann, *Generative sliced MMD flows with Riesz kernels*, ICLR 2024, arXiv 2305.11463, theorem 1.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys
from wgf.errors import Incompatible
from wgf.kernels.line import Piece, line_sums, pieces
from wgf.kernels.radial import Radial
from wgf.kernels.sorting import in_threads, worth_compiling

BYTES = 2**28
"""What the intermediate arrays of one sum may take."""

ARRAYS = 24
"""How many float64 arrays a direction and column takes at most."""


def orthogonal_directions(dim: int, count: int, key: int) -> Float[Tensor, "count dim"]:
    """Unit vectors, each uniform on the sphere, in orthonormal blocks of at most `dim`: less variance than independent.

    In float64 on the CPU, from `key` alone. Source: Rowland et al., *Orthogonal estimation of Wasserstein distances*,
    AISTATS 2019.
    """
    size = min(dim, count)
    blocks = -(-count // size)
    normal = torch.randn(blocks, dim, size, dtype=torch.float64, generator=keys.generator(key))
    q, r = torch.linalg.qr(normal)
    return (q * r.diagonal(dim1=1, dim2=2).sign()[:, None, :]).mT.reshape(-1, dim)[:count].contiguous()


@dataclass(frozen=True)
class Slices:
    """The directions of a sliced distance: `count` in orthonormal blocks, each uniform on the sphere, from `seed`.

    fresh: other directions for other particles, keyed by the first 64 of them, as stochastic sliced flows draw them
    anew at every step. The same particles have the same directions, so energies and velocities agree and a run can be
    repeated; but F is then another functional at every step, and its energies are noisy.
    """

    count: int
    seed: int = 0
    fresh: bool = False

    def __post_init__(self) -> None:
        checks.at_least("projections", self.count, 1)

    def at(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "p d"]:
        """The directions for these particles, in float64 on their device; on the line there is but one."""
        if x.shape[1] == 1:
            return x.new_ones(1, 1, dtype=torch.float64)
        content = x[:64].detach().double().cpu().numpy().tobytes() if self.fresh else b""
        key = int.from_bytes(hashlib.blake2b(content, digest_size=7).digest(), "big")
        return orthogonal_directions(x.shape[1], self.count, keys.fold(self.seed, key)).to(x.device)


def project(x: Float[Tensor, "n d"], theta: Float[Tensor, "p d"]) -> Float[Tensor, "p n"]:
    """⟨θ, x_i⟩ in float64, products and sums in one order for all points, as a matrix product has not: points that are
    equal stay equal, and points that are particles too are found among them.
    """
    points = x.detach().double().T.contiguous()
    rows = theta.new_empty(len(theta), len(x))
    if worth_compiling(rows, rows.numel() * len(points)):
        from wgf.kernels import _buckets  # here, because numba takes its time to import

        coordinates, along, out = points.numpy(), theta.numpy(), rows.numpy()
        in_threads(lambda part: _buckets.project_rows(coordinates, along[part], out[part]), len(theta))
        return rows
    torch.mul(theta[:, 0, None], points[None, 0], out=rows)
    for factor, coordinate in zip(theta.T[1:], points[1:], strict=True):
        rows += factor[:, None] * coordinate
    return rows


def sliceable(kernel: Radial) -> list[Piece]:
    """The kernel as `line.pieces`; Incompatible where sorting cannot sum it."""
    found = pieces(kernel)
    if found is None:
        able = "Energy(1), Power(1), …, Power(4), Laplace, Matern32 and Matern52"
        raise Incompatible(f"sums of {kernel.name} cannot be sliced: sorting serves sums of multiples of {able}")
    return found


def sliced_sums(
    kernel: list[Piece],
    theta: Float[Tensor, "p d"],
    x: Float[Tensor, "n d"],
    y: Float[Tensor, "m d"],
    a: Float[Tensor, "m k"] | None,
    b: Float[Tensor, "m l"] | None,
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n l d"]]:
    """Σ_j a_jk k_Θ(x_i − y_j) and Σ_j b_jl ∇k_Θ(x_i − y_j) in O(p (n + m) log(n + m)), blocks of directions at a time.

    A sum whose weights are None is empty. The values are differentiable in x, y and a, once; the gradients are not.
    """
    sums: tuple[Tensor, Tensor] = _Slices.apply(kernel, theta, x, y, a, b)
    return sums


class _Slices(torch.autograd.Function):
    """Values whose gradients are sums of the same kind, with the roles of x and y exchanged."""

    @staticmethod
    def forward(
        ctx: Any, kernel: list[Piece], theta: Tensor, x: Tensor, y: Tensor, a: Tensor | None, b: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        ctx.kernel = kernel
        ctx.save_for_backward(theta, x, y, a)
        ctx.set_materialize_grads(False)
        columns = sum(w.shape[1] for w in (a, b) if w is not None)
        V = x.new_zeros(0 if a is None else a.shape[1], len(x), dtype=torch.float64)
        G = x.new_zeros(0 if b is None else b.shape[1], len(x), x.shape[1], dtype=torch.float64)
        left, right = (None if w is None else w.T for w in (a, b))
        for some in theta.split(max(1, BYTES // (8 * ARRAYS * columns * (len(x) + len(y))))):
            u = project(x, some)
            values, slopes = line_sums(kernel, u, u if y is x else project(y, some), left, right)
            if values is not None:
                V += values.sum(0)
            if slopes is not None:
                G += torch.einsum("pln,pd->lnd", slopes, some)
        return (V.T / len(theta)).to(x), (G.transpose(0, 1) / len(theta)).to(x)

    @staticmethod
    def backward(ctx: Any, gV: Tensor | None, gG: Tensor | None) -> tuple[Tensor | None, ...]:
        if gG is not None:
            raise Incompatible("the gradients of sliced kernel sums are not differentiable once more")
        theta, x, y, a = ctx.saved_tensors
        if gV is None or a is None:
            return (None,) * 6
        gx = gy = ga = None
        _, _, needs_x, needs_y, needs_a, _ = ctx.needs_input_grad
        k = a.shape[1]
        if needs_x and needs_y and x.shape == y.shape and torch.equal(x, y):
            slope = _Slices.apply(ctx.kernel, theta, x, y, None, torch.cat([a, gV], 1))[1]
            gx, gy = torch.einsum("nk,nkd->nd", gV, slope[:, :k]), torch.einsum("mk,mkd->md", a, slope[:, k:])
            needs_x = needs_y = False
        if needs_x:
            gx = torch.einsum("nk,nkd->nd", gV, _Slices.apply(ctx.kernel, theta, x, y, None, a)[1])
        if needs_y or needs_a:
            back = gV if needs_a else None, gV if needs_y else None
            ga, slope = _Slices.apply(ctx.kernel, theta, y, x, *back)
            gy = torch.einsum("mk,mkd->md", a, slope) if needs_y else gy
        return None, None, gx, gy, ga if needs_a else None, None
