"""Closed forms between Gaussians, and the exact JKO and midpoint steps, against algebra, scipy and the flow itself."""

import math

import pytest
import scipy.linalg
import torch
from torch import Tensor, distributions

from pdes import exact_gaussian
from validation.gaussian import bures_squared, jko_map, jko_step, midpoint_step, symmetric_kl
from wgf.errors import InputError
from wgf.law import Gaussian


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def spd(seed: int, d: int, condition: float = 50.0) -> Tensor:
    q, _ = torch.linalg.qr(randn(seed, d, d))
    matrix = (q * torch.logspace(0, -math.log10(condition), d, dtype=torch.float64)) @ q.T
    return (matrix + matrix.T) / 2


def norm(matrix: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrix, 2))


def pair(d: int) -> tuple[Gaussian, Gaussian]:
    return Gaussian(randn(1, d), spd(2, d)), Gaussian(randn(3, d), 2 * spd(4, d))


@pytest.mark.parametrize("d", [1, 2, 5, 20])
def test_bures_agrees_with_the_formula_of_matrix_roots(d):
    p, q = pair(d)
    root = scipy.linalg.sqrtm(p.covariance.numpy())
    cross = scipy.linalg.sqrtm(root @ q.covariance.numpy() @ root).real.trace()
    traces = float(p.covariance.trace() + q.covariance.trace())
    expected = float((p.mean - q.mean).square().sum()) + traces - 2 * cross
    assert float(bures_squared(p, q)) == pytest.approx(expected, rel=1e-10)
    assert float(bures_squared(q, p)) == pytest.approx(expected, rel=1e-10)


def test_bures_keeps_the_digits_of_tiny_distances():
    p, h = pair(6)[0], 1e-9
    near = Gaussian(p.mean, (1 + h) ** 2 * p.covariance)  # the map is (1 + h)(x − m) + m
    assert float(bures_squared(p, near)) == pytest.approx(h**2 * float(p.covariance.trace()), rel=1e-4)
    assert float(bures_squared(p, p)) < 1e-28


@pytest.mark.parametrize("d", [1, 2, 5, 20])
def test_symmetric_kl_agrees_with_torch(d):
    p, q = pair(d)
    first, second = (distributions.MultivariateNormal(law.mean, law.covariance) for law in (p, q))
    expected = distributions.kl_divergence(first, second) + distributions.kl_divergence(second, first)
    torch.testing.assert_close(symmetric_kl(p, q), expected, rtol=1e-10, atol=0)
    torch.testing.assert_close(symmetric_kl(q, p), expected, rtol=1e-10, atol=0)


def test_symmetric_kl_keeps_the_digits_of_tiny_distances():
    h = 1e-9
    p, q = Gaussian.standard(4, dtype=torch.float64), Gaussian.standard(4, math.sqrt(1 + h), dtype=torch.float64)
    assert float(symmetric_kl(p, q)) == pytest.approx(4 * h**2 / 2, rel=1e-5)


