"""A Bayesian posterior by 300 particles without noise: logistic regression by SVGD, on all data and on batches of 50.

Compared with long Metropolis-adjusted Langevin chains of the same posterior: python examples/svgd.py
"""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from wgf import KL, SVGD, AdaGrad, AdjustedLangevin, Gaussian, evolve
from wgf.targets import LogisticPosterior, design

WEIGHTS = torch.tensor([1.0, -1.5, 0.5, 0.3], dtype=torch.float64)


def data(rows: int) -> tuple[Tensor, Tensor]:
    """Three correlated features with the intercept last, and labels drawn from the model at WEIGHTS."""
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(rows, 3, dtype=torch.float64, generator=generator)
    raw[:, 1] += 0.8 * raw[:, 0]
    X = design(raw)
    chance = torch.rand(rows, dtype=torch.float64, generator=generator)
    return X, torch.where(chance < torch.sigmoid(X @ WEIGHTS), 1, -1)


def main(particles: int = 300, steps: int = 300, chains: int = 2_000) -> tuple[float, float, Figure]:
    target = LogisticPosterior(*data(rows=400), prior_scale=2.0)
    F, prior = KL(target), Gaussian.standard(target.dim, 2.0, dtype=torch.float64)

    taus = [0.2 * 0.98**k for k in range(steps)]  # learning rates of AdaGrad: lengths, falling so that particles settle
    whole = evolve(F, SVGD(particles, update=AdaGrad()), prior, taus).state.x
    batches = evolve(F, SVGD(particles, update=AdaGrad(), batch=50), prior, taus).state.x

    laplace = target.laplace()  # close already: the chains only have to settle
    step = 0.5 * float(torch.linalg.eigvalsh(laplace.covariance)[0])
    reference = evolve(F, AdjustedLangevin(chains, substeps=25), laplace, [25 * step] * 8, seed=1).state.x

    def errors(x: Tensor) -> tuple[float, float]:
        mean = ((x.mean(0) - reference.mean(0)) / reference.std(0)).abs().max()
        return float(mean), float((x.std(0) / reference.std(0) - 1).abs().max())

    figure = Figure(figsize=(10, 4), layout="constrained")
    for axis, x, what in zip(figure.subplots(1, 2), (whole, batches), ("all 400 rows", "50 rows a step"), strict=True):
        axis.plot(reference[:, 0], reference[:, 1], ".", ms=2, color="0.8", label="adjusted Langevin")
        axis.plot(x[:, 0], x[:, 1], ".", ms=4, label="SVGD")
        mean, sd = errors(x)
        axis.set_title(f"{what}: mean off by {mean:.2f} sd, sd by {sd:.0%}", fontsize="medium")
        axis.set(xlabel="weight 1", ylabel="weight 2")
        axis.legend(fontsize="small")
    mean, sd = errors(whole)
    print(f"worst mean {mean:.3f} posterior sd, worst sd {sd:.1%}, against {chains} adjusted Langevin chains")
    return mean, sd, figure


if __name__ == "__main__":
    main()[2].savefig("svgd.png", dpi=150)
