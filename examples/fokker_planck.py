"""A Fokker–Planck equation in twelve dimensions, by neural midpoint steps, beside its exact solution.

∂_tρ = Δρ + ∇·(ρ A(x − b)), ρ(0) = N(0, I), to t = 0.9: python examples/fokker_planck.py
"""

import math

import torch
from matplotlib.figure import Figure

from pdes.ornstein_uhlenbeck import ornstein_uhlenbeck
from validation.metrics import moment_matched_symkl, sampling_floor
from wgf import JKO, Adam, Midpoint, ProgressBar, Residual, evolve


def main(dim: int = 12, steps: int = 9, particles: int = 200_000, iterations: int = 250) -> tuple[float, Figure]:
    problem = ornstein_uhlenbeck(dim)  # F = Entropy() + Potential(Quadratic(A, b))
    stepper = Midpoint(
        JKO(Residual(dim), Adam(iterations, 8192), particles, held=min(4096, particles // 4), density_batch=1024)
    )
    path = evolve(
        problem.F,
        stepper,
        problem.initial.to(torch.float32),
        [problem.horizon / steps] * steps,
        seed=0,
        observers=[ProgressBar(f"Fokker–Planck, d = {dim}")],
    )

    (_, _), (_, potential) = problem.F.terms
    exact = [problem.exact(t) for t in path.times]
    error = moment_matched_symkl(path.state.x, exact[-1])
    floor = sampling_floor(exact[-1], particles)

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    x = path.state.x[:4000].double()
    left.plot(x[:, 0], x[:, 1], ".", ms=1.5, alpha=0.4, label="particles")
    angle = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()])
    factor = torch.linalg.cholesky(exact[-1].covariance[:2, :2])
    for k in (1, 2, 3):
        ellipse = exact[-1].mean[:2, None] + k * factor @ circle
        left.plot(*ellipse, "k-", lw=0.9, label="exact, 1 to 3 σ" if k == 1 else None)
    left.set(title=f"t = {problem.horizon:g}", xlabel="x₁", ylabel="x₂")
    left.legend(fontsize="small")
    right.plot(path.times, path.energy, "o", label="wgf")
    right.plot(path.times, [_energy(law, potential.V) for law in exact], "k-", lw=0.9, label="exact")
    right.set(title="Free energy", xlabel="time t", ylabel="F(ρ) [nats]")
    right.legend(fontsize="small")
    expected = f"expected of {particles:,} exact samples: {math.log10(floor):.2f}"
    print(f"d = {dim}: log10 SymKL {math.log10(error):.2f} ({expected})")
    return math.log10(error), figure


def _energy(law, V):
    """∫ρ log ρ + ½E(x − b)ᵀA(x − b) of a Gaussian."""
    entropy = -0.5 * (law.dim * math.log(2 * math.pi * math.e) + float(torch.logdet(law.covariance)))
    return entropy + float(V(law.mean[None])) + 0.5 * float(torch.trace(V.matrix @ law.covariance))


if __name__ == "__main__":
    main()[1].savefig("fokker_planck.png", dpi=150)
