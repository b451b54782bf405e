"""What the processes of one training ("ranks") must agree on, through torch.distributed."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from robofb.errors import UserError
from robofb.rng import derive_seeds

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The processes that train together, and this one's place among them.

    Every rank must make the same calls in the same order: each waits for the others. Alone (`size` 1), all
    are free of cost and change nothing.

    Attributes:
        rank: number of this process.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes files and talks to the user."""
        return self.rank == 0

    def share(self, name: str, total: int) -> int:
        """Return this rank's part of `total` things.

        Raises:
            UserError: it does not divide evenly.
        """
        if total % self.size:
            raise UserError(f"{name}={total}: does not divide among {self.size} processes")
        return total // self.size

    def seed(self, seed: int | Tensor) -> int:
        """Return a seed of this rank's own; the first rank keeps `seed`."""
        return int(seed) if self.leads else int(derive_seeds(seed, -self.rank))

    def average_(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the ranks, all in one message."""
        if self.size == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def gathered(self, tensor: Tensor) -> Tensor:
        """Return every rank's tensor (...), all of one shape, as (size, ...)."""
        if self.size == 1:
            return tensor[None]
        parts = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(parts, tensor.contiguous())
        return torch.stack(parts)

    def any(self, flag: bool) -> bool:
        """Return whether any rank says so."""
        return any(self.gather(flag))

    def lead(self, work: Callable[[], T]) -> T:
        """Let the first rank do `work`, and return its result on all.

        Raises:
            UserError: it did there; then on all.
        """
        if self.size == 1:
            return work()
        outcome: list[Any] = [None, None]
        if self.leads:
            try:
                outcome[0] = work()
            except UserError as error:
                outcome[1] = str(error)
        dist.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise UserError(outcome[1])
        return outcome[0]

    def lead_first(self, work: Callable[[], T]) -> T:
        """Do `work` on every rank, on the others once the first is done: it may make files for all."""
        done: list[T] = []
        self.lead(lambda: done.append(work()))
        return done[0] if done else work()

    def gather(self, value: T) -> list[T]:
        """Return every rank's value, in order."""
        if self.size == 1:
            return [value]
        values: list[T] = [value] * self.size
        dist.all_gather_object(values, value)
        return values


ALONE = Ranks()


def num_started() -> int:
    """Return how many processes torchrun started, this one among them; 1 where it did not."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_available() and dist.is_torchelastic_launched() else 1


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """Meet the other processes that torchrun started, for the `with` block; alone where it did not.

    Each takes the GPU of its own number where there are GPUs. Only the first logs more than warnings.
    """
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield ALONE
        return
    if dist.is_initialized():  # by a block around this one
        yield Ranks(dist.get_rank(), dist.get_world_size())
        return
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # torch.optim imports this module; it keeps the group that it first sees, and with it the group's threads,
    # up to the interpreter's end, where a thread that still has a tensor aborts the process
    importlib.import_module("torch.distributed.nn.functional")
    if os.environ["RANK"] != "0":
        logging.getLogger("robofb").setLevel(logging.WARNING)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
