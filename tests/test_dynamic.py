"""Dynamic maps: measured orders, the OT-Flow potential's closed forms, Hutchinson's estimate, splitting."""

import math

import pytest
import torch
import zoo
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from wgf import autodiff
from wgf.maps import RK4, Compose, Dynamic, Heun, Hutchinson, NeuralODE, OTFlow
from wgf.maps.curvature import curvature
from wgf.maps.slope import descent
from wgf.maps.spread import spreading

DYNAMIC = [entry for entry in zoo.MAPS if isinstance(entry.build(zoo.DOUBLE), Dynamic)]
every_motion = pytest.mark.parametrize("entry", DYNAMIC, ids=zoo.names(DYNAMIC))


def perturbed(map: Dynamic, scale: float = 0.5, seed: int = 0) -> Dynamic:
    return zoo.MapEntry("", lambda dtype: map).perturbed(scale=scale, seed=seed)


def divergence(map: Dynamic, t: float, x: Tensor) -> Tensor:
    return map.divergences([t], [x])[0]


def transport(map: Dynamic, steps: int, x: Tensor) -> list[Tensor]:
    map.steps = steps
    with torch.no_grad():
        return list(map.transport(x, logdet=True)[:3])


@pytest.mark.parametrize("scheme", zoo.SCHEMES, ids=zoo.names(zoo.SCHEMES))
@pytest.mark.parametrize("family", zoo.DYNAMICS)
def test_position_cost_and_logdet_converge_at_the_order_of_the_scheme(family, scheme):
    x = zoo.randn(3, 40, 2)
    exact = transport(perturbed(zoo.DYNAMICS[family](RK4()), 0.25), 200, x)
    map, counts = perturbed(zoo.DYNAMICS[family](scheme), 0.25), (8, 16, 32)
    runs = [transport(map, steps, x) for steps in counts]
    for quantity, truth in enumerate(exact):
        coarse, middle, fine = (float((run[quantity] - truth).square().mean().sqrt()) for run in runs)
        orders = (math.log2(coarse / middle), math.log2(middle / fine))
        assert fine > 1e-12, "the errors are at rounding: nothing was measured"
        assert orders[0] > scheme.order - 0.5
        assert orders[1] == pytest.approx(scheme.order, abs=0.3)


