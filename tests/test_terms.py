"""Every term of the zoo: variations against differences, kinds against each other, values against closed forms."""

import itertools
import math

import pytest
import torch
import zoo
from torch import Tensor
from torch.distributions import Exponential, Independent

from wgf import autodiff, evolve
from wgf.errors import InputError, Unknown
from wgf.functionals import (
    KL,
    Blob,
    Entropy,
    HasDual,
    HasNoise,
    HasVariation,
    Interaction,
    OnDensity,
    OnSamples,
    Potential,
    PowerEntropy,
    Quadratic,
    base,
    first_variation,
    functional,
)
from wgf.kernels import Mollifier, Power
from wgf.law import Adapted, Cloud, Gaussian, Law, Pushforward
from wgf.maps import Inverse, NormalScores, Residual
from wgf.steppers import Langevin

KINDS = {kind for kind in vars(base).values() if isinstance(kind, type) and issubclass(kind, base.Kind)} - {base.Kind}


def having(kind: type) -> list[zoo.TermEntry]:
    return [entry for entry in zoo.TERMS if kind in entry.kinds]


def each(kind: type) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("entry", having(kind), ids=zoo.names(having(kind)))


def cloud(n: int = 40, seed: int = 0) -> Cloud:
    return Cloud(zoo.randn(seed, n, 2))


@pytest.mark.parametrize("entry", zoo.TERMS, ids=zoo.names(zoo.TERMS))
def test_a_term_is_of_the_kinds_it_claims_and_no_other(entry):
    term = entry.build()
    assert {kind for kind in KINDS if isinstance(term, kind)} == set(entry.kinds)
    assert term.name


# First variations


@each(HasVariation)
def test_the_first_variation_is_the_slope_of_the_energy(entry):
    """d/ds F((id + sη)_#ρ) = E⟨∇δF/δρ, η⟩, by central differences."""
    F, x, h = entry.build(), cloud().x, 1e-5
    eta = zoo.randn(1, *x.shape)
    slope = F.first_variation(Cloud(x)).gradient(x)
    difference = (F.energy(Cloud(x + h * eta)).mean() - F.energy(Cloud(x - h * eta)).mean()) / (2 * h)
    assert float((slope * eta).sum(-1).mean()) == pytest.approx(float(difference), rel=1e-6)


@each(HasVariation)
def test_velocities_are_minus_n_times_the_gradient_of_the_energy(entry):
    F, x = entry.build(), cloud().x.requires_grad_()
    gradient = torch.autograd.grad(F.energy(Cloud(x)).sum(), x)[0]
    slope = F.first_variation(Cloud(x.detach())).gradient(x.detach())
    torch.testing.assert_close(slope, gradient, rtol=1e-10, atol=1e-10)


@each(HasVariation)
def test_the_first_variation_is_the_derivative_along_mixtures(entry):
    """d/dε F((1 − ε)ρ + εσ) = ∫δF/δρ d(σ − ρ) at ε = 0, with ρ repeated to weigh σ by ε = 1/k."""
    F, rho, sigma = entry.build(), cloud(12).x, 0.5 + 0.7 * cloud(12, seed=1).x
    at_rho = F.energy(Cloud(rho)).mean()

    def quotient(k: int) -> Tensor:
        return k * (F.energy(Cloud(torch.cat([rho] * (k - 1) + [sigma]))).mean() - at_rho)

    psi = F.first_variation(Cloud(rho))
    coarse, middle, fine = quotient(40), quotient(80), quotient(160)
    limit = (8 * fine - 6 * middle + coarse) / 3  # Richardson: the errors in ε and ε² cancel
    assert float(psi(sigma).mean() - psi(rho).mean()) == pytest.approx(float(limit), rel=2e-3)


