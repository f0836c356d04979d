"""Critics: rows that do not mix, dtypes kept, the same weights from the same generator; Lipschitz where they say so."""

import math
from collections.abc import Callable

import pytest
import torch
import zoo
from torch import Tensor, nn

from wgf import autodiff, keys
from wgf.critics import Critic, FourierCritic, ImageCritic, LipschitzCritic, ScalarField
from wgf.critics.base import spread
from wgf.errors import InputError
from wgf.fitting import fit, worth
from wgf.functionals import FDivergence, KullbackLeibler
from wgf.law import Box, Gaussian
from wgf.training import Adam

every_critic = pytest.mark.parametrize("build", zoo.CRITICS, ids=list(zoo.CRITICS))


def drawn(critic: ScalarField, seed: int = 0) -> ScalarField:
    """With every weight drawn, those that start at zero included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in critic.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.7)
    return critic


@every_critic
def test_rows_do_not_mix_and_dtypes_are_kept(build):
    for dtype in (torch.float32, torch.float64):
        critic = drawn(zoo.CRITICS[build]()).to(dtype)
        x = 3 + 2 * zoo.randn(1, 9, critic.dim, dtype=dtype)
        critic.standardise(x)
        u = critic(x)
        assert u.shape == (9,)
        assert u.dtype == dtype
        torch.testing.assert_close(critic(x[[4, 1]]), u[[4, 1]])
        assert float(u.detach().std()) > 1e-3


@every_critic
def test_the_same_generator_draws_the_same_weights(build):
    x = zoo.randn(0, 20, zoo.CRITICS[build]().dim, dtype=torch.float32)
    values = []
    for seed in (0, 0, 1):
        critic = zoo.CRITICS[build]()
        critic.reset(torch.Generator().manual_seed(seed))
        drawn_last = [p for p in critic.parameters() if not bool(p.any())]
        with torch.no_grad():
            for p in drawn_last:
                p.fill_(0.1)
        values.append(critic(x))
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


@every_critic
def test_location_and_scale_of_the_inputs_are_taken_out(build):
    """u of standardised rows moved and scaled is u of those rows, times the scale where the critic is Lipschitz."""
    x = zoo.randn(0, 500, zoo.CRITICS[build]().dim)
    first, moved = (drawn(zoo.CRITICS[build]()).double() for _ in range(2))
    first.standardise(x)
    moved.standardise(100 * x - 7)
    factor = 1 if first.constant is None else 100
    torch.testing.assert_close(moved(100 * x - 7), factor * first(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("L", [0.5, 4.0])
def test_a_lipschitz_critic_is_as_steep_as_it_says_and_no_steeper(L, depth):
    critic = drawn(LipschitzCritic(3, L, width=8, depth=depth)).double()
    x = zoo.randn(0, 4000, 3)
    critic.standardise(5 * x)
    slope = autodiff.gradient(critic, 20 * x).norm(dim=1)
    assert float(slope.max()) <= L * (1 + 1e-12)
    assert float(slope.mean()) > 0.3 * L


def test_a_lipschitz_critic_learns_a_distance():
    """W₁ between a point and a sphere around it: sup E u(x) − u(0) = 1 over 1-Lipschitz u, at u = |x|."""
    critic, generator = LipschitzCritic(2, 1.0, 32), torch.Generator().manual_seed(0)
    critic.reset(generator)
    optimiser = torch.optim.Adam(critic.parameters(), lr=2e-2)
    zero = torch.zeros(1, 2)
    for k in range(400):
        optimiser.param_groups[0]["lr"] = 2e-2 * (1 - k / 400)
        angle = 6.2832 * torch.rand(256, generator=generator)
        gap = critic(torch.stack([angle.cos(), angle.sin()], 1)).mean() - critic(zero).mean()
        optimiser.zero_grad()
        (-gap).backward()
        optimiser.step()
    assert 0.97 < float(gap.detach()) <= 1 + 1e-5


def test_bad_critics_are_refused():
    for build, message in (
        (lambda: Critic(0), "dim must be an integer of at least 1, got 0"),
        (lambda: LipschitzCritic(2, 0.0), "the Lipschitz constant L must be a finite number above 0"),
        (lambda: LipschitzCritic(2, width=1), "width must be an integer of at least 2"),
        (lambda: LipschitzCritic(2, width=7), "must be even, for its neighbours are sorted, got 7"),
        (lambda: ImageCritic(1, 0, 8), "height must be an integer of at least 1"),
        (lambda: ImageCritic(1, 8, 8, blocks=0), "blocks must be an integer of at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            build()


def test_a_quadratic_part_is_its_formula():
    """½yᵀAy + bᵀy of y = (x − m)/s, the network being zero at the start."""
    critic, x = Critic(3, 8, 1, quadratic=True).double(), 2 + 3 * zoo.randn(0, 50, 3)
    critic.standardise(x)
    A, b = zoo.randn(1, 3, 3), zoo.randn(2, 3)
    with torch.no_grad():
        critic.bend.copy_(A)
        critic.slope.copy_(b)
    y = (x - x.mean(0)) / x.std(0)
    expected = 0.5 * torch.einsum("na,ab,nb->n", y, A, y) + y @ b
    torch.testing.assert_close(critic(x), expected, rtol=1e-12, atol=1e-12)


def test_a_quadratic_part_holds_log_ratios_of_gaussians():
    """log N(m, S)/N(0, I) is quadratic: fitted, it is reached to the noise of the sample."""
    rho, pi = Gaussian([0.5, -0.2], [[0.7, 0.2], [0.2, 1.2]]), Gaussian.standard(2)
    x = rho.sample(100_000, keys.generator(0))
    critic = fit(FDivergence(KullbackLeibler(), pi).dual({}), Critic(2, 8, 1, quadratic=True), x, Adam(400, 8192, 5e-3))
    at = zoo.randn(1, 500, 2, dtype=torch.float32)
    off = critic(at) - (rho.log_prob(at) - pi.log_prob(at))
    assert float(off.abs().mean()) < 0.03
    critic.reset(keys.generator(1))
    assert float(critic(at).abs().max()) == 0


def test_waves_have_the_lengths_that_were_asked_for():
    critic = FourierCritic(2, 400, low=0.5, high=50.0, decay=2.0)
    lengths = critic.frequencies.norm(dim=1)
    assert 0.5 <= float(lengths.min()) < 0.55
    assert 45 < float(lengths.max()) <= 50 * (1 + 1e-6)
    torch.testing.assert_close(critic.amplitudes, (0.5 / lengths) ** 2)
    before = critic.frequencies.clone()
    critic.reset(keys.generator(3))
    assert not torch.equal(critic.frequencies, before)
    with pytest.raises(InputError, match="need low ≤ high, got 4 and 2"):
        FourierCritic(2, low=4, high=2)


def test_waves_see_stripes_that_a_perceptron_does_not():
    """ρ on narrow stripes of a uniform law: its KL is log 2, of which coordinates alone find little in as long."""
    pi = Box([0.0], [1.0])
    x = (torch.randint(20, (20_000, 1), generator=keys.generator(0)) + 0.5 * pi.sample(20_000, keys.generator(1))) / 20
    dual, found = FDivergence(KullbackLeibler(), pi).dual({}), {}
    for name, critic in (("waves", FourierCritic(1, 32, 1.0, 60.0, 0.0)), ("coordinates", Critic(1))):
        found[name] = worth(dual, fit(dual, critic, x, Adam(300, 1024, 5e-3)), x).value
    assert found["waves"] > 0.75 * math.log(2)
    assert found["coordinates"] < 0.2 * math.log(2)


class Even(Critic):
    """A critic of |x|."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.abs())


