"""A law seen through Gaussian noise."""

import torch
from jaxtyping import Float
from torch import Tensor

from wgf import checks
from wgf.errors import Unknown
from wgf.law import Law


class Blurred(Law):
    """ρ∗N(0, σ²I), the law of X + σZ, X ~ ρ, Z ~ N(0, I): data whose scales below σ are hidden.

    It is sampled, with fresh noise in every draw; its density is not known. A flow to laws whose σ falls from step to
    step meets one scale after another, as samplers do that are annealed over a geometric ladder of noises (Song, Ermon
    2019, arXiv 1907.05600); the last steps must see the law itself.

    Args: law, ρ; noise, σ > 0, in units of x. Raises: InputError for another σ.
    """

    def __init__(self, law: Law, noise: float) -> None:
        self.law, self.noise = law, checks.positive("the noise of a Blurred law", noise)

    @property
    def like(self) -> Tensor:
        return self.law.like

    @property
    def has_density(self) -> bool:
        return False

    def sample(self, n: int, generator: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        x = self.law.sample(n, generator)
        return x + self.noise * torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)

    def log_prob(self, x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        raise Unknown("a blurred law has no density that can be evaluated")

    def to(self, target: torch.dtype | torch.device | str) -> "Blurred":
        return Blurred(self.law.to(target), self.noise)
