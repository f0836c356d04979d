"""Particles shared among the processes of torchrun: the flow is that of one process; no part passes for the whole."""

import os
import runpy
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
import zoo
from torch import Tensor
from torch.testing import assert_close

from wgf import (
    JKO,
    AdjustedLangevin,
    Blob,
    Diverged,
    Empirical,
    Entropy,
    Gaussian,
    Incompatible,
    InputError,
    Interaction,
    Langevin,
    Particles,
    Potential,
    PowerEntropy,
    Quadratic,
    Residual,
    SlicedMMD2,
    evolve,
    shards,
)
from wgf.functionals import OnShards, first_variation, functional
from wgf.kernels import Energy, Mollifier, Power
from wgf.law import Cloud, Shared
from wgf.maps import Euler, Heun
from wgf.runs import run
from wgf.spec import Experiment
from wgf.tree import Tree, load_tree, save_tree

EXAMPLE = str(Path(__file__).parents[1] / "examples" / "sharded.py")
SHARDED = [entry for entry in zoo.TERMS if OnShards in entry.kinds]
N = 101  # not a multiple of two or three
W, V = Power(4) - Power(2), Potential(Quadratic([[1.0, 0.2], [0.2, 2.0]]))
BLOBS = 0.3 * Blob(PowerEntropy(2.0), Mollifier(0.4)) + 0.2 * Blob(Entropy(), Mollifier(0.5))
RHO0 = Gaussian([0.5, -0.3], [[1.0, 0.0], [0.0, 0.5]]).to(torch.float64)

FLOWS = {
    "euler": (Interaction(W) + V + BLOBS, Particles(N, Euler())),
    "heun": (Interaction(W) + V + BLOBS, Particles(N, Heun(), substeps=2)),
    "a term that knows of no shards": (
        SlicedMMD2(Energy(), torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64)) + V,
        Particles(N),
    ),
    "langevin": (0.5 * Entropy() + Interaction(W) + V, Langevin(N, 3)),
    "adjusted": (Entropy() + V, AdjustedLangevin(N, 4)),
}


def outcome(name: str) -> dict[str, Tree]:
    """What a flow of three steps leaves: its laws, energies, displacements and measures; the state holds its rows."""
    F, stepper = FLOWS[name]
    path = evolve(F, stepper, RHO0, [0.05] * 3, seed=3)
    laws = [law.x for law in path.laws[1:] if isinstance(law, Empirical)]
    assert torch.equal(path.state.x, laws[-1][shards.current().share(N)])
    return {
        "laws": torch.stack(laws),
        "energies": torch.tensor([list(energy.values()) for energy in path.energies], dtype=torch.float64).nan_to_num(),
        "moved": torch.tensor([info.moved for info in path.infos], dtype=torch.float64),
        "measured": torch.tensor([list(info.measures.values()) for info in path.infos], dtype=torch.float64),
    }


def said(call: Callable[[], object], kind: type[Exception] = Incompatible) -> str:
    with pytest.raises(kind) as caught:
        call()
    return str(caught.value)


def on_one_rank(folder: Path) -> None:
    """What every rank of the test below does; what it found goes to a file of its own."""
    F, stepper = FLOWS["euler"]
    with shards.group(timeout=60) as ranks:
        found: dict[str, Tree] = {name: outcome(name) for name in FLOWS}
        asked: list[int] = []
        stopped = evolve(F, stepper, RHO0, [0.05] * 3, stop=lambda path: asked.append(len(path)) or len(path) == 2)
        found |= {"asked": [*asked], "steps": len(stopped), "rows": len(stopped.state.x)}
        other = Gaussian.standard(2, 1.0 + ranks.rank, torch.float64)
        problem = zoo.PROBLEMS[0]()
        uneven = Potential(lambda x: x.sum(1), lambda x: x / ranks.rank)  # on rank 0 particles fly off
        found |= {
            "a map": said(lambda: evolve(V + Entropy(), JKO(Residual(2)), RHO0, [0.1])),
            "seeds": said(lambda: evolve(F, stepper, RHO0, [0.1], seed=ranks.rank)),
            "laws": said(lambda: evolve(F, stepper, other, [0.1])),
            "steps": said(lambda: evolve(F, stepper, RHO0, [0.1] * (1 + ranks.rank))),
            "folder": said(lambda: run(Experiment(problem, stepper, [0.1]), folder / "run")),
            "far": said(lambda: evolve(uneven, Particles(N), RHO0, [0.1]), Diverged),
        }
        half = evolve(F, stepper, RHO0, [0.05])
        further, straight = evolve(F, stepper, RHO0, [0.05], path=half), evolve(F, stepper, RHO0, [0.05] * 2)
        found["goes on"] = torch.equal(further.state.x, straight.state.x)
    found["example"] = runpy.run_path(EXAMPLE)["main"](500, 24)[0]
    found["outside"] = said(lambda: evolve(F, stepper, RHO0, [0.1], path=half))
    save_tree(found, folder / f"{ranks.rank}.safetensors")


