"""A shard on disk: what a worker is asked to embed, and what it has made of it.

    asked-IDENTITY.shard   the recipe, then each sheet: its bytes, its place, where its figures are
    done-IDENTITY.shard    the keys of its sheets, then each sheet: figures, pictures and vectors,
                           or why it cannot be read; at the end the SHA-256 of all before
    begun-IDENTITY         there while a worker is at it, and where one has ended in the middle

The first two are messages as `drawing.ready` writes them. Such a file appears whole: it is written
under another name and renamed. A shard's identity is the SHA-256 of its recipe and of the places
and bytes of its sheets: the same name is the same work, whoever did it and when.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from edge_retrieval.drawing import CUT_VERSION, FIT_VERSION
from edge_retrieval.drawing.ready import Message, SheetTask, receive, send
from edge_retrieval.errors import DrawingError
from edge_retrieval.limits import Limits
from edge_retrieval.register.cutters import EmbeddedFigure
from edge_retrieval.sources.design import Box

FORMAT = 1
SEAL = 32
"""Bytes of SHA-256 at the end of a result."""

UNREADABLE = (OSError, EOFError, ValueError, LookupError, TypeError)
"""What reading a file raises that is not what was written."""


@dataclass(frozen=True)
class Recipe:
    """All that decides what becomes of a sheet, beside its bytes.

    Attributes:
        bundle: Name of the bundle's folder, in the work folder.
        fingerprint: Of the bundle, or of the cut of it.
        dim: Numbers in a vector.
        backend: The runtime.
        limits: How much of a file is read.
        cut: Version of the cut.
        fit: Version of the scaling.
        format: Version of these files.
    """

    bundle: str
    fingerprint: str
    dim: int
    backend: str
    limits: Limits
    cut: int = CUT_VERSION
    fit: int = FIT_VERSION
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """SHA-256 of it, in hex."""
        return _digest(asdict(self))

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Recipe:
        """Read what `asdict` gave; TypeError if it is of another version."""
        return cls(**{**told, "limits": Limits(**told["limits"])})


class Asked(NamedTuple):
    """A sheet of a shard.

    Attributes:
        key: SHA-256 of its bytes and of where its figures are, in hex.
        where: Its place, for messages.
    """

    key: str
    where: str


@dataclass(frozen=True)
class Shard:
    """Sheets that are embedded together.

    Attributes:
        recipe: What is made of them.
        sheets: In the order of the source.
    """

    recipe: Recipe
    sheets: tuple[Asked, ...]

    @property
    def identity(self) -> str:
        """SHA-256 of the recipe and of the sheets, in hex."""
        return _digest([self.recipe.digest, self.sheets])

    def __len__(self) -> int:
        return len(self.sheets)


@dataclass(frozen=True)
class Made:
    """What became of a sheet: its figures, or why there are none.

    Attributes:
        figures: In order.
        error: Why it cannot be read, without its place; "" if it was.
        hint: What to do about it.
    """

    figures: tuple[EmbeddedFigure, ...] = ()
    error: str = ""
    hint: str = ""

    def for_sheet(self, where: str) -> list[EmbeddedFigure]:
        """Return the figures.

        Raises:
            DrawingError: The sheet could not be read.
        """
        if self.error:
            raise DrawingError(f"{where}: {self.error}", hint=self.hint)
        return list(self.figures)


def key_of(task: SheetTask) -> str:
    """Return the key of a sheet: the same bytes, cut in the same way."""
    return _digest([hashlib.sha256(task.data).hexdigest(), task.boxes, task.single])


def asked_name(identity: str) -> str:
    """Return the name of the file that tells a worker what to do."""
    return f"asked-{identity}.shard"


def done_name(identity: str) -> str:
    """Return the name of the file that a worker writes."""
    return f"done-{identity}.shard"


def begun_name(identity: str) -> str:
    """Return the name of the empty file that is there while a worker is at a shard."""
    return f"begun-{identity}"


@contextlib.contextmanager
def appearing(folder: Path) -> Iterator[tuple[IO[bytes], list[str]]]:
    """Give a file to write and an empty list; it appears under the name that is put in there.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    unfinished = folder / f"{secrets.token_hex(8)}.part"
    name: list[str] = []
    try:
        with unfinished.open("wb") as file:
            yield file, name
        unfinished.replace(folder / name[0])
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()


