"""SVGD: its direction against the double loop, its fixed points, its dissipation against the Stein discrepancy."""

import math
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import zoo
from torch import Tensor

from validation.benches import svgd
from validation.race import Truth
from wgf import evolve, runs
from wgf.errors import Diverged, InputError
from wgf.functionals import KL, Entropy, FDivergence, Interaction, KullbackLeibler, Potential, PowerEntropy, Quadratic
from wgf.kernels import Fixed, InverseMultiquadric, Matern52, MedianLog, Power, Radial
from wgf.kernels import Gaussian as GaussianKernel
from wgf.law import Empirical, Gaussian
from wgf.spec import build
from wgf.steppers import SVGD, AdaGrad, AdamStep, Optimiser, Plain, State, stein_velocity
from wgf.steppers.svgd import NEAR
from wgf.steppers.updates import Update
from wgf.targets import LogisticPosterior, design
from wgf.training import never
from wgf.tree import load_tree, save_tree

KERNELS: list[Radial] = [GaussianKernel(0.9), InverseMultiquadric(1.1), Matern52(1.3)]
UPDATES: list[Update] = [
    Plain(), AdaGrad(), AdamStep(), Optimiser(torch.optim.Adagrad),
    Optimiser(lambda points: torch.optim.SGD(points, lr=1.0, momentum=0.9)),
]  # fmt: skip

every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=repr)


def law() -> Gaussian:
    """The Gaussian target."""
    return Gaussian(zoo.doubles(1, -1), zoo.doubles([0.8, 0.3], [0.3, 0.5]))


def score(x: Tensor) -> Tensor:
    return -torch.linalg.solve(law().covariance, (x - law().mean).T).T


def double_loop(kernel: Radial, x: Tensor, s: Tensor, temperature: float) -> Tensor:
    """The direction pair by pair, ∇_{x_j} k(x_j, x_i) by autograd."""
    rows = []
    for at in x:
        total = torch.zeros_like(at)
        for of, slope in zip(x, s, strict=True):
            leaf = of.clone().requires_grad_()
            k = kernel.value((leaf - at).square().sum(), len(at))
            total += k.detach() * slope
            if not torch.equal(of, at):  # there the gradient is zero, and that of a root is not defined
                total += temperature * torch.autograd.grad(k, leaf)[0]
        rows.append(total / len(x))
    return torch.stack(rows)


def stein_trace(kernel: Radial, x: Tensor, y: Tensor) -> Tensor:
    """u(x_i, y_j) = s(x)ᵀk s(y) + s(x)·∇_y k + s(y)·∇_x k + ∇_x·∇_y k, by autograd through dense pairs."""
    d = x.shape[1]
    X, Y = (points.clone().requires_grad_() for points in (x[:, None].expand(-1, len(y), -1), y.expand(len(x), -1, -1)))
    k = kernel.value((X - Y).square().sum(-1), d)
    gx, gy = torch.autograd.grad(k.sum(), (X, Y), create_graph=True)
    mixed = sum(torch.autograd.grad(gx[..., c].sum(), Y, retain_graph=True)[0][..., c] for c in range(d))
    sx, sy = score(x)[:, None], score(y)[None]
    return (k * (sx * sy).sum(-1) + (sx * gy).sum(-1) + (sy * gx).sum(-1) + mixed).detach()


