"""One split of a data set: its hierarchical posterior, reference draws of it, and what draws predict of other rows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from validation.nuts import Draws, Nuts, required
from wgf.data import Covertype, Raetsch
from wgf.targets import Condensed, Design, HierarchicalPosterior, LogisticLikelihood, Whitened, along_axes

MANY = 50_000
"""Training rows from which on the likelihood is condensed: all flows and chains then run on some of the rows."""

PREDICTIONS = 300_000_000
"""Draws × held-out rows: of more, evenly spaced draws predict."""


class Marks(NamedTuple):
    """The share of held-out rows whose likelier class is right, and the mean log-probability of the right class."""

    accuracy: float
    log_likelihood: float


class Split:
    """A random 4:1 split; features standardised by the training part, an intercept last, under the same prior.

    `rough` whitens: Laplace's law, and of many rows, which leave some weights with skewed marginals, the law along its
    axes.
    """

    def __init__(self, name: str, seed: int) -> None:
        table = (Covertype() if name == "covtype" else Raetsch(name)).load()
        train, test = table.split(0.8, seed)
        assert train.y is not None
        assert test.y is not None
        design = Design.fit(train.X, train.names)
        posterior = HierarchicalPosterior(design(train.X), train.y)
        self.name, self.seed, self.X, self.y = name, seed, design(test.X), test.y
        self.laplace = posterior.laplace()
        self.posterior = posterior.condensed(self.laplace) if posterior.rows > MANY else posterior
        self.rough = along_axes(self.posterior.value, self.laplace) if self.many else self.laplace
        self.whitened = Whitened(self.posterior, self.rough)

    @property
    def many(self) -> bool:
        """Whether the likelihood is condensed."""
        return isinstance(self.posterior.likelihood, Condensed)

    def marks(self, z: Float[Tensor, "n d"], weights: Float[Tensor, " n"] | None = None) -> Marks:
        """What draws z, with weights that sum to 1 where they are not even, predict of the held-out rows."""
        stride = 1 if weights is not None else -(-len(z) * len(self.y) // PREDICTIONS)
        p = self.posterior.predict(z[::stride].float(), self.X.float(), None if weights is None else weights.float())
        right = torch.where(self.y > 0, p, 1 - p).double()
        return Marks(float((right > 0.5).double().mean()), float(right.log().mean()))

    def reference(self, sampler: Nuts) -> Draws:
        """Draws of the posterior; of a condensed one, weighed by what the likelihood of all rows makes of them."""
        likelihood, full = self.posterior.likelihood, self.posterior.full
        if isinstance(likelihood, Condensed):
            quadratic = (likelihood.centre, likelihood.slope, likelihood.curvature)
            return self._weighed(sampler(self.laplace, (*_rows(likelihood.kept), *quadratic), self.seed))
        zero = full.signed.new_zeros
        return sampler(
            self.laplace, (*_rows(full), zero(full.dim), zero(full.dim), zero(full.dim, full.dim)), self.seed
        )

    def _weighed(self, draws: Draws) -> Draws:
        w = draws.x.flatten(0, 1)[:, :-1]
        change = self.posterior.full.value(w) - self.posterior.likelihood.value(w)
        return replace(draws, weights=torch.softmax(change, 0).view(draws.x.shape[:2]))


def _rows(likelihood: LogisticLikelihood) -> tuple[Tensor, Tensor]:
    return likelihood.signed.float(), likelihood.weights


def log_density(shape: float = 1.0, rate: float = 0.01) -> Callable[..., Any]:
    """The hierarchical log-posterior in jax.numpy, of z = (w, log α), on weighted rows and a quadratic of w.

    Σ_i c_i log σ(S_i w) + b·(w − m) − ½ (w − m)ᵀB(w − m) + (d_w/2 + shape) a − eᵃ(½|w|² + rate), with data S, whose
    dtype is that of the margins, c, m, b and B; sums are in the dtype of c.
    """
    jax = required("jax")
    jnp = jax.numpy

    @jax.custom_vjp
    def likelihood(w: Any, S: Any, c: Any) -> Any:
        return forward(w, S, c)[0]

    def forward(w: Any, S: Any, c: Any) -> tuple[Any, Any]:
        margin = S @ w.astype(S.dtype)
        return (c * jax.nn.log_sigmoid(margin).astype(c.dtype)).sum(), (margin, S, c)

    def backward(kept: Any, slope: Any) -> tuple[Any, None, None]:
        margin, S, c = kept
        return slope * ((c.astype(S.dtype) * jax.nn.sigmoid(-margin)) @ S).astype(c.dtype), None, None

    likelihood.defvjp(forward, backward)

    def density(z: Any, S: Any, c: Any, m: Any, b: Any, B: Any) -> Any:
        w, a = z[:-1], z[-1]
        change = w - m
        data = likelihood(w, S, c) + b @ change - 0.5 * change @ B @ change
        return data + (0.5 * w.size + shape) * a - jnp.exp(a) * (0.5 * w @ w + rate)

    return density
