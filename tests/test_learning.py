"""Densities learnt from data: the recipes, evened and refined paths, scores, models in the data's own units."""

import json
import math
import re

import numpy as np
import pytest
import torch
import zoo
from scipy.stats import binom
from torch import Tensor

from wgf import cli, evolve, heldout, keys, manifest, runs, samples, spec
from wgf.conditional import Given, Leading
from wgf.data import Dequantised, Digits, EightGaussians, File, Wine
from wgf.errors import Incompatible, InputError, SpecError
from wgf.flow import Path
from wgf.functionals import KL, Entropy, Potential, Quadratic
from wgf.law import Empirical, Gaussian, Pushforward
from wgf.maps import Adaptive, Affine, Compose, Inverse, NeuralODE, OTFlow, Standard
from wgf.methods import jko_flow, jko_iflow
from wgf.refinement import even, refine, sizes
from wgf.schedule import Geometric, evened, refined
from wgf.scoring import halved, score
from wgf.steppers import JKO, FromPath
from wgf.stopping import Settled
from wgf.targets import density
from wgf.training import LBFGS, Adam
from wgf.tree import load_tree, save_tree
from wgf.two_sample import classifier_test

NORMAL = Gaussian.standard(2, dtype=torch.float64)
F = Entropy() + Potential(Quadratic(torch.eye(2).double()))
DATA = Gaussian([1.0, -2.0], [[4.0, 1.0], [1.0, 0.5]])


def rows(n: int = 2000, seed: int = 0) -> Tensor:
    return DATA.to(torch.float64).sample(n, keys.generator(seed))


def affine(particles: int = 2000) -> JKO:
    return JKO(Affine(2), LBFGS(), particles=particles, held=0)


def quick(**changed: object) -> JKO:
    return jko_iflow(2, training=Adam(60, 256, 2e-2), particles=1000, width=8, depth=1, **changed)


# Schedules and rules


def test_refined_steps_take_the_same_time():
    assert refined([1.0, 3.0], 2) == [0.5, 0.5, 1.5, 1.5]
    with pytest.raises(InputError, match="parts"):
        refined([1.0], 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], [1.0, 2.0]), "a length moved for each step size, got 2 for 1"),
        (([], []), "got 0 for 0"),
        (([1.0], [0.0]), "a step that moved the law, but none of 1 did"),
        (([-1.0], [1.0]), "tau must be a finite number above 0"),
        (([1.0], [1.0], 0.0), r"damping must lie in \(0, 1\]"),
    ],
)
def test_evened_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        evened(*arguments)


def test_a_flow_ends_where_it_has_settled():
    taus = Geometric(0.2, 1.5, 12)
    free = evolve(F, affine(), Empirical(rows()), taus)
    reached = next(k for k, info in enumerate(free.infos, 1) if info.moved < 0.1)
    assert 1 < reached < len(taus)
    path = evolve(F, affine(), Empirical(rows()), taus, stop=Settled(0.1))
    assert len(path) == reached
    with pytest.raises(InputError, match="tolerance"):
        Settled(0.0)


# Warm starts and paths taken again


def iflow(taus: list[float] | None = None) -> Path:
    return evolve(F, quick(), Empirical(rows()), taus or [0.2, 0.4, 0.8], seed=3)


def test_a_path_starts_each_step_from_the_same_step_of_another():
    path = iflow()
    still = jko_iflow(2, training=Adam(1, 256, 1e-12), particles=1000, width=8, depth=1, warm=FromPath(path))
    again = evolve(F, still, path.laws[0], sizes(path), seed=3)
    x = rows(50, 7)
    for one, other in zip(path.maps, again.maps, strict=True):
        torch.testing.assert_close(one(x), other(x), rtol=0, atol=1e-6)
        x = one(x)


def test_the_parts_of_a_step_compose_to_it_until_they_are_trained():
    path = iflow()
    warm = FromPath(path, 3)
    still = jko_iflow(2, training=Adam(1, 256, 1e-12), particles=1000, width=8, depth=1, steps=40, warm=warm)
    again = evolve(F, still, path.laws[0], refined(sizes(path), 3), seed=3)
    assert len(again) == 9
    x = rows(50, 7)
    torch.testing.assert_close(Compose(again.maps)(x), Compose(path.maps)(x), rtol=0, atol=2e-3)
    assert [round(map.start, 3) for map in again.maps[:3]] == [0, 0.333, 0.667]
    assert [round(map.end, 3) for map in again.maps[:3]] == [0.333, 0.667, 1]