@pytest.mark.parametrize("condition", [1.0, 50.0, 1e8])
@pytest.mark.parametrize("tau", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("d", [1, 2, 7])
def test_the_jko_map_solves_the_optimality_condition(d, tau, condition):
    rho, A, b = Gaussian(randn(0, d), spd(5, d, condition)), 3 * spd(6, d), randn(7, d)
    T, mean = jko_map(rho, A, b, tau)
    after = jko_step(rho, A, b, tau)
    assert float(torch.linalg.eigvalsh(T)[0]) > 0
    B = torch.eye(d).double() + tau * A - tau * torch.linalg.inv(after.covariance)
    assert norm(B @ after.covariance @ B - rho.covariance) < 1e-12 * norm(rho.covariance) * norm(B) ** 2 / tau
    assert norm(T @ rho.covariance @ T - after.covariance) < 1e-14 * condition * norm(after.covariance)
    assert norm(B @ T - torch.eye(d).double()) < 1e-12 * norm(T) * (1 + norm(B)) / tau
    torch.testing.assert_close(mean + tau * A @ (mean - b), rho.mean, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("d", [2, 6])
def test_the_jko_map_is_the_stabilising_solution_of_its_riccati_equation(d):
    tau = 0.3
    rho, A = Gaussian(randn(0, d), spd(5, d)), spd(6, d)
    half, M = torch.eye(d).double() / 2, torch.eye(d).double() + tau * A
    inverse = tau * torch.linalg.inv(rho.covariance)
    expected = scipy.linalg.solve_continuous_are(
        half.numpy(), torch.linalg.cholesky(M).numpy(), inverse.numpy(), torch.eye(d).numpy()
    )
    T, _ = jko_map(rho, A, torch.zeros(d).double(), tau)
    torch.testing.assert_close(T, torch.from_numpy(expected), rtol=1e-10, atol=1e-10)


# the second pair makes S nearly singular and T as large as 1e6: s itself is lost to rounding in S, S⁺ is not
@pytest.mark.parametrize(("small", "rtol"), [(0.1, 1e-12), (1e-7, 1e-7)])
def test_commuting_steps_have_the_one_dimensional_closed_form(small, rtol):
    tau = 0.2
    a, s, m, b = torch.tensor([[0.5, 1.0, 4.0], [2.0, small, 1.0], [1.0, -1.0, 0.0], [0.0, 3.0, 1.0]]).double()
    q, _ = torch.linalg.qr(randn(0, 3, 3))
    after = jko_step(Gaussian(q @ m, (q * s**2) @ q.T), (q * a) @ q.T, q @ b, tau)
    expected = (s + (s**2 + 4 * tau * (1 + tau * a)).sqrt()) / (2 * (1 + tau * a))
    torch.testing.assert_close(q.T @ after.covariance @ q, torch.diag(expected**2), rtol=rtol, atol=1e-13)
    torch.testing.assert_close(q.T @ after.mean, (m + tau * a * b) / (1 + tau * a), rtol=1e-12, atol=1e-13)


def test_the_jko_step_minimises_its_objective():
    d, tau = 3, 0.4
    rho, A, b = Gaussian(randn(0, d), spd(5, d)), 2 * spd(6, d), randn(7, d)
    target = distributions.MultivariateNormal(b, precision_matrix=A)

    def objective(law: Gaussian) -> float:
        kl = distributions.kl_divergence(distributions.MultivariateNormal(law.mean, law.covariance), target)
        return float(kl + bures_squared(rho, law) / (2 * tau))

    after = jko_step(rho, A, b, tau)
    best, size = objective(after), 1e-3
    gains = []
    for seed in range(20):
        push = torch.eye(d).double() + size * randn(100 + seed, d, d)
        near = Gaussian(after.mean + size * randn(200 + seed, d), push @ after.covariance @ push.T)
        gains.append(objective(near) - best)
    assert min(gains) > 0
    assert max(gains) < 100 * size**2  # quadratic: the first-order terms vanish


def test_the_target_is_a_fixed_point():
    target = Gaussian(randn(0, 4), spd(1, 4))
    A = torch.linalg.inv(target.covariance)
    for step in (jko_step, midpoint_step):
        assert float(symmetric_kl(step(target, (A + A.T) / 2, target.mean, 0.3), target)) < 1e-20


@pytest.mark.parametrize(("step", "order"), [(jko_step, 1.0), (midpoint_step, 2.0)])
def test_steps_have_their_order_on_a_flow_whose_matrices_do_not_commute(step, order):
    d, t = 3, 1.0
    rho, A, b = Gaussian(randn(0, d), spd(5, d, 8)), 2 * spd(6, d, 4), randn(7, d)
    exact = exact_gaussian(A, b, rho.mean, rho.covariance, t)
    errors = []
    for n in (40, 80):
        law = rho
        for _ in range(n):
            law = step(law, A, b, t / n)
        errors.append(math.sqrt(float(bures_squared(law, exact))))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_without_a_potential_the_step_is_the_heat_equations():
    tau = 0.1
    zero = torch.zeros(2, 2).double()
    after = jko_step(Gaussian.standard(2, 0.5, dtype=torch.float64), zero, zero[0], tau)
    expected = ((0.5 + math.sqrt(0.25 + 4 * tau)) / 2) ** 2
    torch.testing.assert_close(after.covariance, expected * torch.eye(2).double())


def test_dtype_follows_the_law():
    rho = Gaussian.standard(3, dtype=torch.float32)
    assert jko_step(rho, spd(0, 3), randn(1, 3), 0.1).mean.dtype == torch.float32


def test_bad_arguments_are_refused_by_name():
    rho, A, b = Gaussian.standard(2, dtype=torch.float64), torch.eye(2).double(), torch.zeros(2).double()
    with pytest.raises(InputError, match="tau must be"):
        jko_step(rho, A, b, -0.1)
    with pytest.raises(InputError, match=r"A must have shape \(2, 2\)"):
        jko_step(rho, torch.eye(3).double(), b, 0.1)
    with pytest.raises(InputError, match="I \\+ τA must be positive definite"):
        jko_step(rho, -20 * A, b, 0.1)
    with pytest.raises(InputError, match="dimensions 2 and 3"):
        bures_squared(rho, Gaussian.standard(3, dtype=torch.float64))
    with pytest.raises(InputError, match="convert one of them"):
        symmetric_kl(rho, rho.to(torch.float32))
