"""Every map of the zoo: Jacobian, log-determinant, inverse, cost, reset and noise against mathematics."""

import copy
import math
import re

import pytest
import torch
import zoo
from torch import Tensor

from wgf import autodiff
from wgf.errors import InputError, NotInvertible
from wgf.maps import (
    RK4,
    Affine,
    Compose,
    Dynamic,
    Euler,
    Explicit,
    Extrapolated,
    Inverse,
    Map,
    NeuralODE,
    Residual,
    Static,
)
from wgf.maps.base import half_square

ROWS = 24
DTYPES = {torch.float64: 1e-12, torch.float32: 1e-5}
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]

every_map = pytest.mark.parametrize("entry", zoo.MAPS, ids=zoo.names(zoo.MAPS))
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def points(map: Map, dtype: torch.dtype = zoo.DOUBLE) -> Tensor:
    return zoo.randn(11, ROWS, map.dim, dtype=dtype)


def close(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def reference_jacobian(map: Map, x: Tensor) -> Tensor:
    """By reverse passes through the map."""
    return autodiff.jacobian(map, x)[1]


@every_map
@both_dtypes
def test_the_jacobian_by_tangents_is_the_jacobian_by_autograd(entry, dtype):
    map = entry.perturbed(dtype)
    x = points(map, dtype)
    y, J = map.jacobian(x)
    close(J, reference_jacobian(map, x), DTYPES[dtype])
    close(y, map(x), DTYPES[dtype])


@every_map
def test_the_jacobian_is_the_limit_of_differences(entry):
    map, h = entry.perturbed(), 1e-5
    x = points(map)
    columns = [(map(x + h * e) - map(x - h * e)) / (2 * h) for e in torch.eye(map.dim, dtype=x.dtype)]
    close(map.jacobian(x)[1], torch.stack(columns, -1), 1e-7)


@every_map
@both_dtypes
def test_the_log_determinant_is_that_of_the_jacobian(entry, dtype):
    map = entry.perturbed(dtype)
    x = points(map, dtype)
    sign, expected = torch.linalg.slogdet(reference_jacobian(map, x))
    moved = map.transport(x, logdet=True)
    if entry.exact:
        close(moved.logdet, expected, 10 * DTYPES[dtype])
    else:  # an integral along the motion: its order is measured in test_dynamic.py
        assert (moved.logdet - expected).abs().max() < 0.15 * (1 + expected.abs().max())
    if moved.folded is not None:
        assert torch.equal(moved.folded, sign <= 0)


@every_map
def test_asking_for_the_log_determinant_changes_nothing_else(entry):
    map = entry.perturbed()
    x = points(map)
    plain, full = map.transport(x), map.transport(x, logdet=True)
    assert plain.logdet is None
    close(plain.y, full.y, 1e-13)
    close(plain.cost, full.cost, 1e-13)


@every_map
@both_dtypes
def test_the_inverse_undoes_the_map(entry, dtype):
    map = entry.perturbed(dtype, scale=0.1)
    x, tolerance = points(map, dtype), 1e-9 if dtype == zoo.DOUBLE else 1e-4
    moved = map.transport(x, logdet=True)
    back, logdet = map.inverse(moved.y, logdet=True)
    close(back, x, tolerance)
    close(logdet, -moved.logdet, 10 * tolerance)
    assert map.inverse(moved.y)[1] is None


@every_map
@pytest.mark.parametrize("scale", [0.0, 0.1, 0.5])
def test_the_cost_bounds_the_squared_distance(entry, scale):
    map = entry.perturbed(scale=0.2 if "Inverse" in entry.name else scale)
    x = points(map)
    moved = map.transport(x)
    distance = half_square(moved.y - x)
    assert (moved.cost >= distance - 1e-14).all()
    if entry.tight:
        close(moved.cost, distance, 1e-14)


@every_map
def test_a_reset_map_is_the_identity(entry):
    map = entry.perturbed()
    x = points(map)
    assert (map(x) - x).norm() > 1e-3
    map.reset(torch.Generator().manual_seed(0))
    moved = map.transport(x, logdet=True)
    if entry.identity is not None:
        assert (moved.y - x).abs().max() <= entry.identity
        assert moved.logdet.abs().max() <= entry.identity
        assert moved.cost.abs().max() <= entry.identity
    fresh = entry.build(zoo.DOUBLE).double()
    fresh.reset(torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(map.parameters(), fresh.parameters(), strict=True))


@every_map
def test_recentring_keeps_the_map(entry):
    map = entry.perturbed(scale=0.1)
    x = points(map)
    before = map(x)
    for shift in (3.0, -5.0):
        map.recentre(x + shift)
    close(map(x), before, 1e-12)


@every_map
def test_reset_is_decided_by_its_generator(entry):
    first, again, other = (entry.build(zoo.DOUBLE) for _ in range(3))
    for map, seed in ((first, 1), (again, 1), (other, 2)):
        map.reset(torch.Generator().manual_seed(seed))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    drawn = "Affine" not in entry.name and any(True for _ in first.parameters())
    same = all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert same != drawn


@every_map
@both_dtypes
@pytest.mark.parametrize("device", DEVICES)
def test_dtype_and_device_follow_the_input(entry, dtype, device):
    map = entry.perturbed(dtype, scale=0.1)
    if device != "cpu" and entry.name == "Explicit(interaction)":
        pytest.skip("its cloud is on the CPU")
    x = points(map, dtype).to(device)
    map = map.to(device)
    y, J = map.jacobian(x)
    back = map.inverse(y, logdet=True)
    for each in (y, J, *back, *(part for part in map.transport(x, logdet=True)[:3])):
        assert each.dtype == dtype
        assert each.device.type == device


@every_map
def test_the_inverse_and_its_log_determinant_have_the_slopes_of_differences(entry):
    map = entry.perturbed(scale=0.1)
    x, weights, direction = (zoo.randn(seed, 5, map.dim) for seed in (11, 12, 13))
    y = map(x).detach().requires_grad_()

    def value(y: Tensor) -> Tensor:
        back, logdet = map.inverse(y, logdet=True)
        return (back * weights).sum(1) + logdet

    slopes = torch.autograd.grad(value(y).sum(), y)[0]
    with torch.no_grad():
        differences = (value(y + 1e-5 * direction) - value(y - 1e-5 * direction)) / 2e-5
        close(map.inverse(y)[0], map.inverse(y.detach().requires_grad_())[0], 1e-12)
    close((slopes * direction).sum(1), differences, 1e-6)
    assert not map.inverse(y.detach())[0].requires_grad or entry.name.startswith(("Inverse", "Affine", "Guided"))


def slopes_of(value, y: Tensor, graph: bool = False) -> Tensor:
    y = y if graph else y.detach().requires_grad_()
    return torch.autograd.grad(value(y).sum(), y, create_graph=graph)[0]


@every_map
@pytest.mark.parametrize("way", ["there", "back"])
def test_second_derivatives_are_those_of_differences(entry, way):
    """Of a sum of everything, so that a term without a graph is not made up for by an error that torch raises."""
    map = entry.perturbed(scale=0.1)
    x, weights, direction = (zoo.randn(seed, 5, map.dim) for seed in (11, 12, 13))

    def value(y: Tensor) -> Tensor:
        if way == "back":
            back, logdet = map.inverse(y, logdet=True)
        else:
            back, cost, logdet = map.transport(y, logdet=True)[:3]
            logdet = logdet + cost
        return (back * weights).sum(1) + logdet + 0.1 * y.pow(3).sum(1)

    y = map(x).detach() if way == "back" else x
    points = y.clone().requires_grad_()
    found = torch.autograd.grad((slopes_of(value, points, graph=True) * direction).sum(), points)[0]
    differences = slopes_of(value, y + 1e-5 * direction) - slopes_of(value, y - 1e-5 * direction)
    close(found, differences / 2e-5, 1e-6)


@every_map
def test_the_inverse_has_the_slopes_of_differences_in_the_weights_where_it_has_any(entry):
    map = entry.perturbed(scale=0.1)
    y = map(zoo.randn(11, 5, map.dim)).detach().requires_grad_()

    def value() -> Tensor:
        back, logdet = map.inverse(y, logdet=True)
        return back.pow(2).sum() + logdet.sum()

    parameters = [weight for weight in map.parameters() if weight.requires_grad]
    if not parameters:
        assert not isinstance(map, Residual)
        return
    slopes = torch.autograd.grad(value(), parameters, materialize_grads=True)
    moves = [zoo.randn(20 + k, *weight.shape) for k, weight in enumerate(parameters)]
    values = []
    with torch.no_grad():
        for step in (1e-5, -2e-5):
            for weight, move in zip(parameters, moves, strict=True):
                weight += step * move
            values.append(float(value()))
    expected = (values[0] - values[1]) / 2e-5
    assert float(sum((a * b).sum() for a, b in zip(slopes, moves, strict=True))) == pytest.approx(expected, rel=1e-5)


def test_second_derivatives_in_the_weights_of_an_inverse_are_refused():
    map = zoo.MapEntry("", lambda dtype: Residual(2, width=8)).perturbed(scale=0.1)
    y = map(zoo.randn(1, 5, 2)).detach().requires_grad_()
    slope = torch.autograd.grad(map.inverse(y)[0].pow(2).sum(), next(iter(map.parameters())), create_graph=True)[0]
    with pytest.raises(RuntimeError, match="gradients of these gradients are not known"):
        torch.autograd.grad(slope.sum(), y)


@every_map
def test_the_global_random_state_is_left_alone(entry):
    before = torch.random.get_rng_state()
    map = entry.perturbed(scale=0.1)
    map.reset(torch.Generator().manual_seed(3))
    map.train()
    map.redraw(17)
    x = points(map)
    map.inverse(map.transport(x, logdet=True).y)
    map.jacobian(x)
    assert torch.equal(torch.random.get_rng_state(), before)


@every_map
def test_rows_do_not_mix(entry):
    map = entry.perturbed(scale=0.1)
    x = points(map)
    whole, part = map.transport(x, logdet=True), map.transport(x[5:8], logdet=True)
    for all_rows, some in zip(whole[:3], part[:3], strict=True):
        close(all_rows[5:8], some, 1e-12)


TRAINABLE = [entry for entry in zoo.MAPS if any(True for _ in entry.build(zoo.DOUBLE).parameters())]


@pytest.mark.parametrize("entry", TRAINABLE, ids=zoo.names(TRAINABLE))
def test_losses_are_differentiable_in_the_weights(entry):
    map = entry.perturbed(scale=0.1)
    x, weights = points(map), list(map.parameters())
    direction = [zoo.randn(k, *w.shape) for k, w in enumerate(weights)]

    def loss() -> Tensor:
        moved = map.transport(x, logdet=True)
        return (moved.logdet + moved.cost + moved.y.sin().sum(-1)).mean()

    gradients = torch.autograd.grad(loss(), weights, allow_unused=True)
    slope = sum(float((g * e).sum()) for g, e in zip(gradients, direction, strict=True) if g is not None)

    def shifted(h: float) -> float:
        with torch.no_grad():
            for w, e in zip(weights, direction, strict=True):
                w.add_(e, alpha=h)
            value = float(loss())
            for w, e in zip(weights, direction, strict=True):
                w.sub_(e, alpha=h)
        return value

    assert slope == pytest.approx((shifted(1e-5) - shifted(-1e-5)) / 2e-5, rel=1e-6, abs=1e-8)


# Maps that have no inverse


class Curve(Static):
    """A scalar function and its derivative as a map of the line."""

    dim = 1

    def __init__(self, value, slope):
        super().__init__()
        self.value, self.slope = value, slope

    def move(self, x):
        return self.value(x)

    def jacobian(self, x):
        return self.value(x), self.slope(x)[..., None]


def test_a_map_that_is_not_onto_says_so():
    bounded = Curve(torch.tanh, lambda x: 1 - torch.tanh(x).square())
    y = zoo.doubles([0.5], [2.0], [-3.0])
    with pytest.raises(NotInvertible, match="no point of the domain was found for 2 of 3 rows"):
        bounded.inverse(y)
    close(bounded.inverse(y[:1])[0], torch.atanh(y[:1]), 1e-9)


def test_a_map_that_folds_says_so():
    folding = Curve(lambda x: x - 3 * torch.tanh(x), lambda x: 1 - 3 * (1 - torch.tanh(x).square()))
    with pytest.raises(NotInvertible, match="1 of 2 rows: the map folds"):
        folding.inverse(zoo.doubles([0.0], [20.0]))
    moved = folding.transport(zoo.doubles([0.0], [3.0]), logdet=True)
    assert moved.folded.tolist() == [True, False]


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_reflection_is_a_fold_in_every_dimension(d):
    map = Affine(d).double()
    with torch.no_grad():
        map.matrix[0, 0] = -0.5
    assert map.transport(zoo.randn(0, 4, d), logdet=True).folded.all()
    with pytest.raises(NotInvertible, match="4 of 4"):
        map.inverse(zoo.randn(0, 4, d))


def test_an_affine_map_of_other_weights_has_the_determinant_of_its_jacobian():
    class Symmetric(Affine):
        def move(self, x):
            return x @ (self.matrix + self.matrix.T)

        def jacobian(self, x):
            return self.move(x), (self.matrix + self.matrix.T).expand(len(x), 3, 3)

    map, x = Symmetric(3).double(), zoo.randn(0, 5, 3)
    with torch.no_grad():
        map.matrix.copy_(zoo.randn(1, 3, 3))
    moved = map.transport(x, logdet=True)
    torch.testing.assert_close(moved.logdet, autodiff.log_abs_det(map.jacobian(x)[1])[0])
    assert map.transport(x[:0], logdet=True).logdet.shape == (0,)


def test_a_motion_too_stiff_for_its_steps_says_so():
    map = NeuralODE(1, width=4, steps=1, scheme=Euler()).double()
    with torch.no_grad():
        for layer in map.network.layers:
            layer.weight.zero_()
        map.network.layers[0].weight[0, 0] = map.network.layers[1].weight[0, 0] = 1.0
        map.network.layers[2].weight[0, 0] = -30.0
    with pytest.raises(NotInvertible, match="1 steps of Euler; up to 64 would not do either"):
        map.inverse(zoo.doubles([0.1], [2.0]))


def test_a_motion_too_stiff_for_its_steps_says_how_many_would_do():
    map = NeuralODE(1, width=4, steps=1, scheme=RK4()).double()
    with torch.no_grad():
        for layer in map.network.layers:
            layer.weight.zero_()
        map.network.layers[0].weight[0, 0] = map.network.layers[1].weight[0, 0] = 1.0
        map.network.layers[2].weight[0, 0] = -6.0
    y = zoo.doubles([0.1], [0.3])
    with pytest.raises(NotInvertible, match=r"1 steps of RK4; \d+ steps would do") as refused:
        map.inverse(y)
    enough = int(re.search(r"; (\d+) steps would do", str(refused.value))[1])
    map.steps = enough
    torch.testing.assert_close(map(map.inverse(y)[0]), y, rtol=0, atol=1e-10)
    map.steps = enough // 2
    with pytest.raises(NotInvertible):
        map.inverse(y)


# Maps made of maps


def parts() -> list[Map]:
    chosen = [entry for entry in zoo.MAPS if entry.name in ("Residual(2)", "NeuralODE(2)", "OTFlow(2)")]
    return [entry.perturbed(scale=0.2) for entry in chosen]


def test_a_composition_applies_its_maps_in_order():
    first, second, third = parts()
    x = zoo.randn(1, ROWS, 2)
    whole = Compose([first, second, third])
    stops = [first.transport(x, True)]
    for map in (second, third):
        stops.append(map.transport(stops[-1].y, True))
    moved = whole.transport(x, True)
    close(moved.y, third(second(first(x))), 1e-14)
    close(moved.logdet, sum(stop.logdet for stop in stops), 1e-14)
    close(moved.cost, 3 * sum(stop.cost for stop in stops), 1e-14)
    nested = Compose([Compose([first, second]), third])
    close(nested(x), moved.y, 1e-14)
    close(nested.jacobian(x)[1], whole.jacobian(x)[1], 1e-14)


def test_a_composition_with_the_inverse_is_the_identity():
    x = zoo.randn(1, ROWS, 2)
    for map in parts():
        there_and_back = Compose([map, Inverse(map)]).transport(x, True)
        close(there_and_back.y, x, 1e-9)
        close(there_and_back.logdet, torch.zeros(ROWS).double(), 1e-8)
        close(Inverse(Inverse(map)).transport(x, True).y, map(x), 1e-12)


def test_a_composition_reports_the_folds_of_its_parts():
    fold = Affine(2).double()
    with torch.no_grad():
        fold.matrix[0, 0] = -1.0
    x = zoo.randn(1, 4, 2)
    assert Compose([parts()[0], fold]).transport(x, True).folded.all()
    assert not Compose([parts()[0], Affine(2).double()]).transport(x, True).folded.any()


def test_an_extrapolation_goes_as_far_again():
    x = zoo.randn(1, ROWS, 2)
    for map in parts():
        whole = Extrapolated(map)
        y, J = whole.jacobian(x)
        close(0.5 * (y + x), map(x), 1e-14)
        close(0.5 * (J + torch.eye(2).double()), map.jacobian(x)[1], 1e-14)
    half = Affine(1).double().requires_grad_(False)
    half.matrix.fill_(0.3)
    moved = Extrapolated(half).transport(zoo.doubles([1.0]), True)
    assert moved.folded.all()
    assert moved.logdet.item() == pytest.approx(math.log(0.4), abs=1e-14)


def test_an_explicit_move_is_a_gradient_step():
    tau, x = 0.05, zoo.randn(1, ROWS, 2)
    y, J = Explicit(zoo.bumpy, tau, 2).jacobian(x)
    slope = x.pow(3)
    slope[:, 0] -= x[:, 0].sin()
    close(y, x - tau * slope, 1e-14)
    hessian = 3 * x.square()
    hessian[:, 0] -= x[:, 0].cos()
    close(J, torch.diag_embed(1 - tau * hessian), 1e-14)


def test_an_explicit_move_is_smooth_among_its_own_particles():
    for power in (2.0, 2.5, 3.0, 4.0):  # W has a second derivative at zero, so ∇²W∗ρ exists at the particles
        cloud = zoo.crowd(zoo.DOUBLE)
        map = Explicit(zoo.Interaction(zoo.Power(power)).first_variation(cloud), 0.02, 2)
        J, h = map.jacobian(cloud.x)[1], 1e-6
        columns = [(map(cloud.x + h * e) - map(cloud.x - h * e)) / (2 * h) for e in torch.eye(2).double()]
        close(J, torch.stack(columns, -1), 1e-4)


def test_a_constant_has_no_slope():
    x = zoo.randn(1, 5, 2)
    still = Explicit(lambda x: 0.0 * x.sum(1) + 1, 0.1, 2)
    y, J = still.jacobian(x)
    assert torch.equal(y, x)
    assert torch.equal(J, torch.eye(2).double().expand(5, 2, 2))
    value, slope = autodiff.jacobian(torch.ones_like, x)
    assert not slope.any()
    assert value.shape == (5, 2)


def test_noise_is_redrawn_wherever_a_map_is_wrapped():
    inner = NeuralODE(2, width=8, trace=zoo.Hutchinson()).double()
    x = zoo.randn(1, ROWS, 2)
    with torch.no_grad():
        for k, weight in enumerate(inner.parameters()):
            weight.add_(zoo.randn(k, *weight.shape), alpha=0.5)
    for whole in (Compose([Affine(2).double(), copy.deepcopy(inner)]), Inverse(copy.deepcopy(inner))):
        whole.train()
        seen = []
        for key in (1, 2, 1):
            whole.redraw(key)
            seen.append(whole.transport(x, True).logdet)
        assert torch.equal(seen[0], seen[2])
        assert not torch.equal(seen[0], seen[1])


BAD = {
    "Compose needs at least one map": lambda: Compose([]),
    r"one dimension, got \[1, 2\]": lambda: Compose([Affine(1), Affine(2)]),
    "dim must be an integer of at least 1": lambda: Affine(0),
    "the width of a network": lambda: Residual(2, width=0),
    r"no knots \(0\), or at least 2": lambda: Residual(2, knots=1),
    "the horizon of a flow": lambda: NeuralODE(2, horizon=float("nan")),
    "steps must be": lambda: NeuralODE(2, steps=0),
    "probes must be": lambda: zoo.Hutchinson(0),
    "the depth of an OTFlow must be an integer of at least 2": lambda: zoo.OTFlow(2, depth=1),
    "parts must be": lambda: zoo.OTFlow(2).split(0),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_maps_are_refused_by_name(message):
    with pytest.raises(InputError, match=message):
        BAD[message]()


def test_dynamic_maps_are_marked_as_such():
    for entry in zoo.MAPS:
        map = entry.build(zoo.DOUBLE)
        assert not (isinstance(map, Dynamic) and entry.exact)
