"""Bad input to the steppers that train critics: one sentence each, and every finished step kept.

What is refused for its kind or its width is in test_routing.py, what a critic on its own refuses in test_fitting.py,
how training recovers in test_training.py.
"""

import logging
import math
from dataclasses import replace

import pytest
import torch
import zoo
from torch import Tensor

from wgf import autodiff, evolve, runs
from wgf.critics import Critic
from wgf.errors import Diverged, Incompatible, InputError
from wgf.functionals import (
    MMD2,
    DonskerVaradhan,
    Entropy,
    FDivergence,
    Hinge,
    KullbackLeibler,
    OnDensity,
    PowerEntropy,
    Term,
    functional,
)
from wgf.kernels import Energy
from wgf.law import Cloud, Empirical, Gaussian
from wgf.maps import Residual
from wgf.methods import semidual_jko, variational_wgf
from wgf.problem import Problem
from wgf.spec import Experiment
from wgf.steppers import Base, CrankNicolson, CriticParticles, Midpoint, Previous, SaddleJKO, Stepper
from wgf.training import Adam

SADDLE = SaddleJKO(Residual(2, width=8), Critic(2, 8), Previous(), zoo.GAME, **zoo.POOL)
PARTICLES = CriticParticles(Critic(2, 8), Adam(5, 32), particles=100, held=20)
WITH_CRITICS = {
    "SaddleJKO(Previous)": SADDLE,
    "SaddleJKO(Base)": replace(SADDLE, anchor=Base()),
    "Midpoint": Midpoint(SADDLE),
    "CrankNicolson": CrankNicolson(SADDLE, Critic(2, 8), Adam(5, 32)),
    "CriticParticles": PARTICLES,
}
every_stepper = pytest.mark.parametrize("stepper", WITH_CRITICS.values(), ids=WITH_CRITICS)
DATA = Empirical(zoo.randn(1, 200, 2) + 1)


def refused(stepper: Stepper, F: object, law: object = None) -> str:
    """The sentence with which a flow is refused before its first step."""
    steps: list[object] = []
    with pytest.raises(InputError) as caught:
        evolve(F, stepper, law or zoo.start(), [0.1], stop=steps.append)
    assert not steps
    assert "\n" not in str(caught.value)
    return str(caught.value)


# A dual where there is none


class OnlyDensity(Term, OnDensity):
    """A term that is neither known from samples nor has a dual."""

    def density_energy(self, cloud: Cloud) -> Tensor:
        raise AssertionError("asked for before it was refused")


@every_stepper
def test_a_term_without_a_dual_is_refused_and_what_it_would_need_is_said(stepper):
    said = refused(stepper, Entropy() + OnlyDensity())
    assert "cannot run OnlyDensity: it needs" in said
    assert "HasDual" in said
    assert "try JKO" in said


def test_functionals_that_no_critic_has_a_part_in_are_sent_to_another_stepper():
    for F in (zoo.V(), MMD2(Energy(), DATA.x)):
        assert "no critic would have a part; use JKO" in refused(SADDLE, F)
    assert len(evolve(zoo.V(), PARTICLES, zoo.start(), [0.1])) == 1  # explicit particles need none


@every_stepper
def test_the_dual_of_a_power_below_one_is_refused(stepper):
    assert "the dual of PowerEntropy(0.5) is known for m > 1 only" in refused(stepper, PowerEntropy(0.5))


@pytest.mark.parametrize("build", [lambda x: FDivergence(KullbackLeibler(), x), DonskerVaradhan, Hinge])
def test_data_must_be_a_law(build):
    with pytest.raises(InputError, match=r"must be a law, got Tensor; wrap data as Empirical\(x\)"):
        build(torch.zeros(5, 2))


def test_a_divergence_needs_a_member_of_the_family():
    with pytest.raises(InputError, match=r"a member of the family such as KullbackLeibler\(\), got <class"):
        FDivergence(KullbackLeibler, DATA)


# Γ that does not cover


def spreading(margin: float) -> PowerEntropy:
    """A porous medium whose box has so much room beside the particles."""
    return PowerEntropy(2, margin)


LEAVING = {
    "SaddleJKO": (replace(SADDLE, training=replace(zoo.GAME, iterations=60, rate=0.02)), 0.05),
    "CriticParticles": (replace(PARTICLES, training=Adam(60, 64)), 0.002),
}


@pytest.mark.parametrize(("stepper", "tau"), LEAVING.values(), ids=LEAVING)
def test_particles_that_leave_their_box_are_counted_and_announced_once_a_step(stepper, tau, caplog):
    start = Gaussian(zoo.doubles(0, 0), 0.01 * zoo.EYE)
    with caplog.at_level(logging.WARNING, "wgf.fitting"):
        out = evolve(spreading(1e-3), stepper, start, [tau]).infos[0].measures["outside, PowerEntropy(2)"]
    assert 0 < out < 1
    assert len(caplog.messages) == 1
    assert f"{100 * out:.2g} % of the particles lie outside the set Ω" in caplog.text
    assert "take a larger margin, or smaller steps" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "wgf.fitting"):
        wide = evolve(spreading(2.0), stepper, start, [tau]).infos[0].measures["outside, PowerEntropy(2)"]
    assert wide == 0
    assert "outside the set" not in caplog.text


