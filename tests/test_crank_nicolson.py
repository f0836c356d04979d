"""The Crank–Nicolson step: its closed form for Gaussians, order one, JKO where F is linear, where it is refused."""

import math

import pytest
import torch
import zoo
from torch import Tensor

from pdes.ornstein_uhlenbeck import exact_gaussian
from validation.gaussian import bures_squared, crank_nicolson_step, jko_step
from wgf import evolve, keys
from wgf.critics import Critic
from wgf.errors import Incompatible, InputError
from wgf.functionals import Entropy, FDivergence, JensenShannon, Potential, PowerEntropy, Quadratic
from wgf.law import Gaussian
from wgf.maps import Affine, Residual
from wgf.methods import variational_wgf
from wgf.steppers import JKO, CrankNicolson, Midpoint, SaddleJKO, Splitting
from wgf.training import LBFGS, Adam, Alternate

A, B = zoo.doubles([2, 0.5], [0.5, 1]), zoo.doubles(1, -1)
START = Gaussian(zoo.doubles(0.5, 0), zoo.doubles([1, 0.3], [0.3, 0.5]))
LINE = (zoo.doubles([1.5]), zoo.doubles(0.7), Gaussian(zoo.doubles(-1), zoo.doubles([0.6])))
EXACT = JKO(Affine(2), LBFGS(100), particles=600, held=0)
STILL = Adam(1, 64, 1e-30)  # u stays zero, so that log ρ_k is log Γ, for Gaussians exact


def objective(rho: Gaussian, N: Tensor, shift: Tensor, tau: float, A: Tensor = A, b: Tensor = B) -> Tensor:
    """½F + ½∫δF/δρ(ρ) + W₂²/2τ of x ↦ m + shift + N(x − m), written out from its three parts, to a constant."""
    S, m = rho.covariance, rho.mean
    after, mean = N @ S @ N.T, m + shift
    away = mean - b
    potential = 0.5 * (torch.trace(A @ after) + away @ A @ away)
    entropy = -0.5 * torch.logdet(after)
    frozen = -0.5 * (torch.trace(torch.linalg.solve(S, after)) + shift @ torch.linalg.solve(S, shift))
    eye = torch.eye(len(S)).to(S)
    moved = torch.trace((N - eye) @ S @ (N - eye).T) + shift @ shift
    return 0.5 * (potential + entropy) + 0.5 * (potential + frozen) + moved / (2 * tau)


def minimiser(rho: Gaussian, tau: float, A: Tensor = A, b: Tensor = B) -> Gaussian:
    """By L-BFGS over symmetric N and the shift."""
    d = rho.dim
    N, shift = torch.eye(d).double().requires_grad_(), torch.zeros(d).double().requires_grad_()
    settings = {"max_iter": 500, "tolerance_grad": 1e-12, "tolerance_change": 0, "line_search_fn": "strong_wolfe"}
    optimiser = torch.optim.LBFGS([N, shift], **settings)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = objective(rho, (N + N.T) / 2, shift, tau, A, b)
        loss.backward()
        return loss

    optimiser.step(closure)
    M = ((N + N.T) / 2).detach()
    return Gaussian(rho.mean + shift.detach(), M @ rho.covariance @ M)


def close(first: Gaussian, second: Gaussian, tolerance: float) -> None:
    torch.testing.assert_close(first.mean, second.mean, rtol=0, atol=tolerance)
    torch.testing.assert_close(first.covariance, second.covariance, rtol=0, atol=tolerance)


@pytest.mark.parametrize("tau", [0.05, 0.3])
def test_the_closed_form_minimises_the_objective(tau):
    close(crank_nicolson_step(START, A, B, tau), minimiser(START, tau), 1e-7)
    a, b, rho = LINE
    close(crank_nicolson_step(rho, a, b, tau), minimiser(rho, tau, a, b), 1e-7)
    s, kappa = math.sqrt(0.6), 1 + tau * 1.5 - tau / 1.2
    spread = (s + math.sqrt(0.6 + 2 * kappa * tau)) / (2 * kappa)
    assert float(crank_nicolson_step(rho, a, b, tau).covariance.sqrt()) == pytest.approx(spread, rel=1e-12)


def test_the_target_stays_where_it_is():
    target = Gaussian(B, torch.linalg.inv(A))
    close(crank_nicolson_step(target, A, B, 0.3), target, 1e-12)