def frozen(critic: ScalarField) -> ScalarField:
    next(iter(critic.parameters())).requires_grad_(False)
    return critic


def normed(critic: Critic, norm: Callable[[nn.Module], nn.Module]) -> Critic:
    norm(critic.network.layers[0])
    return critic


OTHERS: dict[str, Callable[[], ScalarField]] = {
    "subclass": lambda: Even(3, 8),
    "frozen": lambda: frozen(Critic(3, 8)),
    "frozen, quadratic": lambda: frozen(Critic(3, 8, quadratic=True)),
    "frozen waves": lambda: frozen(zoo.CRITICS["FourierCritic"]()),
    "spectral norm": lambda: normed(Critic(3, 8).double(), nn.utils.parametrizations.spectral_norm).eval(),
    "weight norm": lambda: normed(Critic(3, 8).double(), nn.utils.parametrizations.weight_norm),
}


@pytest.mark.parametrize("build", [*zoo.CRITICS, *OTHERS])
def test_gradients_for_given_rates_are_those_of_autograd(build):
    critic = drawn({**zoo.CRITICS, **OTHERS}[build]()).double()
    x = zoo.randn(0, 30, critic.dim)
    critic.standardise(x)
    trained = [p for p in critic.parameters() if p.requires_grad]
    expected = torch.autograd.grad(critic(x).exp().sum(), trained, materialize_grads=True)
    found = critic.gradients(x, trained, torch.exp)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("build", [*zoo.CRITICS, *OTHERS])
def test_slopes_for_given_rates_are_those_of_autograd(build):
    critic = drawn({**zoo.CRITICS, **OTHERS}[build]()).double()
    x = zoo.randn(0, 30, critic.dim).requires_grad_()
    critic.standardise(x.detach())
    expected = torch.autograd.grad(critic(x).exp().sum(), x)[0]
    found = critic.slopes(x, torch.exp)
    assert not found.requires_grad
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)
    flat = torch.autograd.grad(0.3 * critic(x).sum(), x)[0]
    torch.testing.assert_close(critic.slopes(x, 0.3), flat, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dim", [2, 12])
@pytest.mark.parametrize("depth", [1, 2])
def test_a_quadratic_critic_by_hand_is_the_formula_written_out(dim, depth):
    """N(y) + ½yᵀAy + bᵀy, y = (x − m)/s, in torch's operations, A not symmetric: critics' own nodes check nothing."""
    critic = drawn(Critic(dim, 8, depth, quadratic=True)).double()
    x = zoo.randn(0, 30, dim).requires_grad_()
    critic.standardise(x.detach())
    y = h = (x - critic.mean) / critic.scale
    for layer in critic.network.layers[:-1]:
        h = torch.nn.functional.silu(layer(h))
    u = critic.network.layers[-1](h)[:, 0] + 0.5 * torch.einsum("ni,ij,nj->n", y, critic.bend, y) + y @ critic.slope
    torch.testing.assert_close(critic(x), u, rtol=1e-12, atol=1e-12)
    trained = list(critic.parameters())
    to_x, *expected = torch.autograd.grad(u, [x, *trained], u.detach().sin())
    by_node = torch.autograd.grad(critic(x), [x, *trained], u.detach().sin())
    by_hand = [critic.slopes(x, torch.sin), *critic.gradients(x.detach(), trained, torch.sin)]
    for found in (by_node, by_hand):
        for one, other in zip(found, [to_x, *expected], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("n", [2, 4096, 9000])
def test_the_spread_of_rows_is_their_standard_deviation(n):
    x = 1e3 + zoo.doubles(2.0, 0.0, 1e-4) * zoo.randn(0, n, 3)
    torch.testing.assert_close(spread(x), x.std(0), rtol=1e-6, atol=0)
