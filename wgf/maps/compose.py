"""Maps made of maps: compositions, inverses, extrapolations, and explicit gradient moves."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from wgf import autodiff, keys
from wgf.errors import InputError
from wgf.functionals.base import Variation
from wgf.maps.base import Map, Static, Transport


class Compose(Map):
    """T_K ∘ … ∘ T_1 for maps in the order in which they act.

    The cost of going through the stops is the squared length of the path: K Σ_k cost_k ≥ ½|y − x|², by Cauchy–Schwarz.
    """

    def __init__(self, maps: Sequence[Map]) -> None:
        super().__init__()
        if not maps:
            raise InputError("Compose needs at least one map")
        if len({map.dim for map in maps}) > 1:
            raise InputError(f"composed maps must have one dimension, got {[map.dim for map in maps]}")
        self.maps, self.dim = nn.ModuleList(maps), maps[0].dim

    def reset(self, generator: torch.Generator) -> None:
        for map in self.parts:
            map.reset(generator)

    def redraw(self, key: int) -> None:
        for k, map in enumerate(self.parts):
            map.redraw(keys.fold(key, k))

    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        steps = []
        for map in self.parts:
            steps.append(map.transport(x, logdet))
            x = steps[-1].y
        cost = len(steps) * torch.stack([step.cost for step in steps]).sum(0)
        folds = [step.folded for step in steps if step.folded is not None]
        changes = [step.logdet for step in steps if step.logdet is not None]
        total = torch.stack(changes).sum(0) if logdet else None
        return Transport(x, cost, total, torch.stack(folds).any(0) if folds else None)

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        x, J = self.parts[0].jacobian(x)
        for map in self.parts[1:]:
            x, outer = map.jacobian(x)
            J = outer @ J
        return x, J

    def inverse(
        self, y: Float[Tensor, "n d"], logdet: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
        total = y.new_zeros(len(y))
        for map in reversed(self.parts):
            y, part = map.inverse(y, logdet)
            total = total if part is None else total + part
        return y, total if logdet else None

    @property
    def parts(self) -> list[Map]:
        """T_1 … T_K."""
        return cast("list[Map]", list(self.maps))


class Inverse(Map):
    """T⁻¹ as a map: noise to data, where T took data to noise. Differentiable, in the point and in T's weights.

    The solution x of T(x) = y is found without a graph; one Newton step x − ∇T(x)⁻¹(T(x) − y) with ∇T as it stands
    does not move it and has its derivatives (implicit function theorem), as far as the first.
    """

    def __init__(self, map: Map) -> None:
        super().__init__()
        self.map, self.dim = map, map.dim

    def reset(self, generator: torch.Generator) -> None:
        self.map.reset(generator)

    def redraw(self, key: int) -> None:
        self.map.redraw(key)

    def transport(self, x: Float[Tensor, "n d"], logdet: bool = False) -> Transport:
        tracked = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.map.parameters()))
        y, value = self.map.inverse(x, logdet and not tracked)
        if not tracked:
            return Transport(y, self.map.transport(y).cost, value)
        with torch.no_grad():
            _, J = self.map.jacobian(y)
        y = y - torch.linalg.solve(J, (self.map.transport(y).y - x)[..., None])[..., 0]
        moved = self.map.transport(y, logdet)
        return Transport(y, moved.cost, None if moved.logdet is None else -moved.logdet)

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        y, _ = self.map.inverse(x)
        return y, torch.linalg.inv(self.map.jacobian(y)[1])

    def inverse(
        self, y: Float[Tensor, "n d"], logdet: bool = False
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"] | None]:
        moved = self.map.transport(y, logdet)
        return moved.y, moved.logdet


class Extrapolated(Static):
    """2T − id, the second half of the variational implicit midpoint rule; det(2∇T − I) may vanish: it can fold."""

    def __init__(self, map: Map) -> None:
        super().__init__()
        self.map, self.dim = map, map.dim

    def reset(self, generator: torch.Generator) -> None:
        self.map.reset(generator)

    def recentre(self, x: Float[Tensor, "n d"]) -> None:
        self.map.recentre(x)

    def redraw(self, key: int) -> None:
        self.map.redraw(key)

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return 2 * self.map(x) - x

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        y, J = self.map.jacobian(x)
        return 2 * y - x, 2 * J - torch.eye(self.dim, dtype=x.dtype, device=x.device)


class Explicit(Static):
    """id − τ∇ψ, an explicit gradient move along a frozen first variation ψ; J = I − τ∇²ψ.

    Args: psi, a Variation or a function (n, d) -> (n,); tau, the step; dim, d.
    """

    def __init__(self, psi: Variation | Callable[[Tensor], Tensor], tau: float, dim: int) -> None:
        super().__init__()
        self.psi = psi if isinstance(psi, Variation) else Variation(psi)
        self.tau, self.dim = tau, dim

    def move(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return x - self.tau * self.psi.gradient(x, x.requires_grad)

    def jacobian(self, x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d d"]]:
        tracked = torch.is_grad_enabled() and x.requires_grad
        y, J = autodiff.jacobian(self.move, x)
        return (y, J) if tracked else (y.detach(), J.detach())
