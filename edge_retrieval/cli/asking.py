"""What a user named to search with: drawings, folders of drawings, designs of the register."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_retrieval.cli.talk import STDIN, read_drawing
from edge_retrieval.errors import ConfigError, DrawingError, EdgeRetrievalError

if TYPE_CHECKING:
    from edge_retrieval.arrays import Embeddings
    from edge_retrieval.register import Register
    from edge_retrieval.search import Query


@dataclass
class Asking:
    """What is searched with.

    Attributes:
        queries: In the order in which they were named.
        embeddings: Of each that is a design of the register (F, D); None for drawings.
        drawings: The files' bytes by their SHA-256.
        unread: Why a file could not be read.
        named: How many files were named.
    """

    queries: list[Query] = field(default_factory=list)
    embeddings: list[Embeddings | None] = field(default_factory=list)
    drawings: dict[str, bytes] = field(default_factory=dict)
    unread: list[DrawingError] = field(default_factory=list)
    named: int = 0


def ask(named: Sequence[Path], register: Register, *, whole: bool, each: bool) -> Asking:
    """Read what the user named.

    Args:
        named: Files, folders of files, "-", or numbers of designs of the register.
        register: Knows its designs.
        whole: Take each file as one figure: do not cut it.
        each: Every file and design is a query of its own; else all are views of one product.

    Raises:
        DrawingError: A folder without a drawing.
        ConfigError: A design of the register among drawings.
    """
    asking = Asking()
    designs = [_design(path, register) for path in named]
    if not each and any(designs) and len(named) > 1:
        raise ConfigError(
            f"{next(filter(None, designs))} is a design of the register: it is searched with alone",
            hint="name it alone, or search with each of them alone: --each",
        )
    views: list[Query] = []
    for path, design in zip(named, designs, strict=True):
        if design:
            from edge_retrieval.search import query_of_design

            query, vectors = query_of_design(register, design)
            asking.queries.append(query)
            asking.embeddings.append(vectors)
            continue
        own = list(_read(path, asking, register, whole=whole))
        for query in own if each else ():
            _add(asking, [query], path)
        views += own
    if not each and views:
        _add(asking, views, named[0])
    return asking


def _add(asking: Asking, views: Sequence[Query], path: Path) -> None:
    from edge_retrieval.search import together

    whole = len(views) > 1 and path.is_dir() and {Path(v.name).parent for v in views} == {path}
    asking.queries.append(together(views, str(path) if whole else None))
    asking.embeddings.append(None)


def _design(path: Path, register: Register) -> str:
    """Return the number of the design that is meant; "" if a file is, or nothing is."""
    from edge_retrieval.filters import find_design

    if path == STDIN or path.exists():
        return ""
    try:
        columns = register.columns
        return columns.number(find_design(columns, str(path), where=register.folder))
    except EdgeRetrievalError:
        return ""


def _read(path: Path, asking: Asking, register: Register, *, whole: bool) -> Iterator[Query]:
    """Yield a query for each drawing that a name stands for; note what cannot be read."""
    from edge_retrieval.search import query_from_bytes

    for file in _files(path):
        asking.named += 1
        try:
            data = read_drawing(file)
            name = "standard input" if file == STDIN else str(file)
            query = query_from_bytes(data, name, cut=not whole)
        except DrawingError as error:
            asking.unread.append(_neither(file, register) or error)
            continue
        asking.drawings[query.sha256 or hashlib.sha256(data).hexdigest()] = data
        yield query


def _neither(path: Path, register: Register) -> DrawingError | None:
    """Return the error that tells of a name that may have been meant as a design's number."""
    from edge_retrieval.filters import find_design

    if path == STDIN or path.exists() or path.suffix or len(path.parts) != 1:
        return None
    try:
        find_design(register.columns, str(path), where=register.folder)
    except EdgeRetrievalError as error:
        name = register.name
        return DrawingError(f"{path} is neither a file nor a design of {name}", hint=error.hint)
    return None


def _as_numbered(name: str) -> list[tuple[int, str]]:
    """Return a key that puts "fig 10.png" after "fig 9.png"."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _files(path: Path) -> list[Path]:
    """Return the drawings in a folder, in the order in which a person numbers them."""
    if path == STDIN or not path.is_dir():
        return [path]
    from edge_retrieval.sources.files import is_image

    names = (child.name for child in path.iterdir() if child.is_file())
    found = [name for name in names if is_image(name) or name.lower().endswith(".pdf")]
    if not found:
        raise DrawingError(
            f"{path} is a folder without a drawing",
            hint="name files, or the folder they lie in",
        )
    return [path / name for name in sorted(found, key=_as_numbered) if not name.startswith(".")]


def refuse_nothing(asking: Asking) -> None:
    """Raise the `DrawingError` that says why there is nothing to search with."""
    if asking.queries:
        return
    if len(asking.unread) == 1:
        raise asking.unread[0]
    raise DrawingError(
        f"none of the {len(asking.unread)} drawings can be read", hint="see the reasons above"
    )
