"""Reference draws by the no-U-turn sampler of numpyro, with what they are worth."""

import functools
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import InputError
from wgf.law import Gaussian


@dataclass(frozen=True)
class Draws:
    """Draws x (chains, n, d), float64, with divergent transitions counted, and weights (chains, n) that sum to 1.

    Weights are even unless the draws were corrected by importance.
    """

    x: Float[Tensor, "chains n d"]
    divergent: int
    weights: Float[Tensor, "chains n"]

    @property
    def mean(self) -> Float[Tensor, " d"]:
        """Σ w x."""
        return torch.einsum("cn,cnd->d", self.weights, self.x)

    @property
    def sd(self) -> Float[Tensor, " d"]:
        """√Σ w (x − mean)²."""
        return torch.einsum("cn,cnd->d", self.weights, (self.x - self.mean).square()).sqrt()

    @property
    def mean_error(self) -> Float[Tensor, " d"]:
        """Monte-Carlo standard errors of the mean: sd/√ESS."""
        return self.sd / (self.carried * self.ess(self.x)).sqrt()

    @property
    def sd_error(self) -> Float[Tensor, " d"]:
        """Monte-Carlo standard errors of the sd, relative: half those of the variance, from the ESS of squares."""
        square = (self.x - self.mean).square()
        spread = square.flatten(0, 1).std(0) / square.flatten(0, 1).mean(0)
        return 0.5 * spread / (self.carried * self.ess(square)).sqrt()

    @property
    def carried(self) -> float:
        """(Σw)²/Σw² as a share of the draws: 1 for even weights."""
        return 1 / (float(self.weights.square().sum()) * self.weights.numel())

    @property
    def rhat(self) -> Float[Tensor, " d"]:
        """Split R̂ of each coordinate (Gelman et al. 2013): 1 where the halves of all chains agree."""
        return self._diagnosed("split_gelman_rubin", self.x)

    def ess(self, values: Float[Tensor, "chains n d"]) -> Float[Tensor, " d"]:
        """Effective sample size of a function of the draws, by its autocorrelations over all chains."""
        return self._diagnosed("effective_sample_size", values)

    def _diagnosed(self, name: str, values: Tensor) -> Tensor:
        found = getattr(required("numpyro.diagnostics"), name)(values.numpy())
        return torch.from_numpy(np.asarray(found, dtype=np.float64))


class Nuts:
    """NUTS on log π(z; data), in the coordinates that whiten `law`, with diagonal mass and step adapted in the warm-up.

    Compiled once for all data of the same shapes. Chains start from draws of N(0, 4 I) there, and run side by side.
    Source: Hoffman & Gelman 2014 (JMLR 15), as numpyro has it; float64.

    Args: log_density, (z (d,), *data) -> a number, in jax.numpy; draws kept of each chain after `warmup`; chains; seed.
    Raises: InputError where numpyro is not installed, and for counts below 1.
    """

    def __init__(
        self,
        log_density: Callable[..., Any],
        draws: int = 2000,
        warmup: int = 500,
        chains: int = 4,
        target: float = 0.8,
    ) -> None:
        for name, count in (("draws", draws), ("warmup", warmup), ("chains", chains)):
            checks.at_least(name, count, 1)
        infer, self.chains = required("numpyro.infer"), chains

        @functools.cache
        def compiled(shapes: tuple[torch.Size, ...]) -> Any:
            """Of its own for data of other shapes, for numpyro's goes wrong on them."""
            return infer.MCMC(
                infer.NUTS(_whitened(log_density), target_accept_prob=target),
                num_warmup=warmup,
                num_samples=draws,
                num_chains=chains,
                chain_method="vectorized",
                progress_bar=False,
                jit_model_args=True,
            )

        self._compiled = compiled

    def __call__(self, law: Gaussian, data: Sequence[Tensor] = (), seed: int = 0) -> Draws:
        """Draws of π(·; data), started about `law`, which ought to approximate it."""
        jax = required("jax")
        factor = torch.linalg.cholesky(law.covariance.double())
        mcmc = self._compiled(tuple(each.shape for each in (factor, *data)))
        with jax.enable_x64(True):
            key, first = jax.random.split(jax.random.PRNGKey(seed))
            start = 2 * jax.random.normal(first, (self.chains, law.dim))
            arrays = [jax.numpy.asarray(each.numpy()) for each in (law.mean.double(), factor, *data)]
            mcmc.run(key, *arrays, init_params={"y": start}, extra_fields=("diverging",))
            y = np.asarray(mcmc.get_samples(group_by_chain=True)["y"])
            divergent = int(np.asarray(mcmc.get_extra_fields()["diverging"]).sum())
        x = law.mean.double() + torch.from_numpy(y.copy()) @ factor.T
        return Draws(x, divergent, torch.full(x.shape[:2], 1 / (x.shape[0] * x.shape[1]), dtype=torch.float64))


def required(module: str) -> Any:
    """A module of numpyro or jax. Raises: InputError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError("the reference sampler is numpyro's, which is not installed: pip install numpyro") from error


def _whitened(log_density: Callable[..., Any]) -> Callable[..., None]:
    numpyro, dist = required("numpyro"), required("numpyro.distributions")

    def model(mean: Any, factor: Any, *data: Any) -> None:
        flat = dist.ImproperUniform(dist.constraints.real_vector, (), mean.shape)
        y = numpyro.sample("y", flat)
        numpyro.factor("log density", log_density(mean + factor @ y, *data))

    return model