def test_past_the_end_of_the_other_path_the_step_before_is_taken_on():
    path = iflow([0.2])
    longer = evolve(F, quick(warm=FromPath(path)), path.laws[0], [0.2, 0.2], seed=3)
    assert len(longer) == 2


def test_other_maps_cannot_be_started_from():
    path = iflow([0.2])
    with pytest.raises(Incompatible, match="not of the form of this OTFlow"):
        evolve(F, JKO(OTFlow(2, 8), particles=100, warm=FromPath(path)), path.laws[0], [0.2])
    flat = evolve(F, affine(), Empirical(rows()), [0.2])
    cut = JKO(Affine(2), particles=100, warm=FromPath(flat, 2))
    with pytest.raises(Incompatible, match="Affine cannot be cut in parts"):
        evolve(F, cut, flat.laws[0], [0.1, 0.1])
    with pytest.raises(InputError, match="parts"):
        FromPath(path, 0)


def spread(path: Path) -> float:
    moved = torch.tensor([info.moved for info in path.infos])
    return float(moved.std() / moved.mean())


def test_evened_paths_move_evenly():
    path = evolve(F, affine(), Empirical(rows()), Geometric(0.05, 2.0, 6), seed=3)
    again = even(F, affine(), path, rounds=4)
    assert again.times[-1] == pytest.approx(path.times[-1])
    assert spread(again) < spread(path) / 4
    with pytest.raises(InputError, match="rounds"):
        even(F, affine(), path, rounds=0)


def test_refined_paths_come_nearer():
    path = iflow()
    again = refine(F, quick(), path, 2)
    assert len(again) == 6
    assert again.times[-1] == pytest.approx(path.times[-1])
    held = rows(4000, 9)
    before, after = (score(each.inverse(NORMAL), held) for each in (path, again))
    assert after.nll < before.nll
    with pytest.raises(Incompatible, match="without steps"):
        refine(F, quick(), evolve(F, quick(), Empirical(rows()), []))


def test_any_law_can_be_the_target():
    target = Gaussian([3.0, 0.0], [[0.5, 0.2], [0.2, 1.0]]).to(torch.float64)
    path = evolve(KL(target.log_prob), affine(), Empirical(rows()), [1.0] * 12)
    model = path.inverse(target)
    seen = model.sample(20_000, keys.generator(1))
    truth = Gaussian.fit(rows())
    torch.testing.assert_close(seen.mean(0), truth.mean, rtol=0, atol=0.06)
    assert score(model, rows(5000, 4)).nll == pytest.approx(score(DATA, rows(5000, 4)).nll, abs=0.01)


def test_a_step_worse_than_none_on_rows_it_has_not_seen_is_not_taken():
    """Few rows in many dimensions: weights fitted to them, and taken on, raise F on the rows that choose."""
    x = torch.randn(60, 12, generator=keys.generator(0), dtype=torch.float64)
    G = Entropy() + Potential(Quadratic(torch.eye(12).double()))
    stepper = JKO(OTFlow(12, 64), Adam(60, 64, 5e-2), particles=60)
    path = evolve(G, stepper, Empirical(x), [50.0] * 3)
    held, choosing = stepper.kept, stepper.kept // 2
    assert choosing < held
    moved = [info.moved for info in path.infos]
    assert min(moved) < 1e-2
    assert all(info.certificate.holds for info in path.infos if info.measures.get("stood still"))


# Scores


def test_a_score_is_the_mean_of_log_densities():
    x, law = rows(500, 2), Pushforward(NORMAL, Standard(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 3.0])).double())
    found = score(law, x)
    value = -law.log_prob(x)
    assert found.nll == pytest.approx(float(value.mean()))
    assert found.standard_error == pytest.approx(float(value.std()) / 500**0.5)
    assert found.bits == pytest.approx(found.nll / (2 * math.log(2)))
    assert (found.rows, found.integrator) == (500, 0.0)
    assert halved(law) is law


