"""Gaussian mixtures by scikit-learn, as laws: what a density is to be compared with before a network is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from wgf.law import Gaussian, Mixture

GAUSSIAN, MIXTURE = "Gaussian", "mixture"
"""How studies name the two models that a flow is held to."""


@dataclass(frozen=True)
class Chosen:
    """A mixture with how many components it has and what was added to its covariances' diagonals."""

    law: Mixture
    components: int
    ridge: float


def chosen_mixture(
    x: Float[Tensor, "n d"],
    validation: Float[Tensor, "m d"],
    components: Sequence[int],
    ridges: Sequence[float],
    seed: int = 0,
) -> Chosen:
    """Of maximum-likelihood mixtures of full covariances plus ridge·I, the likeliest on the validation rows.

    By expectation and maximisation from one start each, in float64.
    """
    found = [Chosen(_fit(x, k, ridge, seed), k, ridge) for k, ridge in product(components, ridges)]
    return _best(found, validation)


def by_class(
    x: Float[Tensor, "n d"], y: Int[Tensor, " n"], validation: Float[Tensor, "m d"], ridges: Sequence[float]
) -> Chosen:
    """A Gaussian of each class's moments plus ridge·I, weighed by how often it comes; the likeliest, as above."""
    parts = [x[y == label].double() for label in y.unique()]
    sizes = [float(len(part)) for part in parts]
    laws = [(Mixture([Gaussian.fit(part, ridge) for part in parts], sizes), ridge) for ridge in ridges]
    return _best([Chosen(law, len(parts), ridge) for law, ridge in laws], validation)


def _best(found: Sequence[Chosen], validation: Tensor) -> Chosen:
    return max(found, key=lambda one: float(one.law.log_prob(validation.double()).mean()))


def _fit(x: Tensor, components: int, ridge: float, seed: int) -> Mixture:
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(components, reg_covar=ridge, random_state=seed).fit(x.double().numpy())
    means, covariances = (torch.from_numpy(each) for each in (model.means_, model.covariances_))
    symmetric = (covariances + covariances.mT) / 2
    laws = [Gaussian(m, S) for m, S in zip(means, symmetric, strict=True)]
    return Mixture(laws, torch.from_numpy(model.weights_))