@dataclass
class Asking:
    """A shard that is still being put together: its sheets go to the disk as they come.

    Attributes:
        folder: The work folder.
        recipe: What shall be made of them.
        sheets: So far.
    """

    folder: Path
    recipe: Recipe
    sheets: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._file, self._name = self._stack.enter_context(appearing(self.folder))
        send(self._file, {"recipe": asdict(self.recipe)})

    def add(self, key: str, task: SheetTask) -> None:
        """Add a sheet."""
        head = {"where": task.where, "boxes": task.boxes, "single": task.single}
        self.add_message(Asked(key, task.where), (head, [task.data]))

    def add_message(self, sheet: Asked, message: Message) -> None:
        """Add a sheet as it stands in another file."""
        self.sheets.append(sheet)
        send(self._file, *message)

    def close(self) -> Shard:
        """Let the file appear; return what it asks for."""
        shard = Shard(self.recipe, tuple(self.sheets))
        self._name.append(asked_name(shard.identity))
        self._stack.close()
        return shard

    def discard(self) -> None:
        """Leave nothing of it."""
        self._file.close()
        with contextlib.suppress(LookupError, OSError):
            self._stack.close()


def read_asked(file: IO[bytes]) -> tuple[Recipe, Iterator[Message]]:
    """Return the recipe of an asked shard, and each of its sheets as it is read.

    Raises:
        EOFError, ValueError, LookupError, TypeError: It is not what was written.
    """
    begin = receive(file)
    if begin is None:
        raise EOFError
    return Recipe.from_json(begin[0]["recipe"]), iter(lambda: receive(file), None)


def task_of(message: Message) -> SheetTask:
    """Return the sheet that a message of an asked shard holds."""
    head, (data,) = message
    boxes = None if head["boxes"] is None else tuple(Box(*box) for box in head["boxes"])
    return SheetTask(data, head["where"], boxes, head["single"])


def split(folder: Path, shard: Shard) -> list[Shard]:
    """Write the two halves of an asked shard as shards of their own.

    Raises:
        OSError: A file cannot be read or written.
    """
    middle = len(shard) // 2
    halves: list[Shard] = []
    with (folder / asked_name(shard.identity)).open("rb") as file:
        _, messages = read_asked(file)
        for sheets in (shard.sheets[:middle], shard.sheets[middle:]):
            asking = Asking(folder, shard.recipe)
            try:
                for sheet in sheets:
                    asking.add_message(sheet, next(messages))
            except BaseException:
                asking.discard()
                raise
            halves.append(asking.close())
    return halves


def write_done(folder: Path, shard: Shard, made: Sequence[Made]) -> None:
    """Write what became of a shard.

    Raises:
        OSError: It cannot be written; nothing is left of it.
    """
    text = io.BytesIO()
    keys = [sheet.key for sheet in shard.sheets]
    send(text, {"identity": shard.identity, "recipe": shard.recipe.digest, "keys": keys})
    for one in made:
        told = [(tuple(map(int, figure.box)), figure.turned) for figure in one.figures]
        head = {"figures": told, "error": one.error, "hint": one.hint}
        vectors = np.array([figure.vector for figure in one.figures], "<f4")
        send(text, head, [vectors.tobytes(), *(figure.png for figure in one.figures)])
    content = text.getbuffer()
    with appearing(folder) as (file, name):
        file.write(content)
        file.write(hashlib.sha256(content).digest())
        name.append(done_name(shard.identity))


def read_done(folder: Path, identity: str, recipe: Recipe) -> dict[str, Made] | None:
    """Return what became of each sheet of a shard, by its key.

    None if that file is not there, is damaged, or is of another shard or recipe.
    """
    try:
        data = (folder / done_name(identity)).read_bytes()
        content = memoryview(data)[:-SEAL]
        if hashlib.sha256(content).digest() != data[-SEAL:]:
            return None
        file = io.BytesIO(content)
        head, _ = receive(file) or ({}, [])
        if (head["identity"], head["recipe"]) != (identity, recipe.digest):
            return None
        messages: Iterable[Message] = iter(lambda: receive(file), None)
        return {
            key: _made(message, recipe.dim)
            for key, message in zip(head["keys"], messages, strict=True)
        }
    except UNREADABLE:
        return None


def _made(message: Message, dim: int) -> Made:
    head, (vectors, *pngs) = message
    rows = np.frombuffer(vectors, "<f4").reshape(len(pngs), dim)
    figures = tuple(
        EmbeddedFigure(Box(*box), turned, png, row)
        for (box, turned), png, row in zip(head["figures"], pngs, rows, strict=True)
    )
    return Made(figures, head["error"], head["hint"])


def keys_done(folder: Path, recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield (key of a sheet, identity of the shard) for what seems to be done; not yet verified."""
    for path in sorted(folder.glob("done-*.shard")):
        with contextlib.suppress(*UNREADABLE), path.open("rb") as file:
            head, _ = receive(file) or ({}, [])
            if head["recipe"] == recipe.digest and path.name == done_name(head["identity"]):
                yield from ((key, head["identity"]) for key in head["keys"])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
