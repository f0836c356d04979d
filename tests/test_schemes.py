"""Steppers against exact answers: closed discrete steps, measured orders, moments, invariant laws."""

import math
from itertools import pairwise

import pytest
import torch
import zoo
from torch import Tensor

from pdes import exact_gaussian, mckean_vlasov
from validation.gaussian import bures_squared, jko_map, jko_step, midpoint_step
from wgf import evolve, keys
from wgf.errors import Incompatible, Unknown
from wgf.flow import Path
from wgf.functionals import KL, Entropy, Functional, Interaction, Potential, PowerEntropy, Quadratic, Term, functional
from wgf.kernels import Power
from wgf.law import Empirical, Gaussian, Law
from wgf.maps import Affine, Euler, Explicit, Heun, NeuralODE, Residual
from wgf.steppers import JKO, AdjustedLangevin, Base, Langevin, Midpoint, Particles, SaddleJKO, Splitting, Stepper
from wgf.training import LBFGS, Adam

A, B = zoo.doubles([2, 0.5], [0.5, 1]), zoo.doubles(1, -1)
S0 = zoo.doubles([1, 0.3], [0.3, 0.5])
assert not torch.allclose(A @ S0, S0 @ A), "commuting matrices would test less"


def exact_jko(particles: int = 400) -> JKO:
    return JKO(Affine(2), LBFGS(60, tolerance=1e-12), particles=particles, held=0)


def moments(path: Path) -> Gaussian:
    return Gaussian.fit(path.state.x)


def flow(F: Functional | Term, stepper: Stepper, taus: list[float], rho0: Law | None = None, seed: int = 0) -> Path:
    return evolve(F, stepper, rho0 or Gaussian(zoo.doubles(0.5, 0), S0), taus, seed=seed)


def agree(first: Gaussian, second: Gaussian, tolerance: float) -> None:
    torch.testing.assert_close(first.mean, second.mean, rtol=0, atol=tolerance)
    torch.testing.assert_close(first.covariance, second.covariance, rtol=0, atol=tolerance)


# The JKO step


@pytest.mark.parametrize("tau", [0.05, 0.5, 3.0])
def test_a_jko_step_is_the_exact_one(tau):
    start = moments(flow(zoo.free(), exact_jko(), []))
    path = flow(zoo.free(), exact_jko(), [tau])
    agree(moments(path), jko_step(start, A, B, tau), 5e-8)
    T, mean = jko_map(start, A, B, tau)
    torch.testing.assert_close(path.infos[0].map.matrix, T, rtol=0, atol=5e-8)
    torch.testing.assert_close(path.infos[0].map(start.mean[None])[0], mean, rtol=0, atol=5e-8)


def test_steps_of_different_sizes_follow_each_other():
    exact, path = moments(flow(zoo.free(), exact_jko(), [])), flow(zoo.free(), exact_jko(), [0.3, 0.1, 0.2])
    for tau in (0.3, 0.1, 0.2):
        exact = jko_step(exact, A, B, tau)
    agree(moments(path), exact, 1e-8)
    assert path.times == pytest.approx([0, 0.3, 0.4, 0.6])


def test_a_weight_is_a_change_of_units():
    """The step of cF with τ is the step of F with cτ."""
    agree(moments(flow(0.5 * zoo.free(), exact_jko(), [0.4])), moments(flow(zoo.free(), exact_jko(), [0.2])), 1e-8)


def test_the_entropy_alone_is_the_heat_equation():
    start = moments(flow(Entropy(), exact_jko(), []))
    path = flow(Entropy(), exact_jko(), [0.2])
    agree(moments(path), jko_step(start, torch.zeros(2, 2).double(), torch.zeros(2).double(), 0.2), 1e-8)


def test_a_power_entropy_steps_by_dilation():
    """From ρ = N(0, 1) under ∫ρ², T = s x: minimise ½(s − 1)²v/τ + c/s, v = Var_n and c = E_n ρ: (s − 1)s²v = cτ."""
    tau = 0.5
    stepper = JKO(Affine(1), LBFGS(60, tolerance=1e-12), particles=300, held=0)
    path = evolve(PowerEntropy(2), stepper, Gaussian.standard(1, dtype=zoo.DOUBLE), [tau, tau])
    x = path.laws[0].sample(300, keys.generator(0, 0))
    c, v = path.laws[0].log_prob(x).exp().mean().item(), x.var(correction=0).item()
    for info in path.infos:
        s = info.map.matrix.item()
        assert (s - 1) * s**2 * v == pytest.approx(c * tau, rel=1e-7)
        c, v = c / s, v * s**2
    assert path.energy[-1] == pytest.approx(c)


