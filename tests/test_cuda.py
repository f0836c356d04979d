"""On a CUDA device: every stepper, law, critic, kernel and dual runs where its particles are, as it does on a CPU."""

import pytest
import torch
import zoo
from typer.testing import CliRunner

from wgf import evolve, keys, runs
from wgf.cli import app
from wgf.critics import Critic, ScalarField
from wgf.data import Moons
from wgf.fitting import fit, worth
from wgf.functionals import KL, FDivergence, JensenShannon
from wgf.heldout import judge
from wgf.kernels import Gaussian as GaussianKernel
from wgf.kernels import kernel_sums
from wgf.law import Cloud, Empirical, Gaussian
from wgf.maps import FiniteDifference, Hutchinson, OTFlow, Residual
from wgf.methods import jko_flow, jko_iflow
from wgf.refinement import even, refine
from wgf.scoring import score
from wgf.steppers import JKO, SaddleJKO
from wgf.targets.density import density
from wgf.training import Adam, Alternate
from wgf.two_sample import mmd2_unbiased, mmd_test

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
CUDA = "cuda:0"


@pytest.mark.parametrize("dtype", [torch.float32, zoo.DOUBLE], ids=str)
@pytest.mark.parametrize("entry", zoo.STEPPERS, ids=zoo.names(zoo.STEPPERS))
def test_a_stepper_runs_where_its_particles_are(
    entry,
    dtype,
):
    path = evolve(entry.F(), entry.build(), zoo.start().to(dtype).to(CUDA), [0.1, 0.1], seed=1)
    x = path.state.x
    assert (x.device, x.dtype) == (torch.device(CUDA), dtype)
    assert torch.isfinite(x).all()
    drawn = path.final.sample(20, keys.generator(3, device=CUDA))
    assert (drawn.device, drawn.dtype) == (torch.device(CUDA), dtype)
    if path.final.has_density:
        assert path.final.log_prob(drawn).device == torch.device(CUDA)
    more = evolve(entry.F(), entry.build(), zoo.start().to(dtype).to(CUDA), [0.1], seed=1, path=path)
    assert more.state.step == 3


