"""A hundred thousand particles that attract from afar and repel when near gather on a ring, shared among processes.

∂_tρ = ∇·(ρ ∇W∗ρ), W(z) = ¼|z|⁴ − ½|z|²: the minimiser is uniform on a circle of radius 1/√3, where F = −1/12.
Alone: python examples/sharded.py; in two processes, which also time one of them doing all the work:
torchrun --standalone --nproc-per-node 2 examples/sharded.py
"""

import math
import os
from statistics import median

import torch
from matplotlib.figure import Figure

from wgf import Gaussian, Interaction, Particles, Path, evolve, shards
from wgf.kernels import Power

RADIUS, LOWEST = 1 / math.sqrt(3), -1 / 12
F = Interaction(Power(4) - Power(2), engine="numba")  # all pairs, so that there is work to share
RHO0 = Gaussian.standard(2, 0.3, torch.float64)


def main(particles: int = 100_000, steps: int = 16, tau: float = 0.5) -> tuple[float, Path, Figure | None]:
    stepper = Particles(particles)
    evolve(F, Particles(100), RHO0, [tau])  # compiles
    alone = None
    if "WORLD_SIZE" in os.environ and os.environ["RANK"] == "0":
        alone = evolve(F, stepper, RHO0, [tau])  # outside the group: all of it in this process
    with shards.group() as ranks:
        path = evolve(F, stepper, RHO0, [tau] * steps)
    x = path.final.x - path.final.x.mean(0)
    off = float(x.norm(dim=1).mean()) / RADIUS - 1
    if ranks.rank:
        return off, path, None
    seconds = median(info.seconds for info in path.infos)
    shared = f"{ranks.size} process{'es' if ranks.size > 1 else ''} of {torch.get_num_threads()} threads"
    print(f"{particles:,} particles, {shared}: {seconds:.2f} s a step; radius off by {off:.1e}")
    if alone is not None:
        apart = float((alone.final.x - path.laws[1].x).abs().max())
        ratio = alone.infos[0].seconds / seconds
        print(f"one process alone: {ratio * seconds:.2f} s, {ratio:.2f} times as long; particles differ by {apart:.0e}")
    return off, path, figure(path, f"{shared}, {seconds:.2g} s a step")


def figure(path: Path, title: str) -> Figure:
    figure = Figure(figsize=(9, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    centre = path.final.x.mean(0)
    for k, alpha in ((1, 0.3), (len(path), 1.0)):
        shown = path.laws[k].x[:: max(1, len(path.laws[k].x) // 4000)]
        left.plot(*(shown - centre).T, ".", ms=1.5, alpha=alpha, label=f"t = {path.times[k]:g}")
    angle = torch.linspace(0, 2 * math.pi, 200)
    left.plot(RADIUS * angle.cos(), RADIUS * angle.sin(), "k-", lw=0.8, label="radius 1/√3")
    left.set(title=title, xlabel="x₁", ylabel="x₂", aspect="equal")
    left.legend(fontsize="small", loc="upper right")
    right.plot(path.times, [value - LOWEST for value in path.energy], "o-", label="F(ρ) − min F")
    right.set(title="Energy above that of the ring", xlabel="time t", ylabel="F(ρ) + 1/12", yscale="log")
    return figure


if __name__ == "__main__":
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    *_, drawn = main()
    if drawn is not None:
        drawn.savefig("sharded.png", dpi=150)