def test_other_duals_have_no_box_to_leave():
    measures = evolve(zoo.free(), SADDLE, zoo.start(), [0.1]).infos[0].measures
    assert "mass, Entropy" in measures
    assert "outside, Entropy" not in measures


@every_stepper
@pytest.mark.parametrize(("term", "said"), [(Entropy(), "all lie in one point"), (PowerEntropy(2), "no width in")])
def test_particles_without_extent_have_no_reference(stepper, term, said):
    assert said in refused(stepper, term, Empirical(torch.ones(50, 2)))


# Critics at the edge of their domains


@pytest.mark.parametrize("f", zoo.DIVERGENCES, ids=lambda f: f.name)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_output_of_a_critic_leaves_the_domain(f, dtype):
    """Where f* is finite only below some h, that is the limit of f′ at infinite ratio; and nothing is ever NaN."""
    u = torch.tensor([-1e30, -1e6, -300.0, 0.0, 300.0, 1e6, 1e30], dtype=dtype)
    h, conjugate = f.head(u), f.conjugate(u)
    assert not h.isnan().any()
    assert not conjugate.isnan().any()
    assert (h[1:] >= h[:-1]).all()
    bounds = {"ReverseKullbackLeibler": 1.0, "JensenShannon": math.log(2), "Alpha(0.5)": 2.0, "SquaredHellinger": 1.0}
    assert float(h.max()) <= bounds.get(f.name, math.inf) * (1 + 1e-7)


@pytest.mark.parametrize("m", [1.5, 2, 3])
def test_the_critic_of_a_power_entropy_keeps_a_slope_however_low_it_is(m):
    dual = PowerEntropy(m).dual({"low": zoo.doubles(0), "high": zoo.doubles(1)})
    u = torch.tensor([[-1e6], [-200.0], [-80.0], [0.0], [50.0]])
    for part in (dual.a, dual.b, lambda u, x: dual.head(u)):
        slope = autodiff.gradient(lambda u, part=part: part(u[:, 0], u), u)
        assert slope.isfinite().all()
    assert (dual.head(u) > 0).all()


# Losses that are not finite


class Fragile(FDivergence):
    """A divergence whose dual is NaN as soon as the particles have moved away from `near`."""

    def __init__(self, near: Tensor) -> None:
        super().__init__(KullbackLeibler(), DATA)
        self.near = near

    def reference(self, cloud: Cloud) -> dict[str, Tensor]:
        return {"mean": cloud.x.mean(0)}

    def dual(self, reference):
        moved = float((reference["mean"] - self.near).norm()) > 1e-6
        dual = super().dual(reference)
        return replace(dual, b=lambda u, z: u * math.nan) if moved else dual


def fragile(stepper: Stepper) -> Fragile:
    return Fragile(stepper.init(functional(DonskerVaradhan(DATA)), zoo.start(), 0).x.mean(0))


@every_stepper
def test_a_critic_that_is_not_finite_stops_the_flow_with_every_finished_step(stepper, tmp_path):
    F = fragile(stepper)
    with pytest.raises(Diverged, match=r"(was|were) (not )?finite") as caught:
        evolve(F, stepper, zoo.start(), [0.3] * 3)
    assert "\n" not in str(caught.value)
    path = caught.value.path
    assert len(path) == 1
    assert path.state.x.isfinite().all()
    with pytest.raises(Diverged):
        runs.run(Experiment(Problem(F, zoo.start(), 1.0), stepper, [0.3] * 3), tmp_path / "run")
    experiment = Experiment(Problem(F, zoo.start(), 1.0), stepper, [0.3] * 3)
    assert torch.equal(runs.load(tmp_path / "run", experiment)[1].state.x, path.state.x)


@pytest.mark.parametrize("anchor", [Previous(), Base()], ids=repr)
def test_critics_that_run_away_are_brought_back_at_half_the_rate(anchor):
    """A rate at which e^u overflows at once, halved until it is sane; the map and the particles stay finite."""
    wild = replace(zoo.GAME, iterations=60, critic_rate=30.0, rate=1e-3, retries=12)
    path = evolve(
        FDivergence(KullbackLeibler(), DATA), replace(SADDLE, anchor=anchor, training=wild), zoo.start(), [0.1]
    )
    values = [value for _, value in path.infos[0].curve]
    assert any(not math.isfinite(value) for value in values)
    assert math.isfinite(values[-1])
    assert path.state.x.isfinite().all()


# Widths


def test_data_and_base_must_be_as_wide_as_one_another():
    data = FDivergence(KullbackLeibler(), Empirical(zoo.randn(0, 50, 3)))
    for stepper in (SADDLE, replace(SADDLE, anchor=Base()), Midpoint(SADDLE)):
        assert "compares with samples of width 3, but the particles have 2" in refused(stepper, data)
    assert "compares with 3 dimensions, but the particles have 2" in refused(PARTICLES, data)


@pytest.mark.parametrize("method", [semidual_jko, variational_wgf])
def test_methods_of_another_width_are_refused(method):
    F = FDivergence(KullbackLeibler(), DATA)
    with pytest.raises(Incompatible, match="the map acts on 3 dimensions, but the initial law has 2"):
        evolve(F, method(3, particles=100), zoo.start(), [0.1])
    with pytest.raises(Incompatible, match="the critic reads 3 dimensions, but the particles have 2"):
        evolve(F, method(2, critic=Critic(3), particles=100), zoo.start(), [0.1])
