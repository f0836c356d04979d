"""MMD flows of a hundred thousand particles in the plane: to a ring, and to eight Gaussians, under the energy kernel.

F(ρ) = MMD²(ρ, π) with k(z) = −|z|, from a Gaussian off to the side, by explicit particles: python examples/mmd_flow.py
Beside F, what a fresh sample of π scores on average against the same target: E|Y − Y′| (1/n + 1/m).
"""

import math

import torch
from matplotlib.figure import Figure

from wgf import MMD2, Empirical, Gaussian, Particles, ProgressBar, evolve
from wgf.kernels import Energy

TAUS = [0.1] * 5 + [0.25] * 4 + [0.5] * 8 + [1.0] * 55
SHOWN = (0, 5, 13, len(TAUS))  # steps that the figure shows


def ring(n: int, generator: torch.Generator) -> torch.Tensor:
    """Radius 2, noise 0.1."""
    angle = 2 * math.pi * torch.rand(n, dtype=torch.float64, generator=generator)
    radius = 2 + 0.1 * torch.randn(n, dtype=torch.float64, generator=generator)
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)


def eight_gaussians(n: int, generator: torch.Generator) -> torch.Tensor:
    """Centres on a circle of radius 2, standard deviation 0.15."""
    angle = torch.randint(8, (n,), generator=generator).double() * (math.pi / 4)
    noise = 0.15 * torch.randn(n, 2, dtype=torch.float64, generator=generator)
    return 2 * torch.stack([angle.cos(), angle.sin()], 1) + noise


def main(particles: int = 100_000, targets: int = 100_000, taus: list[float] = TAUS) -> tuple[dict[str, float], Figure]:
    figure = Figure(figsize=(13, 6), layout="constrained")
    panels, left = figure.subplots(2, len(SHOWN) + 1), {}
    start = Gaussian([0.0, 0.5], [[0.09, 0.0], [0.0, 0.09]]).to(torch.float64)
    for row, (name, draw) in zip(panels, (("ring", ring), ("eight Gaussians", eight_gaussians)), strict=True):
        target = draw(targets, torch.Generator().manual_seed(0)).float()
        F = MMD2(Energy(), target)
        bar = ProgressBar(f"MMD flow to the {name}")
        path = evolve(F, Particles(particles), start.to(torch.float32), taus, seed=0, observers=[bar])
        left[name] = path.energy[-1] / path.energy[0]
        fresh = float(torch.pdist(target[:2000]).mean()) * (1 / particles + 1 / targets)
        for axis, k in zip(row, SHOWN, strict=False):
            law = path.laws[min(k, len(taus))]
            x = law.x if isinstance(law, Empirical) else law.sample(particles, torch.Generator().manual_seed(1))
            axis.plot(*target[:4000].T, ",", color="0.7", label="target")
            axis.plot(*x[:4000].T, ".", ms=1, alpha=0.5, label="particles")
            axis.set(title=f"t = {path.times[min(k, len(taus))]:g}", xlabel="x₁", ylabel="x₂", aspect="equal")
            axis.set(xlim=(-3, 3), ylim=(-3, 3))
        row[0].legend(fontsize="small", markerscale=6, loc="upper left")
        row[-1].loglog(path.times[1:], path.energy[1:], "o-", ms=3, label="particles")
        row[-1].axhline(fresh, color="k", lw=0.9, label="a fresh sample")
        row[-1].legend(fontsize="small")
        row[-1].set(title=f"to the {name}", xlabel="time t", ylabel="MMD² [units of x]")
        seconds = sum(info.seconds for info in path.infos)
        fell = f"MMD² fell to {path.energy[-1]:.1e}, {left[name]:.1e} of its start"
        print(f"{name}: {fell}; that of a fresh sample is {fresh:.1e}; {seconds:.0f} s")
    return left, figure


if __name__ == "__main__":
    main()[1].savefig("mmd_flow.png", dpi=150)
