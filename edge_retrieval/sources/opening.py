"""Which reader reads a source, and that every text of it can be stored and printed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from edge_retrieval.errors import SourceError
from edge_retrieval.sources import deeppatent2, folder, table, uspto
from edge_retrieval.sources.design import Design, Problem, Sheet, in_unicode
from edge_retrieval.sources.files import is_archive, is_hidden, is_image, walk

SOURCES: dict[str, Callable[[Path], Iterator[Design | Problem]]] = {
    "uspto": uspto.read,
    "deeppatent2": deeppatent2.read,
    "folder": folder.read,
    "table": table.read,
}
Item = TypeVar("Item", Design, Problem, Sheet)
GROUPS_TO_LOOK_AT = 200  # folders of drawings after which no XML is expected any more


def open_source(path: Path, *, kind: str = "auto") -> Iterator[Design | Problem]:
    """Yield the designs of a source and the problems met, as they are read.

    Args:
        path: A folder, an archive, a table or a single drawing.
        kind: One of `SOURCES`, or "auto" to look at what is there.

    Raises:
        SourceError: At once: no such path or kind, no permission, nothing that is a source. At the
            end: neither a design nor a problem came. While reading a table: it cannot be read.
        MissingExtraError: The table is Parquet and pyarrow is not installed.
    """
    path = Path(path)
    if kind not in SOURCES and kind != "auto":
        raise SourceError(
            f"no source kind {kind!r}", hint=f"choose from auto, {', '.join(SOURCES)}"
        )
    _check_readable(path)
    if kind == "auto":
        kind = detect(path)
    return _read(path, kind)


def expected_designs(path: Path, *, kind: str = "auto") -> int | None:
    """Return about how many designs a source holds, by names alone; no drawing is opened.

    Args:
        path: As for `open_source`, which has found it to be a source.
        kind: One of `SOURCES`, or "auto".

    Returns:
        None where only reading it would tell: archives, DeepPatent2.
    """
    kind = detect(path) if kind == "auto" else kind
    if kind == "table":  # its rows are read, not its drawings
        return sum(isinstance(item, Design) for item in SOURCES[kind](path))
    if kind not in ("folder", "uspto") or not path.is_dir():
        return None
    count = 0
    for place, _, names in os.walk(path):
        if any(is_archive(name) for name in names):
            return None
        if kind == "uspto":
            count += sum(name.lower().endswith(".xml") for name in names)
        elif images := sum(is_image(name) and not is_hidden(name) for name in names):
            count += images if Path(place) == path else 1
    return count or None


def _read(path: Path, kind: str) -> Iterator[Design | Problem]:
    empty = True
    for item in SOURCES[kind](path):
        empty = False
        yield _writable(item)
    if empty:
        raise SourceError(
            f"{path}: nothing that the source kind {kind!r} reads",
            hint=f"check the path, or choose another kind: {', '.join(SOURCES)}",
        )


def _writable(item: Design | Problem) -> Design | Problem:
    """Let every text of an item be one that can be stored and printed."""
    if isinstance(item, Design):
        item = replace(item, sheets=tuple(_in_unicode(sheet) for sheet in item.sheets))
        return _in_unicode(item)
    return _in_unicode(item)


def _in_unicode(item: Item) -> Item:
    changes: dict[str, Any] = {}
    for field in fields(item):
        value = getattr(item, field.name)
        texts = value if isinstance(value, tuple) else (value,)
        if all(isinstance(text, str) for text in texts):
            written = tuple(in_unicode(text) for text in texts)
            if written != texts:
                changes[field.name] = written if isinstance(value, tuple) else written[0]
    return replace(item, **changes) if changes else item


def detect(path: Path) -> str:
    """Return the kind of source that `path` is, by names alone; no drawing is opened.

    Raises:
        SourceError: It is none that is known, or cannot be read.
    """
    _check_readable(path)
    if table.find(path) is not None:
        return "table"
    if deeppatent2.find(path):
        return "deeppatent2"
    images = 0
    problems: list[Problem] = []
    for group in walk(path):
        if isinstance(group, Problem):
            problems.append(group)
            continue
        names = [entry.name for entry in group.entries]
        if any(PurePosixPath(name).suffix.lower() == ".xml" for name in names):
            return "uspto"
        images += any(is_image(name) for name in names)
        if images >= GROUPS_TO_LOOK_AT:
            break
    if images:
        return "folder"
    if problems:
        raise SourceError(
            f"{problems[0].where}: {problems[0].reason}", hint="get the file again, or unpack it"
        )
    raise SourceError(
        f"{path}: no designs found: no grants, no metadata table, no drawings",
        hint="give a folder of USPTO grants, of drawings, or with a metadata.csv",
    )


def _check_readable(path: Path) -> None:
    try:
        if path.is_dir():
            next(iter(path.iterdir()), None)
        elif path.exists() and not path.is_file():
            raise SourceError(f"{path}: a pipe or a device", hint="give a folder or a file")
        else:
            with path.open("rb") as file:
                file.read(1)
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file or folder", hint="check the path") from None
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be read: {error.strerror}", hint="check that you may read it"
        ) from None
