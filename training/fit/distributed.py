"""The processes of a torchrun, or the one process there is without it.

Every process has all data and takes its rows of every batch; gradients are averaged, so all hold
the same weights after each step. What decides (validation, stopping) is summed over processes
first, so that all decide alike.
"""

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: number of this process, 0 to world_size - 1.
        world_size: how many there are.
        device: where this process computes.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and logs."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model, with gradients averaged over processes where there are several."""
        return DistributedDataParallel(model) if self.world_size > 1 else model

    def compile(self, backbone: nn.Module) -> bool:
        """Compile a backbone in place, for batches of any shape; whether that was done.

        Only for a GPU: on a CPU a short fit would be over before it is compiled.
        """
        is_compiled: bool = self.device.type == "cuda"
        if is_compiled:
            backbone.compile(dynamic=True)
        return is_compiled

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Numbers of any shape, each summed over all processes, float64."""
        if self.world_size == 1:
            return values.astype(np.float64)
        total = torch.from_numpy(values.astype(np.float64)).to(self.device)
        dist.all_reduce(total)
        sums: np.ndarray = total.cpu().numpy()
        return sums

    def gather(self, values: np.ndarray) -> np.ndarray:
        """All processes' numbers beside each other along the last axis, by rank, float64."""
        values = values.astype(np.float64)
        if self.world_size == 1:
            return values
        lengths = np.zeros(self.world_size)
        lengths[self.rank] = values.shape[-1]
        lengths = self.sum(lengths).astype(np.int64)
        start = int(lengths[: self.rank].sum())
        everything = np.zeros((*values.shape[:-1], int(lengths.sum())))
        everything[..., start : start + values.shape[-1]] = values
        return self.sum(everything)

    @property
    def has_bfloat16(self) -> bool:
        """Whether the device multiplies bfloat16 at full speed."""
        return bool(self.device.type == "cuda" and torch.cuda.is_bf16_supported())

    def mixed_precision(self) -> torch.autocast:
        """bfloat16 products where a GPU has them; its range is float32's: no loss scaling."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.has_bfloat16)

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.world_size > 1:
            dist.barrier()


def sum_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Numbers of any shape, each summed over all processes, where they are; for use in a step."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def of_first_process(values: torch.Tensor) -> torch.Tensor:
    """The first process's numbers, of any shape, in all of them; for use in a step."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        values = values.clone()
        dist.broadcast(values, 0)
    return values


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the others of a torchrun; they are left when the process ends.

    A process joins once, however many models it fits: to leave and join again races on the keys of
    torchrun's store, where one process may find the last group's and wait for ever.

    torchrun says who is who in the environment (RANK, LOCAL_RANK, WORLD_SIZE); without it this is
    the only process. Processes on CPUs talk over gloo, on GPUs over NCCL.

    Args:
        device: `cpu` or `cuda`; on `cuda` each process takes the GPU of its LOCAL_RANK.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    place = torch.device(device)
    if place.type == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    if world_size == 1:
        yield Processes(0, 1, place)
        return
    if not dist.is_initialized():
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    yield Processes(dist.get_rank(), world_size, place)
