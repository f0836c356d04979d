"""A critic fitted to a dual on given particles: the inner problem of a saddle step on its own, and what it is worth."""

import copy
import logging
import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks, keys
from wgf.critics import ScalarField
from wgf.errors import Incompatible, InputError
from wgf.functionals.base import Pointwise
from wgf.functionals.dual import Dual
from wgf.training import Adam, Recipe, Rows, Watch, never

DRAWS = 65_536
"""Draws of Γ that a critic is scored on."""

BLOCK = 4096
"""Rows that a critic is asked for at once where no gradients are kept."""

FEW = 100
"""Draws of Γ that must carry a value: fewer, and it is mostly chance."""

OFF = 0.1
"""How far E_Γ[dρ/dΓ] may be from 1."""

log = logging.getLogger("wgf.fitting")


class Worth(NamedTuple):
    """A dual's value at a critic with its standard error; E_Γ[dρ/dΓ] as the critic has it; how many draws carry it.

    outside, the share of the rows that do not lie in the box that must hold them, None where there is no such box.
    """

    value: float
    error: float
    mass: float
    carried: float
    outside: float | None = None

    def measures(self, name: str) -> dict[str, float]:
        """What a step reports of the critic of the term of this name."""
        found = {f"mass, {name}": self.mass}
        return found if self.outside is None else {**found, f"outside, {name}": self.outside}


def fit(
    dual: Dual,
    critic: ScalarField,
    x: Float[Tensor, "n d"],
    recipe: Recipe = Adam(1500, 4096, 5e-3),
    *,
    seed: int = 0,
    held: int | None = None,
    fresh: bool = True,
    watch: Watch = never,
) -> ScalarField:
    """A copy of `critic` at which sup_u E_ρ a(u) − E_Γ b(u) is nearly reached, ρ the empirical law of the rows x.

    `fresh` draws its weights anew and standardises its inputs; without, training goes on from those it has. Γ is
    sampled afresh in every batch. The best weights are chosen on `held` rows (a tenth, or 4096 if that is less), which
    are not trained on.
    Raises: InputError for bad rows or a bad `held`; Incompatible for another width, and for a
    critic that nothing keeps Lipschitz where it must be; Diverged from training.
    """
    x = checks.rows("the rows x", x)
    kept = min(4096, max(1, len(x) // 10)) if held is None else checks.at_least("held", held, 1)
    if kept >= len(x):
        raise InputError(f"held must be below the number of rows, got {kept} of {len(x)}")
    for name, width in (("critic", critic.dim), ("law Γ", dual.gamma.dim)):
        if width != x.shape[1]:
            raise Incompatible(f"the {name} has {width} dimensions, but the rows have {x.shape[1]}")
    suits(dual, critic)
    fitted = copy.deepcopy(critic).to(x).train().requires_grad_()
    problem = _Fit(dual, fitted, x, kept, seed)
    if fresh:
        fitted.reset(keys.generator(seed, 0, device=x.device))
        fitted.standardise(met(x, problem.z))
    recipe.minimise(problem, fitted, keys.fold(seed, 1), watch)
    return fitted.eval().requires_grad_(False)


@torch.no_grad()
def worth(dual: Dual, critic: Pointwise, x: Float[Tensor, "n d"], draws: int = DRAWS, *, seed: int = 0) -> Worth:
    """What the dual makes of the critic on rows x of ρ and fresh draws of Γ.

    Logs a warning where the number says little: where Γ hardly meets ρ or does not hold it, or few draws carry it.
    """
    z = dual.gamma.sample(draws, keys.generator(seed, 2, device=dual.gamma.like.device)).to(x)
    at_x, at_z = _values(critic, x), _values(critic, z)
    a, b = dual.a(at_x, x), dual.b(at_z, z)
    value, error = float(a.mean() - dual.merge(b) + dual.const), _error(dual, a, b)
    ratio = dual.ratio(lambda _: at_z, z)
    mass, carried = float(ratio.mean()), float(ratio.sum() ** 2 / ratio.square().sum())
    if carried < FEW:
        log.warning("the dual's value %.3g rests on %.0f of %d draws of its reference law", value, carried, draws)
    outside = None if dual.support is None else 1 - float(dual.support.holds(x).double().mean())
    if outside:
        log.warning(
            "%.2g %% of the particles lie outside the set Ω that the dual is taken on, where nothing keeps its critic"
            " down: take a larger margin, or smaller steps",
            100 * outside,
        )
    elif not abs(mass - 1) <= OFF:
        log.warning(
            "the dual's critic gives the particles the mass %.3g under its reference law, where it should be 1: the law"
            " does not cover them, or the critic has not converged",
            mass,
        )
    return Worth(value, error, mass, carried, outside)


def suits(dual: Dual, critic: ScalarField) -> None:
    """Raise Incompatible where h must be L-Lipschitz and neither a penalty nor the critic keeps it so."""
    if dual.slope is None or dual.penalty is not None:
        return
    if critic.constant is None or not critic.constant * dual.steepness <= dual.slope * (1 + 1e-12):
        raise Incompatible(
            f"no penalty keeps h {dual.slope:g}-Lipschitz (weight is 0), and {type(critic).__name__} does not by"
            f" construction; take LipschitzCritic(dim, {dual.slope / dual.steepness:g}), or a weight above 0"
        )


def settle(critic: ScalarField, dual: Dual, x: Float[Tensor, "n d"], key: int) -> None:
    """Standardise a critic on rows of ρ and as many draws of Γ, 65,536 at most."""
    count = min(len(x), DRAWS)
    z = dual.gamma.sample(count, keys.generator(key, device=dual.gamma.like.device)).to(x)
    critic.standardise(met(x, z))


def met(x: Float[Tensor, "n d"], z: Float[Tensor, "m d"]) -> Float[Tensor, "k d"]:
    """As many rows of both, so that a critic knows where it will be asked: on the particles, on Γ, and between."""
    count = min(len(x), len(z))
    return torch.cat([x[:count], z[:count]])


def _values(critic: Pointwise, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
    return torch.cat([critic(part) for part in x.split(BLOCK)])


def _error(dual: Dual, a: Tensor, b: Tensor) -> float:
    """The standard error of a mean of a minus what becomes of b, by its slope in the weight of each draw."""
    with torch.enable_grad():
        weights = torch.full_like(b, 1 / len(b)).requires_grad_()
        (slope,) = torch.autograd.grad(dual.merge(b, weights), weights)
    return math.sqrt(float(a.var() / len(a) + slope.var() / len(b)))


class _Fit:
    """The objective: minus the dual's value plus the critic's penalty, on batches."""

    def __init__(self, dual: Dual, critic: ScalarField, x: Tensor, held: int, seed: int) -> None:
        self.dual, self.critic, self.x, self.held, self.seed = dual, critic, x, held, seed
        self.rows = len(x) - held
        self.z = self._draw(DRAWS, keys.fold(seed, 3))

    def loss(self, rows: Rows, key: int) -> Tensor:
        x = self.x[self.held :][rows]
        return self._minus(x, self._draw(len(x), key), key)

    @torch.no_grad()
    def score(self) -> float:
        return float(self._minus(self.x[: self.held], self.z, self.seed))

    def _minus(self, x: Tensor, z: Tensor, key: int) -> Tensor:
        loss = -self.dual.value(self.critic, x, z)
        return loss if self.dual.penalty is None else loss + self.dual.penalty(self.critic, x, z, keys.fold(key, 1))

    def _draw(self, n: int, key: int) -> Tensor:
        return self.dual.gamma.sample(n, keys.generator(key, device=self.dual.gamma.like.device)).to(self.x)