def test_the_certificate_is_the_inequality_of_the_step():
    """F(ρ⁺) + W₂²/2τ − F(ρ) in closed form, within four standard errors on held rows, at every step."""
    tau, rho = 0.5, Gaussian(zoo.doubles(0.5, 0), S0)
    stepper = JKO(Affine(2), LBFGS(40), particles=12_000, held=4000)

    def free_energy(rho: Gaussian) -> float:
        inside = 0.5 * float((A @ rho.covariance).trace() + (rho.mean - B) @ A @ (rho.mean - B))
        return inside - 0.5 * math.log((2 * math.pi * math.e) ** 2 * float(torch.det(rho.covariance)))

    for info in flow(zoo.free(), stepper, [tau, tau]).infos:
        after = jko_step(rho, A, B, tau)
        truth = free_energy(after) - free_energy(rho) + float(bures_squared(rho, after)) / (2 * tau)
        assert truth < -0.04
        assert info.certificate.value == pytest.approx(truth, abs=4 * info.certificate.standard_error)
        assert info.certificate.standard_error < 0.15 * abs(truth)
        assert info.certificate.holds
        rho = after


TRAINED = {
    "Residual": lambda: Residual(2, width=16),
    "NeuralODE": lambda: NeuralODE(2, width=16, depth=1, steps=2, trace=zoo.Hutchinson()),
    "OTFlow": lambda: zoo.OTFlow(2, width=8, steps=2),
}


@pytest.mark.parametrize("map", TRAINED)
def test_trained_maps_descend_and_near_the_exact_step(map):
    """F falls at every step within the certificate's error, and one step is where the exact one goes."""
    stepper = JKO(TRAINED[map](), Adam(iterations=150, batch=512, rate=1e-2), particles=4000, held=1000)
    path = flow(zoo.free(), stepper, [0.5, 0.25])
    for before, after, info in zip(path.energy[:-1], path.energy[1:], path.infos, strict=True):
        assert info.certificate.value <= 2 * info.certificate.standard_error
        assert after < before
    before, after = (Gaussian.fit(law.sample(4000, keys.generator(0, 0))) for law in path.laws[:2])
    assert float(bures_squared(after, jko_step(before, A, B, 0.5))) ** 0.5 < 0.05


@pytest.mark.parametrize("training", [LBFGS(30), Adam(iterations=60, rate=2e-2)], ids=["LBFGS", "Adam"])
def test_a_pool_can_be_trained_on_whole(training):
    path = flow(zoo.free(), JKO(Affine(2), training, particles=300, held=0), [0.3])
    assert path.energy[1] < path.energy[0]
    assert path.infos[0].certificate is None


def test_log_determinants_of_a_part_of_the_batch_train_as_well():
    steppers = [
        JKO(Affine(2), LBFGS(40), particles=3000, held=0, density_batch=batch) for batch in (None, 8)
    ]  # an affine map's determinant is the same on every row
    first, second = (flow(zoo.free(), stepper, [0.3]) for stepper in steppers)
    agree(moments(first), moments(second), 1e-8)


def test_densities_of_a_part_of_the_batch_are_those_of_its_own_rows():
    """One row fewer changes ∫ρ² little; the determinants of other rows would change it altogether."""
    steppers = [
        JKO(Residual(1, width=8), LBFGS(30), particles=200, held=0, density_batch=batch) for batch in (None, 199)
    ]
    rho0 = Gaussian.standard(1, dtype=zoo.DOUBLE)
    whole, part = (evolve(PowerEntropy(2), stepper, rho0, [0.5, 0.5]).state.x for stepper in steppers)
    start = rho0.sample(200, keys.generator(0, 0))
    assert float((whole - part).norm() / (whole - start).norm()) < 0.05


# Midpoint


def test_a_midpoint_step_is_the_exact_one():
    start = moments(flow(zoo.free(), exact_jko(), []))
    path = flow(zoo.free(), Midpoint(exact_jko()), [0.4])
    agree(moments(path), midpoint_step(start, A, B, 0.4), 1e-8)
    assert path.times == [0.0, 0.4]
    assert path.infos[0].measures["folded"] == 0