@each(HasVariation)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_closed_gradients_are_those_of_autograd(entry, dtype):
    psi, x = entry.build().first_variation(Cloud(cloud().x.to(dtype))), cloud(9, seed=2).x.to(dtype)
    tolerance = 1e-11 if dtype == zoo.DOUBLE else 2e-5
    assert (psi.closed_gradient is not None) == entry.closed
    torch.testing.assert_close(psi.gradient(x), autodiff.gradient(psi.value, x), rtol=tolerance, atol=tolerance)
    assert psi(x).dtype == psi.gradient(x).dtype == dtype
    assert psi(x).shape == (9,)


def test_an_interaction_is_half_the_double_sum():
    x = cloud(7).x
    double_sum = sum(float((a - b).norm() ** 4 / 4) for a, b in itertools.product(x, x)) / 49
    assert float(Interaction(Power(4)).energy(Cloud(x)).mean()) == pytest.approx(double_sum / 2)


def test_a_ring_is_stationary():
    """W = ¼|z|⁴ − ½|z|²: the circle of radius 1/√3 has no velocity and energy −1/12 (Fan et al. have 0.5)."""
    angle = torch.arange(12, dtype=zoo.DOUBLE) * (2 * math.pi / 12)
    ring = Cloud(torch.stack([angle.cos(), angle.sin()], 1) / math.sqrt(3))
    F = Interaction(Power(4) - Power(2))
    assert F.first_variation(ring).gradient(ring.x).abs().max() < 1e-15
    assert float(F.energy(ring).mean()) == pytest.approx(-1 / 12)


def test_a_quadratic_potential_is_its_formula():
    A, b = zoo.doubles([2, 0.5], [0.5, 1]), zoo.doubles(1, -1)
    x = cloud(5).x
    expected = torch.stack([0.5 * (row - b) @ A @ (row - b) for row in x])
    torch.testing.assert_close(Quadratic(A, b)(x), expected)
    torch.testing.assert_close(Quadratic(A)(x), Quadratic(A, torch.zeros(2).double())(x))


# To a law


def test_kl_to_a_law_is_that_to_its_density():
    """Of N(0, S) to N(m, P): ½(tr P⁻¹S + mᵀP⁻¹m − d + log det P/S), no constant left out."""
    start, target = Gaussian(torch.zeros(2).double(), 0.5 * zoo.EYE), Gaussian(zoo.MEAN, zoo.COVARIANCE)
    x = zoo.randn(0, 200, 2)
    x = 0.5**0.5 * Gaussian.fit(x).whiten(x)  # with the very moments of the start, on which alone it depends
    F = KL(target)
    seen = Cloud(x, torch.zeros(len(x)).double(), start.log_prob(x))
    value = float((F.terms[0][1].density_energy(seen) + F.terms[1][1].energy(seen)).mean())
    P = torch.linalg.inv(target.covariance)
    ratio = torch.logdet(target.covariance) - math.log(0.25)
    exact = 0.5 * (0.5 * torch.trace(P) + zoo.MEAN @ P @ zoo.MEAN - 2 + ratio)
    assert value == pytest.approx(float(exact), abs=1e-9)
    potential = F.terms[1][1]
    y = x[:50]
    torch.testing.assert_close(potential.V(y), -target.log_prob(y), rtol=0, atol=0)
    torch.testing.assert_close(potential.gradient(y), -target.score(y), rtol=0, atol=0)
    assert potential.V(y.float()).dtype == potential.gradient(y.float()).dtype == torch.float32


BOUNDED = ("Box", "PearsonII", "Pixels", "Cells")


