"""A sheet -> figures ready to be embedded and kept: here, or in a process that does nothing else.

Such a process is started as `python -c "... serve()"` and answers on its standard output: a length,
JSON of that length, then the bytes that it tells of. Nothing is pickled, and whatever program runs
this, no part of it is loaded there but `edge_retrieval.drawing`.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.drawing.cut import cut_sheet, whole_sheet
from edge_retrieval.drawing.fit import Preprocessing, fit, to_png
from edge_retrieval.errors import DrawingError, MissingExtraError
from edge_retrieval.limits import Limits, within
from edge_retrieval.sources.design import Box

PICTURE_SIDE = 320
"""Longest side of the picture kept of each figure, in pixels."""

_LENGTH = struct.Struct("<I")
Message = tuple[dict[str, Any], list[bytes]]


@dataclass(frozen=True)
class SheetTask:
    """A sheet to be cut.

    Attributes:
        data: Its bytes.
        where: Where a person finds it, for messages.
        boxes: Where its figures are, if that is known.
        single: It is one figure already.
    """

    data: bytes
    where: str
    boxes: tuple[Box, ...] | None = None
    single: bool = False


class ReadyFigure(NamedTuple):
    """A figure ready to be embedded and kept.

    Attributes:
        box: Where it is on its sheet.
        turned: Degrees counter-clockwise by which it was turned upright.
        image: `(C, H, W)` float32, from `fit`.
        png: Its small picture.
    """

    box: Box
    turned: int
    image: NDArray[np.float32]
    png: bytes


def make_ready(task: SheetTask, preprocessing: Preprocessing) -> list[ReadyFigure]:
    """Cut a sheet and fit its figures.

    Raises:
        DrawingError: As `cut_sheet`, and where memory does not suffice.
        MissingExtraError: A PDF without the extra 'pdf'.
    """
    try:
        if task.single:
            figures = [whole_sheet(task.data, where=task.where)]
        else:
            figures = cut_sheet(task.data, where=task.where, boxes=task.boxes)
        return [
            ReadyFigure(
                box=figure.box,
                turned=figure.turned,
                image=fit(figure, preprocessing),
                png=to_png(figure.pixels, side=PICTURE_SIDE),
            )
            for figure in figures
        ]
    except MemoryError as error:
        raise DrawingError(
            f"{task.where}: too little memory to unpack it", hint="save it at a lower resolution"
        ) from error


def serve() -> None:
    """Answer on standard output what is asked on standard input, until that ends."""
    source, sink = streams()
    begin = receive(source)
    if begin is None:
        return
    preprocessing = Preprocessing.from_json(begin[0]["preprocessing"])
    with within(Limits(**begin[0]["limits"])):
        _answer(source, sink, preprocessing)


def streams() -> tuple[IO[bytes], IO[bytes]]:
    """Return standard input, and what was standard output: nobody else writes to it any more."""
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # so that nobody else's words get between
    return sys.stdin.buffer, sink


def greet(sink: IO[bytes], preprocessing: Preprocessing, limits: Limits) -> None:
    """Tell a process that runs `serve` what figures are fitted to, and what may be read."""
    send(sink, {"preprocessing": preprocessing.to_json(), "limits": asdict(limits)})


def _answer(source: IO[bytes], sink: IO[bytes], preprocessing: Preprocessing) -> None:
    send(sink, {"ready": True})
    while (message := receive(source)) is not None:
        try:
            figures = make_ready(_task(message), preprocessing)
        except (DrawingError, MissingExtraError) as error:
            kind = type(error).__name__
            send(sink, {"error": kind, "reason": str(error), "hint": error.hint})
        except Exception:  # our bug: told to the one who asked
            send(sink, {"error": "bug", "reason": traceback.format_exc()})
        else:
            told = [(tuple(map(int, f.box)), f.turned, f.image.shape) for f in figures]
            send(sink, {"figures": told}, [part for f in figures for part in (f.image, f.png)])


def _task(message: Message) -> SheetTask:
    head, (data,) = message
    boxes = None if head["boxes"] is None else tuple(Box(*box) for box in head["boxes"])
    return SheetTask(data, head["where"], boxes, head["single"])


def ask(source: IO[bytes], sink: IO[bytes], task: SheetTask) -> list[ReadyFigure]:
    """Have a process that runs `serve` cut a sheet.

    Raises:
        DrawingError: As `make_ready`.
        MissingExtraError: As `make_ready`.
        EOFError, OSError: The process has ended.
    """
    head = {"where": task.where, "boxes": task.boxes, "single": task.single}
    send(sink, head, [task.data])
    answer = receive(source)
    if answer is None:
        raise EOFError
    told, parts = answer
    if "error" in told:
        if told["error"] == "bug":
            raise RuntimeError(f"{task.where}: {told['reason']}")
        kind = MissingExtraError if told["error"] == "MissingExtraError" else DrawingError
        raise kind(told["reason"], hint=told["hint"])
    return [
        ReadyFigure(Box(*box), turned, np.frombuffer(image, np.float32).reshape(shape), bytes(png))
        for (box, turned, shape), image, png in zip(
            told["figures"], parts[0::2], parts[1::2], strict=True
        )
    ]


def send(sink: IO[bytes], head: Mapping[str, Any], parts: Sequence[Any] = ()) -> None:
    """Write a message: JSON, and parts that are bytes or arrays."""
    views = [memoryview(part).cast("B") for part in parts]
    text = json.dumps({**head, "parts": [len(view) for view in views]}).encode()
    sink.write(_LENGTH.pack(len(text)) + text)
    for view in views:
        sink.write(view)
    sink.flush()


def receive(source: IO[bytes]) -> Message | None:
    """Read a message; None if there are no more.

    Raises:
        EOFError: It ends in the middle.
    """
    start = source.read(_LENGTH.size)
    if not start:
        return None
    head = json.loads(_exactly(source, _LENGTH.unpack(start.ljust(_LENGTH.size, b"\0"))[0]))
    return head, [_exactly(source, length) for length in head.pop("parts")]


def _exactly(source: IO[bytes], length: int) -> bytes:
    data = source.read(length)
    if len(data) != length:
        raise EOFError
    return data