def test_the_integrators_share_is_what_halving_its_step_changes():
    map = zoo.MapEntry("", lambda dtype: OTFlow(2, width=8, steps=2)).perturbed(scale=0.3)
    x, law = rows(300, 2), Pushforward(NORMAL, Inverse(map))
    found = score(law, x)
    fine = Pushforward(NORMAL, Inverse(map.refined(2)))
    assert found.integrator == pytest.approx(float((fine.log_prob(x) - law.log_prob(x)).mean().abs()))
    assert found.integrator > 1e-9
    assert map.steps == 2
    free = NeuralODE(2, scheme=Adaptive(1e-3, 1e-3))
    assert halved(Pushforward(NORMAL, free)).map.scheme.rtol < 1e-4
    with pytest.raises(InputError, match="rows to be scored"):
        score(law, rows()[:, :1])


def test_a_classifier_tells_laws_apart_and_one_law_not():
    pytest.importorskip("sklearn")
    x, y = rows(600, 1), rows(600, 2)
    same, other = classifier_test(x, y), classifier_test(x, y + 1.0)
    assert abs(same.accuracy - 0.5) < 4 * same.standard_error
    assert same.p > 1e-3
    near = classifier_test(x, y + 0.15)
    right = round(near.accuracy * 1200)
    assert near.p == pytest.approx(binom.sf(right - 0.5, 1200, 0.5), abs=0.03)
    assert other.accuracy > 0.7
    assert other.p < 1e-6
    with pytest.raises(InputError, match="at least 5 rows of each"):
        classifier_test(x[:3], y)


# Models of data


def test_a_density_problem_is_a_model_in_the_datas_own_units():
    problem = density(EightGaussians(3000))
    assert problem.learning is not None
    path = evolve(problem.F, affine(20_000), problem.initial, [2.0] * 3)
    model = problem.learnt(path)
    plain = Gaussian.fit(problem.learning.train)  # what affine maps can learn
    found, best = score(model, problem.learning.held), score(plain, problem.learning.held)
    assert found.nll == pytest.approx(best.nll, abs=0.02)
    drawn = model.sample(5000, keys.generator(0))
    torch.testing.assert_close(drawn.mean(0), plain.mean, rtol=0, atol=0.15)
    torch.testing.assert_close(drawn.var(0), plain.covariance.diagonal(), rtol=0.1, atol=0)
    assert path.inverse(NORMAL, 1).dim == 2


def test_a_density_needs_columns_that_vary(tmp_path):
    file = tmp_path / "flat.csv"
    np.savetxt(file, np.c_[np.arange(50.0), np.ones(50)], delimiter=",", header="a,b", comments="")
    with pytest.raises(InputError, match="'b' is constant"):
        density(File(str(file)))


SETTINGS = ["--set", "method.training.iterations=40", "--set", "method.width=8", "--tau", "5", "--steps", "2"]


@pytest.fixture
def entry_points(monkeypatch):
    """The names of this checkout, whatever is installed."""
    from importlib.metadata import EntryPoint

    from wgf import registry

    known = {
        spec.PROBLEMS: {"density": "wgf.targets.density:density"},
        spec.METHODS: {"jko-flow": "wgf.methods:jko_flow", "jko-iflow": "wgf.methods:jko_iflow"},
    }
    before = registry.declared

    def declared(group: str):
        mine = {name: EntryPoint(name, where, group) for name, where in known.get(group, {}).items()}
        return mine or before(group)

    monkeypatch.setattr(registry, "declared", declared)


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(each) for each in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def table(tmp_path):
    file = tmp_path / "mine.csv"
    x = EightGaussians(600).load().X * torch.tensor([10.0, 0.1]) + torch.tensor([100.0, 0.0])
    np.savetxt(file, x.numpy(), delimiter=",", header="height,width", comments="")
    return file


