"""The loop and the path: times, stops, observers, continuation, inversion, densities, and what is left of a failure."""

import io
import json
import math

import pytest
import torch
import zoo
from rich.console import Console
from torch import Tensor

from wgf import Metrics, Observer, ProgressBar, evolve, keys
from wgf.errors import Diverged, Incompatible, InputError
from wgf.flow import Path
from wgf.functionals import Entropy, Functional, Potential
from wgf.law import Cloud, Empirical, Gaussian, Pushforward
from wgf.maps import Affine, Compose, Inverse, NeuralODE, Residual
from wgf.steppers import JKO, AdjustedLangevin, Langevin, Particles, SaddleJKO, Splitting
from wgf.training import LBFGS, Adam, Progress


def affine(particles: int = 60) -> JKO:
    return JKO(Affine(2), LBFGS(20), particles=particles, held=10)


class Recorder(Observer):
    """Writes down what it is told; stops training after `patience` reports in a step."""

    def __init__(self, patience: int = 10**9) -> None:
        self.heard: list[object] = []
        self.progress: list[Progress] = []
        self.patience, self.patient = patience, patience

    def begin(self, path: Path, steps: int) -> None:
        self.heard.append(("begin", len(path), steps))

    def inside(self, progress: Progress) -> bool:
        self.progress.append(progress)
        self.patient -= 1
        return self.patient <= 0

    def after(self, path: Path) -> None:
        self.patient = self.patience
        self.heard.append(("after", len(path), path.state.step))

    def end(self, path: Path) -> None:
        self.heard.append(("end", len(path)))


def test_time_is_the_sum_of_the_steps_taken():
    taus = [0.1, 0.3, 0.05]
    path = evolve(zoo.free(), affine(), zoo.start(), iter(taus))
    assert path.times == pytest.approx([0, 0.1, 0.4, 0.45])
    assert len(path) == 3
    assert len(path.laws) == len(path.times) == len(path.energies) == len(path.energy) == 4
    assert len(path.infos) == path.state.step == 3
    assert path.laws[0].mean.equal(zoo.start().mean)


def test_no_steps_leave_the_initial_law():
    path = evolve(zoo.free(), affine(), zoo.start(), [])
    assert (len(path), path.times, path.final) == (0, [0.0], path.laws[0])
    assert math.isfinite(path.energy[0])


def test_the_initial_energy_is_that_of_the_initial_law():
    A, away, S = zoo.doubles([2, 0.5], [0.5, 1]), zoo.start().mean - zoo.doubles(1, -1), zoo.start().covariance
    inside = 0.5 * float((A @ S).trace() + away @ A @ away)
    exact = inside - 0.5 * math.log((2 * math.pi * math.e) ** 2 * float(torch.det(S)))
    path = evolve(zoo.free(), JKO(Affine(2), LBFGS(1), particles=40_000, held=20_000), zoo.start(), [])
    assert path.energy[0] == pytest.approx(exact, abs=0.05)


def test_without_a_base_density_energies_are_known_up_to_one_constant():
    x = zoo.start().sample(60, keys.generator(0, 0))

    class Rows(Empirical):
        def sample(self, n, generator=None):
            return self.x[:n]

        def disjoint(self, sizes, generator):
            return self.x[: sum(sizes)]

    known, unknown = (evolve(zoo.free(), affine(), rho0, [0.1, 0.2]) for rho0 in (zoo.start(), Rows(x)))
    gaps = [one - other for one, other in zip(known.energy, unknown.energy, strict=True)]
    assert gaps == pytest.approx([gaps[0]] * 3)
    assert gaps[0] == pytest.approx(float(zoo.start().log_prob(x[:10]).mean()))
    assert not unknown.final.has_density


# Stops and observers


def test_a_stop_rule_is_asked_after_each_step():
    path = evolve(zoo.free(), affine(), zoo.start(), [0.1] * 9, stop=lambda path: path.times[-1] > 0.25)
    assert len(path) == 3


def test_observers_hear_everything_in_order():
    first, second = Recorder(), Recorder()
    evolve(zoo.free(), affine(), zoo.start(), [0.1, 0.1], observers=[first, second])
    assert first.heard == [("begin", 0, 2), ("after", 1, 1), ("after", 2, 2), ("end", 2)]
    assert second.heard == first.heard
    assert first.progress == second.progress
    assert len(first.progress) == 2