@pytest.mark.parametrize("entry", zoo.LAWS, ids=zoo.names(zoo.LAWS))
def test_kl_to_any_law_has_the_slopes_of_its_density_or_is_refused(entry):
    law = entry.build()
    if not law.has_density:
        with pytest.raises(InputError, match=f"KL needs a density, and this {type(law).__name__} has none; FDiv"):
            KL(law)
        return
    if type(law).__name__ in BOUNDED:
        with pytest.raises(InputError, match=f"that of this {type(law).__name__} is 0 outside of its support"):
            KL(law)
        return
    V = KL(law).terms[1][1]
    x, direction = law.sample(20, torch.Generator().manual_seed(1)), zoo.randn(2, 20, law.dim)
    h = 1e-5
    differences = (law.log_prob(x - h * direction) - law.log_prob(x + h * direction)) / (2 * h)
    assert (V.gradient is None) == (type(law).score is Law.score)
    for slopes in (autodiff.gradient(V.V, x), *([] if V.gradient is None else [V.gradient(x)])):
        torch.testing.assert_close((slopes * direction).sum(1), differences, rtol=1e-6, atol=1e-6)


def test_kl_to_a_distribution_of_torch_on_a_half_line_is_refused():
    with pytest.raises(InputError, match="that of this Adapted is 0 outside of its support"):
        KL(Adapted(Independent(Exponential(torch.ones(2).double()), 1)))


def test_kl_to_a_law_whose_map_is_trained_later_stays_as_it_was():
    map = Residual(2, width=16).double()
    law, x = Pushforward(Gaussian.standard(2, dtype=zoo.DOUBLE), map), zoo.randn(1, 5, 2)
    F = KL(law)
    before = F.terms[1][1].V(x)
    map.reset(torch.Generator().manual_seed(1))
    with torch.no_grad():
        for weight in map.parameters():
            weight += 0.1
    assert not torch.allclose(law.log_prob(x), -before)
    torch.testing.assert_close(F.terms[1][1].V(x), before, rtol=0, atol=0)


