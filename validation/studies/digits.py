"""Likelihood flows of images: the 8 × 8 digits in bits a dimension, and MNIST through codes of sixteen numbers."""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import pad

from validation.mixtures import GAUSSIAN, MIXTURE
from validation.report import Check, Context, Report, at_least, at_most
from validation.studies import _digits_codes, _digits_pixels
from validation.studies._digits_codes import Codes, Size, codes
from validation.studies._digits_pixels import LABELS, PLAIN, Pixels, pixels
from validation.studies._plots import axes, finish
from wgf.data import Mnist, Table
from wgf.errors import InputError

NAME = "digits"
TOLD = 0.6
"""How often a classifier may tell samples from held codes."""


def study(quick: bool = False) -> Report:
    """8 × 8 digits on four fifths of 1,797 rows; MNIST by principal components and a convolutional autoencoder.

    Quick: fewer steps and iterations, and of MNIST its 10,000 test images by principal components alone. The flows are
    held to a Gaussian, those of MNIST's codes to the best mixture as well; of 8 × 8 digits, 1,438 rows for 64
    dimensions, what a mixture reaches is context. Without MNIST in the folder that WGF_DATA names its part is left out,
    which the context says.
    """
    small = pixels(_digits_pixels.QUICK if quick else _digits_pixels.FULL)
    large, missing = _large(_digits_codes.QUICK if quick else _digits_codes.FULL)
    checks = (*_pixel_checks(small), *(check for one in large for check in _code_checks(one)))
    return Report(NAME, checks, (*_pixel_contexts(small), *map(_context, large), *missing), _figure(small, large))


def _large(size: Size) -> tuple[list[Codes], list[Context]]:
    """A flow for each coder, or why there is none."""
    try:
        rows = Mnist(size.train).load()
    except InputError as error:
        return [], [Context(f"MNIST is left out, {error}", {"flows of its codes": 0})]
    return codes(rows, size), []


def _pixel_checks(found: Pixels) -> list[Check]:
    said, checks = "8 × 8: held-out bits a dimension", []
    for name in (PLAIN, LABELS):
        difference, error = found.behind(name, GAUSSIAN)
        checks.append(at_most(NAME, f"{said}, {name} less a Gaussian of the same logits", difference, -2 * error))
    flow, plain = found.told[LABELS], found.told[GAUSSIAN]
    more, spread = flow.accuracy - plain.accuracy, math.hypot(flow.standard_error, plain.standard_error)
    return [
        *checks,
        at_most(NAME, "8 × 8: pixels to noise and back, furthest [grey levels]", found.trip, 1e-8),
        at_most(NAME, "8 × 8: the integrator's share [bits]", found.score.integrator / (64 * math.log(2)), 0.01),
        at_most(NAME, "8 × 8: how much more often a classifier tells samples than a Gaussian's", more, 2 * spread),
        at_least(NAME, "8 × 8: p of the permutation test of MMD²", found.test.p, 0.01),
    ]


def _code_checks(one: Codes) -> list[Check]:
    said = f"MNIST, {one.coded.name}"
    behind = {name: one.behind(name) for name in (GAUSSIAN, MIXTURE)}
    return [
        *(
            at_most(NAME, f"{said}: held-out NLL less that of a {name} [nats]", difference, -2 * error)
            for name, (difference, error) in behind.items()
        ),
        at_least(NAME, f"{said}: p of the permutation test of MMD²", one.test.p, 0.01),
        at_most(NAME, f"{said}: a classifier tells samples from held codes", one.told.accuracy, TOLD),
    ]


