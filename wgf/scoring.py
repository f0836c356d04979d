"""What a density is worth on rows it has not seen: negative log-likelihood, bits, the integrator's share in them."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import NotInvertible
from wgf.law import Law, Pushforward
from wgf.maps import Dynamic

Drawn = TypeVar("Drawn")


@dataclass(frozen=True)
class Score:
    """Of n rows in dimension d under a density: nll = −(1/n) Σ log ρ(x_i), in nats a row, with its standard error.

    bits, a dimension: nll / (d log 2). integrator, |nll − nll'| with nll' by motions in steps half as large, 0 where
    the law has no motion: what of nll is due to the integrator.
    """

    rows: int
    nll: float
    standard_error: float
    bits: float
    integrator: float


@torch.no_grad()
def score(law: Law, x: Float[Tensor, "n d"], block: int = 8192) -> Score:
    """The score of rows under `law`, in float64.

    Raises: InputError for rows of another width or not finite; Unknown where the law has no density; NotInvertible
    where rows are to be carried back and cannot be.
    """
    x = checks.rows("the rows to be scored", x, law.dim).to(law.like.device, torch.float64)
    law = law.to(torch.float64)
    value = log_density(law, x, block)
    finer = halved(law)
    integrator = 0.0 if finer is law else float((log_density(finer, x, block) - value).mean().abs())
    nll, n = -float(value.mean()), len(x)
    error = float(value.std()) / math.sqrt(n) if n > 1 else math.nan
    return Score(n, nll, error, nll / (law.dim * math.log(2)), integrator)


def log_density(law: Law, x: Float[Tensor, "n d"], block: int = 8192) -> Float[Tensor, " n"]:
    """log ρ(x_i), in blocks of bounded size."""
    return torch.cat([law.log_prob(part) for part in x.split(block)])


def halved(law: Law) -> Law:
    """The same law with the step of every motion in it halved; itself where it has none."""
    if not isinstance(law, Pushforward):
        return law
    base, map = halved(law.base), copy.deepcopy(law.map)
    motions = [part for part in map.modules() if isinstance(part, Dynamic)]
    if not motions and base is law.base:
        return law
    for motion in motions:
        motion.multiply(2)
    return Pushforward(base, map, law.folded)


def in_finer_steps(law: Law, draw: Callable[[Law], Drawn], doublings: int) -> tuple[Law, Drawn, int]:
    """What is drawn of a law whose motions take twice as many steps while rows cannot be carried back, the law in those
    steps, and how often they were doubled.

    Raises: NotInvertible where they cannot after so many doublings either.
    """
    done = 0
    while True:
        try:
            return law, draw(law), done
        except NotInvertible:
            if done == doublings:
                raise
        law, done = halved(law), done + 1