def shaped(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [0.5 * zoo.randn(k, *shape).requires_grad_() for k, shape in enumerate(shapes)]


SHALLOW = ((3,), (3, 3), (3,), (3,), (2, 3))  # a, L, b, w, A of three units in the plane
FUSED = {
    "descent": (lambda x, *weights: descent(x, 0.3, *weights), ((4, 2), (3, 3), *SHALLOW, (3,))),
    "spreading": (spreading, ((4, 3), (3, 3), *SHALLOW)),
    "curvature by tangents": (curvature, ((4, 3), (4, 2), (2, 3), (3, 1))),
    "curvature by pairs": (curvature, ((4, 3), (4, 2), (2, 3), (3, 2))),
}


@pytest.mark.parametrize(("function", "shapes"), FUSED.values(), ids=FUSED)
def test_what_is_one_node_has_first_and_second_derivatives(function, shapes):
    inputs = [each.detach().requires_grad_() for each in shaped(*shapes)]
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@every_motion
def test_the_motion_is_the_integral_of_its_velocity(entry):
    map = entry.perturbed()
    x, h = zoo.randn(3, 10, map.dim), (map.end - map.start) / 400
    y = x
    for k in range(400):  # the midpoint rule, written here
        middle = y + h / 2 * map.velocity(k * h, y)
        y = y + h * map.velocity((k + 0.5) * h, middle)
    map.steps = 400
    torch.testing.assert_close(map(x), y, rtol=0, atol=2e-3 if map.scheme.order == 1 else 1e-5)


@every_motion
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_divergence_and_tangents_are_those_of_the_velocity(entry, dtype):
    map = entry.perturbed(dtype)
    x, tolerance = zoo.randn(3, 10, map.dim, dtype=dtype), 1e-12 if dtype == zoo.DOUBLE else 1e-5
    for t in (0.0, 0.3):
        v, J = autodiff.jacobian(lambda x, t=t: map.velocity(t, x), x)
        value, tangents = map.velocity_tangents(t, x, autodiff.identity_tangents(x))
        torch.testing.assert_close(value, v, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(autodiff.from_tangents(tangents), J, rtol=tolerance, atol=tolerance)
        trace = J.diagonal(dim1=1, dim2=2).sum(-1)
        torch.testing.assert_close(divergence(map, t, x), trace, rtol=tolerance, atol=10 * tolerance)


@every_motion
@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_parts_of_a_motion_compose_to_it(entry, parts):
    map = entry.perturbed()
    map.steps = 8
    x = zoo.randn(3, 10, map.dim)
    whole, pieces = map.transport(x, True), Compose(map.split(parts)).transport(x, True)
    for one, other in zip(whole[:3], pieces[:3], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert len(map.split(parts)) == parts
    halves = [half for part in map.split(2) for half in part.split(2)]
    torch.testing.assert_close(Compose(halves)(x), whole.y, rtol=1e-12, atol=1e-12)


def test_cutting_a_motion_unevenly_refines_it():
    map = perturbed(OTFlow(2, width=8, steps=8, scheme=Heun()))
    x = zoo.randn(3, 10, 2)
    exact = transport(perturbed(OTFlow(2, width=8, scheme=RK4())), 200, x)[0]
    thirds = map.split(3)
    assert sum(part.steps for part in thirds) >= map.steps
    assert (Compose(thirds)(x) - exact).norm() < (map(x) - exact).norm()


# OT-Flow


def published_potential(map: OTFlow, s: Tensor) -> Tensor:
    """Φ as arXiv 2006.00104 writes it, eqs. (12)–(14), with σ(x) = log(eˣ + e⁻ˣ)."""

    def sigma(x: Tensor) -> Tensor:
        return torch.logaddexp(x, -x)

    u = sigma(s @ map.opening.T + map.opening_bias)
    for K, b in zip(map.inner, map.inner_bias, strict=True):
        u = u + sigma(u @ K.T + b) / len(map.inner)
    quadratic = torch.einsum("na,ba,bc,nc->n", s, map.quadratic, map.quadratic, s)
    return u @ map.weight + 0.5 * quadratic + s @ map.linear + map.constant


FLOWS = [entry for entry in DYNAMIC if entry.name.startswith("OTFlow")]


@pytest.mark.parametrize("entry", FLOWS, ids=zoo.names(FLOWS))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_closed_forms_of_ot_flow_are_the_derivatives_of_its_potential(entry, dtype):
    map, tolerance = entry.perturbed(dtype), 1e-12 if dtype == zoo.DOUBLE else 1e-5
    x, t = zoo.randn(3, 10, map.dim, dtype=dtype), 0.3
    s = torch.cat([x, torch.full((10, 1), t, dtype=dtype)], 1)
    value, slope = published_potential(map, s), autodiff.gradient(lambda s: published_potential(map, s), s)
    _, hessian = autodiff.jacobian(
        lambda s: autodiff.gradient(lambda r: published_potential(map, r), s, create_graph=True), s
    )
    torch.testing.assert_close(map.potential(t, x), value, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(map.gradient(t, x), slope, rtol=tolerance, atol=tolerance)  # ∂_tΦ last
    torch.testing.assert_close(map.velocity(t, x), -slope[:, :-1], rtol=tolerance, atol=tolerance)
    by_autograd = autodiff.gradient(lambda x: map.potential(t, x), x)
    torch.testing.assert_close(by_autograd, slope[:, :-1], rtol=tolerance, atol=tolerance)
    trace = hessian.diagonal(dim1=1, dim2=2)[:, :-1].sum(-1)
    torch.testing.assert_close(divergence(map, t, x), -trace, rtol=tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("width", [1, 2, 5, 8, 9, 12])  # the last two by tangents, the others by pairs
@pytest.mark.parametrize("depth", [2, 3])
def test_gradients_of_the_closed_trace_are_those_of_autograd(width, depth):
    map = perturbed(OTFlow(3, width=width, depth=depth), scale=0.2)
    x, t = zoo.randn(3, 300, 3).requires_grad_(), 0.4
    weights = [w for name, w in map.named_parameters() if name not in ("constant", "linear")]

    def by_autograd() -> Tensor:
        s = torch.cat([x, x.new_full((len(x), 1), t)], 1)
        slope = torch.autograd.grad(published_potential(map, s).sum(), x, create_graph=True)[0]
        return -sum(torch.autograd.grad(slope[:, a].sum(), x, create_graph=True)[0][:, a] for a in range(3))

    value, expected = divergence(map, t, x), by_autograd()
    weighting = zoo.randn(4, len(x))  # upstream gradients that differ from row to row
    got = torch.autograd.grad((weighting * value).sum(), [x, *weights], allow_unused=True)
    want = torch.autograd.grad((weighting * expected).sum(), [x, *weights], allow_unused=True)
    for one, other in zip(got, want, strict=True):
        zero = torch.zeros(())
        torch.testing.assert_close(
            zero if one is None else one, zero if other is None else other, rtol=1e-10, atol=1e-10, check_dtype=False
        )


def test_the_potential_of_w1_w2_is_a_straight_motion():
    """Φ = −|x|²/(2(t + c)) solves ∂_tΦ = ½|∇Φ|²: its motion x(t) = x(0)(t + c)/c is straight, at optimal cost."""

    class Fan(OTFlow):
        def velocity(self, t, x):
            return x / (t + 2)

        def divergences(self, times, points):
            rates = [torch.full_like(x[:, 0], x.shape[1] / (t + 2)) for t, x in zip(times, points, strict=True)]
            return torch.stack(rates)

    x = zoo.randn(3, 10, 2)
    moved = Fan(2, steps=4).transport(x, logdet=True)
    torch.testing.assert_close(moved.y, 1.5 * x, rtol=1e-6, atol=0)
    torch.testing.assert_close(moved.cost, 0.125 * x.square().sum(-1), rtol=1e-6, atol=0)
    torch.testing.assert_close(moved.logdet, torch.full((10,), 2 * math.log(1.5)).double(), rtol=1e-5, atol=0)


# Hutchinson


def noisy(probes: int = 1, dim: int = 3) -> NeuralODE:
    map = perturbed(NeuralODE(dim, width=8, steps=2, trace=Hutchinson(probes)))
    return map.train()


def redrawn(map: NeuralODE, x: Tensor, count: int) -> Tensor:
    seen = []
    for key in range(count):
        map.redraw(key)
        seen.append(map.transport(x, logdet=True).logdet)
    return torch.stack(seen)


def test_hutchinson_is_unbiased():
    map, x = noisy(), zoo.randn(3, 6, 3)
    with torch.no_grad():
        draws = redrawn(map, x, 600)
        exact = map.eval().transport(x, logdet=True).logdet
    error = draws.std(0) / len(draws) ** 0.5
    assert (draws.std(0) > 1e-2).all(), "no noise: nothing was tested"
    assert ((draws.mean(0) - exact).abs() < 4 * error).all()


def test_probes_are_signs_without_a_bias():
    """Very many at one point, where all entries of the Jacobian are alike: E⟨ε, Jε⟩ would show E ε ≠ 0 at once."""
    map, x = NeuralODE(3, width=8, trace=Hutchinson(20_000)).double().train(), zoo.randn(3, 4, 3)
    with torch.no_grad():
        for weight in map.parameters():
            weight.fill_(0.2)
        J = autodiff.jacobian(lambda x: map.velocity(0.3, x), x)[1]
        gap = divergence(map, 0.3, x) - J.diagonal(dim1=1, dim2=2).sum(-1)
    error = (12 / 20_000) ** 0.5 * J[:, 0, 1]  # Var ⟨ε, Jε⟩ = Σ_{a<b} (J_ab + J_ba)² for signs
    assert (gap.abs() < 4 * error).all()
    assert (gap != 0).all()


def test_the_gradient_of_hutchinson_is_unbiased():
    map, x, gradients = noisy(), zoo.randn(3, 20, 3), []
    weights = [w for w in map.parameters() if w.requires_grad]
    direction = [zoo.randn(k, *w.shape) for k, w in enumerate(weights)]

    def slope() -> float:
        parts = torch.autograd.grad(map.transport(x, logdet=True).logdet.mean(), weights, allow_unused=True)
        return sum(float((g * e).sum()) for g, e in zip(parts, direction, strict=True) if g is not None)

    for key in range(150):
        map.redraw(key)
        gradients.append(slope())
    draws = torch.tensor(gradients)
    map.eval()
    assert draws.std() > 1e-3
    assert abs(float(draws.mean()) - slope()) < 4 * float(draws.std()) / len(draws) ** 0.5


def test_more_probes_have_less_variance():
    x = zoo.randn(3, 6, 3)
    with torch.no_grad():
        one, four = (redrawn(noisy(k), x, 300).var(0).mean() for k in (1, 4))
    assert float(one / four) == pytest.approx(4, rel=0.3)


def test_one_line_needs_no_noise():
    map = noisy(dim=1)
    x = zoo.randn(3, 6, 1)
    estimate = map.transport(x, logdet=True).logdet
    torch.testing.assert_close(estimate, map.eval().transport(x, logdet=True).logdet)  # ε² = 1


def test_noise_stays_until_it_is_redrawn():
    map, x, h = noisy(), zoo.randn(3, 6, 3), 1e-6
    first, again = map.transport(x, True).logdet, map.transport(x, True).logdet
    assert torch.equal(first, again)
    e = zoo.randn(4, 6, 3)  # the backward pass differentiates the very estimate that the forward pass made
    leaf = x.clone().requires_grad_()
    slope = torch.autograd.grad(map.transport(leaf, True).logdet.sum(), leaf)[0]
    with torch.no_grad():
        difference = (map.transport(x + h * e, True).logdet - map.transport(x - h * e, True).logdet).sum() / (2 * h)
    assert float((slope * e).sum()) == pytest.approx(float(difference), rel=1e-6)
    map.redraw(99)
    assert not torch.equal(map.transport(x, True).logdet, first)
    map.redraw(0)
    torch.testing.assert_close(map.transport(x, True).logdet, redrawn(map, x, 1)[0], rtol=0, atol=0)


def test_the_same_noise_serves_a_sub_interval_and_no_other():
    map, x = noisy(), zoo.randn(3, 6, 3)
    with torch.no_grad():
        map.network.layers[0].weight[:, -1] = 0.0  # the velocity does not depend on time: only the noise can
        first = [divergence(map, t, x) for t in (0.0, 0.1, 0.25, 0.49)]
        second = [divergence(map, t, x) for t in (0.5, 0.75, 1.0)]
    assert all(torch.equal(each, first[0]) for each in first)
    assert all(torch.equal(each, second[0]) for each in second)
    assert not torch.equal(first[0], second[0])


def test_evaluation_is_exact():
    x, map = zoo.randn(3, 6, 3), noisy().eval()
    exact = perturbed(NeuralODE(3, width=8, steps=2))
    assert torch.equal(map.transport(x, True).logdet, exact.transport(x, True).logdet)
    torch.testing.assert_close(map.train().transport(x, True).y, exact(x))