def test_kl_to_a_law_behind_maps_that_are_inverted_has_its_slopes():
    """A residual map, inverted by Newton's method, under a spline whose own inverse has a graph: none of it is lost."""
    residual = zoo.MapEntry("", lambda dtype: Residual(2, width=16)).perturbed(zoo.DOUBLE, scale=0.1)
    rows = residual(zoo.randn(3, 400, 2)).detach()
    law = Pushforward(Pushforward(Gaussian.standard(2, dtype=zoo.DOUBLE), residual), Inverse(NormalScores.fit(rows)))
    x, direction, h = 0.3 * zoo.randn(4, 20, 2), zoo.randn(5, 20, 2), 1e-6
    differences = (law.log_prob(x + h * direction) - law.log_prob(x - h * direction)) / (2 * h)
    torch.testing.assert_close((law.score(x) * direction).sum(1), differences, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(-autodiff.gradient(KL(law).terms[1][1].V, x), law.score(x))


def test_langevin_to_a_law_reaches_it():
    law = Gaussian(zoo.MEAN, zoo.COVARIANCE)
    x = evolve(KL(law), Langevin(4000, 20), Gaussian.standard(2, dtype=zoo.DOUBLE), [0.5] * 12, seed=0).state.x
    found = Gaussian.fit(x)
    assert (found.mean - law.mean).abs().max() < 0.1
    assert (found.covariance - law.covariance).abs().max() < 0.2


# Entropies on densities


LAW = Gaussian(zoo.MEAN, zoo.COVARIANCE)


def power_integral(law: Gaussian, m: float) -> float:
    """∫ρ^m = m^{−d/2} ((2π)^d det S)^{−(m−1)/2} for a Gaussian."""
    volume = (2 * math.pi) ** law.dim * float(torch.det(law.covariance))
    return m ** (-law.dim / 2) * volume ** (-(m - 1) / 2)


def exact(term: Entropy | PowerEntropy, law: Gaussian) -> float:
    """The entropy of a Gaussian in closed form."""
    if isinstance(term, Entropy):
        return -0.5 * math.log((2 * math.pi * math.e) ** law.dim * float(torch.det(law.covariance)))
    return power_integral(law, term.m) / (term.m - 1)


def scored(n: int) -> Cloud:
    """Samples of LAW as the image of N(0, I), base densities and log-determinants kept apart."""
    z = zoo.randn(0, n, 2)
    factor = torch.linalg.cholesky(zoo.COVARIANCE)
    return Cloud(zoo.MEAN + z @ factor.T, torch.full((n,), 0.5).double() * torch.logdet(zoo.COVARIANCE), log_base(z))


def log_base(z: Tensor) -> Tensor:
    return -0.5 * z.square().sum(-1) - math.log(2 * math.pi)


@each(OnDensity)
def test_entropies_have_their_values_on_gaussians(entry):
    term, energies = entry.build(), entry.build().density_energy(scored(100_000))
    error = float(energies.std()) / len(energies) ** 0.5
    assert error < 0.01
    assert float(energies.mean()) == pytest.approx(exact(term, LAW), abs=4 * error)


@each(OnDensity)
def test_entropies_scale_as_they_must(entry):
    """Under x ↦ s x, ∫ρ log ρ falls by d log s and ∫ρ^m is multiplied by s^{−d(m−1)}, particle by particle."""
    term, before, s = entry.build(), scored(50), 1.7
    after = Cloud(s * before.x, before.logdet + 2 * math.log(s), before.log_base)
    old, new = term.density_energy(before), term.density_energy(after)
    expected = old - 2 * math.log(s) if isinstance(term, Entropy) else old * s ** (-2 * (term.m - 1))
    torch.testing.assert_close(new, expected)


def test_without_a_base_density_entropy_is_known_up_to_a_constant_and_others_not_at_all():
    known, unknown = scored(50), Cloud(scored(50).x, scored(50).logdet)
    gap = Entropy().density_energy(known) - Entropy().density_energy(unknown)
    torch.testing.assert_close(gap, known.log_base)
    with pytest.raises(Unknown, match="no density"):
        PowerEntropy(2).density_energy(unknown)


@each(OnDensity)
def test_entropies_per_mass_know_their_derivative(entry):
    term, r = entry.build(), torch.linspace(0.1, 3, 30, dtype=zoo.DOUBLE)[:, None]
    slope = autodiff.gradient(lambda r: term.per_mass(r[:, 0]), r)
    torch.testing.assert_close(term.per_mass_derivative(r), slope)
    x = scored(50)
    torch.testing.assert_close(term.density_energy(x), term.per_mass(x.log_density.exp()))


@each(HasNoise)
def test_noise_at_its_temperature_is_the_entropy(entry):
    """F = T∫ρ log ρ: what Langevin's noise assumes is what the density says."""
    term, before = entry.build(), scored(50)
    gap = term.density_energy(before) - term.temperature * before.log_density
    assert float(gap.std()) < 1e-12


# Blobs: entropies of K_ε∗ρ


def quantiles(n: int = 3000) -> Tensor:
    """Particles that stand for N(0, 1) without noise: an n-th of its mass each, at the middle of it."""
    level = (torch.arange(n, dtype=zoo.DOUBLE) + 0.5) / n
    return (math.sqrt(2) * torch.erfinv(2 * level - 1))[:, None]


def blob_of_gaussian(term: Entropy | PowerEntropy, eps: float) -> float:
    """∫f(K_ε∗ρ)dρ for ρ = N(0, 1), K_ε∗ρ = N(0, 1 + ε²), in closed form."""
    s = 1 + eps**2
    if isinstance(term, Entropy):
        return -0.5 * math.log(2 * math.pi * s) - 0.5 / s
    m = term.m
    return (2 * math.pi * s) ** (-(m - 1) / 2) / math.sqrt(1 + (m - 1) / s) / (m - 1)


@pytest.mark.parametrize("term", [Entropy(), PowerEntropy(2), PowerEntropy(3)], ids=lambda term: term.name)
def test_a_blob_is_the_entropy_of_the_mollified_law(term):
    for eps in (0.2, 0.5):
        energy = float(Blob(term, Mollifier(eps)).energy(Cloud(quantiles())).mean())
        assert energy == pytest.approx(blob_of_gaussian(term, eps), rel=5e-4)


@pytest.mark.parametrize(
    ("term", "order"), [(Entropy(), 4), (PowerEntropy(2), 2), (PowerEntropy(3), 2)], ids=["m=1", "m=2", "m=3"]
)
def test_blobs_tend_to_their_entropies(term, order):
    """At rate ε² for m ≠ 1. For m = 1 the term in ε² is ½∫Δρ = 0 on a smooth law of the whole space: rate ε⁴."""
    x = quantiles()
    truth = term.per_mass(Gaussian.standard(1, dtype=zoo.DOUBLE).log_prob(x).exp()).mean()
    coarse, fine = ((Blob(term, Mollifier(eps)).energy(Cloud(x)).mean() - truth).abs() for eps in (0.4, 0.2))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.35)