def test_the_closed_form_is_of_order_one():
    """As plain JKO, with errors of the same size: not the second order that its name promises."""
    truth = exact_gaussian(A, B, START.mean, START.covariance, 1.0)
    errors = {}
    for step in (crank_nicolson_step, jko_step):
        for n in (20, 40, 80):
            law = START
            for _ in range(n):
                law = step(law, A, B, 1 / n)
            errors[step.__name__, n] = float(bures_squared(law, truth)) ** 0.5
    for n in (20, 40):
        order = math.log2(errors["crank_nicolson_step", n] / errors["crank_nicolson_step", 2 * n])
        assert order == pytest.approx(1, abs=0.15)
    assert errors["crank_nicolson_step", 80] > 0.3 * errors["jko_step", 80]


NARROW = Gaussian(zoo.doubles(0, 0), zoo.doubles([0.2, 0], [0, 2]))
WIDE = Gaussian(zoo.doubles(0, 0), zoo.doubles([4, 1], [1, 2]))


@pytest.mark.parametrize("rho", [START, NARROW])
def test_the_step_is_unbounded_where_it_is_refused_and_nowhere_else(rho):
    """Along the eigenvector of K = I/τ + A − ½S⁻¹ the objective falls without end at K ≤ 0, and rises at K > 0."""
    values, vectors = torch.linalg.eigh(0.5 * torch.linalg.inv(rho.covariance) - A)
    limit, v = 1 / float(values[-1]), vectors[:, -1]
    for tau, sign in ((0.99 * limit, 1), (1.01 * limit, -1)):
        far = [objective(rho, torch.eye(2).double() + s * torch.outer(v, v), 0 * B, tau) for s in (1e4, 2e4)]
        assert sign * float(far[1] - far[0]) > 0
    crank_nicolson_step(rho, A, B, 0.99 * limit)
    with pytest.raises(InputError, match="must be positive definite"):
        crank_nicolson_step(rho, A, B, 1.01 * limit)


def test_a_law_as_wide_as_the_potential_can_take_any_step():
    """A ≻ ½S⁻¹: as τ → ∞ the step goes to the minimiser of the two halves, which is bounded below."""
    close(crank_nicolson_step(WIDE, A, B, 1e6), minimiser(WIDE, 1e6), 1e-6)


# The stepper


@pytest.mark.parametrize("taus", [[0.2] * 3, [0.05, 0.1]])
def test_with_the_exact_variation_the_steps_are_the_closed_form(taus):
    path = evolve(zoo.free(), CrankNicolson(EXACT, Critic(2, 8), STILL), zoo.start(), taus, seed=0)
    laws = [Gaussian.fit(law.sample(600, keys.generator(0, 0))) for law in path.laws]
    expected = laws[0]
    for law, tau in zip(laws[1:], taus, strict=True):
        before, expected = expected, crank_nicolson_step(expected, A, B, tau)
        close(law, expected, 1e-5)  # Γ has a ridge of 1e-6
        assert float(bures_squared(jko_step(before, A, B, tau), expected)) ** 0.5 > 1e-3


def test_with_a_fitted_critic_they_are_near():
    """A start that is not Gaussian would be further off by its own; here only the critic's error is left."""
    stepper = CrankNicolson(JKO(Affine(2), LBFGS(50), particles=4000, held=0), Critic(2, 16), Adam(40, 1024, 5e-3))
    path = evolve(zoo.free(), stepper, zoo.start(), [0.2] * 2, seed=0)
    laws = [Gaussian.fit(law.sample(4000, keys.generator(0, 0))) for law in path.laws]
    expected = laws[0]
    for law in laws[1:]:
        expected = crank_nicolson_step(expected, A, B, 0.2)
        assert float(bures_squared(law, expected)) ** 0.5 < 0.02


def test_through_a_saddle_it_is_near_and_both_critics_are_kept():
    game = Alternate(iterations=100, inner=4, refit=100, batch=512, rate=2e-2, critic_rate=1e-2, averaging=0.95)
    inner = SaddleJKO(Affine(2), Critic(2, 24, 1), training=game, particles=4000, held=1000)
    path = evolve(zoo.free(), CrankNicolson(inner, Critic(2, 8), STILL), zoo.start(), [0.25], seed=0)
    first, last = (Gaussian.fit(law.sample(4000, keys.generator(0, 0))) for law in path.laws)
    expected, plain = (step(first, A, B, 0.25) for step in (crank_nicolson_step, jko_step))
    assert float(bures_squared(last, expected)) ** 0.5 < 0.03
    assert float(bures_squared(plain, expected)) ** 0.5 > 0.1
    info = path.infos[0]
    assert info.dual["Entropy"] == pytest.approx(info.energy["Entropy"], abs=0.05)  # of the whole entropy, not its half
    assert set(path.state.memory) == {"map", "critics", "references", "frozen"}


