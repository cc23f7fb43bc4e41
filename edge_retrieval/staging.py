"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path


@contextlib.contextmanager
def staged(folder: Path, *, replaces: Collection[str] = ()) -> Iterator[Path]:
    """Give an empty folder to fill; on leaving without an error it takes the place of `folder`.

    It stands beside `folder`, since a rename is atomic only within one file system. Where `folder`
    exists it is swapped: a process that is killed between the two renames leaves the old content
    whole, under the name `.NAME.old-*/previous`.

    Args:
        folder: Where the content shall be. Parents are made.
        replaces: Names in an existing `folder` that the new content stands for; all else that is
            there moves along, unless the new content holds the same name.

    Raises:
        OSError: It cannot be written. `folder` is as it was.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100  resolve() would follow a link
    folder.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{folder.name}.new-", dir=folder.parent))
    try:
        yield stage
        stage.chmod(0o755)  # mkdtemp's 0700 would hide the content from other users
        for path in (*stage.iterdir(), stage):
            _sync(path)
        if folder.exists():
            _swap(stage, folder, replaces)
        else:
            stage.rename(folder)
        _sync(folder.parent)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _swap(stage: Path, folder: Path, replaces: Collection[str]) -> None:
    previous = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old-", dir=folder.parent)) / "previous"
    folder.rename(previous)
    try:
        stage.rename(folder)
    except OSError:
        previous.rename(folder)
        previous.parent.rmdir()
        raise
    for path in previous.iterdir():
        if path.name not in replaces and not (folder / path.name).exists():
            path.rename(folder / path.name)
    shutil.rmtree(previous.parent)


def _sync(path: Path) -> None:
    """Make the disk hold what was written, so that the rename cannot overtake it."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return  # Windows cannot open a folder
    # Windows syncs no handle that only reads.
    handle = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(file: Path, content: bytes) -> None:
    """Write a file whole or not at all, by way of a hidden one beside it; else OSError."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True) if partial.is_file() else None
        raise
