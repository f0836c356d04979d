"""Axes that the studies share."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from wgf.law import Gaussian


def axes(columns: int, rows: int = 1, width: float = 4.6, height: float = 3.8) -> tuple[Figure, list[Axes]]:
    """A figure with rows × columns axes, read row by row."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def finish(axis: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Title, labels, a light grid, and a legend where something is labelled."""
    axis.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axis.grid(alpha=0.3)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize="small")


def moments_in_time(
    axis: Axes, times: Sequence[float], runs: Mapping[str, Sequence[Tensor]], exact: Sequence[Gaussian]
) -> None:
    """The mean and the variance of each coordinate of particles along a flow, over the exact curves."""
    mean = torch.stack([law.mean for law in exact])
    variance = torch.stack([law.covariance.diagonal() for law in exact])
    for i in range(mean.shape[1]):
        axis.plot(times, mean[:, i], "k-", lw=1, label="exact mean" if i == 0 else None)
        axis.plot(times, variance[:, i], "k--", lw=1, label="exact variance" if i == 0 else None)
    for k, (name, clouds) in enumerate(runs.items()):
        for values, marker in (([x.mean(0) for x in clouds], "o"), ([x.var(0) for x in clouds], "s")):
            stacked = torch.stack(list(values)).cpu()
            for i in range(stacked.shape[1]):
                label = name if i == 0 and marker == "o" else None
                axis.plot(times, stacked[:, i], marker, ms=4, mfc="none", color=f"C{k}", label=label)
