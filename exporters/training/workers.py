"""Where a training runs: one process, or the several that ``torchrun`` started, on CPUs or GPUs.

Gradients are averaged by hand rather than by a wrapper around the network, so that a loss may use any part of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import FitError

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Workers:
    """This process among its equals. Alone, every method does nothing."""

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes and talks."""
        return self.rank == 0

    def own(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Every ``count``-th batch."""
        return (batch for index, batch in enumerate(batches) if index % self.count == self.rank)

    def mean(self, value: float) -> float:
        """The mean over all processes; no number where one has none."""
        if self.count == 1:
            return value
        import torch
        import torch.distributed as dist

        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(shared)
        return float(shared) / self.count

    def average_gradients(self, parameters: Iterable[torch.Tensor]) -> None:
        """Give all processes the mean gradient of every parameter that one of them has a gradient for."""
        if self.count == 1:
            return
        import torch
        import torch.distributed as dist

        kept = list(parameters)
        used = torch.tensor([value.grad is not None for value in kept], dtype=torch.float32, device=self.device)
        dist.all_reduce(used)
        chosen = [value for value, anywhere in zip(kept, used.tolist(), strict=True) if anywhere]
        for value in chosen:
            value.grad = torch.zeros_like(value) if value.grad is None else value.grad
        flat = torch.cat([value.grad.reshape(-1) for value in chosen if value.grad is not None]) / self.count
        dist.all_reduce(flat)
        begin = 0
        for value in chosen:
            value.grad = flat[begin : begin + value.numel()].reshape(value.shape).clone()
            begin += value.numel()

    def average_buffers(self, network: nn.Module) -> None:
        """Give all processes the mean of what batch normalisation has seen."""
        if self.count == 1:
            return
        import torch.distributed as dist

        for buffer in network.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= self.count

    def from_first(self, value: Any) -> Any:
        """What the first process has."""
        if self.count == 1:
            return value
        import torch.distributed as dist

        box = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        return box[0]


@contextmanager
def workers(device: str, environment: Mapping[str, str] | None = None) -> Iterator[Workers]:
    """This process, joined with the others where ``torchrun`` set ``WORLD_SIZE``; FitError without such a device."""
    import torch

    environment = os.environ if environment is None else environment
    if device == "cuda" and not torch.cuda.is_available():
        raise FitError("There is no CUDA device here. Train with device 'cpu'.")
    rank, count = int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1"))
    place = torch.device(f"cuda:{environment.get('LOCAL_RANK', '0')}" if device == "cuda" else "cpu")
    if count == 1:
        yield Workers(0, 1, place)
        return
    import torch.distributed as dist

    if device == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Workers(rank, count, place)
    finally:
        dist.destroy_process_group()


def to_device(batch: Any, device: torch.device) -> Any:
    """A batch with its tensors on ``device``; tuples, lists and dicts are walked, other values stay."""
    import torch

    if device.type == "cpu":
        return batch
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        moved = [to_device(value, device) for value in batch]
        return type(batch)(*moved) if hasattr(batch, "_fields") else type(batch)(moved)
    return batch
