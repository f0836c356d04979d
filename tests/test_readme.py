"""The README's Python runs as it stands, at smaller sizes."""

import re
from pathlib import Path

import torch

README = (Path(__file__).parent.parent / "README.md").read_text()


def _blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_page_of_use_runs() -> None:
    page, steppers, functionals, learning = _blocks()
    small = "Residual(2), Adam(20, 256), particles=2000, held=200"
    space: dict[str, object] = {"data": torch.randn(50, 2, generator=torch.Generator().manual_seed(0))}
    space["log_density"] = lambda x: -x.square().sum(-1)
    exec(page.replace("JKO(Residual(2))", f"JKO({small})").replace(", observers=[ProgressBar()]", ""), space)
    path = space["path"]
    assert len(path.energy) == len(path.times) == 10
    assert path.energy[-1] < path.energy[0]
    saddle = "SaddleJKO(Residual(2), Critic(2), training=Alternate(3, 1, 1, 64), particles=500, held=100)"
    exec(steppers.replace("SaddleJKO(Residual(2), Critic(2))", saddle).replace("10_000", "500"), space)
    exec(functionals, space)
    quick = "jko_flow(2, training=Adam(5, 64), particles=200)"
    exec(learning.replace("jko_flow(2)", quick).replace("[5.0] * 5", "[5.0] * 2"), space)
    assert len(space["path"]) == 2


def test_refusal_is_quoted_as_it_is() -> None:
    space: dict[str, object] = {}
    exec(
        "from wgf import *\n"
        "try:\n"
        "    evolve(Entropy(), Particles(10), Gaussian.standard(2), [0.1])\n"
        "except Incompatible as error:\n"
        "    said = str(error)",
        space,
    )
    quoted = re.search(r"```\n(Particles cannot run.*?)```", README, flags=re.DOTALL)
    assert quoted is not None
    assert " ".join(quoted[1].split()) == space["said"]


def test_no_number_is_missing_from_the_tables() -> None:
    rows = [line for line in README.splitlines() if line.startswith("|")]
    assert len(rows) > 5
    assert not [row for row in rows if re.search(r"\b(TODO|RATIO|MEASURED|XXX)\b", row)]
