"""Particles shared among processes: each rank of torchrun owns rows of one cloud and gathers the others' to interact.

    with shards.group():  # one process: nothing changes
        path = evolve(Interaction(W), Particles(100_000), rho0, taus)

Every rank draws the same cloud from the same key and keeps its rows, so that the flow is that of one process up to the
rounding of sums. Rank 0 alone tells observers and is asked when to stop; energies are means over all ranks, and laws of
the path hold all particles on every rank. Outside `group` nothing is shared, whatever else torch.distributed is doing.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from wgf import checks
from wgf.errors import Incompatible
from wgf.law import Cloud, Shared


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes share the particles."""

    rank: int = 0
    size: int = 1

    def share(self, n: int) -> slice:
        """The rows of n that this rank owns: n/size, the first n mod size ranks one more."""
        each, more = divmod(n, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def mark(self) -> dict[str, int] | None:
        """What a state remembers of who holds its rows; None for one process."""
        return None if self.size == 1 else {"rank": self.rank, "ranks": self.size}


_joined = count()
_ranks: ContextVar[Ranks] = ContextVar("ranks", default=Ranks())  # noqa: B039  (frozen)


@contextmanager
def group(timeout: float = 1800.0) -> Iterator[Ranks]:
    """Share the particles of every flow inside among the processes that torchrun started; alone, change nothing.

    Joins torch.distributed, by gloo for tensors on CPUs and nccl for those on GPUs, and leaves it at the end; a group
    that was joined before is used and kept. On a machine with GPUs the current device becomes that of LOCAL_RANK: put
    the initial law there, `rho0.to(torch.device("cuda", torch.cuda.current_device()))`. Every rank must take the same
    steps; one that fails ends the others, at the latest after `timeout` seconds.
    """
    checks.positive("timeout", timeout)
    joined = distributed.is_available() and distributed.is_initialized()
    if not joined and "WORLD_SIZE" not in os.environ:
        yield Ranks()
        return
    gpus = torch.cuda.is_available() and distributed.is_nccl_available()
    if gpus and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    if not joined:
        _join("cpu:gloo,cuda:nccl" if gpus else "gloo", timeout)
    token = _ranks.set(Ranks(distributed.get_rank(), distributed.get_world_size()))
    try:
        yield _ranks.get()
    finally:
        _ranks.reset(token)
        if not joined:
            distributed.destroy_process_group()


def _join(backend: str, timeout: float) -> None:
    """Join torch.distributed under a name of its own, for addresses of a group that was left still lie in the store."""
    store = distributed.PrefixStore(f"wgf {next(_joined)}", _store())
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    limit = timedelta(seconds=timeout)
    distributed.init_process_group(backend, timeout=limit, world_size=size, rank=rank, store=store)


@cache
def _store() -> "distributed.Store":
    """Where the processes that torchrun started find each other."""
    return next(iter(distributed.rendezvous("env://")))[0]


def current() -> Ranks:
    """Who shares particles here: one process outside `group`."""
    return _ranks.get()


def cloud(x: Float[Tensor, "n d"]) -> Cloud:
    """The rows of this rank as a part of the cloud that all ranks hold."""
    return Cloud(x) if current().size == 1 else Cloud(x, shared=Shared(join(x), join))


def join(rows: Float[Tensor, "n ..."]) -> Float[Tensor, "N ..."]:
    """The rows of all ranks, in their order: one all-gather. No gradient passes."""
    size = current().size
    if size == 1:
        return rows
    counts = _counts(len(rows), rows.device)
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in range(size)]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def mean(values: Float[Tensor, " n"]) -> float:
    """The mean over the rows of all ranks, the same number on each."""
    if current().size == 1:
        return float(values.mean())
    sums = torch.stack([values.double().sum(), values.new_full((), len(values), dtype=torch.float64)])
    distributed.all_reduce(sums)
    return float(sums[0] / sums[1])


def total(count: int, device: torch.device | str = "cpu") -> int:
    """The sum of a count over all ranks."""
    return count if current().size == 1 else sum(_counts(count, device))


def draw(sample: Callable[[int], Tensor], like: Float[Tensor, "n ..."]) -> Float[Tensor, "n ..."]:
    """The numbers for the rows `like`, of those that `sample(N)` draws for the N rows of all ranks as one would."""
    ranks = current()
    if ranks.size == 1:
        return sample(len(like))
    counts = _counts(len(like), like.device)
    start = sum(counts[: ranks.rank])
    return sample(sum(counts))[start : start + len(like)]


def agreed(answer: Callable[[], bool]) -> bool:
    """Rank 0's answer, for all; the others are not asked."""
    ranks = current()
    if ranks.size == 1:
        return bool(answer())
    told: list[object] = [bool(answer()) if ranks.rank == 0 else None]
    distributed.broadcast_object_list(told)
    return bool(told[0])


def refuse(what: str, instead: str) -> None:
    """Raise Incompatible where several processes share particles."""
    ranks = current()
    if ranks.size > 1:
        raise Incompatible(f"{what} cannot share particles among {ranks.size} processes; {instead}")


def same(*said: object) -> None:
    """Raise Incompatible, on every rank, unless all were told the same (by their texts)."""
    if current().size == 1:
        return
    digest = hashlib.blake2b("\n".join(map(str, said)).encode(), digest_size=7).digest()
    if len(set(_counts(int.from_bytes(digest, "big")))) > 1:
        raise Incompatible(
            "processes that share particles must all be given the same functional, stepper, law, seed and taus, but"
            " these were not"
        )


def belongs(mark: object) -> None:
    """Raise Incompatible unless a state with this mark holds the rows of this process."""
    ranks = current()
    kept = {"rank": mark["rank"], "ranks": mark["ranks"]} if isinstance(mark, dict) and "ranks" in mark else None
    if kept != ranks.mark():
        whose = "all particles" if kept is None else f"the particles of rank {kept['rank']} of {kept['ranks']}"
        raise Incompatible(
            f"the path to go on from holds {whose}, but this is rank {ranks.rank} of {ranks.size}; begin anew with"
            " rho0 = path.final, which holds them all"
        )


def _counts(count: int, device: torch.device | str = "cpu") -> Sequence[int]:
    """The number that each rank says."""
    counts = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(current().size)]
    distributed.all_gather(counts, torch.tensor([count], device=device))
    return [int(each) for each in counts]
