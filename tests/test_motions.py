"""How motions are differentiated and integrated: checkpoints, adjoints, adaptive steps, traces, context."""

import pytest
import torch
import zoo

from wgf import autodiff
from wgf.errors import Diverged, InputError, NotInvertible
from wgf.maps import RK4, Adaptive, Compose, Dynamic, FiniteDifference, Hutchinson, NeuralODE, OTFlow
from wgf.maps.integrate import Scheme
from wgf.methods import jko_flow, jko_iflow


def perturbed(map: Dynamic, scale: float = 0.5) -> Dynamic:
    return zoo.MapEntry("", lambda dtype: map).perturbed(scale=scale).train()


def loss(map: Dynamic, x: torch.Tensor) -> torch.Tensor:
    moved = map.transport(x, logdet=True)
    return (moved.cost + moved.y.square().sum(-1) - moved.logdet).mean()


def slopes(map: Dynamic, x: torch.Tensor) -> list[torch.Tensor]:
    trained = [p for p in map.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss(map, x), trained, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, trained, strict=True)]


TRACES = {"exact": {}, "hutchinson": {"trace": Hutchinson(2)}, "differences": {"trace": FiniteDifference()}}


@pytest.mark.parametrize("named", TRACES)
def test_checkpoints_change_no_gradient(named):
    x = zoo.randn(3, 50, 2)
    plain = perturbed(NeuralODE(2, width=8, steps=5, **TRACES[named]))
    spared = perturbed(NeuralODE(2, width=8, steps=5, checkpoint=True, **TRACES[named]))
    for map in (plain, spared):
        map.redraw(7)
    for one, other in zip(slopes(plain, x), slopes(spared, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)


def kept(map: Dynamic, x: torch.Tensor, logdet: bool) -> int:
    """Bytes that autograd keeps for the gradients of a transport."""
    held: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        map.transport(x, logdet=logdet)
    return sum(held.values())


@pytest.mark.parametrize("logdet", [False, True])
@pytest.mark.parametrize("family", [NeuralODE, OTFlow])
def test_checkpoints_keep_positions_only(family, logdet):
    x = zoo.randn(3, 500, 2)
    plain = kept(family(2, width=64, steps=16).double(), x, logdet)
    spared = kept(family(2, width=64, steps=16, checkpoint=True).double(), x, logdet)
    assert spared < plain / 10
    assert spared < 16 * 10 * x.nbytes


@pytest.mark.parametrize("family", [NeuralODE, OTFlow])
@pytest.mark.parametrize("scheme", zoo.ADAPTIVE, ids=str)
def test_adaptive_steps_find_position_cost_logdet_and_gradients(family, scheme):
    x = zoo.randn(3, 30, 2)
    fine = perturbed(family(2, width=8, steps=100, scheme=RK4()), 0.25)
    free = perturbed(family(2, width=8, scheme=scheme), 0.25)
    for one, other in zip(fine.transport(x, True)[:3], free.transport(x, True)[:3], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(fine(x), free(x), rtol=1e-6, atol=1e-7)
    for one, other in zip(slopes(fine, x), slopes(free, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_adaptive_steps_can_be_inverted_and_cut():
    map = perturbed(NeuralODE(2, width=8, scheme=Adaptive(1e-8, 1e-8)))
    x = zoo.randn(3, 30, 2)
    y = map.transport(x, True)
    back, logdet = map.inverse(y.y, True)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5)
    torch.testing.assert_close(logdet, -y.logdet, rtol=0, atol=1e-5)
    torch.testing.assert_close(Compose(map.split(3))(x), y.y, rtol=0, atol=1e-6)
    value = map.jacobian(x)[1]
    torch.testing.assert_close(value.det().log(), y.logdet.detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(map.trajectory(x)[-1], y.y, rtol=0, atol=1e-6)


def test_an_adjoint_keeps_no_more_for_a_stiffer_motion():
    x = zoo.randn(3, 500, 2)
    held = {}
    for scale in (0.1, 1.0):
        for adjoint in (False, True):
            map = perturbed(NeuralODE(2, width=32, scheme=Adaptive(1e-6, 1e-6, adjoint)), scale)
            held[scale, adjoint] = kept(map, x, True)
    assert held[1.0, True] == held[0.1, True]
    assert held[1.0, True] < held[1.0, False] / 10


@pytest.mark.parametrize("bad", [0.0, -1e-3, float("nan")])
def test_tolerances_must_be_above_zero(bad):
    with pytest.raises(InputError, match="rtol must be"):
        Adaptive(rtol=bad)


@pytest.mark.parametrize("trace", [Hutchinson(1), FiniteDifference(1), FiniteDifference(4)], ids=str)
def test_estimates_of_the_trace_are_unbiased_and_exact_in_evaluation(trace):
    map = perturbed(NeuralODE(3, width=8, trace=trace))
    x = zoo.randn(3, 5, 3)
    _, J = autodiff.jacobian(lambda x: map.velocity(0.2, x), x)
    truth = J.diagonal(dim1=1, dim2=2).sum(-1)
    with torch.no_grad():
        drawn = []
        for key in range(3000):
            map.redraw(key)
            drawn.append(map.divergences([0.2], [x])[0])
        many = torch.stack(drawn)
        error = many.std(0) / len(many) ** 0.5
        assert (error > 0).all()
        assert ((many.mean(0) - truth).abs() < 5 * error + 1e-4).all()
        map.eval()
        torch.testing.assert_close(map.divergences([0.2], [x])[0], truth)


def test_differences_of_single_precision_do_not_cancel():
    torch.manual_seed(0)
    map = perturbed(NeuralODE(43, width=64, trace=FiniteDifference())).double()
    x = zoo.randn(3, 200, 43)
    with torch.no_grad():
        exact, single = map.divergences([0.3], [x])[0], map.float().divergences([0.3], [x.float()])[0]
        map.double().trace = Hutchinson()
        tangents = map.divergences([0.3], [x])[0]
    assert float((single - exact).abs().max()) < 2e-3 * float(exact.abs().max())
    assert float((exact - tangents).abs().max()) < 1e-3 * float(exact.abs().max())


def test_probes_are_one_for_each_sub_interval():
    map = perturbed(NeuralODE(2, width=8, steps=2, trace=Hutchinson()))
    x = zoo.randn(3, 5, 2)

    def drawn(t: float) -> torch.Tensor:
        return map._probes(1, t, x)

    assert torch.equal(drawn(0.1), drawn(0.4))
    assert not torch.equal(drawn(0.1), drawn(0.6))


def test_context_stands_still_and_decides():
    map = perturbed(NeuralODE(4, width=8, context=2, steps=32))
    x = zoo.randn(3, 20, 4)
    moved = map.transport(x, logdet=True)
    assert torch.equal(moved.y[:, 2:], x[:, 2:])
    _, J = map.jacobian(x)
    torch.testing.assert_close(J[:, :2, :2].det().log(), moved.logdet, rtol=0, atol=1e-4)
    other = map(torch.cat([x[:, :2], x[:, 2:] + 1], 1))
    assert (other[:, :2] - moved.y[:, :2]).abs().min() > 1e-6
    with pytest.raises(InputError, match="context must be less than the dimension 4, got 4"):
        NeuralODE(4, context=4)


def test_evaluation_takes_its_own_steps():
    map = perturbed(NeuralODE(2, width=8, steps=2, evaluation_steps=32))
    x = zoo.randn(3, 20, 2)
    coarse, fine = map(x), map.eval()(x)
    exact = map.refined(4)(x)
    assert (fine - exact).norm() < (coarse - exact).norm() / 1e3
    assert map.refined(4).taken == 128
    assert map.split(2)[0].taken == 16
    with pytest.raises(InputError, match="evaluation_steps"):
        NeuralODE(2, evaluation_steps=0)


def test_a_part_of_a_motion_knows_its_interval_from_its_weights():
    map = perturbed(NeuralODE(2, width=8, steps=4))
    part = map.split(2)[1]
    again = NeuralODE(2, width=8, steps=2).double()
    again.load_state_dict(part.state_dict())
    x = zoo.randn(3, 20, 2)
    assert (again.start, again.end) == (0.5, 1.0)
    torch.testing.assert_close(again(x), part(x))


def test_the_hamilton_jacobi_penalty_is_charged_while_training_alone():
    x = zoo.randn(3, 20, 2)
    free, charged = (perturbed(OTFlow(2, width=8, steps=64, hamilton_jacobi=b), 0.3) for b in (0.0, 0.7))
    times, residual = torch.linspace(0, 1, 65)[:-1] + 1 / 128, 0.0
    y = free.trajectory(x)
    for k, t in enumerate(times.tolist()):
        gradient = free.gradient(t, (y[k] + y[k + 1]) / 2)
        residual = residual + (gradient[:, 2] - 0.5 * gradient[:, :2].square().sum(-1)).abs() / 64
    extra = charged.transport(x).cost - free.transport(x).cost
    torch.testing.assert_close(extra, 0.7 * residual, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(charged.eval().transport(x).cost, free.transport(x).cost)
    with pytest.raises(InputError, match="hamilton_jacobi"):
        OTFlow(2, hamilton_jacobi=-1.0)


@pytest.mark.parametrize(("width", "parameters"), [(3, 40), (4, 53), (5, 68), (8, 125), (16, 365)])
def test_the_papers_count_of_parameters(width, parameters):
    assert sum(p.numel() for p in OTFlow(2, width=width).parameters()) == parameters


def test_too_stiff_for_a_tolerance():
    class Broken(Adaptive):
        @property
        def slack(self) -> float:
            return 0.0

    map = perturbed(NeuralODE(1, width=4, scheme=Broken(1e-1, 1e-1)), 3.0)
    assert isinstance(map.scheme, Scheme)
    with pytest.raises(NotInvertible, match="these tolerances of Broken; take smaller ones"):
        map.inverse(zoo.randn(3, 20, 1))


@pytest.mark.parametrize("scheme", zoo.SCHEMES, ids=zoo.names(zoo.SCHEMES))
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("width", [4, 9])
def test_gradients_by_hand_are_those_of_autograd(scheme, steps, width):
    """A two-layer potential swept as one node, against the same scheme on plain autograd of Φ, its trace included."""
    x = zoo.randn(3, 20, 2).requires_grad_()
    weights = zoo.randn(4, 20, 4)
    map = perturbed(OTFlow(2, width, horizon=1.5, steps=steps, scheme=scheme), 0.4)

    class Plain(Dynamic):
        def __init__(self) -> None:
            super().__init__(2, 1.5, steps, scheme)
            self.map = map

        def velocity(self, t, x):
            return -autodiff.gradient(lambda y: map.potential(t, y), x, create_graph=True)

        def divergences(self, times, points):
            found = []
            for t, y in zip(times, points, strict=True):
                v = self.velocity(t, y)
                parts = [torch.autograd.grad(v[:, a].sum(), y, create_graph=True)[0][:, a] for a in range(2)]
                found.append(sum(parts))
            return torch.stack(found)

        def velocity_tangents(self, t, x, dx):
            raise NotImplementedError

    found = []
    for each in (map, Plain()):
        moved = each.transport(x, logdet=True)
        parts = (moved.y[:, 0], moved.y[:, 1], moved.cost, moved.logdet)
        value = sum((weights[:, k] * part).sum() for k, part in enumerate(parts))
        trained = [p for name, p in map.named_parameters() if name != "constant"]
        slopes = torch.autograd.grad(value, [x, *trained], allow_unused=True)
        found.append([value, *slopes])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_motions_that_no_step_can_follow_say_so():
    map = NeuralODE(2, scheme=Adaptive())
    with torch.no_grad():
        map.network.layers[-1].weight.fill_(float("nan"))
    with pytest.raises(Diverged, match="adaptive steps cannot follow this motion"):
        map(torch.randn(3, 2))


def test_nothing_is_kept_where_no_gradients_are_wanted():
    map, x = OTFlow(2, 64, steps=16), torch.randn(500, 2)
    with torch.no_grad():
        assert kept(map, x, True) == 0
    assert map.transport(x[:0], logdet=True).logdet.shape == (0,)


@pytest.mark.parametrize("scheme", zoo.SCHEMES, ids=zoo.names(zoo.SCHEMES))
@pytest.mark.parametrize(("context", "depth", "steps"), [(0, 2, 2), (1, 1, 1), (1, 3, 3)])
def test_a_neural_ode_by_hand_and_its_gradients_gradients(scheme, context, depth, steps):
    """The sweep as one node against the same scheme on plain autograd, differentiated once and twice."""
    map = perturbed(NeuralODE(3, 8, depth, 1.5, steps, scheme, context=context), 0.4)
    network, moving = map.network, 3 - context

    class Plain(Dynamic):
        def velocity(self, t, x):
            rows = torch.cat([x, x.new_full((len(x), 1), t)], 1)
            for layer in network.layers[:-1]:
                rows = torch.tanh(layer(rows))
            return torch.nn.functional.pad(network.layers[-1](rows), (0, context))

        def divergences(self, times, points):
            found = []
            for t, y in zip(times, points, strict=True):
                v = self.velocity(t, y)
                parts = [torch.autograd.grad(v[:, a].sum(), y, create_graph=True)[0][:, a] for a in range(moving)]
                found.append(sum(parts))
            return torch.stack(found)

        def velocity_tangents(self, t, x, dx):
            raise NotImplementedError

    x, weights = zoo.randn(3, 20, 3).requires_grad_(), zoo.randn(4, 20, 5)
    trained, kinds, found = list(network.parameters()), {"allow_unused": True, "materialize_grads": True}, []
    for each in (map, Plain(3, 1.5, steps, scheme)):
        moved = each.transport(x, logdet=True)
        parts = torch.cat([moved.y, moved.cost[:, None], moved.logdet[:, None]], 1)
        once = torch.autograd.grad((weights * parts).sum(), [x, *trained], create_graph=True, **kinds)
        twice = torch.autograd.grad(sum(slope.square().sum() for slope in once), [x, *trained], **kinds)
        held = torch.autograd.grad(each.transport(x.detach()).cost.sum(), trained[::2], **kinds)
        found.append([parts, *once, *twice, *held])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [NeuralODE, OTFlow])
def test_random_times_are_right_on_average_and_for_training_alone(kind):
    x = zoo.randn(3, 10, 2)
    map = perturbed(kind(2, width=8, steps=12, evaluation_steps=36, random_times=True), 0.3)
    fixed = perturbed(kind(2, width=8, steps=12, evaluation_steps=36), 0.3).eval()
    with torch.no_grad():
        drawn = []
        for key in range(2000):
            map.redraw(key)
            drawn.append(map.transport(x, logdet=True))
        map.redraw(1999)
        assert torch.equal(map.transport(x, logdet=True).logdet, drawn[-1].logdet)
        assert torch.equal(drawn[0].y, drawn[-1].y)
        values = torch.stack([each.logdet for each in drawn])
        error = values.std(0) / len(values) ** 0.5
        truth = fixed.transport(x, logdet=True).logdet
        assert (error > 0).all()
        assert ((values.mean(0) - truth).abs() < 5 * error + 1e-5).all()
        assert torch.equal(map.eval().transport(x, logdet=True).logdet, truth)


def test_a_neural_ode_whose_velocity_is_another_moves_by_that():
    class Growing(NeuralODE):
        def velocity(self, t, x):
            return x

    x = zoo.randn(0, 5, 2)
    moved = Growing(2, 4, steps=8).double().transport(x).y
    torch.testing.assert_close(moved, x * torch.e, rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", [NeuralODE, OTFlow])
def test_random_times_need_steps_that_are_fixed(kind):
    with pytest.raises(InputError, match="random_times needs a scheme of fixed steps"):
        kind(2, scheme=Adaptive(), random_times=True)


@pytest.mark.parametrize("recipe", [jko_flow, jko_iflow])
def test_recipes_hand_random_times_on(recipe):
    assert recipe(2, random_times=True).map.random_times
    assert not recipe(2).map.random_times
