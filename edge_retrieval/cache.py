"""Where this program keeps what it can make again."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def cache_folder() -> Path:
    """Return where the sample register and the choices of a backend are kept.

    `$EDGE_RET_CACHE`, else the user's cache folder, else the system's folder for temporary files
    where the user's home cannot be written (kiosks, containers).
    """
    named = os.environ.get("EDGE_RET_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    candidates = [Path(base)] if base else []
    with contextlib.suppress(RuntimeError):  # no home at all
        candidates.append(Path.home() / ".cache")
    for candidate in candidates:
        folder = candidate / "edge-retrieval"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
    import tempfile

    return (
        Path(tempfile.gettempdir()) / f"edge-retrieval-{os.getuid() if os.name == 'posix' else 0}"
    )
