"""On a CUDA device: every stepper, law, critic, kernel and dual runs where its particles are, as it does on a CPU."""

import pytest
import torch
import zoo

from wgf import evolve, keys
from wgf.critics import Critic, ScalarField
from wgf.fitting import fit, worth
from wgf.functionals import FDivergence, JensenShannon
from wgf.kernels import kernel_sums
from wgf.law import Cloud, Empirical
from wgf.maps import Residual
from wgf.steppers import JKO, SaddleJKO
from wgf.training import Adam, Alternate

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
