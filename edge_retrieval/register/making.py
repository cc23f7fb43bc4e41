"""How a register comes to be, and the names of the files in it."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edge_retrieval.bundle import Bundle
from edge_retrieval.errors import RegisterError
from edge_retrieval.index import UNFINISHED
from edge_retrieval.register.database import Database
from edge_retrieval.register.files import (
    BUNDLE,
    CACHES,
    DATABASE,
    NEW,
    OLD_VECTORS,
    pictures_name,
    vectors_name,
    writing,
)
from edge_retrieval.register.manifest import MANIFEST, write_manifest
from edge_retrieval.register.writing import Store

LEFT_FROM = 3600
"""Seconds after which nobody is still writing a cache."""
FILES = (DATABASE, vectors_name(0), pictures_name(0))


def make_folder(
    folder: Path,
    bundle: Bundle,
    levels: Sequence[str],
    made_from: Mapping[str, Any] | None = None,
) -> None:
    """Make an empty register: it appears whole or not at all.

    Args:
        folder: Where.
        bundle: What will make its vectors.
        levels: Names of the taxonomy levels, coarse to fine.
        made_from: What its designs will be embedded from, where not from sheets; see `renewing`.

    Raises:
        RegisterError: There is something already, or no permission to write.
    """
    if (folder / MANIFEST).exists():
        raise RegisterError(
            f"{folder}: is a register already", hint="add to it, or choose another folder"
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise RegisterError(f"{folder}: exists and is not a register", hint="choose another folder")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # A rename is atomic only within one file system, and an empty folder may be a card.
        beside = folder if folder.exists() else folder.parent
        # Named before it is made: an interrupt in between leaves nothing that nobody knows.
        stage = beside / f".{folder.name}.new-{secrets.token_hex(6)}"
        try:
            stage.mkdir(0o700)
            _fill(stage, bundle, levels, made_from)
            _put(stage, folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def building(folder: Path, fingerprint: str) -> Iterator[Database]:
    """Make another database beside that of a register; the caller puts it in its place."""
    path = folder / NEW
    _unlink(folder, f"{NEW}*")
    try:
        Database.create(path, fingerprint)
        with contextlib.closing(Database.open(path, write=True)) as database:
            database.tells_head = False
            yield database
    except BaseException:
        _unlink(folder, f"{NEW}*")
        raise


def new_store(folder: Path, epoch: int, dim: int) -> Store:
    """Return the empty files of a new epoch."""
    store = Store(folder / vectors_name(epoch), folder / pictures_name(epoch), dim)
    with writing(folder):
        store.vectors.write_bytes(b"")
        store.pictures.write_bytes(b"")
    return store


def remove_strays(folder: Path, epoch: int) -> None:
    """Remove what work that was killed has left, and the files of other epochs and of schema 1."""
    kept = {vectors_name(epoch), pictures_name(epoch)}
    for pattern in ("vectors-*.f32", "pictures-*.bin"):
        _unlink(folder, pattern, kept)
    _unlink(folder, f"{NEW}*")
    _unlink(folder, "*.part*")
    for path in folder.glob(f"*{UNFINISHED}"):
        with contextlib.suppress(OSError):  # finished this moment
            if path.stat().st_mtime < time.time() - LEFT_FROM:
                path.unlink()
    if (folder / OLD_VECTORS).exists():
        remove_old_files(folder)


def remove_old_files(folder: Path) -> None:
    """Remove what a register of schema 1 had and this one has not."""
    _unlink(folder, "graph.*")
    _unlink(folder, OLD_VECTORS)  # last: a kill before leaves it to `remove_strays`


def remove_caches(folder: Path) -> None:
    """Remove what is worth nothing once rows have other numbers: the caches of search."""
    unfinished = {path.name for path in folder.glob(f"*{UNFINISHED}")}
    for pattern in CACHES:
        _unlink(folder, pattern, unfinished)


def _unlink(folder: Path, pattern: str, kept: Collection[str] = ()) -> None:
    for path in folder.glob(pattern):
        if path.name not in kept:
            with contextlib.suppress(OSError):  # on Windows a reader may still hold it
                path.unlink()


def _put(stage: Path, folder: Path) -> None:
    """Put a filled stage in its place. The bundle goes first: it never replaces another's."""
    begun = []
    try:
        if folder.exists():
            for name in (BUNDLE, *FILES, MANIFEST):
                begun.append(name)
                (stage / name).rename(folder / name)
        else:
            stage.rename(folder)
    except BaseException as error:
        if not (folder / MANIFEST).exists():
            for name in begun:  # a folder with half a register in it could not become one
                if not (stage / name).exists():
                    (folder / name).rename(stage / name)
            raise
        if not isinstance(error, OSError):
            raise
        raise RegisterError(
            f"{folder}: another process has made a register there this moment",
            hint="wait until it has finished, then add to it",
        ) from error


def _fill(
    stage: Path, bundle: Bundle, levels: Sequence[str], made_from: Mapping[str, Any] | None
) -> None:
    """Write all files of an empty register, the one that makes it a register last."""
    stage.chmod(0o755)  # others may read what was private while it was made
    bundle.copy_to(stage / BUNDLE)
    Database.create(stage / DATABASE, bundle.fingerprint)
    for name in FILES[1:]:
        (stage / name).touch()
    write_manifest(stage, bundle, levels, made_from)
