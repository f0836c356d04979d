"""The OT-Flow potential: ẋ = −∇Φ(x, t) with gradient and exact trace of the Hessian in closed form."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

from wgf import checks
from wgf.maps.dynamic import Dynamic, at_time, at_times
from wgf.maps.integrate import RK4, Scheme


class OTFlow(Dynamic):
    """v = −∇Φ, Φ(s) = wᵀN(s) + ½|As|² + bᵀs + c, s = (x, t), N a residual network with σ′ = tanh.

    u_0 = σ(K_0 s + b_0), u_l = u_{l−1} + h σ(K_l u_{l−1} + b_l), N = u_L, h = 1/L, σ(x) = log(2 cosh x). Gradient and
    trace are closed forms (no autograd inside): with D_l = tanh, E_l = 1 − D_l², z the adjoint of N,
    tr ∇²Φ = Σ_l h_l ⟨E_l z_l, Σ_a (∂_a(K_l u_{l−1}))²⟩ + |A_x|².
    Source: Onken, Wu Fung, Li, Ruthotto, *OT-Flow*, AAAI 2021, arXiv 2006.00104, eqs. (12)–(15).

    Starts as the identity (w = b = 0, A of order 10⁻⁴, since A = 0 would be a stationary point).
    Args: width, m ≥ 1; depth, the number of layers of N, at least 2; rank, rows of A (min(10, d+1) by default).
    """

    def __init__(
        self,
        dim: int,
        width: int = 32,
        depth: int = 2,
        rank: int | None = None,
        horizon: float = 1.0,
        steps: int = 4,
        scheme: Scheme = RK4(),
    ) -> None:
        super().__init__(dim, horizon, steps, scheme)
        checks.at_least("the width of an OTFlow", width, 1)
        checks.at_least("the depth of an OTFlow", depth, 2)
        rows = min(10, dim + 1) if rank is None else checks.at_least("rank", rank, 1)
        self.opening = nn.Parameter(torch.empty(width, dim + 1))
        self.opening_bias = nn.Parameter(torch.empty(width))
        self.inner = nn.ParameterList(torch.empty(width, width) for _ in range(depth - 1))
        self.inner_bias = nn.ParameterList(torch.empty(width) for _ in range(depth - 1))
        self.weight = nn.Parameter(torch.empty(width))
        self.quadratic = nn.Parameter(torch.empty(rows, dim + 1))
        self.linear = nn.Parameter(torch.empty(dim + 1))
        self.constant = nn.Parameter(torch.empty(1))
        self.reset(torch.Generator().manual_seed(0))

    def reset(self, generator: torch.Generator) -> None:
        def draw(parameter: Tensor, scale: float) -> None:
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator, device=generator.device))

        with torch.no_grad():
            draw(self.opening, 1 / math.sqrt(self.dim + 1))
            draw(self.opening_bias, 0.1)
            for inner, bias in zip(self.inner, self.inner_bias, strict=True):
                draw(inner, 1 / math.sqrt(len(inner)))
                draw(bias, 0.1)
            draw(self.quadratic, 1e-4)
            for zero in (self.weight, self.linear, self.constant):
                zero.zero_()

    def potential(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Φ(x_i, t)."""
        s = at_time(t, x)
        u = _Activation.apply(s @ self.opening.T + self.opening_bias)[0]
        for inner, bias in zip(self.inner, self.inner_bias, strict=True):
            u = u + self._h * _Activation.apply(u @ inner.T + bias)[0]
        return u @ self.weight + 0.5 * (s @ self.quadratic.T).square().sum(-1) + s @ self.linear + self.constant

    def gradient(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d+1"]:
        """(∇_xΦ, ∂_tΦ) at (x_i, t): the last column is what a Hamilton–Jacobi residual needs."""
        s = at_time(t, x)
        slopes = self._slopes(s)
        return self._gradient(s, slopes, self._adjoints(slopes))

    def velocity(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return -self.gradient(t, x)[:, : self.dim]

    def divergences(self, times: Sequence[float], points: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, "k n"]:
        slopes = self._slopes(at_times(times, points))
        return -self._trace(slopes, self._adjoints(slopes)).view(len(times), -1)

    def velocity_tangents(
        self, t: float, x: Float[Tensor, "n d"], dx: Float[Tensor, "k n d"]
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, "k n d"]]:
        s = at_time(t, x)
        slopes = self._slopes(s)
        adjoints = self._adjoints(slopes)
        return -self._gradient(s, slopes, adjoints)[:, : self.dim], -self._hessian_times(slopes, adjoints, dx)

    @property
    def _h(self) -> float:
        return 1 / len(self.inner)

    def _slopes(self, s: Tensor) -> list[Tensor]:
        """tanh of every pre-activation, the opening layer first."""
        u, slope = _Activation.apply(torch.addmm(self.opening_bias, s, self.opening.T))
        slopes = [slope]
        for l, (inner, bias) in enumerate(zip(self.inner, self.inner_bias, strict=True), start=1):
            before = torch.addmm(bias, u, inner.T)
            if l == len(self.inner):
                return [*slopes, torch.tanh(before)]
            value, slope = _Activation.apply(before)
            u = u + self._h * value
            slopes.append(slope)
        return slopes

    def _adjoints(self, slopes: list[Tensor]) -> list[Tensor]:
        """z_l = ∂(wᵀN)/∂u_l, z_0 first; the last is w for every row."""
        adjoints = [self.weight.expand_as(slopes[0])]
        for inner, slope in zip(reversed(self.inner), reversed(slopes[1:]), strict=True):
            adjoints.insert(0, adjoints[0] + self._h * ((slope * adjoints[0]) @ inner))
        return adjoints

    def _gradient(self, s: Tensor, slopes: list[Tensor], adjoints: list[Tensor]) -> Tensor:
        return (slopes[0] * adjoints[0]) @ self.opening + (s @ self.quadratic.T) @ self.quadratic + self.linear

    def _trace(self, slopes: list[Tensor], adjoints: list[Tensor]) -> Tensor:
        opening = self.opening[:, : self.dim]
        curvatures = [(1 - slope.square()) * z for slope, z in zip(slopes, adjoints, strict=True)]
        total = curvatures[0] @ opening.square().sum(1) + self.quadratic[:, : self.dim].square().sum()
        if len(self.inner) == 1:
            return total + self._h * _Curvature.apply(slopes[0], curvatures[1], _pairs(self.inner[0], opening))
        du = slopes[0] * opening.T[:, None, :]
        for inner, slope, curvature in zip(self.inner, slopes[1:], curvatures[1:], strict=True):
            dh = du @ inner.T
            total = total + self._h * (curvature * dh.square().sum(0)).sum(-1)
            du = du + self._h * slope * dh
        return total

    def _hessian_times(self, slopes: list[Tensor], adjoints: list[Tensor], dx: Tensor) -> Tensor:
        opening, quadratic = self.opening[:, : self.dim], self.quadratic[:, : self.dim]
        dh = [dx @ opening.T]
        du = slopes[0] * dh[0]
        for inner, slope in zip(self.inner, slopes[1:], strict=True):
            dh.append(du @ inner.T)
            du = du + self._h * slope * dh[-1]
        dz = torch.zeros_like(du)
        for l in range(len(self.inner), 0, -1):
            dz = dz + self._h * (((1 - slopes[l].square()) * adjoints[l] * dh[l] + slopes[l] * dz) @ self.inner[l - 1])
        outer = (1 - slopes[0].square()) * adjoints[0] * dh[0] + slopes[0] * dz
        return outer @ opening + (dx @ quadratic.T) @ quadratic


class _Activation(torch.autograd.Function):
    """σ(x) = log(2 cosh x) and σ′ = tanh together: the slope is the backward pass that σ needs anyway."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        slope = torch.tanh(x)
        ctx.save_for_backward(slope)
        return 2 * softplus(x, beta=2, threshold=40) - x, slope

    @staticmethod
    def backward(ctx: Any, to_value: Tensor, to_slope: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return to_value * slope + to_slope * (1 - slope.square())


class _Curvature(torch.autograd.Function):
    """Σ_j c_j |(K diag(D) B)_j|² for each row (D, c) of a batch: the second layer's part of a potential's Laplacian.

    |(K diag(D) B)_j|² is a quadratic form in D. With its pairs (a, a+s mod m) laid out by shift s, all rows are one
    product of the pairs D_a D_{a+s} with `pairs` (see `_pairs`), a quarter fewer operations than tangents take; each
    gradient is one product or none, and nothing of size n·m² is kept: it is made in blocks that stay in cache.
    """

    @staticmethod
    def forward(ctx: Any, D: Tensor, c: Tensor, pairs: Tensor) -> Tensor:
        forms, slopes = torch.empty_like(c), torch.empty_like(D)
        for rows in _blocks(len(D)):
            products = _products(D[rows])
            torch.mm(products.flatten(1), pairs.T, out=forms[rows])
            if ctx.needs_input_grad[0]:
                slopes[rows] = _slope(D[rows], (c[rows] @ pairs).view_as(products))
        ctx.save_for_backward(D, c, forms, slopes)
        return (c * forms).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        D, c, forms, slopes = ctx.saved_tensors
        weighted = g[:, None] * c
        to_pairs = D.new_zeros(c.shape[1], _products(D[:1]).numel())
        for rows in _blocks(len(D)):
            to_pairs.addmm_(weighted[rows].T, _products(D[rows]).flatten(1))
        return g[:, None] * slopes, g[:, None] * forms, to_pairs


def _blocks(n: int, size: int = 256) -> list[slice]:
    return [slice(start, start + size) for start in range(0, n, size)]


def _pairs(K: Tensor, B: Tensor) -> Tensor:
    """V (m, (m//2 + 1)·m) with Σ_{s,a} V_{j,(s,a)} D_a D_{a+s} = |(K diag(D) B)_j|², indices mod m."""
    m, shifts = K.shape[1], K.shape[1] // 2 + 1
    a = torch.arange(m, device=K.device)
    partner = (a + torch.arange(shifts, device=K.device)[:, None]) % m
    times = torch.full((shifts, 1), 2.0, dtype=K.dtype, device=K.device)
    times[0] = 1.0
    if m % 2 == 0 and m > 1:
        times[-1] = 1.0  # each of these pairs comes twice
    gram = times * (B @ B.T)[a, partner]
    return (K[:, None, :] * K[:, partner] * gram).flatten(1)


def _products(D: Tensor) -> Tensor:
    """(n, m//2 + 1, m) with [i, s, a] = D_ia D_i,a+s."""
    return D[:, None, :] * _shifted(D)


def _shifted(D: Tensor) -> Tensor:
    """The view (n, m//2 + 1, m) with [i, s, a] = D_i,(a+s mod m)."""
    n, m = D.shape
    return torch.cat([D, D], 1).as_strided((n, m // 2 + 1, m), (2 * m, 1, 1))


def _slope(D: Tensor, R: Tensor) -> Tensor:
    """The gradient in D of Σ_{s,a} R_{s,a} D_a D_{a+s}: one sum over s as it stands, one after shifting back by s."""
    n, shifts, m = R.shape
    skewed = D.new_zeros(n, shifts, m + shifts)
    torch.mul(R, D[:, None, :], out=skewed[:, :, :m])
    wide = m + shifts - 1
    back = skewed.flatten(1)[:, : shifts * wide].view(n, shifts, wide).sum(1)
    slope = (R * _shifted(D)).sum(1) + back[:, :m]
    slope[:, : wide - m] += back[:, m:]
    return slope
