"""Modes of the processor and of the C library that training wants."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Generator

import torch


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


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks: else each step's activations are mapped and zeroed anew,
    which costs a third of the time of a small network. Elsewhere nothing is done.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 1 << 30)
        mallopt(m_trim_threshold, (1 << 31) - 1)
