"""The sliced Wasserstein distance against POT, along the same directions: 10⁴ points in R¹⁰, 100 projections."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from validation.race import Row, race
from validation.sliced import sliced_wasserstein2
from wgf import keys

NAME = "sliced"
BOUNDS = {"POT (torch)": 10.0, "POT (NumPy)": 8.0}
TOLERANCE = {"float64": 1e-12, "float32": 1e-4}
"""What the answers may be off, relative to the distance: POT's NumPy sums float32 levels to 3e-5."""


def bench(quick: bool = False) -> Iterator[list[Row]]:
    """Float64 and float32; ours is `validation.sliced_wasserstein2`."""
    for dtype, tolerance in TOLERANCE.items():
        case = {"points": 2000 if quick else 10_000, "dim": 10, "projections": 100, "dtype": dtype}
        label = f"N = {case['points']:,}, d = 10, 100 projections, {dtype}"
        peers = {"POT (torch)": f"{__name__}:pot_torch", "POT (NumPy)": f"{__name__}:pot_numpy"}
        yield race(
            NAME,
            label,
            f"{__name__}:ours",
            peers,
            case,
            truth=f"{__name__}:truth",
            tolerance=tolerance,
            bounds=None if quick else BOUNDS,
            rounds=3 if quick else 7,
        )


def ours(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """Our distance."""
    x, y, theta = cloud(case)
    return lambda: np.array(sliced_wasserstein2(x, y, theta))


def pot_torch(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """That of POT on tensors."""
    import ot

    x, y, theta = cloud(case)
    return lambda: np.array(float(ot.sliced_wasserstein_distance(x, y, projections=theta.T.contiguous())))


def pot_numpy(case: Mapping[str, Any]) -> Callable[[], np.ndarray]:
    """That of POT on arrays."""
    import ot

    x, y, theta = (tensor.numpy() for tensor in cloud(case))
    along = np.ascontiguousarray(theta.T)
    return lambda: np.array(float(ot.sliced_wasserstein_distance(x, y, projections=along)))


def truth(case: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, None]:
    """(mean over θ of mean |(θ·x)_(i) − (θ·y)_(i)|²)^½ in float64, of the points as cast; and the scale, itself."""
    x, y, theta = (tensor.double().numpy() for tensor in cloud(case))
    gaps = np.sort(x @ theta.T, axis=0) - np.sort(y @ theta.T, axis=0)
    value = np.sqrt(np.mean(gaps**2))
    return value, value, None


def cloud(case: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Two normal clouds, of different widths and means, and unit directions."""
    n, d, p = case["points"], case["dim"], case["projections"]
    generator = keys.generator(0)
    x, y, theta = (torch.randn(size, d, dtype=torch.float64, generator=generator) for size in (n, n, p))
    theta = theta / theta.norm(dim=1, keepdim=True)
    x, y, theta = (tensor.to(getattr(torch, case["dtype"])) for tensor in (x, 1.3 * y + 0.5, theta))
    return x, y, theta
