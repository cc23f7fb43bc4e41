"""What training wants of the processor, of the C library and of torch's random numbers."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Generator, Mapping
from typing import Any

import torch
from torch import Tensor

from edge_retrieval.errors import ConfigError


@contextlib.contextmanager
def tiny_numbers_are_zero() -> Generator[None, None, None]:
    """Flush denormals: vanishing gradients would be computed many times slower.

    It is a mode of the processor, so whoever trains within a program gets it back as it was.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextlib.contextmanager
def memory_suffices() -> Generator[None, None, None]:
    """Say in one line that the GPU's or the processor's memory is too small.

    Raises:
        ConfigError: It is.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        of_gpu = isinstance(error, torch.cuda.OutOfMemoryError)
        if not (of_gpu or isinstance(error, MemoryError) or "can't allocate memory" in str(error)):
            raise
        raise ConfigError(
            f"a step does not fit the {'GPU' if of_gpu else 'processor'}'s memory",
            hint="raise accumulate; or lower classes, designs or size",
        ) from error


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks: else each step's activations are mapped and zeroed anew,
    which costs a third of the time of a small network. Elsewhere nothing is done.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 1 << 30)
        mallopt(m_trim_threshold, (1 << 31) - 1)


def random_state() -> dict[str, Tensor]:
    """Return the state of torch's random numbers, and of the GPU's: dropout draws there."""
    state = {"rng": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda_rng"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Go back to what `random_state` returned; other keys are left alone."""
    torch.set_rng_state(state["rng"])
    if "cuda_rng" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda_rng"])
