"""A term of your own in one file: a spring on the mean of the crowd, F(ρ) = ½k|E_ρ x − c|².

δF/δρ(x) = k (E_ρ x − c)·x, so every particle feels the same pull: python examples/new_term.py
"""

import math

import torch

from wgf import Cloud, Gaussian, Particles, evolve
from wgf.functionals import HasVariation, OnSamples, Term, Variation


class Spring(Term, OnSamples, HasVariation):
    """F(ρ) = ½k|E_ρ x − c|²."""

    def __init__(self, stiffness: float, centre: torch.Tensor) -> None:
        self.stiffness, self.centre = stiffness, centre

    def energy(self, cloud: Cloud) -> torch.Tensor:
        pull = cloud.x.mean(0) - self.centre
        return (0.5 * self.stiffness * pull.square().sum()).expand(len(cloud.x))

    def first_variation(self, cloud: Cloud) -> Variation:
        force = self.stiffness * (cloud.x.detach().mean(0) - self.centre)
        return Variation(lambda x: x @ force, lambda x: force.expand_as(x))


def main(steps: int = 100) -> float:
    centre = torch.tensor([3.0, -1.0])
    path = evolve(Spring(2.0, centre), Particles(1000), Gaussian.standard(2), [1 / steps] * steps, seed=0)
    start = path.laws[1].x.mean(0) - centre
    left = float((path.state.x.mean(0) - centre).norm() / start.norm())
    print(f"the mean's distance to the spring fell to {left:.4f} of what it was; exactly, to e⁻² = {math.exp(-2):.4f}")
    return left


if __name__ == "__main__":
    main()