@every_kernel
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_the_direction_is_the_double_loop(kernel, temperature):
    x = zoo.randn(0, 13, 3)
    x[7] = x[2]  # coincident points
    s = zoo.randn(1, 13, 3)
    expected = double_loop(kernel, x, s, temperature)
    torch.testing.assert_close(stein_velocity(kernel, x, s, temperature), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("spread", [0.5, 1.0, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_its_digits_hold_wherever_the_cloud_lies(dtype, spread):
    """Near, far, and clusters too wide for sums of values: within tolerance of 1/n Σ_j k (|s_j| + T/h)."""
    kernel, T, n = GaussianKernel(1.2), 0.7, 400
    x = (spread * zoo.randn(0, n, 6) + 300).to(dtype)
    s = zoo.randn(1, n, 6, dtype=dtype)
    wide, delta = x.double(), x.double()[:, None] - x.double()[None]
    k = kernel.value(delta.square().sum(-1), 6)
    exact = (k @ s.double() + T * torch.einsum("ij,ijc->ic", k, delta) / 1.2**2) / n
    scale = (k @ (s.double().abs() + T / 1.2)) / n
    error = (stein_velocity(kernel, x, s, T).double() - exact).abs() / scale
    assert float(error.max()) < {torch.float32: 1e-5, torch.float64: 1e-11}[dtype]
    near = float((wide - wide.mean(0)).norm(dim=1).max()) <= NEAR * 1.2
    assert near == (spread < 10)


def test_a_step_follows_the_direction_in_the_time_of_the_functional():
    x, V = zoo.randn(0, 20, 2), zoo.V()
    T = 0.4
    stepper = SVGD(20, Fixed(GaussianKernel(0.8)))
    path = evolve(T * Entropy() + 2 * V, stepper, Empirical(x), [0.05])
    before = stepper.init(T * Entropy() + 2 * V, Empirical(x), 0).x
    expected = before + 0.05 * T * double_loop(GaussianKernel(0.8), before, -2 / T * V.gradient(before), 1.0)
    torch.testing.assert_close(path.state.x, expected, rtol=1e-10, atol=1e-12)
    faster = evolve(3 * (T * Entropy() + 2 * V), stepper, Empirical(x), [0.05 / 3])  # c·F in the time t/c
    torch.testing.assert_close(faster.state.x, path.state.x, rtol=1e-10, atol=1e-12)


@every_kernel
def test_it_commutes_with_permutations_and_rigid_motions(kernel):
    x, s = zoo.randn(0, 30, 3), zoo.randn(1, 30, 3)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    rotation = torch.linalg.qr(zoo.randn(3, 3, 3))[0]
    v = stein_velocity(kernel, x, s)
    torch.testing.assert_close(stein_velocity(kernel, x[order], s[order]), v[order], rtol=1e-10, atol=1e-12)
    moved = stein_velocity(kernel, x @ rotation + 2, s @ rotation)
    torch.testing.assert_close(moved, v @ rotation, rtol=1e-10, atol=1e-12)


def test_one_particle_climbs_to_the_mode():
    V, tau = zoo.V(), 0.3
    for kernel in (Fixed(GaussianKernel(0.5)), MedianLog()):
        path = evolve(Entropy() + V, SVGD(1, kernel), zoo.start(), [tau] * 3, seed=4)
        x = SVGD(1).init(Entropy() + V, zoo.start(), 4).x
        for _ in range(3):
            x = x - tau * V.gradient(x)
        torch.testing.assert_close(path.state.x, x, rtol=1e-12, atol=1e-12)
    path = evolve(Entropy() + V, SVGD(1, MedianLog()), zoo.start(), [tau] * 300)
    torch.testing.assert_close(path.state.x[0], V.V.centre, rtol=0, atol=1e-10)


@every_kernel
def test_under_the_target_the_direction_has_mean_zero(kernel):
    at = zoo.randn(9, 4, 2)
    x = law().sample(40_000, torch.Generator().manual_seed(0))
    for point in at:
        delta = x - point
        k, slope = kernel.jet(delta.square().sum(-1), 2, 1)
        parts = k[:, None] * score(x) + 2 * slope[:, None] * delta
        assert (parts.mean(0).abs() < 4 * parts.std(0) / math.sqrt(len(x))).all()
        wrong = k[:, None] * score(x) - 2 * slope[:, None] * delta
        assert (wrong.mean(0).abs() > 4 * wrong.std(0) / math.sqrt(len(x))).any()


@pytest.mark.parametrize("kernel", KERNELS[:2], ids=repr)
def test_the_energy_falls_at_the_rate_of_the_stein_discrepancy(kernel):
    """d/dt KL = −E[s·φ + ∇·φ] = −KSD²: with φ from the kernel sums, and KSD²_V pair by pair."""
    x = zoo.randn(0, 60, 2)

    def direction(y: Tensor) -> Tensor:
        repulsion = 1 / len(x)
        delta = y[:, None] - x[None]
        k, slope = kernel.jet(delta.square().sum(-1), 2, 1)
        return (k @ score(x)) * repulsion - 2 * repulsion * (slope[..., None] * delta).sum(1)

    leaf = x.clone().requires_grad_()
    phi = direction(leaf)
    divergence = sum(torch.autograd.grad(phi[:, c].sum(), leaf, retain_graph=True)[0][:, c] for c in range(2))
    velocity = stein_velocity(kernel, x, score(x))
    torch.testing.assert_close(velocity, phi.detach(), rtol=1e-10, atol=1e-12)
    rate = ((score(x) * velocity).sum(-1) + divergence).mean()
    torch.testing.assert_close(rate, stein_trace(kernel, x, x).mean(), rtol=1e-10, atol=0)
    assert float(rate) > 0


def test_200_particles_have_the_moments_of_a_gaussian():
    """At rest the mean is right and the spread too small by 5 %, a bias of the method that n ties down (50: 14 %)."""
    target, short = law(), {}
    for n in (50, 200):
        F, rho0 = KL(target.log_prob, score), Gaussian.standard(2, 2.0, dtype=zoo.DOUBLE)
        x = evolve(F, SVGD(n, MedianLog()), rho0, [1.0] * 400).state.x
        assert float(stein_velocity(MedianLog().kernel(x), x, score(x)).norm(dim=1).max()) < 1e-3
        torch.testing.assert_close(x.mean(0), target.mean, rtol=0, atol=2e-3)
        short[n] = 1 - (x - x.mean(0)).T @ (x - x.mean(0)) / n / target.covariance
    assert short[200].abs().max() < 0.065
    assert (short[200] < short[50]).all()


def test_a_temperature_spreads_the_particles():
    F = 0.25 * Entropy() + Potential(Quadratic(torch.eye(2, dtype=zoo.DOUBLE)))
    x = evolve(F, SVGD(150), Gaussian.standard(2, dtype=zoo.DOUBLE), [1.0] * 300).state.x
    assert float(x.var(0, correction=0).mean()) == pytest.approx(0.25, rel=0.08)


def test_interactions_drift_along():
    """McKean–Vlasov: mean-field attraction κ about the cloud's mean adds to the confinement a: variance T/(a + κ)."""
    F = Entropy() + Potential(Quadratic(torch.eye(1, dtype=zoo.DOUBLE))) + Interaction(3.0 * Power(2))
    x = evolve(F, SVGD(100), Gaussian.standard(1, dtype=zoo.DOUBLE), [0.2] * 400).state.x
    assert float(x.mean()) == pytest.approx(0, abs=1e-3)
    assert float(x.var(correction=0)) == pytest.approx(0.25, rel=0.05)


def test_the_rule_of_the_paper_balances_a_particle_and_its_neighbours():
    """Σ_j k(x_i, x_j) is about one at the median distance: n exp(−med²/2h²) = 1, up to n + 1 for n."""
    x = zoo.randn(0, 101, 2)
    kernel = MedianLog().kernel(x)
    median = torch.pdist(x).median()
    assert float(102 * kernel.value(median**2, 2)) == pytest.approx(1.0, rel=1e-2)


def test_adagrad_is_its_recursion():
    v, w, x = zoo.randn(0, 6, 2), zoo.randn(1, 6, 2), zoo.randn(2, 6, 2)
    update = AdaGrad(epsilon=1e-3)
    y, memory = update(x, v, 0.1, None)
    torch.testing.assert_close(y, x + 0.1 * v / (1e-3 + v.abs()))
    z, memory = update(y, w, 0.2, memory)
    square = 0.9 * v.square() + 0.1 * w.square()
    torch.testing.assert_close(memory["square"], square)
    torch.testing.assert_close(z, y + 0.2 * w / (1e-3 + square.sqrt()))


def test_adam_is_its_algorithm_and_adagrad_the_sum_of_squares():
    v, w, x = zoo.randn(0, 6, 2), zoo.randn(1, 6, 2), zoo.randn(2, 6, 2)
    adam, sums = AdamStep(epsilon=1e-4), Optimiser(torch.optim.Adagrad)
    _, memory = adam(x, v, 0.1, None)
    first = {name: value.clone() for name, value in memory["state"].items()}
    y, _ = adam(x, w, 0.1, memory)
    m = (0.9 * 0.1 * v + 0.1 * w) / (1 - 0.9**2)
    s = (0.999 * 0.001 * v.square() + 0.001 * w.square()) / (1 - 0.999**2)
    torch.testing.assert_close(y, x + 0.1 * m / (s.sqrt() + 1e-4))
    assert all(torch.equal(memory["state"][name], value) for name, value in first.items())  # what was saved stays
    _, memory = sums(x, v, 0.1, None)
    y, _ = sums(x, w, 0.1, memory)
    torch.testing.assert_close(y, x + 0.1 * w / (v.square() + w.square()).sqrt())


@pytest.mark.parametrize("update", UPDATES, ids=lambda update: type(update).__name__)
def test_what_an_update_remembers_survives_the_disk(update, tmp_path):
    stepper, F = SVGD(30, update=update, substeps=2), zoo.free()
    whole = evolve(F, stepper, zoo.start(), [0.1, 0.05, 0.2])
    part = evolve(F, stepper, zoo.start(), [0.1, 0.05])
    save_tree(part.state.tree(), tmp_path / "state.safetensors")
    state = State.from_tree(load_tree(tmp_path / "state.safetensors"))
    after, info = stepper.step(F, state, 0.2, never)
    assert torch.equal(after.x, whole.state.x)
    assert info.measures["bandwidth"] > 0
    if not isinstance(update, Plain):
        forgetful, _ = stepper.step(F, State(state.x, state.key, state.step), 0.2, never)
        assert not torch.equal(forgetful.x, whole.state.x)


def logistic() -> LogisticPosterior:
    X = design(2 * zoo.randn(0, 60, 2) + 1)
    return LogisticPosterior(X, torch.where(X @ zoo.randn(1, 3) + zoo.randn(2, 60) > 0, 1, -1))


def test_the_score_of_a_batch_is_unbiased():
    target, w = logistic(), zoo.randn(3, 5, 3)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([target.sampled_gradient(7, generator)(w) for _ in range(4000)])
    error = draws.mean(0) - target.gradient(w)
    assert (error.abs() < 4 * draws.std(0) / math.sqrt(len(draws))).all()
    torch.testing.assert_close(target.sampled_gradient(60, generator)(w), target.gradient(w), rtol=1e-12, atol=1e-12)
    potential = KL(target).terms[1][1]
    assert isinstance(potential, Potential)
    sampled = potential.sampled_gradient(7, torch.Generator().manual_seed(1))(w)
    torch.testing.assert_close(sampled, -target.sampled_gradient(7, torch.Generator().manual_seed(1))(w))


def test_batches_differ_between_substeps_and_resume_bit_for_bit():
    F, start = KL(logistic()), Gaussian.standard(3, dtype=zoo.DOUBLE)
    stepper = SVGD(40, update=AdaGrad(), batch=10, substeps=3)
    whole = evolve(F, stepper, start, [0.1, 0.1])
    again = evolve(F, stepper, start, [0.1], path=evolve(F, stepper, start, [0.1]))
    assert torch.equal(again.state.x, whole.state.x)
    full = evolve(F, SVGD(40, update=AdaGrad(), substeps=3), start, [0.1, 0.1])
    assert not torch.equal(full.state.x, whole.state.x)
    all_rows = evolve(F, SVGD(40, update=AdaGrad(), batch=60, substeps=3), start, [0.1, 0.1])
    torch.testing.assert_close(all_rows.state.x, full.state.x, rtol=1e-9, atol=1e-9)


REFUSED = {
    "no entropy": (SVGD(10), lambda: zoo.V() + 0 * Entropy(), ["SVGD", "positive weight", "Particles"]),
    "a divergence": (SVGD(10), lambda: zoo.free() + FDivergence(KullbackLeibler(), law()), ["SVGD", "SaddleJKO"]),
    "another entropy": (SVGD(10), lambda: zoo.free() + PowerEntropy(2), ["SVGD", "PowerEntropy(2)", "JKO", "Blob"]),
    "no data": (SVGD(10, batch=5), zoo.free, ["batch of 5", "sampled_gradient"]),
    "no kernel": (SVGD(10, Fixed(Power(2))), zoo.free, ["positive definite", "k(0) = 0", "Gaussian"]),
    "needs a loss": (SVGD(10, update=Optimiser(torch.optim.LBFGS)), zoo.free, ["gradients only", "LBFGS"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_a_sentence(case):
    stepper, F, words = REFUSED[case]
    with pytest.raises(InputError) as caught:
        evolve(F(), stepper, zoo.start(), [0.1])
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("bad", [{"particles": 0}, {"substeps": 0}, {"batch": 0}], ids=str)
def test_bad_sizes_are_refused(bad):
    with pytest.raises(InputError, match=f"{next(iter(bad))} must be an integer of at least 1"):
        SVGD(**bad)


def test_an_explosion_is_named():
    with pytest.raises(Diverged, match="no longer finite"):
        evolve(Entropy() + Potential(lambda x: x.pow(4).sum(1)), SVGD(20, substeps=50), zoo.start(), [1e5])


def test_a_spec_says_all_of_it_and_a_run_resumes(tmp_path):
    spec = {
        "problem": {"type": "ornstein-uhlenbeck", "dim": 2},
        "stepper": {"type": "svgd", "particles": 50, "update": {"type": "ada-grad"},
                    "kernel": {"type": "fixed", "radial": {"type": "gaussian", "bandwidth": 0.7}}},
        "tau": 0.1, "steps": 4,
    }  # fmt: skip
    experiment = build(spec)
    assert experiment.stepper == SVGD(50, Fixed(GaussianKernel(0.7)), AdaGrad())
    assert build(experiment.spec).stepper == experiment.stepper
    whole = runs.run(experiment, tmp_path / "whole")
    runs.run(replace(experiment, taus=experiment.taus[:2]), tmp_path / "part")
    assert torch.equal(runs.resume(tmp_path / "part").state.x, whole.state.x)


@pytest.mark.parametrize("dim", [2, 10])
def test_the_bench_compares_the_same_direction(dim):
    case = {"particles": 300, "dim": dim}
    exact = Truth(*svgd.truth(case))
    for factory in (svgd.ours, svgd.torch_pairs, svgd.numpy_pairs):
        assert exact.error(factory(case)()) < svgd.TOLERANCE
    assert exact.error(svgd.ours({**case, "particles": 301})()[:300]) > svgd.THEIRS  # another cloud


def test_the_example_finds_the_posterior():
    main = runpy.run_path(str(Path(__file__).parent.parent / "examples" / "svgd.py"))["main"]
    mean, sd, figure = main(particles=50, steps=150, chains=200)
    assert mean < 0.3  # of a posterior standard deviation; the reference alone is known to 0.07
    assert 0.05 < sd < 0.3  # 50 particles are too narrow in four dimensions
    assert len(figure.axes) == 2
