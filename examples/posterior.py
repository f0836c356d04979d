"""A Bayesian posterior on real data: logistic regression on breast cancer, 31 weights, by seven JKO steps.

Compared with a long Metropolis-adjusted Langevin run of the same posterior: python examples/posterior.py
"""

import torch
from matplotlib.figure import Figure

from wgf import JKO, Adam, AdjustedLangevin, ProgressBar, Residual, evolve
from wgf.data import BreastCancer
from wgf.targets.logistic import logistic_regression, posterior


def main(
    particles: int = 40_000, iterations: int = 300, chains: int = 4_000, chain_length: int = 1_500
) -> tuple[float, float, Figure]:
    problem = logistic_regression(BreastCancer())  # F = Entropy() + Potential(−log π), ρ₀ the prior N(0, I)
    stepper = JKO(
        Residual(problem.dim), Adam(iterations, 2048), particles, held=min(4096, particles // 4), density_batch=512
    )
    taus = [0.02, 0.05, 0.15, 0.5, 1.5, 4.0, 10.0]
    bar = ProgressBar("posterior")
    path = evolve(problem.F, stepper, problem.initial.to(torch.float32), taus, seed=0, observers=[bar])

    laplace = posterior(BreastCancer()).laplace()
    step = 0.5 * float(torch.linalg.eigvalsh(laplace.covariance)[0])
    long_run = evolve(
        problem.F,
        AdjustedLangevin(chains, substeps=chain_length // 10),
        laplace.to(torch.float32),  # already close, so that the chains only have to settle
        [step * (chain_length // 10)] * 10,
        seed=1,
        observers=[ProgressBar("reference")],
    )

    samples, reference = path.state.x.double(), long_run.state.x.double()
    mean = float(((samples.mean(0) - reference.mean(0)) / reference.std(0)).abs().max())
    sd = float((samples.std(0) / reference.std(0) - 1).abs().max())

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axis, mine, theirs, what in (
        (left, samples.mean(0), reference.mean(0), "mean"),
        (right, samples.std(0), reference.std(0), "standard deviation"),
    ):
        axis.plot(theirs, mine, "o", mfc="none", label="wgf, 7 JKO steps")
        ends = [float(theirs.min()), float(theirs.max())]
        axis.plot(ends, ends, "k-", lw=0.9, label="equal")
        axis.set(title=f"Posterior {what}, 31 weights", xlabel="long adjusted Langevin run", ylabel="JKO")
        axis.legend(fontsize="small")
    print(f"worst mean {mean:.3f} posterior sd, worst sd {sd:.1%}, against {chains} adjusted Langevin chains")
    return mean, sd, figure


if __name__ == "__main__":
    main()[2].savefig("posterior.png", dpi=150)
