"""Semi-dual JKO on Ornstein–Uhlenbeck: Monte-Carlo KL both ways to the exact law, beside the published table."""

import math
import time
from dataclasses import dataclass

import torch

from pdes.ornstein_uhlenbeck import ornstein_uhlenbeck
from validation.metrics import Estimate, monte_carlo_kls
from validation.report import Check, Context, at_most
from validation.studies._flows import exact_at, flow
from wgf import Affine, Alternate, Critic, keys
from wgf.methods import semidual_jko

PUBLISHED = {2: -2.4, 4: -1.2, 6: -0.8, 10: -0.1}
"""log10 SymKL of Choi et al. 2024 at t = 0.9, tables 6 and 7."""
STEPS, ROWS = 18, 200_000


@dataclass(frozen=True)
class Cell:
    """One dimension: KL of the model to the exact law and back, by samples of each, and what training took."""

    dim: int
    forward: Estimate
    backward: Estimate
    seconds: float

    @property
    def symkl(self) -> float:
        """log10 of the sum, two standard errors on top."""
        error = math.hypot(self.forward.error, self.backward.error)
        return math.log10(max(self.forward.value + self.backward.value, 0.0) + 2 * error)

    def check(self, study: str) -> Check:
        """No more than the published value."""
        quantity = f"Ornstein–Uhlenbeck, d = {self.dim}: Monte-Carlo log10 SymKL, two s.e. on top"
        return at_most(study, quantity, self.symkl, PUBLISHED[self.dim])

    @property
    def context(self) -> Context:
        """Both ways, and the published value."""
        values = {
            "published (Choi)": PUBLISHED[self.dim],
            "log10 SymKL, two s.e. on top": self.symkl,
            "KL(model | exact)": self.forward.value,
            "its standard error": self.forward.error,
            "KL(exact | model)": self.backward.value,
            "its standard error, too": self.backward.error,
            "seconds": self.seconds,
        }
        return Context(f"Ornstein–Uhlenbeck, d = {self.dim}", values)


def cell(dim: int) -> Cell:
    """18 steps of 0.05 with linear maps, which the flow stays in, and critics of one layer and a quadratic form."""
    problem = ornstein_uhlenbeck(dim, seed=0)
    training = Alternate(60, 3, 50, 2048, rate=5e-3, critic_rate=5e-3, betas=(0.9, 0.99))
    stepper = semidual_jko(dim, Affine(dim), Critic(dim, 64, 1, quadratic=True), training)
    began = time.perf_counter()
    path = flow(problem, stepper, [problem.horizon / STEPS] * STEPS, f"S-JKO, d = {dim}")
    seconds = time.perf_counter() - began
    model, exact = path.final.to(torch.float64), exact_at(problem, problem.horizon)
    return Cell(dim, *monte_carlo_kls(model, exact, ROWS, keys.generator(0, 97)), seconds)
