"""External potentials ∫V dρ, and the quadratic one."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.functionals.base import HasVariation, OnSamples, OnShards, Pointwise, Term, Variation
from wgf.law import Cloud, Like

SampledGradient: TypeAlias = Callable[[int, torch.Generator], Pointwise]
"""(rows, generator) -> an unbiased estimate of ∇V, (n, d) -> (n, d), from so many rows of the data that V sums over."""


class Quadratic:
    """The quadratic potential V(x) = ½ (x − b)ᵀ A (x − b), with ∇V = A(x − b) in closed form.

    Args: matrix, A (d, d), symmetric positive definite; centre, b (d,), zero by default.
    """

    def __init__(self, matrix: Like, centre: Like | None = None) -> None:
        self.matrix = checks.spd("the matrix of a Quadratic potential", matrix)
        zero = self.matrix.new_zeros(len(self.matrix))
        self.centre = zero if centre is None else checks.vector("the centre", centre, len(zero), zero).to(zero)

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return 0.5 * ((x - self.centre.to(x)) * self.gradient(x)).sum(-1)

    def gradient(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """A (x − b)."""
        return (x - self.centre.to(x)) @ self.matrix.to(x)


class Potential(Term, OnSamples, HasVariation, OnShards):
    """F(ρ) = ∫ V dρ, with δF/δρ = V.

    Args: V, (n, d) -> (n,), differentiable by autograd, in the units of F; gradient, ∇V (n, d) -> (n, d), where it is
    known in closed form (by default V.gradient, if V has one, and autograd otherwise): particles and the maps of saddle
    steps descend by it; sampled_gradient, where V is a
    sum over data, (rows, generator) -> an unbiased estimate of ∇V from so many rows (by default V.sampled_gradient, if
    V has one).
    """

    def __init__(
        self, V: Pointwise, gradient: Pointwise | None = None, sampled_gradient: SampledGradient | None = None
    ) -> None:
        self.V = V
        self.gradient = gradient if gradient is not None else getattr(V, "gradient", None)
        own = getattr(V, "sampled_gradient", None)
        self.sampled_gradient: SampledGradient | None = sampled_gradient if sampled_gradient is not None else own

    def energy(self, cloud: Cloud) -> Float[Tensor, " n"]:
        x = cloud.x
        value = self.V(x)
        if not (torch.is_grad_enabled() and x.requires_grad) or value.requires_grad:
            return value
        if self.gradient is None:
            raise InputError("V is not differentiable by autograd; write it in torch, or pass its gradient=")
        return value + (self.gradient(x.detach()) * (x - x.detach())).sum(-1)  # the value, with that gradient

    def slopes(self, cloud: Cloud, factor: float = 1.0) -> Float[Tensor, "n d"]:
        if self.gradient is None:
            return super().slopes(cloud, factor)
        return factor * self.gradient(cloud.x.detach()).to(cloud.x)

    def first_variation(self, cloud: Cloud) -> Variation:
        return Variation(self.V, self.gradient)

    def probe(self, x: Float[Tensor, "n d"]) -> None:
        """Raise InputError, in one sentence, where V does not map these rows to one number each, or its gradient to one
        row each."""
        try:
            value = self.V(x)
        except (RuntimeError, IndexError, TypeError, ValueError) as error:
            first = str(error).strip().partition("\n")[0]
            raise InputError(f"V cannot be evaluated on particles in {x.shape[1]} dimensions: {first}") from error
        if not isinstance(value, Tensor) or value.shape != x.shape[:1]:
            raise InputError(f"V must map (n, {x.shape[1]}) to (n,), but gave {_shape(value)} for {len(x)} rows")
        slope = x if self.gradient is None else self.gradient(x)
        if not isinstance(slope, Tensor) or slope.shape != x.shape:
            raise InputError(f"the gradient of V must keep the shape (n, {x.shape[1]}), but gave {_shape(slope)}")


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
