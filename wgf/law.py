"""Probability laws: what flows start from, end in and are compared with; and clouds, their particles."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wgf import autodiff, checks
from wgf.errors import InputError, Unknown

if TYPE_CHECKING:
    from wgf.maps.base import Map

Like: TypeAlias = Sequence[float] | Sequence[Sequence[float]] | Tensor


@dataclass(frozen=True)
class Shared:
    """The particles x (N, d) that a part of a cloud belongs to, and what joins numbers of its rows to all others'."""

    x: Float[Tensor, "N d"]
    join: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Cloud:
    """Particles x (n, d) with, where known, their densities: log ρ(x_i) = log_base_i − logdet_i.

    `logdet` is log|det| of the map that carried base points to `x`; `log_base` the base log-density at those points.
    `shared`, where x are only the rows that this process owns: the empirical law is then that of `whole`.
    """

    x: Float[Tensor, "n d"]
    logdet: Float[Tensor, " n"] | None = None
    log_base: Float[Tensor, " n"] | None = None
    shared: Shared | None = None

    @property
    def whole(self) -> Float[Tensor, "N d"]:
        """All particles of the empirical law: x, unless other processes own some of them."""
        return self.x if self.shared is None else self.shared.x

    def joined(self, values: Float[Tensor, "n ..."]) -> Float[Tensor, "N ..."]:
        """Numbers of the rows of x together with those of all other rows of `whole`, which their processes compute."""
        return values if self.shared is None else self.shared.join(values)

    @property
    def log_density(self) -> Float[Tensor, " n"]:
        """log ρ(x_i); raises `Unknown` where no density was carried along."""
        if self.logdet is None or self.log_base is None:
            raise Unknown(
                "these particles carry no density: start from a law with log_prob and a stepper that keeps it"
            )
        return self.log_base - self.logdet

    def __getitem__(self, index: slice | Tensor) -> "Cloud":
        logdet, log_base = (None if part is None else part[index] for part in (self.logdet, self.log_base))
        return Cloud(self.x[index], logdet, log_base)