def test_linear_functionals_are_taken_as_jko_takes_them():
    F = Potential(zoo.bumpy) + 0.5 * zoo.V()
    inner = JKO(Residual(2, width=8), zoo.ADAM, **zoo.POOL)
    plain = evolve(F, inner, zoo.start(), [0.1] * 2, seed=0)
    half = evolve(F, CrankNicolson(inner, Critic(2, 8)), zoo.start(), [0.1] * 2, seed=0)
    assert torch.equal(plain.state.x, half.state.x)


def test_interactions_are_averaged_between_both_ends():
    """½∬W with W = ½κ|x|²: mean-field curvature κ at both ends, so that the spread of JKO and of this step are one."""
    F = zoo.V() + zoo.Interaction(0.5 * zoo.Power(2))
    inner = JKO(Affine(2), LBFGS(50), particles=300, held=0)
    steppers = (inner, CrankNicolson(inner, Critic(2, 8)))
    plain, half = (evolve(F, stepper, zoo.start(), [0.3], seed=0).state.x for stepper in steppers)
    torch.testing.assert_close(half.T.cov(), plain.T.cov(), rtol=1e-5, atol=1e-5)


def test_it_is_refused_where_it_is_unbounded_and_finished_steps_are_kept():
    stepper = CrankNicolson(EXACT, Critic(2, 8), STILL)
    narrow = Gaussian(zoo.doubles(0, 0), zoo.doubles([0.01, 0], [0, 1]))
    said = r"size 0\.5 is unbounded below, for where the particles are narrowest 1/τ \+ a = .* is not above w/2s² = .*"
    with pytest.raises(Incompatible, match=said + "take tau below 0.02"):
        evolve(zoo.free(), stepper, narrow, [0.5])
    evolve(Potential(Quadratic(A)), stepper, narrow, [0.5])  # no entropy, nothing to run away
    with pytest.raises(Incompatible, match="unbounded below") as caught:
        evolve(zoo.free(), stepper, zoo.start(), [0.1, 0.1, 100.0])
    assert len(caught.value.path) == 2


def test_the_limit_that_the_refusal_names_is_the_limit():
    narrow = Gaussian(zoo.doubles(0, 0), zoo.doubles([0.05, 0], [0, 1]))
    stepper = CrankNicolson(EXACT, Critic(2, 8), STILL)
    pool = Gaussian.fit(evolve(zoo.free(), stepper, narrow, []).state.x)
    limit = 1 / float(torch.linalg.eigvalsh(0.5 * torch.linalg.inv(pool.covariance) - A)[-1])
    evolve(zoo.free(), stepper, narrow, [0.98 * limit])
    with pytest.raises(Incompatible, match=f"take tau below {limit:.3g}"):
        evolve(zoo.free(), stepper, narrow, [1.02 * limit])
    evolve(0.1 * Entropy() + zoo.V(), stepper, narrow, [1.02 * limit])  # a tenth of the entropy, ten times the step


def test_parts_that_do_not_fit_are_refused():
    critic = Critic(2, 8)
    with pytest.raises(Incompatible, match="CrankNicolson needs a JKO or a SaddleJKO inside, got Midpoint"):
        CrankNicolson(Midpoint(EXACT), critic)
    with pytest.raises(Incompatible, match="extrapolates the JKO step of τ/2, which a CrankNicolson does not take"):
        Midpoint(CrankNicolson(EXACT, critic))
    with pytest.raises(Incompatible, match="the critic reads 3 dimensions, but the particles have 2"):
        evolve(zoo.free(), CrankNicolson(EXACT, Critic(3)), zoo.start(), [0.1])
    with pytest.raises(Incompatible, match="JKO cannot run FDivergence"):
        evolve(FDivergence(JensenShannon(), zoo.target()), CrankNicolson(EXACT, critic), zoo.start(), [0.1])
    with pytest.raises(InputError, match="first must be an integer of at least 1"):
        CrankNicolson(EXACT, critic, first=0)
    with pytest.raises(InputError, match=r"the dual of PowerEntropy\(0.5\) is known for m > 1 only"):
        evolve(PowerEntropy(0.5), CrankNicolson(EXACT, critic), zoo.start(), [0.1])
    with pytest.raises(InputError, match="second_order and crank_nicolson are two schemes"):
        variational_wgf(2, second_order=True, crank_nicolson=True)


def test_the_method_has_it_as_an_option():
    assert isinstance(variational_wgf(2, crank_nicolson=True), CrankNicolson)
    split = variational_wgf(2, forward=[zoo.Interaction], crank_nicolson=True)
    assert isinstance(split, Splitting)
    assert isinstance(split.inner, CrankNicolson)
