"""A folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
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
    stage = _beside(folder, "new")
    try:
        stage.mkdir(0o700)
        yield stage
        stage.chmod(0o755)  # others may read what was private while it was made
        for path in (*stage.iterdir(), stage):
            _sync(path)
        if folder.exists():
            _swap(stage, folder, replaces)
        else:
            stage.rename(folder)
        with contextlib.suppress(OSError):  # it stands; nothing can be taken back any more
            _sync(folder.parent)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _beside(folder: Path, what: str) -> Path:
    """Return a name that nobody has. It is chosen before it is made: an interrupt in between
    must not leave a folder whose name nobody knows."""
    return folder.with_name(f".{folder.name}.{what}-{secrets.token_hex(6)}")


def _swap(stage: Path, folder: Path, replaces: Collection[str]) -> None:
    aside = _beside(folder, "old")
    previous = aside / "previous"
    made = {path.name for path in stage.iterdir()}
    try:
        aside.mkdir(0o700)
        folder.rename(previous)
        stage.rename(folder)
        for path in previous.iterdir():
            if path.name not in replaces and path.name not in made:
                path.rename(folder / path.name)
    except BaseException:
        _swap_back(stage, folder, previous, made)
        raise
    try:
        shutil.rmtree(aside, ignore_errors=True)
    finally:  # an interrupt: once more
        shutil.rmtree(aside, ignore_errors=True)


def _swap_back(stage: Path, folder: Path, previous: Path, made: Collection[str]) -> None:
    """Let `folder` be as it was, however far the swap came: the disk tells how far."""
    if previous.exists():
        if folder.exists():
            for path in folder.iterdir():
                if path.name not in made:
                    path.rename(previous / path.name)
            folder.rename(stage)
        previous.rename(folder)
    with contextlib.suppress(OSError):
        previous.parent.rmdir()


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
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