@pytest.mark.parametrize("entry", zoo.LAWS, ids=zoo.names(zoo.LAWS))
def test_a_law_moves(entry):
    if entry.name == "Adapted":
        pytest.skip("distributions of torch are built where they are used; moving one is refused")
    law = entry.build().to(CUDA)
    x = law.sample(2000, keys.generator(0, device=CUDA))
    assert x.device == torch.device(CUDA)
    if entry.density:
        torch.testing.assert_close(law.log_prob(x).cpu(), entry.build().log_prob(x.cpu()), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("kernel", zoo.KERNELS, ids=str)
def test_kernel_sums_are_those_of_the_cpu(kernel):
    x, weights = zoo.randn(0, 300, 2), zoo.randn(1, 300)
    here = kernel_sums(kernel, x, x, weights[:, None], weights)
    there = kernel_sums(kernel, x.to(CUDA), x.to(CUDA), weights[:, None].to(CUDA), weights.to(CUDA))
    for ours, theirs in zip(there, here, strict=True):
        assert ours.device == torch.device(CUDA)
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("entry", zoo.TERMS, ids=zoo.names(zoo.TERMS))
def test_a_term_takes_its_energies_where_the_particles_are(entry):
    term = entry.build()
    if not hasattr(term, "energy"):
        pytest.skip("no energy on samples")
    x = zoo.randn(7, 20, 2)
    torch.testing.assert_close(
        term.energy(Cloud(x.to(CUDA))).mean().cpu(), term.energy(Cloud(x)).mean(), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("name", zoo.CRITICS)
def test_a_critic_is_fitted_there(name):
    critic: ScalarField = zoo.CRITICS[name]()
    rho, pi = (torch.randn(2000, critic.dim, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    dual = FDivergence(JensenShannon(), Empirical(pi.to(CUDA))).dual({})
    fitted = fit(dual, critic, 1 + rho.to(CUDA), Adam(30, 256))
    assert worth(dual, fitted, 1 + rho.to(CUDA)).value > 0.01


def test_a_flow_on_the_device_is_near_that_of_the_cpu():
    """Ornstein–Uhlenbeck: moments after three steps of either JKO, against those of the CPU's, other random numbers."""
    for stepper in (
        JKO(Residual(2), Adam(200, 1024), particles=20_000),
        SaddleJKO(Residual(2), Critic(2), training=Alternate(150, 3), particles=20_000),
    ):
        there, here = (
            evolve(zoo.free(), stepper, zoo.start().to(torch.float32).to(device), [0.1] * 3).state.x.cpu()
            for device in (CUDA, "cpu")
        )
        assert (there.mean(0) - here.mean(0)).abs().max() < 0.05
        assert (there.T.cov() - here.T.cov()).abs().max() < 0.05


@pytest.mark.parametrize("entry", zoo.MAPS, ids=zoo.names(zoo.MAPS))
def test_a_map_is_there_what_it_is_on_the_cpu(entry):
    if entry.name == "Explicit(interaction)":
        pytest.skip("its cloud is on the CPU")
    map = entry.perturbed(zoo.DOUBLE, scale=0.1)
    x = zoo.randn(11, 24, map.dim)
    here = moved_and_back(map, x)
    there = moved_and_back(map.to(CUDA), x.to(CUDA))
    for ours, theirs in zip(there, here, strict=True):
        assert ours.device == torch.device(CUDA)
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-8, atol=1e-8)


def moved_and_back(map, x):
    y, cost, logdet = map.transport(x, logdet=True)[:3]
    return [y, cost, logdet, *map.inverse(y.detach(), logdet=True), *gradients(map, x)]


def gradients(map, x):
    """Those of E[cost] + E½|y|² − E log det, in the weights."""
    map.zero_grad()
    moved = map.transport(x, logdet=True)
    loss = moved.cost.mean() + 0.5 * moved.y.square().sum(1).mean() - moved.logdet.mean()
    if not loss.requires_grad:
        return []
    loss.backward()
    return [weight.grad.clone() for weight in map.parameters() if weight.grad is not None]


@pytest.mark.parametrize("batch", [7, 24, 3000])
@pytest.mark.parametrize("dim", [2, 43, 200])
def test_the_potential_is_pulled_back_there_as_on_the_cpu(dim, batch):
    map = OTFlow(dim, 16, steps=2).double()
    generator = keys.generator(0)
    with torch.no_grad():
        for weight in map.parameters():
            weight.copy_(0.3 * torch.randn(weight.shape, generator=generator, dtype=zoo.DOUBLE) / dim**0.5)
    x = zoo.randn(5, batch, dim)
    here = gradients(map, x)
    there = gradients(map.to(CUDA), x.to(CUDA))
    assert here
    for ours, theirs in zip(there, here, strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=1e-8, atol=1e-8)


RECIPES = {
    "jko-flow": lambda: jko_flow(2, training=Adam(150, 512, 1e-2), particles=4000, random_times=True),
    "jko-flow, Hamilton–Jacobi": lambda: jko_flow(
        2, training=Adam(150, 512, 1e-2), particles=4000, hamilton_jacobi=0.1
    ),
    "jko-iflow": lambda: jko_iflow(2, training=Adam(150, 512), particles=4000, width=32),
    "jko-iflow, Hutchinson": lambda: jko_iflow(2, training=Adam(150, 512), particles=4000, trace=Hutchinson()),
    "jko-iflow, differences": lambda: jko_iflow(
        2, training=Adam(150, 512), particles=4000, trace=FiniteDifference(), checkpoint=True
    ),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_density_learnt_there_is_that_of_its_copy_on_the_cpu(recipe):
    F, data = KL(Gaussian.standard(2)), Moons(4000, scale=2.0, noise=0.1).load().X.float()
    path = evolve(F, recipe(), Empirical(data.to(CUDA)), [2.0] * 3, seed=0)
    model = path.inverse(Gaussian.standard(2))
    x = model.sample(1000, keys.generator(1, device=CUDA))
    assert x.device == torch.device(CUDA)
    assert torch.isfinite(model.log_prob(x)).all()
    there, here = score(model, data), score(model.to("cpu"), data)
    assert there.nll == pytest.approx(here.nll, abs=1e-6)
    assert there.nll < score(Gaussian.fit(data.double()), data).nll - 0.1


def test_blocks_are_evened_and_refined_there():
    F, data = KL(Gaussian.standard(2)), Moons(4000, scale=2.0, noise=0.1).load().X.float()
    stepper = jko_iflow(2, training=Adam(60, 512), particles=4000, width=16)
    path = evolve(F, stepper, Empirical(data.to(CUDA)), [0.5, 1.0, 2.0], seed=0)
    for again in (even(F, stepper, path, rounds=1), refine(F, stepper, path)):
        assert again.state.x.device == torch.device(CUDA)
        assert torch.isfinite(again.inverse(Gaussian.standard(2)).log_prob(data[:50].to(CUDA))).all()


@pytest.mark.parametrize("settings", [{}, {"normal_scores": True, "smoothing": 0.2}], ids=str)
def test_a_problem_of_data_is_learnt_and_judged_there(settings):
    problem = density(Moons(1500), **settings)
    stepper = jko_flow(2, training=Adam(60, 256, 1e-2), particles=2000, held=200)
    path = evolve(problem.F, stepper, problem.initial.to(torch.float32).to(CUDA), [5.0] * 2, seed=0)
    found = judge(problem.learning, path)
    assert found.model.nll < found.gaussian.nll
    assert 0 < found.p_mmd2 <= 1


def test_two_samples_are_compared_there_as_on_the_cpu():
    x, y = zoo.randn(0, 700, 3), 0.3 + zoo.randn(1, 500, 3)
    kernel = GaussianKernel(1.0)
    here, there = (float(mmd2_unbiased(kernel, x.to(at), y.to(at))) for at in ("cpu", CUDA))
    assert there == pytest.approx(here, abs=1e-9)
    assert mmd_test(kernel, x.to(CUDA), y.to(CUDA), 99).p == 0.01


@pytest.mark.parametrize(
    "typed",
    [
        ["ornstein-uhlenbeck", "--set", "stepper.map=affine", "--steps", "2"],
        ["density", "--method", "jko-iflow", "--steps", "2", "--set", "method.training.iterations=20"],
        ["mckean-vlasov", "--stepper", "langevin", "--steps", "2"],
        ["gaussian-mixture", "--method", "variational-wgf", "--steps", "2", "--set", "method.training.iterations=10"],
    ],
    ids=lambda typed: typed[0],
)
def test_a_run_on_the_device_is_kept_shown_gone_on_with_and_read(typed, tmp_path):
    folder = tmp_path / "run"
    done = CliRunner().invoke(app, ["run", *typed, "--device", "cuda", "--particles", "2000", "--out", str(folder)])
    assert done.exit_code == 0, done.output + repr(done.exception)
    experiment, path = runs.load(folder)
    assert experiment.spec["device"] == "cuda"
    assert path.state.x.is_cuda
    for line in (["resume", folder], ["show", folder], ["sample", folder, "-n", 50, "--out", tmp_path / "x.csv"]):
        done = CliRunner().invoke(app, [str(word) for word in line])
        assert done.exit_code == 0, done.output + repr(done.exception)


class Stopped(RuntimeError):
    pass


class AfterTwo(runs.Observer):
    def after(self, path):
        if len(path) == 2:
            raise Stopped


SMALL = {"particles": 400, "training": {"iterations": 5}}


@pytest.mark.parametrize(
    "stepper",
    [
        {"type": "langevin"},
        {"type": "jko", **SMALL},
        {"type": "saddle-jko", "anchor": "base", **SMALL},
        {"type": "midpoint", "inner": {"type": "jko", **SMALL}},
    ],
    ids=lambda stepper: stepper["type"],
)
def test_an_interrupted_run_on_the_device_goes_on_with_the_same_bits(stepper, tmp_path):
    asked = {"problem": "ornstein-uhlenbeck", "device": CUDA, "tau": 0.1, "steps": 4, "stepper": stepper}
    experiment = runs.spec.build(asked)
    whole = runs.run(experiment, tmp_path / "whole")
    with pytest.raises(Stopped):
        runs.run(experiment, tmp_path / "part", [AfterTwo()])
    assert torch.equal(runs.resume(tmp_path / "part").state.x, whole.state.x)


def test_a_table_learnt_on_the_device_is_scored_and_refined_and_read_without_it(tmp_path, monkeypatch):
    x = Moons(600).load().X.numpy()
    table, folder = tmp_path / "moons.csv", tmp_path / "run"
    table.write_text("a,b\n" + "\n".join(f"{a:.9g},{b:.9g}" for a, b in x), encoding="utf-8")

    def typed(*words):
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, done.output + repr(done.exception)
        return done.output

    settings = ("--set", "method.training.iterations=20", "--particles", 1000, "--steps", 2)
    typed("run", table, "--device", CUDA, "--out", folder, *settings)
    there = typed("score", folder, table)
    typed("refine", folder, "--parts", 2, "--out", tmp_path / "finer")
    assert runs.load(tmp_path / "finer")[1].state.x.is_cuda
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert not runs.load(folder)[1].state.x.is_cuda
    assert typed("score", folder, table) == there
    typed("refine", folder, "--parts", 2, "--device", "cpu", "--out", tmp_path / "here")
