"""One thread a test process: tiny matrices on shared cores spend their time waiting otherwise."""

import torch

torch.set_num_threads(1)
