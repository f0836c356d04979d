"""What a map is: transport with its cost and log-determinant, its Jacobian, its inverse."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from wgf import autodiff
from wgf.errors import NotInvertible
from wgf.layers import final


class Transport(NamedTuple):
    """Where points go, what it costs, and how volumes change.

    y (n, d); cost (n,), at least ½|y − x|², equal to it for static maps; logdet (n,) = log|det ∂y/∂x| where it was
    asked
    for; folded (n,) = (det ≤ 0), None for maps that cannot fold.
    """

    y: Tensor
    cost: Tensor
    logdet: Tensor | None = None
    folded: Tensor | None = None


class Map(nn.Module, ABC):
    """A map T of R^d whose rows do not mix."""

    dim: int

    @abstractmethod
    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        """T(x_i) with its cost, and log|det ∇T(x_i)| if asked. x may be a view of the particles: never write on it."""

    @abstractmethod
    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        """T(x_i) and ∇T(x_i), [i, a, b] = ∂T_a/∂x_b, by tangents in forward mode."""

    @abstractmethod
    def inverse(
        self, y: Float[Tensor, "n d"], logdet: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
        """x with T(x) = y, and log|det ∇T⁻¹(y)| if asked; checked, and `NotInvertible` where it cannot be found.

        Where y needs a gradient they have theirs, in y and in the weights; where it needs none, they may have no graph.
        """

    def reset(self, generator: torch.Generator) -> None:
        """Draw initial weights from `generator`; by default keep them. Afterwards a map should be the identity."""

    def recentre(self, x: Float[Tensor, "n d"]) -> None:
        """Write the same map in the frame of the rows x, on which it is to be trained; by default nothing changes."""

    def on(self, rows: slice | Int[Tensor, " m"]) -> "Map":
        """This map, for these of the rows that `recentre` saw, with what it knows of them."""
        return self

    def redraw(self, key: int) -> None:
        """Draw new noise for whatever the map randomises while training (Hutchinson's probes); by default nothing."""

    def gradients(
        self, x: Float[Tensor, "n d"], weights: Sequence[nn.Parameter], pull: Callable[[Tensor], Tensor]
    ) -> list[Tensor]:
        """Σ_i g_iᵀ ∂T(x_i)/∂w, g = pull(T(x)) (n, d), for each of these weights: here by autograd."""
        with torch.enable_grad():
            y = self(x)
        return list(torch.autograd.grad(y, weights, pull(y.detach()), materialize_grads=True))

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """T(x_i)."""
        return self.transport(x).y


class Static(Map):
    """A map given by a formula: subclasses write `move` and `jacobian`, the rest follows.

    Its cost is ½|T(x) − x|²: steps rely on that, and do not ask `transport` for its slope.
    """

    @abstractmethod
    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """T(x_i)."""

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return self.move(x)

    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        if not logdet:
            y = self.move(x)
            return Transport(y, half_square(y - x))
        y, J = self.jacobian(x)
        value, folded = autodiff.log_abs_det(J)
        return Transport(y, half_square(y - x), value, folded)

    def inverse(
        self, y: Float[Tensor, "n d"], logdet: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
        return newton_inverse(self, y, logdet)


class Flow(Map):
    """A map that is the end of a motion: a family of diffeomorphisms, so it cannot fold and is inverted backwards."""

    @abstractmethod
    def split(self, parts: int) -> "list[Flow]":
        """The motion cut into `parts` consecutive flows whose composition it is."""


def half_square(x: Tensor) -> Tensor:
    """½|x_i|² over the last axis."""
    return 0.5 * x.square().sum(-1)


def newton_inverse(
    map: Map, y: Float[Tensor, "n d"], logdet: bool = False, iterations: int = 60, block: int = 4096
) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
    """Solve T(x) = y by Newton with step halving, from x = y; quadratic near the root, one Jacobian an iteration.

    Where y needs a gradient, x and the log-determinant have theirs (`attached`).
    Raises: NotInvertible with the share of rows and the largest residual, if |T(x) − y| stays above rounding
    (10³ machine epsilons of the scale of y) after `iterations`, or if det ∇T ≤ 0 at a solution: another may exist.
    """
    solved = [_newton_block(map, part, iterations) for part in y.split(block)]
    x = torch.cat([part[0] for part in solved])
    if wanted(y):
        x = attached(map, x, y)
        return x, -autodiff.log_abs_det(map.jacobian(x)[1])[0] if logdet else None
    return x, -torch.cat([part[1] for part in solved]) if logdet else None


def attached(map: Map, x: Float[Tensor, "n d"], y: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The solution x of T(x) = y as a function of y and of the map's weights: dx = (∇T)⁻¹(dy − ∂T/∂w dw)."""
    weights = [weight for weight in map.parameters() if weight.requires_grad]
    found: Tensor = _Solution.apply(map, x, y, *weights)
    return found


class _Solution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, map: Map, x: Tensor, y: Tensor, *weights: Tensor) -> Tensor:
        ctx.map, found = map, x.clone()
        ctx.save_for_backward(found, *weights)
        return found

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, *weights = ctx.saved_tensors  # x is this node's output: gradients of gradients come back through it
        g = torch.linalg.solve(ctx.map.jacobian(x)[1].mT, g)
        if not any(ctx.needs_input_grad[3:]):
            return None, None, g, *[None] * len(weights)
        with torch.enable_grad():
            image = ctx.map(x.detach())
        slopes = torch.autograd.grad(image, weights, -g.detach(), allow_unused=True)
        return None, None, g, *[None if slope is None else final(slope, g, x, *weights) for slope in slopes]


def wanted(y: Tensor) -> bool:
    """Whether gradients are to go through an inverse."""
    return torch.is_grad_enabled() and y.requires_grad


@torch.no_grad()
def _newton_block(map: Map, y: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    tolerance = 1e3 * torch.finfo(y.dtype).eps * (1 + y.abs().amax(-1))
    x, step = y.clone(), torch.ones_like(y[:, 0])
    image, J = map.jacobian(x)
    residual = (image - y).norm(dim=-1)
    for _ in range(iterations):
        if bool((residual <= 1e-2 * tolerance).all()):
            break
        direction = torch.linalg.solve_ex(J, image - y).result.nan_to_num()
        trial = x - step[:, None] * direction
        trial_image, trial_J = map.jacobian(trial)
        trial_residual = (trial_image - y).norm(dim=-1)
        better = trial_residual < residual
        x, image, J = (
            torch.where(_like(better, new), new, old) for new, old in ((trial, x), (trial_image, image), (trial_J, J))
        )
        residual = torch.where(better, trial_residual, residual)
        step = torch.where(better, (2 * step).clamp(max=1.0), step / 2)
    value, folded = autodiff.log_abs_det(J)
    _refuse(residual, tolerance, folded)
    return x, value


def _like(mask: Tensor, value: Tensor) -> Tensor:
    return mask.reshape(-1, *[1] * (value.ndim - 1))


def _refuse(residual: Tensor, tolerance: Tensor, folded: Bool[Tensor, " n"]) -> None:
    failed = ~(residual <= tolerance)
    if failed.any():
        raise NotInvertible(
            f"no point of the domain was found for {int(failed.sum())} of {len(failed)} rows: |T(x) − y| stays at"
            f" {float(residual[failed].max()):.2g} (wanted {float(tolerance.max()):.1g}),"
            " so the map is not invertible there"
        )
    if folded.any():
        raise NotInvertible(
            f"det ∇T ≤ 0 at the solution for {int(folded.sum())} of {len(folded)} rows: the map folds there,"
            " so its inverse is not unique"
        )
