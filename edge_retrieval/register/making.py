"""How a register comes to be, and the names of the files in it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_retrieval.bundle import Bundle
from edge_retrieval.errors import RegisterError
from edge_retrieval.register.database import Database
from edge_retrieval.register.files import pictures_name, vectors_name, writing
from edge_retrieval.register.manifest import MANIFEST, write_manifest

BUNDLE = "bundle"
DATABASE, GRAPH, LOCK = "designs.sqlite", "graph.hnsw", "writer.lock"
FILES = (DATABASE, vectors_name(0), pictures_name(0))


def make_folder(folder: Path, bundle: Bundle, levels: Sequence[str]) -> None:
    """Make an empty register: it appears whole or not at all.

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
        stage = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=beside))
        try:
            _fill(stage, bundle, levels)
            _put(stage, folder)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def _put(stage: Path, folder: Path) -> None:
    """Put a filled stage in its place. The bundle goes first: it never replaces another's."""
    try:
        if folder.exists():
            for name in (BUNDLE, *FILES, MANIFEST):
                (stage / name).rename(folder / name)
        else:
            stage.rename(folder)
    except OSError as error:
        if not (folder / MANIFEST).exists():
            raise
        raise RegisterError(
            f"{folder}: another process has made a register there this moment",
            hint="wait until it has finished, then add to it",
        ) from error


def _fill(stage: Path, bundle: Bundle, levels: Sequence[str]) -> None:
    """Write all files of an empty register, the one that makes it a register last."""
    stage.chmod(0o755)  # mkdtemp's 0700 would hide a shared register from others
    bundle.copy_to(stage / BUNDLE)
    Database.create(stage / DATABASE, bundle.fingerprint)
    for name in FILES[1:]:
        (stage / name).touch()
    write_manifest(stage, bundle, levels)
