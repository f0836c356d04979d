"""Networks and kernels: derivatives in closed form against autograd, masses against one, blocks against no blocks."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import zoo
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from wgf import autodiff, kernels
from wgf.activations import Activation, Relu, Tanh
from wgf.critics import Critic
from wgf.errors import InputError
from wgf.kernels import kernel_sum, kernel_sum_gradient
from wgf.layers import perceptron
from wgf.maps import OTFlow
from wgf.networks import MLP

every_kernel = pytest.mark.parametrize("kernel", zoo.KERNELS, ids=str)
every_activation = pytest.mark.parametrize("activation", zoo.ACTIVATIONS, ids=zoo.names(zoo.ACTIVATIONS))


@every_activation
def test_an_activation_knows_its_derivative(activation):
    h = torch.linspace(-30, 30, 601, dtype=zoo.DOUBLE)[:, None]
    value, slope = activation.pair(h)
    torch.testing.assert_close(value, activation.value(h), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(slope, autodiff.gradient(lambda h: activation.value(h)[:, 0], h), rtol=0, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_slopes_of_tanh_have_their_digits_where_it_is_flat(dtype):
    """1 − tanh² of a rounded tanh would have none from |h| = 9 on in float32."""
    h = torch.linspace(-20, 20, 401, dtype=torch.float64)[:, None].to(dtype)
    one, zero = torch.ones(1, 1, dtype=dtype), torch.zeros(1, dtype=dtype)
    value, slope, bend = Tanh().slopes(h, one, zero)
    exact, error = h.double().cosh().pow(-2), 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(slope.double(), exact, rtol=error, atol=0)
    torch.testing.assert_close(value.double(), h.double().tanh(), rtol=0, atol=error)
    torch.testing.assert_close(bend.double(), -2 * h.double().tanh() * exact, rtol=2 * error, atol=error * 0.1)


@every_activation
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_tangents_and_divergence_are_those_of_autograd(activation, depth):
    net = MLP(3, 2, width=8, depth=depth, activation=activation).double()  # two outputs; the third input is time
    x, dx = zoo.randn(0, 10, 3), zoo.randn(1, 4, 10, 3)
    y, J = autodiff.jacobian(net, x)
    value, tangents = net.tangents(x)
    torch.testing.assert_close(value, y, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(autodiff.from_tangents(tangents), J[:, :, :2], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(net.tangents(x, dx)[1], torch.einsum("nab,knb->kna", J, dx), rtol=1e-12, atol=1e-13)
    trace = J[:, 0, 0] + J[:, 1, 1]
    torch.testing.assert_close(net.trace(x), trace, rtol=1e-12, atol=1e-13)
    quadratic = torch.einsum("kna,nab,knb->n", dx[..., :2], J, dx)
    torch.testing.assert_close(net.quadratic(x, dx), quadratic, rtol=1e-12, atol=1e-12)


@dataclass(frozen=True)
class Softplus(Activation):
    """One that says nothing but its value and its pair."""

    def value(self, h):
        return torch.nn.functional.softplus(h)

    def pair(self, h):
        return torch.nn.functional.softplus(h), torch.sigmoid(h)


@dataclass(frozen=True)
class Sine(Softplus):
    """One whose `backward` takes what its own `forward` keeps, which is no slope."""

    def value(self, h):
        return h.sin()

    def pair(self, h):
        return h.sin(), h.cos()

    def forward(self, h):
        return h.sin(), h

    def backward(self, g, kept, value):
        return g.mul_(kept.cos())


@pytest.mark.parametrize("activation", [*zoo.ACTIVATIONS, Softplus(), Sine()], ids=str)
@pytest.mark.parametrize(("inputs", "outputs", "depth"), [(2, 1, 1), (12, 3, 2), (3, 12, 3), (2, 2, 2)])
def test_gradients_by_hand_are_those_of_the_plain_network(activation, inputs, outputs, depth):
    net = MLP(inputs, outputs, 16, depth, activation).double()
    net.reset(torch.Generator().manual_seed(0))
    x = zoo.randn(0, 10, inputs).requires_grad_()
    weight = zoo.randn(1, 10, outputs)

    def plain(x: Tensor) -> Tensor:
        for layer in net.layers[:-1]:
            x = activation.value(layer(x))
        return net.layers[-1](x)

    def derivatives(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Value and gradients; those of a loss of gradients, as penalties on slopes are; some held; applied twice."""
        sources = [x, *net.parameters()]
        y = function(x)
        first = torch.autograd.grad((weight * y.square()).sum(), sources)
        slope = torch.autograd.grad((weight * function(x)).sum(), x, create_graph=True)[0]
        again = torch.autograd.grad(slope.square().sum() + function(x).sum(), sources, materialize_grads=True)
        chosen = list(net.parameters())[1::2]
        held = torch.autograd.grad(function(x.detach()).square().sum(), chosen)
        net.requires_grad_(False)
        only = torch.autograd.grad(function(x).square().sum(), x)
        net.requires_grad_(True)
        if inputs != outputs:
            return [y, *first, *again, *held, *only]
        twice = torch.autograd.grad(function(function(x)).square().sum(), sources, create_graph=True)
        return [y, *first, *again, *held, *only, *twice, *torch.autograd.grad(twice[0].square().sum(), sources)]

    for ours, theirs in zip(derivatives(net), derivatives(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)
    graphed = net(x)
    with torch.no_grad():
        assert torch.equal(net(x), graphed)  # the same bits, whether or not there is a graph


@pytest.mark.parametrize("activation", [*zoo.ACTIVATIONS, Softplus(), Sine()], ids=str)
@pytest.mark.parametrize(("inputs", "outputs", "depth"), [(2, 1, 1), (3, 2, 2), (12, 12, 1), (12, 11, 2), (9, 4, 3)])
def test_gradients_of_a_divergence_by_hand_are_those_of_autograd(activation, inputs, outputs, depth):
    net = MLP(inputs, outputs, 16, depth, activation).double()
    net.reset(torch.Generator().manual_seed(0))
    x = zoo.randn(0, 10, inputs).requires_grad_()
    weight = zoo.randn(1, 10)
    units = torch.eye(inputs, dtype=zoo.DOUBLE)[:outputs, None].expand(-1, 10, -1)

    def plain(x: Tensor) -> Tensor:
        return net.quadratic(x, units)

    def derivatives(function: Callable[[Tensor], Tensor]) -> list[Tensor]:
        """Value and gradients, those of a loss of gradients, and those where some weights are held."""
        sources, kinds = [x, *net.parameters()], {"allow_unused": True, "materialize_grads": True}
        trace = function(x)
        first = torch.autograd.grad((weight * trace.square()).sum(), sources, **kinds)
        slopes = torch.autograd.grad((weight * function(x)).sum(), sources, create_graph=True, **kinds)
        again = torch.autograd.grad(sum(slope.square().sum() for slope in slopes), sources, **kinds)
        held = torch.autograd.grad(function(x.detach()).square().sum(), list(net.parameters())[::2], **kinds)
        net.requires_grad_(isinstance(activation, Relu))  # whose slopes x does not move
        only = torch.autograd.grad(function(x).square().sum(), x, **kinds)
        net.requires_grad_(True)
        return [trace, *first, *again, *held, *only]

    for ours, theirs in zip(derivatives(net.trace), derivatives(plain), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)
    graphed = net.trace(x)
    with torch.no_grad():
        assert torch.equal(net.trace(x), graphed)


@dataclass(frozen=True)
class Leaky(Softplus):
    """One whose slope is constant in pieces, and has no graph."""

    def value(self, h):
        return torch.where(h > 0, h, 0.1 * h)

    def pair(self, h):
        return self.value(h), torch.where(h > 0, 1.0, 0.1).to(h)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_divergence_of_straight_pieces_moves_with_the_weights_alone(depth):
    net, x = MLP(2, 2, 8, depth, Leaky()).double(), zoo.randn(0, 10, 2).requires_grad_()
    net.reset(torch.Generator().manual_seed(0))
    units = torch.eye(2, dtype=zoo.DOUBLE)[:, None].expand(-1, 10, -1)
    sources = [x, *net.parameters()]
    ours, theirs = (
        torch.autograd.grad(f(x).sum(), sources, materialize_grads=True, allow_unused=True)
        for f in (net.trace, lambda x: net.quadratic(x, units))
    )
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)
    assert not ours[0].any()


