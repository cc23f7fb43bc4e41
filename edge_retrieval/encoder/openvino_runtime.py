"""OpenVINO as this project uses it: no telemetry, and one Core a process."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from edge_retrieval.errors import BundleError, MissingExtraError


def import_openvino() -> Any:
    """Import OpenVINO without its telemetry: it reports every import to a server of its maker.

    It falls back to a stub where `openvino_telemetry` cannot be imported, so that is what it
    meets. Nothing of ours leaves the machine, and no file appears in the user's home.
    """
    telemetry = "openvino_telemetry"
    hidden = telemetry not in sys.modules
    if hidden:
        sys.modules[telemetry] = None  # type: ignore[assignment]
    try:
        import openvino
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "openvino":
            raise MissingExtraError.of("the OpenVINO backend", "openvino") from error
        raise BundleError(
            f"OpenVINO is installed but cannot be loaded: {error}",
            hint="install it again: pip install --force-reinstall openvino",
        ) from error
    finally:
        if hidden:
            del sys.modules[telemetry]
    return openvino


def openvino_core() -> Any:
    """Return the one Core of this process.

    Each Core's CPU plugin gives the thread a stack for signals, and puts the former one back when
    it goes. Two that do not go in the reverse order leave the thread with a stack whose memory is
    gone: the next signal (Ctrl-C, the end of a child) kills the process, or is written over
    whatever lies there by then. One Core that never goes cannot do that.
    """
    import_openvino()
    return _core()


@lru_cache(maxsize=1)
def _core() -> Any:
    import openvino

    return openvino.Core()


class _SignalStack(ctypes.Structure):
    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def signal_stack_kept() -> Iterator[None]:
    """Put this thread's stack for signals back at the end: for tools that make Cores of their own.

    Not where the system knows no such stacks.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    openvino_core()  # so that what is put back is a stack that stays
    libc = ctypes.CDLL(None)
    before = _SignalStack()
    libc.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        libc.sigaltstack(ctypes.byref(before), None)