def test_a_table_is_learnt_sampled_and_scored_from_the_command_line(tmp_path, table, entry_points, capsys):
    folder = tmp_path / "run"
    assert call("run", "--method", "jko-flow", table, "--out", folder, *SETTINGS) == 0
    said = capsys.readouterr().out
    for words in ("120 held-out rows", "negative log-likelihood", "bits a dimension", "p =", "figure:"):
        assert words in said
    told = json.loads((folder / heldout.REPORT).read_text())
    assert (folder / heldout.SAMPLES).read_text().startswith("height,width\n")
    assert (folder / "figures/run.png").stat().st_size > 10_000
    assert spec.read(folder / "spec.toml")["method"]["particles"] == 480
    fresh, scored = tmp_path / "fresh.csv", tmp_path / "scored.csv"
    assert call("sample", folder, "--out", fresh, "-n", 50) == 0
    header, *lines = fresh.read_text().splitlines()
    assert header == "height,width"
    assert len(lines) == 50
    assert abs(np.loadtxt(fresh, delimiter=",", skiprows=1)[:, 0].mean() - 100) < 30
    capsys.readouterr()
    turned = tmp_path / "turned.csv"  # the same rows, columns in another order
    values = np.loadtxt(table, delimiter=",", skiprows=1)
    np.savetxt(turned, values[:, ::-1], delimiter=",", header="width,height", comments="")
    assert call("score", folder, table, "--out", scored) == 0
    straight = capsys.readouterr().out
    assert call("score", folder, turned) == 0
    assert capsys.readouterr().out == straight
    assert re.search(r"mean log-density of 600 rows: -\d+\.\d+ ± [\d.]+ nats", straight)
    assert abs(np.loadtxt(scored, skiprows=1).mean() + told["model"]["nll"]) < 0.5
    assert call("show", folder) == 0
    assert "120 held-out rows" in capsys.readouterr().out
    assert call("resume", folder) == 0
    _, path = runs.load(folder)
    assert len(path) == 2


def test_a_run_ends_where_it_has_settled_and_stays_ended(tmp_path, table, entry_points, capsys):
    folder = tmp_path / "run"
    assert call("run", table, "--out", folder, *SETTINGS, "--set", "settled=100.0") == 2
    assert "settled = 100.0 is not a key of this spec" in capsys.readouterr().err
    assert call("run", table, "--out", folder, *SETTINGS[:-2], "--steps", "4", "--settled", "100.0") == 0
    assert len(runs.load(folder)[1]) == 1
    raw = {
        "problem": {"type": "density", "data": {"type": "file", "path": str(table)}},
        "method": {"type": "jko-flow", "width": 4, "training": {"type": "adam", "iterations": 5}},
        "tau": 1.0,
        "steps": 4,
        "settled": 100.0,
    }
    experiment = spec.build(raw)
    path = runs.run(experiment, tmp_path / "other")
    assert len(path) == 1
    assert experiment.spec["settled"] == 100.0
    again, kept = runs.load(tmp_path / "other")
    assert again.ended(kept)
    assert len(runs.resume(tmp_path / "other")) == 1
    with pytest.raises(SpecError, match="settled must be"):
        spec.build({**raw, "settled": -1.0})


BAD = {
    "missing": ("a,b\n1,2\n3,\n5,6\n", "column 'b'"),
    "text": ("a,b\n1,2\n3,red\n5,6\n", "red"),
    "few": ("a,b\n1,2\n3,1\n5,6\n", "3 rows are too few for the 2 columns"),
    "tied": ("a,b,c\n" + "".join(f"{k},{k * k},{k + k * k}\n" for k in range(40)), "tied by a linear equation"),
    "twice": ("a,b\n" + "".join(f"{k},{2 * k + 1}\n" for k in range(40)), "the same up to scale and shift"),
}


@pytest.mark.parametrize("kind", BAD)
def test_tables_that_cannot_be_learnt_are_refused_in_one_line(tmp_path, kind, entry_points, capsys):
    text, message = BAD[kind]
    file = tmp_path / "mine.csv"
    file.write_text(text)
    assert call("run", file, "--out", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_rows_of_another_width_are_refused(tmp_path, table, entry_points, capsys):
    folder, wide = tmp_path / "run", tmp_path / "wide.csv"
    assert call("run", table, "--out", folder, *SETTINGS) == 0
    wide.write_text("a,b,c\n1,2,3\n4,5,6\n")
    capsys.readouterr()
    assert call("score", folder, wide) == 2
    said = capsys.readouterr().err
    assert "'height'" in said
    assert said.count("\n") == 1
    wide.write_text("1,2,3\n4,5,6\n")
    assert call("score", folder, wide) == 2
    assert "must have 2 columns, got 3" in capsys.readouterr().err


def test_a_run_of_another_version_is_refused_by_name(tmp_path, table, entry_points, capsys):
    folder = tmp_path / "run"
    assert call("run", table, "--out", folder, *SETTINGS) == 0
    weights = folder / "step-0002.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert call("sample", folder, "--out", tmp_path / "x.csv") == 2
    assert "step-0002.safetensors is truncated" in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["energies", "memory"])
