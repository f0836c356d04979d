"""One thread a test process: tiny matrices on shared cores spend their time waiting otherwise.

Processes of pytest-xdist have a cache of KeOps each, for compiling the same formula at once they would write over it.
"""

import os
from pathlib import Path

import torch

torch.set_num_threads(1)

if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    default = Path.home() / ".cache" / "keops-tests"
    os.environ["KEOPS_CACHE_FOLDER"] = str(Path(os.environ.get("KEOPS_CACHE_FOLDER", default)) / worker)