@pytest.mark.parametrize("depth", [1, 2])
def test_gradients_of_gradients_where_inputs_come_from_the_same_weights(depth):
    net = MLP(2, 2, 8, depth).double()
    net.reset(torch.Generator().manual_seed(0))
    x, parameters = zoo.randn(0, 10, 2), list(net.parameters())

    def plain(x: Tensor) -> Tensor:
        for layer in net.layers[:-1]:
            x = torch.tanh(layer(x))
        return net.layers[-1](x)

    def penalty(function: Callable[[Tensor], Tensor], trace: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        total = function(function(x)).square().sum() + trace(function(x)).square().sum()
        slopes = torch.autograd.grad(total, parameters, create_graph=True)
        return *slopes, *torch.autograd.grad(sum(slope.square().sum() for slope in slopes), parameters)

    units = torch.eye(2, dtype=zoo.DOUBLE)[:, None].expand(-1, 10, -1)
    expected = penalty(plain, lambda y: net.quadratic(y, units))
    for ours, theirs in zip(penalty(net, net.trace), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("build", zoo.NETWORKS.values(), ids=list(zoo.NETWORKS))
def test_weights_come_from_the_generator_alone(build):
    before = torch.random.get_rng_state()
    first, again, other = build(), build(), build()
    for network, seed in ((first, 1), (again, 1), (other, 2)):
        network.reset(torch.Generator().manual_seed(seed))
    assert torch.equal(torch.random.get_rng_state(), before)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_weights_have_the_variance_they_claim():
    layer = MLP(50, 1, width=400).layers[0]
    assert float(layer.weight.detach().var()) == pytest.approx(1 / 50, rel=0.05)
    assert not layer.bias.any()


@pytest.mark.parametrize("frequency", [1.0, 4.0])
def test_a_higher_frequency_is_that_of_the_first_layer(frequency):
    net = MLP(50, 1, width=4000, depth=2, frequency=frequency).requires_grad_(False)
    first, second, _ = net.layers
    assert float(first.weight.std()) == pytest.approx(frequency / 50**0.5, rel=0.02)
    assert float(first.bias.std()) == pytest.approx((frequency - 1) / 2, rel=0.05)
    assert float(second.weight.std()) == pytest.approx(1 / 4000**0.5, rel=0.02)
    assert not second.bias.any()
    flow = OTFlow(49, width=4000, frequency=frequency).requires_grad_(False)
    flow.reset(torch.Generator().manual_seed(0))
    assert float(flow.opening.std()) == pytest.approx(frequency / 50**0.5, rel=0.02)
    x = zoo.randn(0, 5, 49).float()
    torch.testing.assert_close(flow.transport(x).y, x, rtol=0, atol=1e-5)


def test_a_frequency_below_one_is_refused():
    for build in (Critic, OTFlow):
        with pytest.raises(InputError, match=r"frequency must be a finite number from 1 on, got 0\.5"):
            build(2, frequency=0.5)


def test_a_critic_starts_at_zero_and_reads_standardised_rows():
    critic, x = Critic(2, width=8).double(), 5 + 3 * zoo.randn(0, 200, 2)
    assert critic(x).shape == (200,)
    assert not critic(x).any()
    with torch.no_grad():
        for weight in critic.parameters():
            weight.add_(0.3 * zoo.randn(1, *weight.shape))
    plain = copy.deepcopy(critic)
    critic.standardise(x)
    torch.testing.assert_close(critic(x), plain((x - x.mean(0)) / x.std(0)))
    assert {"mean", "scale"} <= set(critic.state_dict())  # saved with the weights


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dim", [2, 9])
def test_a_perceptron_with_a_quadratic_part_has_its_gradients_once_and_twice(dim, outputs):
    shapes = [(4, dim), (5, dim), (5,), (outputs, 5), (outputs,), (dim, dim), (dim,)]
    x, *parameters = (zoo.randn(k, *shape).requires_grad_() for k, shape in enumerate(shapes))

    def value(x: Tensor, *parameters: Tensor) -> Tensor:
        return perceptron(x, Tanh(), parameters[:4], parameters[4:])

    W, b, w, c, bend, slope = parameters
    expected = torch.tanh(x @ W.T + b) @ w.T + c + ((0.5 * x @ bend + slope) * x).sum(1, keepdim=True)
    torch.testing.assert_close(value(x, *parameters), expected)
    for weights in (parameters, [p.detach() for p in parameters]):
        assert gradcheck(value, (x, *weights))
        assert gradgradcheck(value, (x, *weights))
    assert gradcheck(value, (x.detach(), *[p.detach() for p in parameters[:4]], bend, slope))


@every_kernel
@pytest.mark.parametrize("dim", [1, 3])
def test_a_kernel_knows_its_derivative(kernel, dim):
    r = torch.linspace(0.1, 4, 50, dtype=zoo.DOUBLE)[:, None]
    by_autograd = autodiff.gradient(lambda r: kernel.value(r[:, 0], dim), r)
    torch.testing.assert_close(kernel.derivative(r, dim), by_autograd, rtol=1e-12, atol=1e-14)


def test_kernels_are_their_formulas():
    r, z = zoo.doubles(0.3, 2.0), zoo.doubles(0.3, 2.0).sqrt()
    for p in (2, 3, 4):
        torch.testing.assert_close(kernels.Power(p).value(r, 2), z**p / p)
    ring = 0.5 * kernels.Power(4) - kernels.Mollifier(0.5) + (-kernels.Power(2))
    expected = z**4 / 8 - torch.exp(-2 * r) / (0.5 * torch.pi) - r / 2
    torch.testing.assert_close(ring.value(r, 2), expected)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_mollifier_integrates_to_one(dim):
    h = 0.1
    side = torch.arange(-2.5, 2.5 + h / 2, h, dtype=zoo.DOUBLE)
    grid = torch.cartesian_prod(*[side] * dim).reshape(-1, dim)
    total = kernels.Mollifier(0.4).value(grid.square().sum(-1), dim).sum() * h**dim
    assert float(total) == pytest.approx(1, abs=1e-8)


@every_kernel
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_are_sums_in_blocks_or_not(kernel, weighted, monkeypatch):
    x, y = zoo.randn(0, 13, 2), zoo.randn(1, 7, 2)
    w = zoo.randn(2, 7) if weighted else None
    weight = torch.full((7,), 1 / 7, dtype=zoo.DOUBLE) if w is None else w

    def direct(x: Tensor) -> Tensor:
        pairs = [[kernel.value((a - b).square().sum(), 2) for b in y] for a in x]
        return torch.stack([torch.stack(row) for row in pairs]) @ weight

    for budget in (kernels.sums.BYTES, 200):  # 200 bytes: one row a block
        monkeypatch.setattr(kernels.sums, "BYTES", budget)
        torch.testing.assert_close(kernel_sum(kernel, x, y, w), direct(x), rtol=1e-13, atol=1e-14)
        slope = autodiff.gradient(direct, x)
        torch.testing.assert_close(kernel_sum_gradient(kernel, x, y, w), slope, rtol=1e-12, atol=1e-13)


def test_close_points_far_away_keep_their_digits():
    x = torch.tensor([[1e4, 0.0], [1e4 + 0.125, 0.0]])  # exact in float32
    assert float(kernel_sum(kernels.Power(2), x[:1], x[1:])) == pytest.approx(0.125**2 / 2, rel=1e-6)


def test_sums_refuse_mixed_precision():
    with pytest.raises(InputError, match="float32"):
        kernel_sum(kernels.Power(2), zoo.randn(0, 3, 2), torch.zeros(3, 2))