def _pixel_contexts(found: Pixels) -> list[Context]:
    scored = {name: found.bits(name) for name in found.densities}
    rows = [Context(f"8 × 8: {name}", {"bits": bits, "s.e.": error}) for name, (bits, error) in scored.items()]
    differences = {other: found.behind(LABELS, other) for other in (GAUSSIAN, MIXTURE)}
    values = {f"bits less those of a {other}": difference for other, (difference, _) in differences.items()}
    values |= {f"s.e. of less a {other}": error for other, (_, error) in differences.items()}
    values |= {"labels told right by the flow": found.right, "MMD²": float(found.test.statistic)}
    values |= {"p": found.test.p} | {f"classifier, {name}": told.accuracy for name, told in found.told.items()}
    return [*rows, Context(f"8 × 8: samples of the {LABELS}", {**values, "seconds": found.seconds})]


def _context(one: Codes) -> Context:
    values = {f"NLL, {name}": one.nll(name) for name in one.densities}
    values |= {f"s.e. of less a {name}": one.behind(name)[1] for name in (GAUSSIAN, MIXTURE)}
    values |= {"labels told right by the flow": one.right, "MMD²": float(one.test.statistic), "p": one.test.p}
    values |= {"classifier": one.told.accuracy, "squared error a pixel": one.coded.error, "seconds": one.seconds}
    return Context(f"MNIST, {one.coded.name}", values)


def _figure(small: Pixels, large: list[Codes]) -> Figure:
    figure, panels = axes(2, 1 + len(large), width=6.4, height=3.9)
    names = ["real", "noise", *(f"{k} of {len(small.stages) - 1}" for k in range(1, len(small.stages)))]
    rows = dict(zip(names, [_of_each(small.held), *small.stages], strict=True))
    _tiles(panels[0], rows, "8 × 8 digits; noise carried back, step by step", 17.0)
    bits = {name: small.bits(name) for name in small.densities}
    _bars(panels[1], bits, "359 held-out digits of 8 × 8", "bits a dimension, ± 2 s.e.")
    for one, left, right in zip(large, panels[2::2], panels[3::2], strict=True):
        samples = one.shown["samples"]
        shown = {"real": one.shown["real"], "decoded": one.shown["decoded"], "sample": samples[:10], " ": samples[10:]}
        _tiles(left, shown, f"MNIST through 16 numbers, {one.coded.name}", 1.0)
        nats = {name: (one.nll(name), one.error(name)) for name in one.densities}
        _bars(right, nats, f"held-out codes, {one.coded.name}", "NLL [nats], ± 2 s.e.")
    return figure


def _of_each(table: Table) -> Float[Tensor, "10 d"]:
    """The first row of each label."""
    assert table.y is not None
    return torch.stack([table.X[table.y == digit][0] for digit in range(10)])


def _tiles(axis: Axes, rows: Mapping[str, Float[Tensor, "10 d"]], title: str, white: float) -> None:
    """Ten square images a row, one of each label."""
    side = math.isqrt(next(iter(rows.values())).shape[1])
    padded = {name: pad(row.reshape(10, side, side), (1, 1, 1, 1)) for name, row in rows.items()}
    side += 2
    tiled = torch.cat([torch.cat(list(row), 1) for row in padded.values()])
    axis.imshow(tiled.numpy(), cmap="gray_r", vmin=0, vmax=white)
    axis.set_xticks([side * (k + 0.5) for k in range(10)], [str(k) for k in range(10)])
    axis.set_yticks([side * (k + 0.5) for k in range(len(rows))], list(rows))
    finish(axis, title, "label", "")
    axis.grid(visible=False)


def _bars(axis: Axes, values: Mapping[str, tuple[float, float]], title: str, label: str) -> None:
    """A bar for each model, the flows in colour."""
    means, errors = zip(*values.values(), strict=True)
    colours = ["C0" if name in (PLAIN, LABELS) else "0.7" for name in values]
    axis.barh(list(values), means, xerr=[2 * error for error in errors], color=colours)
    for k, mean in enumerate(means):
        axis.text(mean, k, f" {mean:.3g} ", ha="right", va="center", fontsize="small")
    axis.invert_yaxis()
    low = min(means)
    axis.set_xlim(left=low - 0.5 * (max(means) - low))
    finish(axis, title, label, "")
