"""The two jobs of the README, one after the other, ending in a table and a figure: make demo."""

import time
from pathlib import Path

import fokker_planck
import posterior
from rich.console import Console
from rich.table import Table


def main(folder: Path = Path("figures"), smoke: bool = False) -> Table:
    began = time.perf_counter()
    tiny = {"steps": 2, "particles": 2000, "iterations": 20} if smoke else {}
    symkl, first = fokker_planck.main(**tiny)
    halfway = time.perf_counter()
    tiny = {"particles": 2000, "iterations": 20, "chains": 200, "chain_length": 100} if smoke else {}
    mean, sd, second = posterior.main(**tiny)
    end = time.perf_counter()

    folder.mkdir(parents=True, exist_ok=True)
    first.savefig(folder / "fokker_planck.png", dpi=120)
    second.savefig(folder / "posterior.png", dpi=120)
    table = Table("job", "result", "compared with", "seconds", title="wgf demo")
    table.add_row(
        "Fokker–Planck, d = 12, t = 0.9", f"log10 SymKL {symkl:.2f}", "published −2.54", f"{halfway - began:.0f}"
    )
    table.add_row(
        "breast-cancer posterior, d = 31",
        f"means within {mean:.3f} sd, sds within {sd:.1%}",
        "long adjusted Langevin run",
        f"{end - halfway:.0f}",
    )
    Console().print(table)
    Console().print(f"figures: {folder / 'fokker_planck.png'}, {folder / 'posterior.png'}")
    return table


if __name__ == "__main__":
    main()
