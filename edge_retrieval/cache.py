"""Where this program keeps what it can make again."""

from __future__ import annotations

import contextlib
import os
from functools import lru_cache
from pathlib import Path

LAST_RESORT = Path(os.sep, "tmp", "edge-retrieval")
"""What is named where no folder for temporary files can be written either."""


def cache_folder() -> Path:
    """Return where the sample register and the choices of a backend are kept.

    `$EDGE_RET_CACHE`, else the user's cache folder, else one of the user's own in the system's
    folder for temporary files where the home cannot be written (kiosks, containers). Where nothing
    can be written at all, that folder does not exist: to make it is an `OSError` that tells.
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
    return _temporary_folder()


def register_name(folder: Path) -> str:
    """Return what a register is called: by its folder, or that it is the sample."""
    is_sample = folder.name.startswith("sample-") and folder.parent == cache_folder()
    return "sample" if is_sample else folder.absolute().name


def _temporary_folder() -> Path:
    """Return a folder for this user among the temporary files, where anybody may make folders.

    One that somebody else made, or may write to, is not taken: what is kept there is run.
    """
    import tempfile

    try:
        place = Path(tempfile.gettempdir())
    except FileNotFoundError:  # nothing can be written anywhere
        return LAST_RESORT
    if not hasattr(os, "getuid"):  # Windows: temporary files are each user's own
        return place / "edge-retrieval"
    folder = place / f"edge-retrieval-{os.getuid()}"
    with contextlib.suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        told = folder.lstat()
        if folder.is_symlink() or told.st_uid != os.getuid() or told.st_mode & 0o022:
            return _fresh_folder()
    return folder


@lru_cache(maxsize=1)
def _fresh_folder() -> Path:
    """Make a folder that goes when this process does."""
    import atexit
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="edge-retrieval-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
