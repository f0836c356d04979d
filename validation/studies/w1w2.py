"""W₁⊕W₂ proximal flows: planar laws in up to 12 dimensions, and the four cases of Gu et al. 2024 on digits."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from validation.report import Check, Context, Report, at_least, at_most
from validation.straight import Spreading, relative_residual
from validation.studies._motions import FINER
from validation.studies._plots import axes, finish
from validation.studies._w1w2_images import Trained, images
from validation.studies._w1w2_planar import BLUR, ROWS, Drawn, P, drawn
from wgf import keys
from wgf.data import Moons, Pinwheel
from wgf.optimality import terminal

NAME = "w1w2"
PUBLISHED = {"pinwheel, d = 2": 0.0079, "pinwheel, d = 7": 0.0099, "pinwheel, d = 12": 0.0193}
"""Sinkhorn divergences of Gu et al. 2024 (arXiv 2407.11901), whose n, blur and p are not stated."""

ENERGIES = {"W₁⊕W₂": 12.2, "W₁": 23.9}
"""Their kinetic energies on MNIST."""

TWINS = {"none": "W₁", "W₂": "W₁⊕W₂"}
"""A case without the W₁ proximal, and the one that it turns into with it."""

UNCHANGED = 0.1
"""Of the distance travelled: what counts as the same image."""


def study(quick: bool = False) -> Report:
    """Pinwheel and moons in 2, 7 and 12 dimensions (quick: the pinwheel in 2), and the four cases on digits, which are
    looked for in the WGF_DATA folder.
    """
    wanted = [(Pinwheel, 2)] if quick else [(source, dim) for source in (Pinwheel, Moons) for dim in (2, 7, 12)]
    digits = {case.name: case for case in images()}  # first, for they need a file
    planar = [drawn(source, dim) for source, dim in wanted]
    checks = (*_exact(), *(_as_exact_samples(one) for one in planar), *four_cases(digits))
    contexts = [_planar_context(one) for one in planar] + [image_context(one) for one in digits.values()]
    return Report(NAME, checks, tuple(contexts), _figure(planar, digits))


def _exact() -> list[Check]:
    """Hamilton–Jacobi and the terminal condition on U = −λ|x|²/2(t + c), λ = 0.05, T = 5, relative to their terms."""
    map, x, tau = Spreading(12, horizon=5.0), torch.randn(1000, 12, generator=keys.generator(0)).double(), 100.0
    residual = relative_residual(map, (0.0, 2.0, 5.0), x)
    slope = -0.05 * x / (map.end + map.c)
    error = float((terminal(map, x, slope, tau).norm(dim=1) / slope.norm(dim=1)).max())
    return [
        at_most(NAME, "exact solution: Hamilton–Jacobi residual, relative", residual, 1e-12),
        at_most(NAME, "exact solution: terminal error, relative", error, 1e-12),
    ]


def _as_exact_samples(one: Drawn) -> Check:
    said = f"Sinkhorn divergence above two exact samples (n = {ROWS}, p = {P}, blur {BLUR} of the scale), in s.e."
    return at_most(NAME, f"{one.name}: {said}", one.excess, 2.0)


def four_cases(digits: dict[str, Trained]) -> list[Check]:
    """What W₁ and W₂ are each said to do, of the cases by name."""
    blown = {name: digits[name].terminal.largest / digits[kept].terminal.largest for name, kept in TWINS.items()}
    energies = {name: one.motion.measures["kinetic energy"] for name, one in digits.items()}
    said = "largest terminal cost in training, over that with W₁"
    return [
        *(at_least(NAME, f"digits, {name}: {said}", ratio, 10.0) for name, ratio in blown.items()),
        at_least(NAME, "digits: kinetic energy of W₁ over that of W₁⊕W₂", energies["W₁"] / energies["W₁⊕W₂"], 1.5),
        at_most(
            NAME,
            f"digits, W₁⊕W₂: displaced by steps {FINER} times finer, over the distance travelled",
            digits["W₁⊕W₂"].motion.displaced,
            UNCHANGED,
        ),
    ]


def _planar_context(one: Drawn) -> Context:
    published = {"published": PUBLISHED[one.name]} if one.name in PUBLISHED else {}
    scores = {
        "model": one.scores.model,
        "two exact samples": one.scores.exact,
        "s.e. of the difference": one.scores.error,
    }
    return Context(one.name, {**scores, **published, **one.motion.rows, "seconds": one.seconds})


def image_context(one: Trained) -> Context:
    """What is measured of one case, to be read."""
    published = {"published energy": ENERGIES[one.name]} if one.name in ENERGIES else {}
    terminal = one.terminal
    values = {"terminal cost, at the end": terminal.values[-1], "largest in training": terminal.largest}
    return Context(f"digits, {one.name}", {**values, **published, **one.motion.rows, "seconds": one.seconds})


def _figure(planar: list[Drawn], digits: dict[str, Trained]) -> Figure:
    count = len(planar) + 3
    figure, parts = axes(min(count, 4) if count < 9 else 3, 1 if count < 5 else 3)
    for axis, one in zip(parts, planar, strict=False):
        _draw_paths(axis, one)
    terminal, energy, samples = parts[len(planar) : count]
    for name, case in digits.items():
        terminal.plot(case.terminal.iterations, case.terminal.values, label=name)
        energy.plot(case.terminal.iterations, case.terminal.energies, label=name)
    terminal.set_yscale("symlog")
    energy.set_yscale("log")
    finish(terminal, "Digits: terminal cost", "iteration", "E φ(x(T)) − log E_π e^φ")
    finish(energy, "Digits: kinetic energy", "iteration", "E∫½|v|²dt")
    _draw_rows(samples, digits)
    return figure


def _draw_paths(axis: Axes, one: Drawn) -> None:
    axis.plot(*one.data[:2000, :2].T, ".", ms=1, color="0.7", label="data")
    axis.plot(*one.motion.paths[-1, :1000, :2].T, ".", ms=1.5, color="C0", label="ends of paths")
    axis.plot(*one.motion.paths[:, :100, :2].permute(2, 0, 1), "-", lw=0.4, color="C1")
    axis.set_aspect("equal")
    finish(axis, one.name, "x₁, in units of the data's scale", "x₂")


def _draw_rows(axis: Axes, digits: dict[str, Trained], count: int = 10) -> None:
    """A row of images for each case, in the order of `digits`."""
    rows = [one.motion.paths[-1, :count].view(count, 28, 28) for one in digits.values()]
    sheet = torch.cat([torch.cat(list(row), 1) for row in rows]).clamp(0, 1)
    axis.imshow(sheet, cmap="gray", aspect="equal")
    axis.set_yticks([28 * k + 14 for k in range(len(digits))], list(digits))
    axis.set_xticks([])
    axis.set(title="Digits: samples", xlabel="one column, one draw of noise")