# Sums


def test_sums_are_weighted_sums():
    F, G = Potential(zoo.bumpy), Interaction(Power(2))
    total = 2 * F - G * 0.5 + Entropy()
    assert [(weight, type(term)) for weight, term in total.terms] == [
        (2.0, Potential), (-0.5, Interaction), (1.0, Entropy)
    ]  # fmt: skip
    assert repr(total) == "2 Potential + -0.5 Interaction + Entropy"
    assert [weight for weight, _ in (-(F + 3 * (G - F))).terms] == [-1.0, -3.0, 3.0]
    assert (F + G).terms[0][1] is F


@pytest.mark.parametrize("closed", [True, False])
def test_the_variation_of_a_sum_is_the_sum_of_variations(closed):
    V = Potential(Quadratic(zoo.COVARIANCE)) if closed else Potential(zoo.bumpy)
    W, particles, x = Interaction(Power(4)), cloud(), cloud(9, seed=2).x
    psi = first_variation(2 * V - 0.5 * W, particles)
    parts = [term.first_variation(particles) for term in (V, W)]
    torch.testing.assert_close(psi(x), 2 * parts[0](x) - 0.5 * parts[1](x))
    torch.testing.assert_close(psi.gradient(x), 2 * parts[0].gradient(x) - 0.5 * parts[1].gradient(x))
    hessian = autodiff.jacobian(lambda x: psi.gradient(x, create_graph=True), x)[1]
    torch.testing.assert_close(hessian, hessian.mT)
    assert hessian.abs().max() > 0.1


@pytest.mark.parametrize("factor", [math.nan, math.inf, True, "2", None, torch.tensor(2.0)], ids=repr)
def test_a_factor_that_is_no_finite_real_number_is_refused(factor):
    with pytest.raises(InputError, match="finite real number"):
        _ = Entropy() * factor


@pytest.mark.parametrize("other", [3, None, "Entropy", zoo.bumpy], ids=["3", "None", "Entropy", "a function"])
def test_what_is_no_functional_is_refused(other):
    with pytest.raises(InputError, match=f"got {type(other).__name__}"):
        functional(other)
    with pytest.raises(InputError, match="expected a functional"):
        _ = Entropy() + other


BAD = {
    "m = 1 is": lambda: PowerEntropy(1),
    "m > 0": lambda: PowerEntropy(-2),
    "got nan": lambda: PowerEntropy(math.nan),
    "margin": lambda: PowerEntropy(2, margin=0),
    "exponent of a Power kernel": lambda: Power(0),
    "bandwidth": lambda: Mollifier(0),
    "matrix of a Quadratic": lambda: Quadratic(zoo.doubles([1, 2], [2, 1])),
    "the centre must have shape": lambda: Quadratic(zoo.EYE, [1.0]),
    "m > 1 only": lambda: PowerEntropy(0.5).dual(PowerEntropy(0.5).reference(cloud())),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_terms_are_refused_by_name(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()


def test_energies_on_samples_are_one_number_a_particle():
    for entry in having(OnSamples):
        assert entry.build().energy(cloud(7)).shape == (7,)
    assert all(isinstance(entry.build(), HasDual) for entry in zoo.TERMS if OnSamples not in entry.kinds)
