"""What a worker does: a shard in, a file out. It knows nothing of engines."""

from __future__ import annotations

import contextlib
import platform
import threading
import traceback
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import ready
from edge_retrieval.drawing.ready import Message, ReadyFigure, SheetTask
from edge_retrieval.encoder import Encoder, load_encoder
from edge_retrieval.errors import BundleError, ClusterError, DrawingError, EdgeRetrievalError
from edge_retrieval.limits import within
from edge_retrieval.register.cutters import EmbeddedFigure
from edge_retrieval.scale.shards import (
    UNREADABLE,
    Asked,
    Made,
    Recipe,
    Shard,
    asked_name,
    begun_name,
    key_of,
    read_asked,
    read_done,
    task_of,
    write_done,
)

TOGETHER = 16
"""Figures that are embedded together."""

_ONE_AT_A_TIME = threading.Lock()  # a worker of a cluster may have threads, a session need not


def embed_shard(folder: str, identity: str) -> dict[str, Any]:
    """Cut and embed a shard, unless that has been done.

    Args:
        folder: The work folder.
        identity: Of the shard.

    Returns:
        ``{}`` if the file is there now; else what went wrong, as `raise_told` reads it. No error is
        raised: not every engine could carry it.
    """
    try:
        _embed(Path(folder), identity)
    except EdgeRetrievalError as error:
        return {"error": type(error).__name__, "reason": str(error), "hint": error.hint}
    except Exception:  # our bug: told to the one who asked
        return {"error": "bug", "reason": traceback.format_exc()}
    return {}


def _embed(folder: Path, identity: str) -> None:
    try:
        file = (folder / asked_name(identity)).open("rb")
    except FileNotFoundError as error:
        raise ClusterError(
            f"the worker on {platform.node()} does not see {error.filename}",
            hint="name a work folder that all workers see under the same path: --work",
        ) from error
    except OSError as error:
        raise _unreadable(folder, error) from error
    sheets: list[Asked] = []
    with file:
        try:
            recipe, messages = read_asked(file)
        except UNREADABLE as error:
            raise _unreadable(folder, error) from error
        _require_same_program(recipe)
        if read_done(folder, identity, recipe) is not None:
            return
        encoder = _encoder(str(folder), recipe)
        with _begun(folder / begun_name(identity)), within(recipe.limits):
            made = list(_made(_tasks(folder, messages, sheets), encoder))
    shard = Shard(recipe, tuple(sheets))
    if shard.identity != identity:
        raise ClusterError(
            f"{folder / asked_name(identity)}: its bytes are not those that were written",
            hint="check the disk of the work folder, then give the same command again",
        )
    try:
        write_done(folder, shard, made)
    except OSError as error:
        raise ClusterError(
            f"{folder}: the worker on {platform.node()} cannot write there: {error.strerror}",
            hint="make room, or let the worker write there; the same command does the rest",
        ) from error


@contextlib.contextmanager
def _begun(mark: Path) -> Iterator[None]:
    """Leave a mark where this process ends before it is done; a worker may hold other shards."""
    with contextlib.suppress(OSError):
        mark.touch()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            mark.unlink()


def _tasks(folder: Path, messages: Iterator[Message], sheets: list[Asked]) -> Iterator[SheetTask]:
    """Yield the sheets of a shard as they are read, and note what they are."""
    while True:
        try:
            message = next(messages, None)
            if message is None:
                return
            task = task_of(message)
        except UNREADABLE as error:
            raise _unreadable(folder, error) from error
        sheets.append(Asked(key_of(task), task.where))
        yield task


def _unreadable(folder: Path, error: Exception) -> ClusterError:
    return ClusterError(
        f"{folder}: what was asked of the worker on {platform.node()} cannot be read: {error}",
        hint="let all machines run the same version; check the disk of the work folder",
    )


def _made(tasks: Iterator[SheetTask], encoder: Encoder) -> Iterator[Made]:
    """Cut and embed sheets, some figures together."""
    waiting: list[list[ReadyFigure] | Made] = []
    figures = 0
    for task in tasks:
        try:
            cut: list[ReadyFigure] | Made = ready.make_ready(task, encoder.preprocessing)
        except DrawingError as error:
            cut = Made(error=str(error).removeprefix(f"{task.where}: "), hint=error.hint)
        waiting.append(cut)
        figures += 0 if isinstance(cut, Made) else len(cut)
        if figures >= TOGETHER:
            yield from _embedded(waiting, encoder)
            waiting, figures = [], 0
    yield from _embedded(waiting, encoder)


def _embedded(sheets: list[list[ReadyFigure] | Made], encoder: Encoder) -> Iterator[Made]:
    images = [figure.image for cut in sheets if not isinstance(cut, Made) for figure in cut]
    vectors = np.zeros((0, encoder.dim), np.float32)
    if images:
        with _ONE_AT_A_TIME:
            vectors = encoder.embed(np.stack(images))  # (N, D)
    rows = iter(vectors)
    for cut in sheets:
        if isinstance(cut, Made):
            yield cut
        else:
            yield Made(
                tuple(
                    EmbeddedFigure(figure.box, figure.turned, figure.png, next(rows))
                    for figure in cut
                )
            )


def _require_same_program(recipe: Recipe) -> None:
    own = Recipe(recipe.bundle, recipe.fingerprint, recipe.dim, recipe.backend, recipe.limits)
    if own != recipe:
        raise ClusterError(
            f"the worker on {platform.node()} runs another version: it cuts, or scales, otherwise",
            hint="install the same version of edge-retrieval on all machines",
        )


def _encoder(folder: str, recipe: Recipe) -> Encoder:
    with _ONE_AT_A_TIME:
        return _loaded(folder, recipe.bundle, recipe.fingerprint, recipe.dim, recipe.backend)


@lru_cache(maxsize=1)
def _loaded(folder: str, name: str, fingerprint: str, dim: int, backend: str) -> Encoder:
    """Load the encoder: once in a process."""
    bundle = Bundle.open(Path(folder) / name).cut(dim)
    if bundle.fingerprint != fingerprint:
        raise BundleError(
            f"{bundle.folder}: not the bundle that is indexed with",
            hint="remove the work folder, then give the same command again",
        )
    return load_encoder(bundle, backend=backend, threads=1)


def serve() -> None:
    """Answer on standard output what shards are asked for on standard input, until that ends."""
    source, sink = ready.streams()
    if ready.receive(source) is None:
        return
    ready.send(sink, {"ready": True})
    while (message := ready.receive(source)) is not None:
        outcome = embed_shard(message[0]["folder"], message[0]["identity"])
        with contextlib.suppress(BrokenPipeError):  # the file is there, whoever asked is not
            ready.send(sink, outcome)


def raise_told(outcome: dict[str, Any]) -> None:
    """Raise what `embed_shard` told, if anything."""
    from edge_retrieval import errors

    if not (name := outcome.get("error")):
        return
    kind = getattr(errors, name, None)
    if kind is None:
        raise RuntimeError(outcome["reason"])
    raise kind(outcome["reason"], hint=outcome["hint"])
