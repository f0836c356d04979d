"""The baselines of densities: mixtures chosen by rows that they were not fitted to, and Gaussians a class."""

import pytest
import torch
import zoo

from validation.mixtures import by_class, chosen_mixture
from validation.studies._label_flow import CLASSES, encoded, summed
from wgf import keys
from wgf.law import Gaussian, Mixture

TWO = Mixture([Gaussian(zoo.MEAN, zoo.COVARIANCE), Gaussian(-3 * zoo.MEAN, zoo.EYE)], [1.0, 3.0])


def test_the_mixture_chosen_is_that_of_the_rows():
    pytest.importorskip("sklearn", reason="mixtures are fitted by scikit-learn")
    x, v, held = (TWO.sample(2000, keys.generator(k)) for k in range(3))
    found = chosen_mixture(x, v, (1, 2, 30), (1e-6, 1.0))
    assert (found.components, found.ridge) == (2, 1e-6)
    beyond = (TWO.log_prob(held) - found.law.log_prob(held)).mean()
    assert abs(float(beyond)) < 0.02  # 11 parameters of 2000 rows: 11/4000 on average
    light = int(found.law.weights.argmin())
    assert float(found.law.weights[light]) == pytest.approx(0.25, abs=0.03)


def test_a_gaussian_a_class_has_its_moments_and_its_share():
    x, y = zoo.randn(0, 300, 2), torch.arange(300) % 3 % 2
    law = by_class(x, y, x, (0.0, 5.0)).law
    for k, part in enumerate(law.components):
        exact = Gaussian.fit(x[y == k])
        torch.testing.assert_close(part.covariance, exact.covariance)
        torch.testing.assert_close(part.mean, exact.mean)
    torch.testing.assert_close(law.weights, zoo.doubles(2, 1) / 3)


def test_labels_are_summed_with_their_shares():
    labels = torch.tensor([0, 0, 0, 7])
    given = zoo.randn(1, 5, CLASSES)
    exact = (0.75 * given[:, 0].exp() + 0.25 * given[:, 7].exp()).log()
    torch.testing.assert_close(summed(given, labels), exact)
    assert torch.equal(encoded(labels).argmax(1), labels)
