"""Networks as onnxruntime optimised them for this processor: found in the cache, loaded at once.

Optimising takes longer than all else that loading a small network takes, and gives the same each
time. What is kept holds for one network, one version of onnxruntime and one processor, and ends
with its SHA-256: damaged or of another kind, it is made again. The vectors are the same bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_retrieval.cache import cache_folder
from edge_retrieval.provenance import cpu_flags, cpu_model

KEPT = 8
"""So many networks are kept, those that were made last."""

SEAL = 32  # bytes of SHA-256 at the end of a file

Open = Callable[[str | bytes, Any], Any]
"""A network, by its path or its bytes, and the session's options -> a session."""


def prepared_session(model: Path, sha256: str, options: Callable[[], Any], open_: Open) -> Any:
    """Return a session for a network, optimised ahead of time wherever that is possible.

    Args:
        model: The ONNX file.
        sha256: Of that file.
        options: Gives fresh session options.
        open_: Makes a session; its errors are the caller's.
    """
    import onnxruntime

    path = _path(sha256, onnxruntime.__version__)
    if (network := _read(path)) is not None:
        ready = options()
        ready.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        with contextlib.suppress(Exception):  # of another build after all: made again below
            return open_(network, ready)
    making = options()
    part = path.with_name(f"{path.stem}.{os.getpid()}.part.onnx")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            part.touch()
        except OSError:  # a cache: without it the next start optimises again
            return open_(str(model), making)
        making.optimized_model_filepath = str(part)
        try:
            session = open_(str(model), making)
        except Exception:  # a full disk, or a network that cannot be run: the plain way tells
            return open_(str(model), options())
        with contextlib.suppress(OSError):
            _keep(part, path)
        return session
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _path(sha256: str, version: str) -> Path:
    facts = "\n".join([sha256, version, cpu_model(), *cpu_flags()])
    name = hashlib.sha256(facts.encode()).hexdigest()[:32]
    return cache_folder() / "networks" / f"{name}.onnx"


def _read(path: Path) -> bytes | None:
    """Return a network that was kept; None if there is none, or it is damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    network = data[:-SEAL]
    return network if network and hashlib.sha256(network).digest() == data[-SEAL:] else None


def _keep(part: Path, path: Path) -> None:
    """Seal what onnxruntime wrote, put it in its place, and let the oldest go."""
    network = part.read_bytes()
    if not network:
        return
    with part.open("ab") as file:
        file.write(hashlib.sha256(network).digest())
    part.replace(path)
    kept = [(file.stat().st_mtime, file) for file in path.parent.glob("*.onnx")]
    for _, old in sorted(kept)[:-KEPT]:
        old.unlink(missing_ok=True)