@pytest.mark.parametrize(("stepper", "order"), [(exact_jko(), 1), (Midpoint(exact_jko()), 2)], ids=["JKO", "Midpoint"])
def test_orders_in_tau(stepper, order):
    start = moments(flow(zoo.free(), stepper, []))
    exact = exact_gaussian(A, B, start.mean, start.covariance, 1.0)
    coarse, fine = (
        float(bures_squared(moments(flow(zoo.free(), stepper, [1 / n] * n)), exact)) ** 0.5 for n in (6, 12)
    )
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)


@pytest.mark.parametrize(("tau", "folds"), [(0.5, False), (2.0, True)])
def test_a_midpoint_step_folds_where_curvature_is_large(tau, folds):
    """On a mode of curvature λ the far limit of the gain is (1 − τλ/2)/(1 + τλ/2), negative for τλ > 2; here λ = 3."""
    wide = Gaussian(zoo.doubles(0), zoo.doubles([400]))
    stepper = Midpoint(JKO(Affine(1), LBFGS(60), particles=200, held=50))
    path = evolve(Entropy() + Potential(Quadratic(zoo.doubles([3]))), stepper, wide, [tau])
    gain = float(path.infos[0].map.jacobian(zoo.doubles([0.0]))[1])
    assert gain == pytest.approx((1 - 1.5 * tau) / (1 + 1.5 * tau), abs=0.02)
    assert path.infos[0].measures["folded"] == float(folds)
    assert path.final.has_density is not folds
    assert path.final.sample(5).shape == (5, 1)
    if folds:
        with pytest.raises(Unknown, match=r"100\.00% of the rows"):
            path.final.log_prob(zoo.doubles([0.0]))
        with pytest.raises(Unknown, match="smaller steps"):
            path.final.cloud(5)


def test_a_midpoint_needs_a_map_that_starts_where_the_particles_stand():
    with pytest.raises(Incompatible, match=r"Midpoint needs .* a map, such as JKO, got Langevin"):
        Midpoint(Langevin(10))
    with pytest.raises(Incompatible, match=r"needs the anchor Previous\(\), got Base\(\)"):
        Midpoint(SaddleJKO(Affine(2), zoo.Critic(2), Base()))


# Explicit particles