def test_steps_of_another_form_are_refused_by_the_version_that_wrote_them(tmp_path, table, entry_points, lost, capsys):
    folder = tmp_path / "run"
    assert call("run", table, "--out", folder, *SETTINGS) == 0
    file = folder / "step-0002.safetensors"
    tree = load_tree(file)
    if lost == "memory":
        tree["memory"]["map"] = {"weights": torch.zeros(2)}
    else:
        del tree[lost]
    save_tree(tree, file)
    listed = manifest.read(folder)
    listed.commit([file.name], wgf="0.0.1")
    capsys.readouterr()
    assert call("sample", folder, "--out", tmp_path / "x.csv") == 2
    said = capsys.readouterr().err
    assert "step-0002.safetensors cannot be read: it was written by wgf 0.0.1, this is wgf" in said


def test_columns_of_other_names_are_not_taken_by_their_place(tmp_path, table, entry_points, capsys):
    folder, other = tmp_path / "run", tmp_path / "other.csv"
    assert call("run", table, "--out", folder, *SETTINGS) == 0
    other.write_text("width,depth\n1,2\n3,4\n")
    assert call("score", folder, other) == 2
    assert "'height'" in capsys.readouterr().err
    other.write_text("colour,width,height\nred,0.1,100\nblue,0.2,90\n")
    assert call("score", folder, other) == 0
    other.write_text("100,0.1\n90,0.2\n")
    assert call("score", folder, other) == 0


def test_columns_far_from_zero_keep_their_digits(tmp_path):
    x = EightGaussians(400).load().X + torch.tensor([1.7e9, 0.0], dtype=torch.float64)
    file = tmp_path / "far.csv"
    np.savetxt(file, x.numpy(), delimiter=",", header="time,b", comments="", fmt="%.17g")
    problem = density(File(str(file)))
    path = evolve(problem.F, affine(300), problem.initial, [2.0])
    drawn = problem.learnt(path).sample(300, keys.generator(0))
    assert len(drawn[:, 0].unique()) == 300
    assert problem.learning.frame.scale.dtype == torch.float64
    samples.save_rows(tmp_path / "drawn.csv", drawn)
    assert torch.equal(samples.load_rows(tmp_path / "drawn.csv", 2), drawn)


def test_steps_that_are_no_maps_cannot_learn(tmp_path, table, entry_points, capsys):
    assert call("run", table, "--stepper", "langevin", "--out", tmp_path / "run") == 2
    assert "Langevin cannot learn a density" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="holds out 1 of 600 rows"):
        density(File(str(table)), share=0.999)


def test_pools_of_data_repeat_no_row():
    x = torch.arange(400.0)[:, None]
    drawn = Empirical(x).disjoint([100, 50, 250], keys.generator(0))
    assert torch.equal(drawn.sort(0).values, x)


def test_wine_has_rows_enough():
    pytest.importorskip("sklearn")
    problem = density(Wine())
    assert problem.dim == 13
    assert len(problem.learning.held) == 36


def test_a_run_is_evened_and_refined_from_the_command_line(tmp_path, table, entry_points, capsys):
    first, even_run, cut = (tmp_path / name for name in ("first", "even", "cut"))
    assert (
        call("run", table, "--method", "jko-iflow", "--out", first, *SETTINGS[:-4], "--tau", "1", "--steps", "2") == 0
    )
    assert call("refine", first, "--out", even_run, "--even") == 0
    assert call("refine", even_run, "--out", cut, "--parts", "2") == 0
    paths = [runs.load(folder)[1] for folder in (first, even_run, cut)]
    assert [len(path) for path in paths] == [2, 2, 4]
    assert all(path.times[-1] == pytest.approx(2.0) for path in paths)
    assert sizes(paths[1])[0] < 1.0  # the first step goes furthest, so it becomes shorter
    assert sizes(paths[2])[:2] == pytest.approx([sizes(paths[1])[0] / 2] * 2)
    capsys.readouterr()
    assert call("refine", first, "--out", tmp_path / "none") == 2
    assert "say how: --parts N above 1, or --even" in capsys.readouterr().err
    assert call("refine", tmp_path, "--out", tmp_path / "none", "--even") == 2
    assert "is not a run folder" in capsys.readouterr().err