def test_an_observer_can_end_a_steps_training_and_not_the_flow():
    stepper = JKO(Residual(2, width=8), Adam(iterations=40, checks=10), particles=100, held=20)
    whole, short = Recorder(), Recorder(patience=3)
    for recorder in (whole, short):
        evolve(zoo.free(), stepper, zoo.start(), [0.1, 0.1], observers=[recorder])
    assert [p.iteration for p in whole.progress] == [*range(4, 41, 4)] * 2
    assert [p.iteration for p in short.progress] == [4, 8, 12] * 2
    assert all(p.of == 40 and math.isfinite(p.loss) and p.seconds >= 0 for p in short.progress)


@pytest.mark.parametrize("stepper", [Particles(20, substeps=4), Langevin(20, 4), AdjustedLangevin(20, 4)], ids=repr)
def test_an_observer_cannot_shorten_a_step_whose_time_is_counted(stepper):
    F = zoo.V() if isinstance(stepper, Particles) else zoo.free()
    hasty = Recorder(patience=1)
    path = evolve(F, stepper, zoo.start(), [0.4], observers=[hasty])
    assert torch.equal(path.state.x, evolve(F, stepper, zoo.start(), [0.4]).state.x)
    assert [p.iteration for p in hasty.progress] == [1, 2, 3, 4]


def test_observers_hear_of_the_end_of_a_failure():
    recorder = Recorder()
    with pytest.raises(Diverged):
        evolve(Potential(Poisoned(after=0)), affine(), zoo.start(), [0.1], observers=[recorder])
    assert recorder.heard == [("begin", 0, 1), ("end", 0)]


