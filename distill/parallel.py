"""Training in several processes, as `torchrun` starts them: each computes a share of every batch.

The loss needs all pairs of a batch, so embeddings are gathered, and batch norm takes its statistics
over all processes: the result is that of one process with the whole batch. torch's own
SyncBatchNorm does the same on GPUs alone; this runs on any device, so that it can be tested.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from edge_retrieval.errors import ConfigError
from edge_retrieval.provenance import available_cores

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes of a training.

    Attributes:
        rank: Number of this process; 0 is the one that writes files and shows progress.
        size: How many there are.
        device: Where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    @property
    def gpus(self) -> list[torch.device]:
        """The GPU that this process computes on, if it does."""
        return [self.device] if self.device.type == "cuda" else []

    @property
    def threads(self) -> int:
        """Cores for this process, which shares them with the others of its machine."""
        return max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))

    def wait(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            distributed.barrier()

    def from_lead(self, value: Any) -> Any:
        """Return the leading process's value, which may be any plain object, in every process."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0, device=self.device)
        return box[0]

    def in_turn(self, work: Callable[[], T]) -> T:
        """Do work that leaves files, where those who come later may find them.

        First the leading process, then one of every other machine, which may see other disks, and
        then the rest.
        """
        local = int(os.environ.get("LOCAL_RANK", "0"))
        mine = 0 if self.leads else 1 if local == 0 else 2
        for turn in range(3):
            if turn == mine:
                result = work()
            self.wait()
        return result

    def from_all(self, value: T) -> list[T]:
        """Return what every process gives, any plain object, in the order of their ranks."""
        values = [value] * self.size
        if self.size > 1:
            distributed.all_gather_object(values, value)
        return values

    def agree(self, value: Any, what: str, *, hint: str) -> None:
        """See that all processes have the same value, which may be any plain object.

        Raises:
            ConfigError: In all of them, that one has another than the leading process.
        """
        values = self.from_all(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise ConfigError(
                    f"process {rank + 1} of {self.size} has other {what} than the first", hint=hint
                )

    def restarted(self) -> bool:
        """Say whether `torchrun` has started the processes before; each machine counts for itself.

        It does not count a start that only lets another machine in.
        """
        return any(self.from_all(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"))


PATIENCE = timedelta(days=7)
"""How long processes wait for one another: the first one cuts all drawings, and asks the teacher.
One that dies is noticed at once, by `torchrun`."""

CONNECTING = timedelta(minutes=5)
"""How long a process looks for the place where all meet: it is there before they are started."""


@contextlib.contextmanager
def joined() -> Generator[World, None, None]:
    """Join the processes that `torchrun` started; without it, be the only one.

    Raises:
        ConfigError: More processes than GPUs; or, in all the others, that one of them stopped.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = torch.device("cpu")
    if torch.cuda.is_available():
        place, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if place >= count:
            raise ConfigError(
                f"process {place + 1} of this machine has no GPU: it has {count}",
                hint=f"torchrun --nproc-per-node {count} ..., or fewer",
            )
        device = torch.device("cuda", place)
        torch.cuda.set_device(device)
    if size == 1 or distributed.is_initialized():
        yield World(rank, size, device)
        return
    try:
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            timeout=PATIENCE,
            store=_fresh_store(rank, size),
            rank=rank,
            world_size=size,
        )
        yield World(rank, size, device)
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error):
            raise
        raise ConfigError(
            "another process of this training stopped", hint="see what that one said"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _fresh_store(rank: int, size: int) -> Any:
    """Return where the processes find one another, and nobody who was there before.

    After a process died `torchrun` starts all of them again, with the store of the time before:
    there they would find the addresses of the dead. No number tells the times apart, for each
    machine counts its own restarts. So the leading process names the time by a word of its own;
    each other one answers with its word, and goes on when that is said back, which only a leading
    process that is alive can do.

    Raises:
        ConfigError: The store does not answer.
    """
    store = _store()
    own = secrets.token_hex(8)
    if rank == 0:
        store.set("time", own)
        for other in range(1, size):
            word = store.get(f"{own}/{other}").decode()
            store.set(f"{own}/{word}", "")
        return PrefixStore(own, store)
    while True:
        named = store.get("time").decode()  # by a leading process that is dead, perhaps
        store.set(f"{named}/{rank}", own)
        if store.check([f"{named}/{own}"]):
            return PrefixStore(named, store)
        time.sleep(0.05)


def _store() -> Any:
    """Connect to the store that `torchrun` names."""
    try:
        store, _, _ = next(rendezvous("env://", timeout=CONNECTING))
    except distributed.DistError as error:
        where = ":".join(os.environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise ConfigError(
            f"the first process of this training cannot be reached at {where}",
            hint="see that all machines reach one another, at all ports; then start all again",
        ) from error
    store.set_timeout(PATIENCE)
    return store


def gather(rows: Tensor, counts: Sequence[int]) -> Tensor:
    """Return the rows of all processes, in the order of their ranks, with gradient.

    Args:
        rows: ``(n, D)`` of this process.
        counts: n of each process.

    Returns:
        ``(N, D)``. Its gradient is the sum of what all processes found; each finding the gradient
        of the one loss they share, that is `len(counts)` times it: see `average_gradients`.
    """
    if len(counts) == 1:
        return rows
    most = max(counts)
    padded = torch.cat([rows, rows.new_zeros(most - len(rows), *rows.shape[1:])])
    everything = _Gathered.apply(padded)  # type: ignore[no-untyped-call]  # (W, most, D)
    return torch.cat([part[:n] for part, n in zip(everything, counts, strict=True)])


class _Gathered(torch.autograd.Function):
    """All-gather; backwards, the sum over the processes of this one's part."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total[distributed.get_rank()]


class _Summed(torch.autograd.Function):
    """Sum over the processes, and of the gradients as well."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


def average_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Make every process's gradients the mean over the processes."""
    if world.size == 1:
        return
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        distributed.all_reduce(parameter.grad)
        parameter.grad /= world.size


def synchronise_norms(model: nn.Module, world: World) -> None:
    """Let batch norms, in train mode, take mean and variance over all processes."""
    if world.size == 1:
        return
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.forward = partial(_synchronised_norm, module)  # type: ignore[method-assign]


def _synchronised_norm(norm: Any, values: Tensor) -> Tensor:
    """What `norm` computes, of ``(n, C, ...)``, with the statistics of all processes."""
    if not norm.training:
        return type(norm).forward(norm, values)  # type: ignore[no-any-return]
    inputs = values if values.dtype == torch.float64 else values.float()
    axes = [axis for axis in range(inputs.ndim) if axis != 1]
    shape = [1, -1] + [1] * (inputs.ndim - 2)
    count = torch.tensor([float(inputs.numel() // inputs.shape[1])], device=inputs.device)
    sums = _Summed.apply(torch.cat([inputs.sum(axes), count]))  # type: ignore[no-untyped-call]
    total = sums[-1].detach()
    mean = sums[:-1] / total  # (C,)
    centred = inputs - mean.view(shape)
    variance = _Summed.apply(centred.square().sum(axes)) / total  # type: ignore[no-untyped-call]
    with torch.no_grad():
        norm.num_batches_tracked += 1
        unbiased = variance * total / (total - 1).clamp(min=1)
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(unbiased, norm.momentum)
    result = centred * torch.rsqrt(variance + norm.eps).view(shape)
    if norm.affine:
        result = result * norm.weight.view(shape) + norm.bias.view(shape)
    result = result.to(values.dtype)
    for name in ("drop", "act"):  # timm keeps an activation in the norm
        after = getattr(norm, name, None)
        result = after(result) if after is not None else result
    assert isinstance(result, Tensor)
    return result