# Conditional flows


def scattered(n: int, seed: int) -> Tensor:
    """u given c is N(2c, (0.5 + c²)²), c uniform on [−1, 1]."""
    c = 2 * torch.rand(n, 1, dtype=torch.float64, generator=keys.generator(seed)) - 1
    noise = torch.randn(n, 1, dtype=torch.float64, generator=keys.generator(seed, 1))
    return torch.cat([2 * c + (0.5 + c.square()) * noise, c], 1)


def test_conditional_laws_are_learnt_from_pairs():
    G = Entropy() + Potential(Leading(1))
    stepper = jko_iflow(2, training=Adam(400, 512, 2e-2), particles=8000, width=24, context=1)
    path = evolve(G, stepper, Empirical(scattered(8000, 0)), [2.0, 4.0])
    held = scattered(4000, 5)
    model = path.inverse(Given(Gaussian.standard(1, dtype=torch.float64), held[:, 1:]))
    c = held[:, 1]
    exact = torch.distributions.Normal(2 * c, 0.5 + c.square()).log_prob(held[:, 0])
    assert float((exact - model.log_prob(held)).mean()) < 0.05
    for given in (-0.8, 0.0, 0.8):
        law = path.inverse(
            Given(Gaussian.standard(1, dtype=torch.float64), torch.full((1, 1), given, dtype=torch.float64))
        )
        drawn = law.sample(4000, keys.generator(2))
        assert (drawn[:, 1] - given).abs().max() < 1e-9
        assert float(drawn[:, 0].mean()) == pytest.approx(2 * given, abs=0.2)
        assert float(drawn[:, 0].std()) == pytest.approx(0.5 + given**2, rel=0.2)


def test_context_has_no_force_and_no_density():
    V, x = Leading(2), zoo.randn(0, 5, 3)
    torch.testing.assert_close(V(x), 0.5 * x[:, :2].square().sum(1))
    torch.testing.assert_close(V.gradient(x), torch.cat([x[:, :2], torch.zeros(5, 1).double()], 1))
    bumpy = Leading(2, zoo.bumpy)
    slope = torch.autograd.grad(bumpy(x.requires_grad_()).sum(), x)[0]
    torch.testing.assert_close(bumpy.gradient(x), slope)
    law = Given(NORMAL, torch.tensor([[1.0], [2.0]]))
    drawn = law.sample(5, keys.generator(0))
    assert drawn[:, 2].tolist() == [1, 2, 1, 2, 1]
    torch.testing.assert_close(law.log_prob(drawn), NORMAL.log_prob(drawn[:, :2]))
    assert law.to(torch.float32).like.dtype == torch.float32
    with pytest.raises(InputError, match="more than 2 columns, got 2"):
        V(x[:, :2])


def test_whole_numbers_are_spread_over_their_cells():
    pytest.importorskip("sklearn")
    plain, spread_out = Digits().load().X, Dequantised(Digits()).load().X
    assert torch.equal(spread_out.floor(), plain)
    u = spread_out - plain
    assert float(u.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(u.var()) == pytest.approx(1 / 12, abs=0.001)
    with pytest.raises(InputError, match="constant"):
        density(Digits())
    assert density(Dequantised(Digits())).dim == 64
    with pytest.raises(InputError, match="step"):
        Dequantised(Digits(), 0.0)


@pytest.mark.parametrize("recipe", [jko_flow, jko_iflow])
def test_recipes_hold_as_many_rows_as_they_are_told(recipe):
    assert recipe(2, particles=1000).kept == 250
    assert recipe(2, particles=1000, held=30).kept == 30
    with pytest.raises(InputError, match="held must be at most half of the particles, got 600 of 1000"):
        recipe(2, particles=1000, held=600)