class Law(ABC):
    """A probability law on R^d: it can be sampled, and may have a density."""

    @property
    @abstractmethod
    def like(self) -> Tensor:
        """A tensor whose last axis has length d and whose dtype and device are those of the samples."""

    @property
    def dim(self) -> int:
        """The dimension d."""
        return self.like.shape[-1]

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """Draw n independent rows, from `generator` if given (torch's global one otherwise)."""

    @abstractmethod
    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """log ρ(x_i); raises `Unknown` where the law has no density that can be evaluated."""

    def score(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """∇log ρ(x_i), by autograd where there is no closed form; raises as `log_prob` does."""
        return autodiff.gradient(self.log_prob, x)

    @abstractmethod
    def to(self, target: torch.dtype | torch.device | str) -> "Law":
        """The same law in another dtype or on another device."""

    @property
    @abstractmethod
    def has_density(self) -> bool:
        """Whether `log_prob` answers."""


def _normal(n: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(n, like.shape[-1], dtype=like.dtype, device=like.device, generator=generator)


def moments(x: Float[Tensor, "n d"]) -> tuple[Float[Tensor, " d"], Float[Tensor, "d d"]]:
    """The mean and the (biased, 1/n) covariance of the rows."""
    mean = x.mean(0)
    covariance = torch.stack([centred.T @ centred for centred in (part - mean for part in x.split(8192))]).sum(0) / len(
        x
    )
    return mean, (covariance + covariance.T) / 2


class Gaussian(Law):
    """N(mean, covariance) with density (2π)^{−d/2} det(S)^{−1/2} exp(−½(x−m)ᵀS⁻¹(x−m)).

    Args: mean (d,); covariance (d, d), symmetric positive definite, in squared units of x.
    Raises: InputError for a non-finite entry, a wrong shape, or a covariance that is not symmetric positive definite.
    """

    def __init__(self, mean: Like, covariance: Like) -> None:
        self.mean = checks.vector("the mean of a Gaussian", mean)
        spd = checks.spd("the covariance of a Gaussian", covariance, self.mean.numel(), self.mean)
        self.covariance = spd.to(self.mean)
        self._factor = torch.linalg.cholesky(self.covariance)
        eye = torch.eye(self.dim, dtype=torch.float64, device=self._factor.device)
        inverse = torch.linalg.solve_triangular(self._factor.double(), eye, upper=False)  # in double, for all rows
        self._inverse_factor, self._precision = (part.to(self._factor) for part in (inverse, inverse.T @ inverse))

    @classmethod
    def standard(cls, dim: int, scale: float = 1.0, dtype: torch.dtype | None = None) -> "Gaussian":
        """N(0, scale² I) in `dim` dimensions."""
        return cls(torch.zeros(dim, dtype=dtype), checks.positive("scale", scale) ** 2 * torch.eye(dim, dtype=dtype))

    @classmethod
    def fit(cls, x: Float[Tensor, "n d"], ridge: float = 0.0) -> "Gaussian":
        """The Gaussian with the mean and the (biased, 1/n) covariance of the rows, plus `ridge` on the diagonal."""
        mean, covariance = moments(x)
        return cls(mean, covariance + ridge * torch.eye(x.shape[1], dtype=x.dtype, device=x.device))

    @property
    def like(self) -> Tensor:
        return self.mean

    @property
    def has_density(self) -> bool:
        return True

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        return torch.addmm(self.mean, _normal(n, self.mean, generator), self._factor.T)

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        white = self.whiten(_points(x, self.mean))
        constant = 0.5 * self.dim * math.log(2 * math.pi) + self._factor.diagonal().log().sum()
        return -0.5 * white.square().sum(-1) - constant

    def whiten(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """L⁻¹(x − m) with S = LLᵀ: standard normal when x has this law."""
        return (x - self.mean) @ self._inverse_factor.T

    def score(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """−S⁻¹(x − m)."""
        return (self.mean - _points(x, self.mean)) @ self._precision

    def to(self, target: torch.dtype | torch.device | str) -> "Gaussian":
        return Gaussian(self.mean.to(target), self.covariance.to(target))


class Mixture(Law):
    """Σ_k w_k ρ_k of laws on one space; its density is known if every component's is.

    Raises: InputError for no components, components of different dimension, or weights that are not positive.
    """

    def __init__(self, components: Sequence[Law], weights: Like | None = None) -> None:
        if not components:
            raise InputError("a Mixture needs at least one component")
        self.components = tuple(components)
        dims = {law.dim for law in self.components}
        if len(dims) > 1:
            raise InputError(f"the components of a Mixture must have one dimension, got {sorted(dims)}")
        raw = [1.0] * len(self.components) if weights is None else weights
        weights = checks.vector("the weights of a Mixture", raw, len(self.components), self.like)
        self.weights = weights.to(self.like)
        if (self.weights <= 0).any():
            raise InputError(f"the weights of a Mixture must be positive, got {self.weights.tolist()}")
        self.weights = self.weights / self.weights.sum()

    @property
    def like(self) -> Tensor:
        return self.components[0].like

    @property
    def has_density(self) -> bool:
        return all(law.has_density for law in self.components)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        which = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        x = self.like.new_empty(n, self.dim)
        for k, law in enumerate(self.components):
            chosen = which == k
            x[chosen] = law.sample(int(chosen.sum()), generator)
        return x

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        parts = torch.stack([law.log_prob(x) for law in self.components], -1)
        return torch.logsumexp(parts + self.weights.log(), -1)

    def to(self, target: torch.dtype | torch.device | str) -> "Mixture":
        return Mixture([law.to(target) for law in self.components], self.weights.to(target))


class Box(Law):
    """The uniform law on the box [low_1, high_1] × … × [low_d, high_d].

    Raises: InputError unless low < high in every coordinate.
    """

    def __init__(self, low: Like, high: Like) -> None:
        self.low = checks.vector("the lower corner of a Box", low)
        self.high = checks.vector("the upper corner of a Box", high, self.low.numel()).to(self.low)
        if not (self.low < self.high).all():
            raise InputError(
                f"a Box needs low < high in every coordinate, got {self.low.tolist()} and {self.high.tolist()}"
            )

    @property
    def like(self) -> Tensor:
        return self.low

    @property
    def log_volume(self) -> Tensor:
        """log |Ω|."""
        return (self.high - self.low).log().sum()

    @property
    def has_density(self) -> bool:
        return True

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        unit = torch.rand(n, self.dim, dtype=self.low.dtype, device=self.low.device, generator=generator)
        return self.low + (self.high - self.low) * unit

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        x = _points(x, self.low)
        return torch.where(self.holds(x), -self.log_volume, x.new_tensor(-math.inf))

    def score(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Zero: the density is flat inside, and has no slope outside."""
        return torch.zeros_like(_points(x, self.like))

    def holds(self, x: Float[Tensor, "n d"]) -> Bool[Tensor, " n"]:
        """Whether x_i lies in the box, its faces included."""
        return ((x >= self.low) & (x <= self.high)).all(-1)

    def to(self, target: torch.dtype | torch.device | str) -> "Box":
        return Box(self.low.to(target), self.high.to(target))


class OfRows(Law, ABC):
    """A law of data, whose samples come from rows: parts of it can be drawn that share none."""

    @abstractmethod
    def disjoint(self, sizes: Sequence[int], generator: torch.Generator) -> Float[Tensor, "n d"]:
        """sizes[0] samples, then sizes[1], …, each part from rows of its own."""


class Empirical(OfRows):
    """(1/n) Σ δ_{x_i}: rows drawn with replacement; no density."""

    def __init__(self, x: Float[Tensor, "n d"]) -> None:
        self.x = checks.rows("the samples of an Empirical law", x)

    @property
    def like(self) -> Tensor:
        return self.x

    @property
    def has_density(self) -> bool:
        return False

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        chosen = torch.randint(len(self.x), (n,), generator=generator, device=self.x.device)
        return self.x[chosen]

    def disjoint(self, sizes: Sequence[int], generator: torch.Generator) -> Float[Tensor, "n d"]:
        """sizes[0] rows, then sizes[1], …, each drawn from a part of the data of its own, in proportion to the sizes.

        No row comes twice where a part has as many as are wanted of it.
        Raises: InputError for fewer data rows than parts.
        """
        wanted, n = [size for size in sizes if size], len(self.x)
        if n < len(wanted):
            raise InputError(f"{n} data rows cannot be split in {len(wanted)} parts; hold none out, or take more data")
        shares = [max(1, n * size // sum(wanted)) for size in wanted[:-1]]
        while sum(shares) >= n:
            shares[shares.index(max(shares))] -= 1
        order = torch.randperm(n, generator=generator, device=self.x.device)
        parts = self.x[order].split([*shares, n - sum(shares)])
        return torch.cat(
            [
                part[:size] if size <= len(part) else Empirical(part).sample(size, generator)
                for part, size in zip(parts, wanted, strict=True)
            ]
        )

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        raise Unknown("an empirical law has no density")

    def to(self, target: torch.dtype | torch.device | str) -> "Empirical":
        return Empirical(self.x.to(target))


class Pushforward(Law):
    """T_#ρ: samples are T(x), x ~ ρ; log density ρ(T⁻¹(y)) − log|det ∇T(T⁻¹(y))|.

    `folded` is the share of rows on which T was seen to fold (det ≤ 0); where it is positive the density is refused.
    """

    def __init__(self, base: Law, map: "Map", folded: float = 0.0) -> None:
        self.base, self.map, self.folded = base, map, folded

    @property
    def like(self) -> Tensor:
        return self.base.like

    @property
    def has_density(self) -> bool:
        try:
            return self._chain(unfolded=True)[0].has_density
        except Unknown:
            return False

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        first, maps = self._chain()
        cloud = Cloud(first.sample(n, generator))
        for map in maps:
            cloud = advance(cloud, map)
        return cloud.x

    def cloud(self, n: int, generator: torch.Generator | None = None) -> Cloud:
        """n samples with their densities, carried forward through the maps: no inversion."""
        first, maps = self._chain(unfolded=True)
        cloud = _scored(first, n, generator)
        for map in maps:
            cloud = advance(cloud, map)
        return cloud

    def rsample_and_log_prob(
        self, n: int, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
        """n samples y = T(x) and log ρ(y), both differentiable in the weights of the maps: x ~ base stays as drawn.

        Raises: Unknown where the base has no density.
        """
        first, maps = self._chain(unfolded=True)
        x = first.sample(n, generator)
        value = first.log_prob(x)
        for map in maps:
            moved = map.transport(x, logdet=True)
            assert moved.logdet is not None
            x, value = moved.y, value - moved.logdet
        return x, value

    def log_prob(self, y: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        first, maps = self._chain(unfolded=True)
        y = _points(y, self.like)
        total = torch.zeros_like(y[:, 0])
        for map in reversed(maps):
            y, logdet = map.inverse(y, logdet=True)
            assert logdet is not None
            total = total + logdet
        return first.log_prob(y) + total

    def _chain(self, unfolded: bool = False) -> tuple[Law, list["Map"]]:
        """The first law and the maps since, in the order in which they act; paths may be deeper than the stack."""
        law: Law = self
        maps: list[Map] = []
        while isinstance(law, Pushforward):
            if unfolded:
                law._refuse_folds()
            maps.insert(0, law.map)
            law = law.base
        return law, maps

    def to(self, target: torch.dtype | torch.device | str) -> "Pushforward":
        return Pushforward(self.base.to(target), copy.deepcopy(self.map).to(target), self.folded)

    def _refuse_folds(self) -> None:
        if self.folded > 0:
            raise Unknown(
                f"this map folds space (det ≤ 0 on {self.folded:.2%} of the rows), so its law has no single-branch"
                " density; take smaller steps"
            )


class Adapted(Law):
    """A torch distribution as a law; its `event_shape` must be (d,)."""

    def __init__(self, distribution: torch.distributions.Distribution) -> None:
        if len(distribution.event_shape) != 1 or distribution.batch_shape:
            raise InputError(
                f"Adapted needs a distribution with event_shape (d,) and no batch, got event_shape"
                f" {tuple(distribution.event_shape)} and batch_shape {tuple(distribution.batch_shape)};"
                " torch.distributions.Independent moves batch axes into the event"
            )
        self.distribution = distribution
        with torch.random.fork_rng():
            self._like = distribution.sample()

    @property
    def like(self) -> Tensor:
        return self._like

    @property
    def has_density(self) -> bool:
        return True

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        if generator is None:
            return self.distribution.sample((n,))
        seed = torch.randint(2**62, (1,), generator=generator, device=generator.device)
        with _seeded(self._like.device, int(seed)):
            return self.distribution.sample((n,))

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        return self.distribution.log_prob(x)

    def to(self, target: torch.dtype | torch.device | str) -> "Law":
        if isinstance(target, torch.dtype):
            same = target == self._like.dtype
        else:
            place, ours = torch.device(target), self._like.device
            same = place.type == ours.type and place.index in (None, ours.index)
        if same:
            return self
        raise InputError(f"a torch distribution cannot be moved to {target}; build it there and adapt it again")


@contextmanager
def _seeded(device: torch.device, seed: int) -> Iterator[None]:
    """The global generator of `device` forked and seeded: torch.distributions know no other."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        if on_gpu:
            torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
        yield


def _points(x: Tensor, like: Tensor) -> Tensor:
    """Return `x` if it is rows (n, d) of the width, dtype and device of `like`."""
    d = like.shape[-1]
    if not isinstance(x, Tensor) or x.ndim != 2 or x.shape[1] != d:
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"log_prob needs a tensor of shape (n, {d}), got {got}")
    if x.device != like.device or torch.promote_types(x.dtype, like.dtype) != like.dtype:
        return checks.alike("x", x, "the law", like)
    return x


def _scored(law: Law, n: int, generator: torch.Generator | None) -> Cloud:
    x = law.sample(n, generator)
    return Cloud(x, x.new_zeros(n), law.log_prob(x) if law.has_density else None)


def advance(cloud: Cloud, map: "Map", block: int = 8192) -> Cloud:
    """The image of a cloud, block by block and without gradients; densities follow where the cloud carries them."""
    moved = [transported(part, map) for part in (cloud[i : i + block] for i in range(0, len(cloud.x), block))]
    y = torch.cat([part.x for part in moved])
    logdet = None if cloud.logdet is None else torch.cat([part.logdet for part in moved if part.logdet is not None])
    return Cloud(y, logdet, cloud.log_base)


def transported(cloud: Cloud, map: "Map") -> Cloud:
    """The image of one block of a cloud, without gradients."""
    with torch.no_grad():
        moved = map.transport(cloud.x, logdet=cloud.logdet is not None)
    if cloud.logdet is None or moved.logdet is None:
        return replace(cloud, x=moved.y)
    return replace(cloud, x=moved.y, logdet=cloud.logdet + moved.logdet)