@pytest.mark.parametrize("scheme", [Euler(), Heun()], ids=["Euler", "Heun"])
def test_particles_converge_to_the_exponential(scheme):
    x0, t = zoo.randn(0, 30, 2), 1.0
    exact = B + (x0 - B) @ torch.matrix_exp(-A * t)
    rows = Rows(x0)
    errors = [float((flow(zoo.V(), Particles(30, scheme, n), [t], rows).state.x - exact).norm()) for n in (20, 40, 80)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(scheme.order, abs=0.15)


class Rows(Empirical):
    """The rows themselves, in order: particles whose start is known."""

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return self.x[:n]


def test_attraction_contracts_a_crowd_about_its_mean():
    """W = ½κ|z|²: every particle nears the common mean at rate κ, exactly; the half in the energy is this rate."""
    x0, kappa = zoo.randn(0, 50, 2), 0.7
    path = flow(functional(Interaction(kappa * Power(2))), Particles(50, Heun(), 100), [1.0], Rows(x0))
    exact = x0.mean(0) + math.exp(-kappa) * (x0 - x0.mean(0))
    torch.testing.assert_close(path.state.x, exact, rtol=0, atol=2e-5)


def test_energy_falls_at_the_rate_of_its_dissipation():
    """dF/dt = −E|∇δF/δρ|², for a potential, an interaction and a blob at once."""
    F = zoo.V() + Interaction(Power(4) - Power(2)) + 0.5 * zoo.Blob(Entropy(), zoo.GaussianKernel(0.5))
    h, x0 = 1e-4, zoo.randn(0, 60, 2)
    path = flow(F, Particles(60, Heun()), [h, h], Rows(x0))
    rate = float(path.infos[0].variation.gradient(path.laws[1].x).square().sum(-1).mean())
    assert (path.energy[2] - path.energy[0]) / (2 * h) == pytest.approx(-rate, rel=1e-5)


# Langevin


def gaussian_moments(x: Tensor, exact: Gaussian) -> None:
    """Sample mean and covariance within four standard errors."""
    n, S = len(x), exact.covariance
    assert ((x.mean(0) - exact.mean).abs() < 4 * (S.diagonal() / n).sqrt()).all()
    error = ((torch.outer(S.diagonal(), S.diagonal()) + S.square()) / n).sqrt()
    assert ((x.T.cov() - S).abs() < 4 * error).all()


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("attraction", [0.0, 0.8])
def test_langevin_has_the_moments_of_its_chain(temperature, attraction):
    """Euler–Maruyama in closed form: S ← MSM + 2Th I, M = I − h(A + κ), while the crowd does not move its own mean."""
    F = temperature * Entropy() + zoo.V()
    F = F + Interaction(attraction * Power(2)) if attraction else F
    particles, substeps, tau = (1500 if attraction else 20_000), 5, 0.5
    x = flow(F, Langevin(particles, substeps), [tau, tau], seed=3).state.x
    h, eye = tau / substeps, torch.eye(2).double()
    mean, S = zoo.doubles(0.5, 0), S0
    for _ in range(2 * substeps):
        mean = mean - h * A @ (mean - B)
        M = eye - h * (A + attraction * eye)
        S = M @ S @ M + 2 * temperature * h * eye
    gaussian_moments(x, Gaussian(mean, S))


def test_langevin_without_a_potential_is_brownian_motion():
    x = flow(Entropy(), Langevin(20_000, 3), [0.7]).state.x
    gaussian_moments(x, Gaussian(zoo.doubles(0.5, 0), S0 + 1.4 * torch.eye(2).double()))


def test_langevin_without_noise_is_gradient_descent():
    x0 = zoo.randn(0, 40, 2)
    noisy, still = (flow(zoo.V(), stepper, [0.5], Rows(x0)) for stepper in (Langevin(40, 4), Particles(40, Euler(), 4)))
    torch.testing.assert_close(noisy.state.x, still.state.x, rtol=0, atol=1e-14)


def double_well(x: Tensor) -> Tensor:
    return (0.5 * x.square() + 1.5 * (2 * x).cos() + 0.3 * x).sum(-1)


GRID = torch.linspace(-8, 8, 40_001, dtype=zoo.DOUBLE)


def distribution(temperature: float) -> Tensor:
    """F(x) = ∫_{−∞}^x e^{−V/T} / ∫e^{−V/T} on the grid."""
    weight = torch.exp(-double_well(GRID[:, None]) / temperature)
    total = torch.cat([zoo.doubles(0), torch.cumulative_trapezoid(weight, GRID)])
    return total / total[-1]


def from_well(n: int, temperature: float) -> Tensor:
    """Exact samples of e^{−V/T}, by its quantiles at uniform levels."""
    levels = torch.rand(n, dtype=zoo.DOUBLE, generator=torch.Generator().manual_seed(5))
    return GRID[torch.searchsorted(distribution(temperature), levels).clamp(max=len(GRID) - 1)][:, None]


def kolmogorov(x: Tensor, temperature: float) -> float:
    """√n sup|F_n − F|: above 1.95 for one exact sample in a thousand."""
    n, ordered = len(x), x[:, 0].sort().values
    F = distribution(temperature)[torch.searchsorted(GRID, ordered).clamp(max=len(GRID) - 1)]
    levels = torch.arange(n, dtype=zoo.DOUBLE) / n
    return float(torch.maximum((F - levels).abs(), (F - levels - 1 / n).abs()).max()) * n**0.5


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_adjusted_langevin_leaves_its_target_as_it_is(temperature):
    """At a step where the unadjusted chain does not: the test has the power to tell."""
    F = temperature * Entropy() + Potential(double_well)
    x0, n = from_well(8000, temperature), 8000
    adjusted = flow(F, AdjustedLangevin(n, 12), [3.0], Rows(x0))
    assert kolmogorov(x0, temperature) < 1.95
    assert kolmogorov(adjusted.state.x, temperature) < 1.95
    assert kolmogorov(flow(F, Langevin(n, 12), [3.0], Rows(x0)).state.x, temperature) > 3
    assert 0.3 < adjusted.infos[0].measures["acceptance"] < 0.99
    assert adjusted.infos[0].moved > 0.5
    correlation = torch.corrcoef(torch.cat([x0, adjusted.state.x], 1).T)[0, 1]
    assert abs(float(correlation)) < 0.9  # the chain has mixed: staying put would also pass


def test_adjusted_langevin_reaches_its_target_from_elsewhere():
    F = KL(lambda x: -double_well(x))
    path = flow(F, AdjustedLangevin(4000, 200), [50.0], Gaussian(zoo.doubles(1.5), zoo.doubles([0.04])))
    assert kolmogorov(path.state.x, 1.0) < 1.95


def test_adjusted_langevin_keeps_the_time_of_the_flow():
    """At small steps it is the diffusion itself, whatever the temperature: moments at t = ½ as exp(−At) has them."""
    T, t = 0.3, 0.5
    path = flow(T * Entropy() + zoo.V(), AdjustedLangevin(8000, 100), [t])
    colder = exact_gaussian(A, B, zoo.doubles(0.5, 0), S0 / T, t)  # covariances are in units of T
    gaussian_moments(path.state.x, Gaussian(colder.mean, T * colder.covariance))


def test_acceptance_tends_to_one_with_the_step():
    coarse, fine = (
        flow(zoo.free(), AdjustedLangevin(500, 4), [tau]).infos[0].measures["acceptance"] for tau in (4.0, 1e-4)
    )
    assert 0 < coarse < 0.8
    assert fine > 0.999
    assert fine <= 1


# Splitting


def splitting_recursion(start: Gaussian, a: float, kappa: float, eps: float, tau: float) -> Gaussian:
    """x ← m + (1 − τκ)(x − m), then the JKO step of εEntropy + ½a|x|², that of Entropy + ½(a/ε)|x|² with ετ."""
    contracted = Gaussian(start.mean, (1 - tau * kappa) ** 2 * start.covariance)
    return jko_step(contracted, a / eps * torch.eye(2).double(), torch.zeros(2).double(), eps * tau)


def test_splitting_is_its_two_halves_in_turn():
    a, kappa, eps, tau = 1.0, 0.7, 0.5, 0.3
    problem = mckean_vlasov(2, a, kappa, eps)
    exact = moments(flow(problem.F, Splitting(exact_jko(300)), [], problem.initial))
    path = flow(problem.F, Splitting(exact_jko(300)), [tau, tau], problem.initial)
    for _ in range(2):
        exact = splitting_recursion(exact, a, kappa, eps, tau)
    agree(moments(path), exact, 1e-8)


def test_splitting_has_order_one():
    a, kappa, eps = 1.0, 0.7, 0.5
    problem = mckean_vlasov(2, a, kappa, eps)
    start = moments(flow(problem.F, Splitting(exact_jko(200)), [], problem.initial))
    exact = mckean_vlasov(2, a, kappa, eps, start.mean.tolist(), start.covariance.tolist()).exact(1.0)
    coarse, fine = (
        float(bures_squared(moments(flow(problem.F, Splitting(exact_jko(200)), [1 / n] * n, problem.initial)), exact))
        ** 0.5
        for n in (5, 10)
    )
    assert math.log2(coarse / fine) == pytest.approx(1, abs=0.25)


def test_splitting_keeps_the_density():
    """Both halves are affine here, so the law is a Gaussian known from the maps' matrices alone."""
    path = flow(zoo.crowded(), Splitting(exact_jko(200)), [0.2, 0.2])
    law = path.laws[0]
    for info in path.infos:
        zero, J = info.map.jacobian(torch.zeros(1, 2).double())
        law = Gaussian(J[0] @ law.mean + zero[0], (S := J[0] @ law.covariance @ J[0].T, (S + S.T) / 2)[1])
    x = zoo.randn(0, 30, 2)
    torch.testing.assert_close(path.final.log_prob(x), law.log_prob(x), rtol=1e-9, atol=1e-9)


def test_any_term_with_a_variation_can_go_forward():
    """Forward Euler on V and the heat equation after it, against both in closed form."""
    tau = 0.1
    start = moments(flow(zoo.free(), Splitting(exact_jko(), (Potential,)), []))
    path = flow(zoo.free(), Splitting(exact_jko(), (Potential,)), [tau])
    M = torch.eye(2).double() - tau * A
    half = Gaussian(start.mean - tau * A @ (start.mean - B), (S := M @ start.covariance @ M, (S + S.T) / 2)[1])
    agree(moments(path), jko_step(half, 0 * A, 0 * B, tau), 1e-8)


def test_splitting_reports_the_folds_of_its_explicit_half():
    stepper = Splitting(JKO(Affine(2), LBFGS(10), particles=100, held=20), (Potential,))
    path = flow(zoo.free(), stepper, [0.6])  # I − τA has one negative eigenvalue
    assert path.infos[0].measures["folded"] == 1
    assert not path.final.has_density


def test_explicit_moves_are_the_forward_half():
    path = flow(zoo.crowded(), Splitting(exact_jko(100)), [0.2])
    explicit = path.infos[0].map.parts[0]
    assert isinstance(explicit, Explicit)
    x = flow(zoo.crowded(), Splitting(exact_jko(100)), []).state.x
    torch.testing.assert_close(explicit(x), x - 0.2 * 0.5 * (x - x.mean(0)), rtol=0, atol=1e-13)