def test_metrics_are_one_line_of_json_a_step(tmp_path):
    file = tmp_path / "metrics.jsonl"
    path = evolve(zoo.free(), affine(), zoo.start(), [0.1, 0.2], observers=[Metrics(file)])
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert [row["tau"] for row in rows] == pytest.approx([0.1, 0.2])
    assert [row["energy"] for row in rows] == path.energy[1:]
    assert rows[1]["energy.Entropy"] == path.infos[1].energy["Entropy"]
    assert rows[0]["certificate"] == path.infos[0].certificate.value
    evolve(zoo.free(), Langevin(20), zoo.start(), [0.1], observers=[Metrics(file)])
    last = json.loads(file.read_text().splitlines()[-1], parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert last["energy"] is last["energy.Entropy"] is None
    assert math.isfinite(last["energy.Potential"])


def test_a_progress_bar_writes_where_it_is_told(capsys):
    text = io.StringIO()
    bar = ProgressBar("a flow", Console(file=text, force_terminal=True, width=120))
    evolve(zoo.free(), affine(), zoo.start(), [0.1, 0.1], observers=[bar])
    assert "2/2" in text.getvalue()
    assert "t = 0.2, F = " in text.getvalue()
    assert capsys.readouterr() == ("", "")


# Going on


def test_a_path_goes_on_from_its_own_state():
    path = evolve(zoo.free(), affine(), zoo.start(), [0.1, 0.1])
    shorter = path
    path = evolve(zoo.free(), affine(), zoo.start(), [0.2], path=path)
    assert len(shorter) == shorter.state.step == 2  # what one goes on from stays as it was
    assert path.times == pytest.approx([0, 0.1, 0.2, 0.4])
    assert len(path.infos) == path.state.step == 3
    start = path.laws[0].sample(60, keys.generator(0, 0))
    for info in path.infos:
        start = info.map(start)
    torch.testing.assert_close(path.state.x, start, rtol=0, atol=1e-12)


def test_the_base_of_a_continued_path_is_its_own():
    """Even if another initial law is named: the maps of Base() act on the rows of the path's first law."""
    stepper = SaddleJKO(Residual(2, width=4), zoo.Critic(2, 4), zoo.Base(), zoo.GAME, **zoo.POOL)
    path = evolve(zoo.free(), stepper, zoo.start(), [0.1])
    path = evolve(zoo.free(), stepper, Gaussian.standard(2, 5.0, dtype=zoo.DOUBLE), [0.1], path=path)
    assert path.final.base is path.laws[0]


# Inversion and densities


def test_an_affine_chain_inverts_to_the_gaussian_it_came_from():
    path = evolve(zoo.free(), affine(), zoo.start(), [0.3] * 3)
    back = path.inverse(path.final)
    assert isinstance(back, Pushforward)
    x = zoo.randn(0, 50, 2)
    torch.testing.assert_close(back.log_prob(x), zoo.start().log_prob(x), rtol=1e-9, atol=1e-9)
    rows = path.laws[0].sample(20, keys.generator(3))
    torch.testing.assert_close(back.sample(20, keys.generator(3)), rows, rtol=1e-9, atol=1e-9)


CHAINS = {
    "NeuralODE": lambda: JKO(
        NeuralODE(2, width=8, steps=3), Adam(iterations=20, rate=2e-2, batch=64), particles=300, held=50
    ),
    "Residual": lambda: JKO(Residual(2, width=8), Adam(iterations=20, rate=2e-2, batch=64), particles=300, held=50),
    "Midpoint": lambda: zoo.Midpoint(affine()),
    "Splitting": lambda: Splitting(affine()),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_every_chain_of_maps_inverts(chain):
    path = evolve(zoo.crowded() if chain == "Splitting" else zoo.free(), CHAINS[chain](), zoo.start(), [0.2] * 3)
    forward, backward = path.final, path.inverse(zoo.start()).map
    assert isinstance(backward, Inverse)
    x = zoo.start().sample(40, keys.generator(1))
    y = forward.sample(40, keys.generator(1))
    assert float((y - x).norm(dim=1).mean()) > 0.1
    torch.testing.assert_close(backward(y), x, rtol=0, atol=1e-9)


@pytest.mark.parametrize("stepper", [Langevin(20), Particles(20)], ids=["Langevin", "Particles"])
def test_only_maps_can_be_inverted(stepper):
    path = evolve(zoo.V(), stepper, zoo.start(), [0.1])
    with pytest.raises(Incompatible, match="every step is a map"):
        path.inverse(zoo.start())
    mixed = evolve(zoo.free(), affine(20), zoo.start(), [0.1], path=path)
    with pytest.raises(Incompatible, match="every step is a map"):
        mixed.inverse(zoo.start())


def test_no_steps_cannot_be_inverted():
    path = evolve(zoo.free(), affine(), zoo.start(), [])
    for since in (0, 1):
        with pytest.raises(InputError, match=f"a path of 0 steps has none to go back through since step {since}"):
            path.inverse(zoo.start(), since)


@pytest.mark.parametrize("dim", [1, 2])
def test_the_density_of_a_flow_integrates_to_one(dim):
    """By quadrature over a box: log-determinants of all steps, Newton's inverse, base density, together."""
    F = Entropy() + Potential(lambda x: zoo.bumpy(x - 1))
    stepper = JKO(Residual(dim, width=12), Adam(iterations=40, rate=2e-2, batch=256), particles=1200, held=200)
    path = evolve(F, stepper, Gaussian.standard(dim, dtype=zoo.DOUBLE), [0.2, 0.1])
    h = 0.05 if dim == 1 else 0.1
    side = torch.arange(-5, 6, h, dtype=zoo.DOUBLE)
    grid = torch.cartesian_prod(*[side] * dim).reshape(-1, dim)
    density = path.final.log_prob(grid).exp()
    assert path.infos[0].moved > 0.2
    assert float(density.sum()) * h**dim == pytest.approx(1, abs=2e-4)
    mean = (density[:, None] * grid).sum(0) * h**dim
    cloud = path.final.cloud(4000, keys.generator(1))
    error = cloud.x.std(0) / 4000**0.5
    assert ((cloud.x.mean(0) - mean).abs() < 4 * error).all()
    torch.testing.assert_close(cloud.log_density[:200], path.final.log_prob(cloud.x[:200]), rtol=1e-7, atol=1e-7)


def test_a_gaussian_stays_the_gaussian_it_should_be():
    """The push-forward's log-density against the exact law of the affine maps, off the samples as well."""
    path = evolve(zoo.free(), affine(400), zoo.start(), [0.3, 0.2])
    law = zoo.start()
    for info in path.infos:
        M = info.map.matrix
        law = Gaussian(info.map(law.mean[None])[0], (S := M @ law.covariance @ M.T, (S + S.T) / 2)[1])
    x = 3 * zoo.randn(0, 50, 2)
    torch.testing.assert_close(path.final.log_prob(x), law.log_prob(x), rtol=1e-10, atol=1e-10)


# Failures


class Poisoned:
    """½|x|² until `after` gradients were asked for under training; NaN from then on, until it is `cured`."""

    def __init__(self, after: int) -> None:
        self.left, self.cured = after, False

    def __call__(self, x):
        value = 0.5 * x.square().sum(-1)
        if not x.requires_grad or self.cured:
            return value
        self.left -= 1
        return value if self.left >= 0 else value * math.nan


TRAINING = {"Adam": Adam(iterations=10, checks=5, batch=32), "LBFGS": LBFGS(4)}


@pytest.mark.parametrize("training", TRAINING)
def test_a_failure_carries_the_steps_already_finished(training):
    V = Poisoned(after=10**9)
    stepper = JKO(Affine(2), TRAINING[training], particles=60, held=10)
    F: Functional = Entropy() + Potential(V)

    def poison(path: Path) -> bool:
        V.left = 3
        return False

    with pytest.raises(Diverged, match=r"not finite|loss of nan") as caught:
        evolve(F, stepper, zoo.start(), [0.1] * 5, stop=poison)
    path = caught.value.path
    assert isinstance(path, Path)
    assert len(path) == path.state.step == 1
    assert torch.isfinite(path.state.x).all()
    assert torch.isfinite(path.final.log_prob(path.state.x)).all()
    V.cured = True  # and it can go on from there
    assert len(evolve(F, stepper, zoo.start(), [0.1], path=path)) == 2


def test_particles_that_fly_off_are_a_failure():
    F = Potential(lambda x: x.pow(4).sum(-1))
    with pytest.raises(Diverged, match="particles are no longer finite after step 2, of size 40") as caught:
        evolve(F, Particles(20, substeps=20), zoo.start(), [0.01, 40.0])
    assert len(caught.value.path) == 1
    assert torch.isfinite(caught.value.path.state.x).all()


def test_a_cloud_that_scores_is_cut_where_densities_end():
    state = evolve(zoo.free(), affine(), zoo.start(), [0.1]).state
    assert len(state.scored(10).log_density) == 10
    assert state.scored(60).logdet is None  # more rows than are scored: their densities are not known
    assert isinstance(state.scored(60), Cloud)


def test_the_density_a_flow_has_by_each_step_is_the_model_moved_on():
    path = evolve(zoo.free(), CHAINS["NeuralODE"](), zoo.start(), [0.2] * 3)
    x, model = zoo.randn(3, 20, 2), path.inverse(zoo.start())
    for k in range(1, 3):
        moved = Pushforward(model, Compose(path.maps[:k]))
        torch.testing.assert_close(path.inverse(zoo.start(), k).log_prob(x), moved.log_prob(x), rtol=0, atol=1e-9)


def test_samples_with_densities_are_differentiable():
    path = evolve(zoo.free(), CHAINS["NeuralODE"](), zoo.start(), [0.2] * 2)
    for law in (path.final, path.inverse(zoo.start())):
        law.map.requires_grad_(True)
        weight = next(p for p in law.map.parameters() if p.ndim == 2)

        def value(law=law) -> Tensor:
            x, density = law.rsample_and_log_prob(50, keys.generator(1))
            return (density + x.square().sum(-1)).mean()

        x, density = law.rsample_and_log_prob(50, keys.generator(1))
        torch.testing.assert_close(density, law.log_prob(x.detach()), rtol=0, atol=1e-8)
        torch.testing.assert_close(x.detach(), law.sample(50, keys.generator(1)), rtol=0, atol=1e-10)
        (slope,) = torch.autograd.grad(value(), weight)
        direction, h = zoo.randn(5, *weight.shape), 1e-4
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                weight += sign * h * direction
                ends.append(float(value()))
                weight -= sign * h * direction
        assert float((slope * direction).sum()) == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-5, abs=1e-8)