def torchrun(ranks: int, *script: object, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """The script in so many processes, which end with it whatever happens."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, script)], env=env, capture_output=True, text=True, timeout=seconds, check=False
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[Tree]:
    """What two ranks found."""
    folder = tmp_path_factory.mktemp("ranks")
    done = torchrun(2, __file__, folder)
    assert done.returncode == 0, done.stderr
    return [load_tree(folder / f"{rank}.safetensors") for rank in range(2)]


@pytest.mark.parametrize("name", FLOWS)
def test_two_processes_flow_as_one_does(both, name):
    alone = outcome(name)
    for rank in both:
        for quantity, value in alone.items():
            assert_close(rank[name][quantity], value, rtol=1e-12, atol=1e-12)
    assert all(torch.equal(both[0][name][quantity], both[1][name][quantity]) for quantity in alone)


def test_rows_are_shared_out_evenly_and_rank_0_alone_is_asked_to_stop(both):
    assert [rank["rows"] for rank in both] == [51, 50]
    assert [rank["asked"] for rank in both] == [[1, 2], []]


def test_what_would_see_a_part_of_the_cloud_is_refused(both):
    for rank in both:
        assert "JKO cannot share particles among 2 processes" in rank["a map"]
        assert "run folder cannot share" in rank["folder"]
        for what in ("seeds", "laws", "steps"):
            assert "must all be given the same functional, stepper, law, seed and taus" in rank[what]
        assert "51 of 101 particles are no longer finite" in rank["far"]
        assert rank["goes on"]
    assert "holds the particles of rank 1 of 2, but this is rank 0 of 1" in both[1]["outside"]


def test_a_rank_that_fails_ends_the_others(tmp_path):
    script = tmp_path / "fails.py"
    script.write_text(
        "import torch\nfrom wgf import shards\n"
        "with shards.group() as ranks:\n"
        "    if ranks.rank == 1:\n        raise SystemExit(3)\n"
        "    shards.join(torch.ones(2))\n"
    )
    assert torchrun(2, script, seconds=60).returncode != 0


def test_the_example_ends_on_the_ring_in_one_process_and_in_two(both):
    off, path, figure = runpy.run_path(EXAMPLE)["main"](500, 24)
    assert abs(off) < 1e-3
    assert path.energy[-1] == pytest.approx(-1 / 12, abs=1e-4)
    assert len(figure.axes) == 2
    for rank in both:
        assert rank["example"] == pytest.approx(off, abs=1e-11)


@pytest.mark.parametrize("n", [1, 5, 100])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_every_row_has_one_owner(n, size):
    parts = [torch.arange(n)[shards.Ranks(rank, size).share(n)] for rank in range(size)]
    assert torch.equal(torch.cat(parts), torch.arange(n))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_is_left_as_it_is():
    x = zoo.randn(0, 5, 2)
    with shards.group() as ranks:
        assert ranks == shards.current() == shards.Ranks(0, 1)
        assert shards.join(x) is x
        assert shards.cloud(x) == Cloud(x)
        assert shards.total(7) == 7
        assert shards.mean(x[:, 0]) == float(x[:, 0].mean())
        assert shards.agreed(lambda: True)
        assert shards.draw(lambda n: torch.arange(n), x).tolist() == [0, 1, 2, 3, 4]


class Parts:
    """Two parts of a cloud, each in a thread: they meet in `join` as processes do in an all-gather."""

    def __init__(self, x: Tensor, cut: int) -> None:
        self.x, self.rows = x, (slice(0, cut), slice(cut, len(x)))
        self.met, self.values = threading.Barrier(2, timeout=20), [x, x]

    def join(self, part: int, values: Tensor) -> Tensor:
        self.values[part] = values
        self.met.wait()
        joined = torch.cat(self.values)
        self.met.wait()
        return joined

    def run(self, seen: Callable[[Cloud], Tensor]) -> Tensor:
        """What each part sees, one after the other."""

        def work(part: int) -> Tensor:
            return seen(Cloud(self.x[self.rows[part]], shared=Shared(self.x, partial(self.join, part))))

        with ThreadPoolExecutor(2) as pool:
            return torch.cat(list(pool.map(work, range(2))))


@pytest.mark.parametrize("entry", SHARDED, ids=zoo.names(SHARDED))
def test_parts_of_a_cloud_have_the_energies_and_forces_that_they_have_in_the_whole(entry):
    F, x = functional(entry.build()), zoo.randn(4, 30, 2)
    ((_, term),) = F.terms
    parts = Parts(x, 19)
    for seen in (term.energy, lambda cloud: first_variation(F, cloud).gradient(cloud.x)):
        assert_close(parts.run(seen), seen(Cloud(x)), rtol=1e-12, atol=1e-12)


def test_a_timeout_must_be_positive():
    with pytest.raises(InputError, match="timeout"), shards.group(timeout=0):
        pass


if __name__ == "__main__":
    on_one_rank(Path(sys.argv[1]))
