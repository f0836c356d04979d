"""The straightforward loop of a primal–dual JKO step in torch alone: every batch goes from ρ₀ through all maps."""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from validation.benches.vwgf import BATCH, INNER, MAPS, POOL, potential_of, problem_of, rate, second_moment, step_size


def replayed(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """min over T, max over h of E|T(x) − x|²/2τ + V(T(x)) + log hΓ(T(x)) − E_Γ h, h = e^u."""
    problem, tau = problem_of(case), step_size(case)
    V, start = potential_of(problem).V, problem.initial.to(torch.float32)
    generator = torch.Generator().manual_seed(0)
    before = [_map(case).requires_grad_(False) for _ in range(MAPS)]

    @torch.no_grad()
    def particles(n: int = BATCH) -> Tensor:
        x = start.sample(n, generator)
        for T in before:
            x = T(x)
        return x

    pool = particles(POOL)
    gamma = torch.distributions.MultivariateNormal(pool.mean(0), torch.cov(pool.T))

    def step() -> np.ndarray:
        torch.manual_seed(0)
        T, u = _map(case), _Critic(case, pool)
        descend, ascend = (torch.optim.Adam(net.parameters(), rate(case), (0.5, 0.99)) for net in (T, u))
        for _ in range(case["iterations"]):
            for _ in range(INNER):
                x = particles()
                with torch.no_grad():
                    y = T(x)
                loss = u(gamma.sample((BATCH,))).exp().mean() - u(y).mean()
                ascend.zero_grad()
                loss.backward()
                ascend.step()
            x = particles()
            y = T(x)
            cost = 0.5 * (y - x).square().sum(1) / tau
            loss = (cost + V(y) + u(y) + gamma.log_prob(y)).mean()
            descend.zero_grad()
            loss.backward()
            descend.step()
        with torch.no_grad():
            return second_moment(T(pool))

    return step


def _map(case: Mapping[str, Any]) -> nn.Module:
    """The identity, as an affine or a residual map."""
    dim = case["dim"]
    if case["setting"] == "Ornstein–Uhlenbeck":
        affine = nn.Linear(dim, dim)
        nn.init.eye_(affine.weight)
        nn.init.zeros_(affine.bias)
        return affine
    return _Residual(_perceptron([dim, *([64] * 3 if dim == 2 else [256] * 4), dim], nn.Tanh))


class _Residual(nn.Module):
    def __init__(self, change: nn.Module) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


class _Critic(nn.Module):
    """A perceptron of standardised inputs, with a quadratic part on Ornstein–Uhlenbeck."""

    def __init__(self, case: Mapping[str, Any], pool: Tensor) -> None:
        super().__init__()
        dim, self.quadratic = case["dim"], case["setting"] == "Ornstein–Uhlenbeck"
        self.mean, self.scale = pool.mean(0), pool.std(0)
        hidden = [64] if self.quadratic else [64] * 2 if dim == 2 else [256] * 3
        self.network = _perceptron([dim, *hidden, 1], nn.SiLU)
        self.bend, self.slope = nn.Parameter(torch.zeros(dim, dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        y = (x - self.mean) / self.scale
        u = self.network(y).squeeze(1)
        return u + 0.5 * (y * (y @ self.bend)).sum(1) + y @ self.slope if self.quadratic else u


def _perceptron(sizes: list[int], activation: type[nn.Module]) -> nn.Sequential:
    linear = [nn.Linear(*pair) for pair in pairwise(sizes)]
    nn.init.zeros_(linear[-1].weight)
    nn.init.zeros_(linear[-1].bias)
    return nn.Sequential(*[part for layer in linear[:-1] for part in (layer, activation())], linear[-1])
