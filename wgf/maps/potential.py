"""The OT-Flow potential: ẋ = −∇Φ(x, t) with gradient and exact trace of the Hessian in closed form."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus

from wgf import checks
from wgf.layers import tracked
from wgf.maps.base import half_square
from wgf.maps.curvature import curvature
from wgf.maps.dynamic import Dynamic, at_time, at_times
from wgf.maps.integrate import RK4, RungeKutta, Scheme
from wgf.maps.slope import Descent, descent, slope_of
from wgf.maps.spread import spreading
from wgf.maps.sweep import Course, swept
from wgf.networks import raise_frequency


class PotentialFlow(Dynamic):
    """ẋ = −∇Φ(t, x). Subclasses write the gradient of Φ in space and time, and what else a dynamic map needs.

    With E[T∫½|v|²dt]/τ + E φ(x(T)) to be least, Φ = U/λ, λ = T/τ: ∂_tU = |∇U|²/2λ, U(T, ·) = φ, and paths are straight.
    """

    hamilton_jacobi: float = 0.0
    """β ≥ 0: while training, the cost is larger by βT∫|∂_tΦ − ½|∇Φ|²|dt, zero for optimal motions (OT-Flow)."""

    @abstractmethod
    def gradient(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d+1"]:
        """(∇_xΦ, ∂_tΦ) at (t, x_i)."""

    def _motion(self, t: float, x: Tensor) -> tuple[Tensor, ...]:
        if not (self.training and self.hamilton_jacobi):
            return super()._motion(t, x)
        gradient = self.gradient(t, x)
        v = -gradient[:, : self.dim]
        return v, self.hamilton_jacobi * (gradient[:, self.dim] - half_square(v)).abs()

    def velocity(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return -self.gradient(t, x)[:, : self.dim]


class OTFlow(PotentialFlow):
    """v = −∇Φ, Φ(s) = wᵀN(s) + ½|As|² + bᵀs + c, s = (x, t), N a residual network with σ′ = tanh.

    u_0 = σ(K_0 s + b_0), u_l = u_{l−1} + h σ(K_l u_{l−1} + b_l), N = u_L, h = 1/L, σ(x) = log(2 cosh x). Gradient and
    trace are closed forms (no autograd inside): with D_l = tanh, E_l = 1 − D_l², z the adjoint of N,
    tr ∇²Φ = Σ_l h_l ⟨E_l z_l, Σ_a (∂_a(K_l u_{l−1}))²⟩ + |A_x|².
    Source: Onken, Wu Fung, Li, Ruthotto, *OT-Flow*, AAAI 2021, arXiv 2006.00104, eqs. (12)–(15).

    Starts as the identity (w = b = 0, A of order 10⁻⁴, since A = 0 would be a stationary point).
    Args: width, m ≥ 1; depth, the number of layers of N, at least 2; rank, rows of A (min(10, d+1) by default);
    frequency, f ≥ 1, of the features N starts from (`MLP`): a motion that tears modes apart is steep; hamilton_jacobi,
    the weight of the Hamilton–Jacobi residual while training; the others as in `Dynamic`.
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
        frequency: float = 1.0,
        evaluation_steps: int | None = None,
        checkpoint: bool = False,
        hamilton_jacobi: float = 0.0,
        random_times: bool = False,
    ) -> None:
        super().__init__(dim, horizon, steps, scheme, evaluation_steps, checkpoint, random_times)
        self.hamilton_jacobi = checks.not_negative("hamilton_jacobi", hamilton_jacobi)
        self.frequency = checks.from_one("frequency", frequency)
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
            raise_frequency(self.opening, self.opening_bias, self.frequency, generator)
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
        s = at_time(t, x)
        slopes = self._slopes(s)
        return self._gradient(s, slopes, self._adjoints(slopes))

    def velocity(self, t: float, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        if len(self.inner) > 1 or isinstance(t, Tensor):
            return super().velocity(t, x)
        return descent(x, t, *self._two_layers)

    def _swept(self, x: Tensor, ends: bool) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor]:
        another = type(self) is not OTFlow or (self.training and self.hamilton_jacobi)  # velocity, or cost
        another = another or not tracked(x, *self._two_layers)  # nothing is then to be kept
        if another or len(self.inner) > 1 or self.checkpoint or not isinstance(self.scheme, RungeKutta):
            return super()._swept(x, ends)
        course = Course(self.scheme, self._times, self.end - self.start, ends)
        return swept(x, Descent, course, *self._two_layers)

    @property
    def _two_layers(self) -> tuple[Tensor, ...]:
        outer = self.inner[0], self.inner_bias[0], self.weight, self.quadratic, self.linear
        return self.opening, self.opening_bias, *outer

    def divergences(self, times: Sequence[float], points: Sequence[Float[Tensor, "n d"]]) -> Float[Tensor, "k n"]:
        rows = at_times(times, points)
        if len(self.inner) == 1 and 3 * self.dim <= len(
            self.weight
        ):  # past that pairs, which keep nothing, are as fast
            outer = self.inner[0], self.inner_bias[0], self.weight, self.quadratic
            return spreading(rows, self.opening, self.opening_bias, *outer).view(len(times), -1)
        slopes = self._slopes(rows)
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
        bends = [(1 - slope.square()) * z for slope, z in zip(slopes, adjoints, strict=True)]
        total = bends[0] @ opening.square().sum(1) + self.quadratic[:, : self.dim].square().sum()
        if len(self.inner) == 1:
            return total + self._h * curvature(slopes[0], bends[1], self.inner[0], opening)
        du = slopes[0] * opening.T[:, None, :]
        for inner, slope, bend in zip(self.inner, slopes[1:], bends[1:], strict=True):
            dh = du @ inner.T
            total = total + self._h * (bend * dh.square().sum(0)).sum(-1)
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
        slope = slope_of(x)
        ctx.save_for_backward(slope)
        return 2 * softplus(x, beta=2, threshold=40) - x, slope

    @staticmethod
    def backward(ctx: Any, to_value: Tensor, to_slope: Tensor) -> Tensor:
        (slope,) = ctx.saved_tensors
        return to_value * slope + to_slope * (1 - slope.square())
