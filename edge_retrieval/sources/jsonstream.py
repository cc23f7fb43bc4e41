"""JSON objects one by one, from a file too large to hold: an array of objects, or one a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from edge_retrieval.limits import current
from edge_retrieval.sources.design import Problem

PIECE = 1 << 20
DEEP = 500  # Python reads at least so many lists in lists
_BROKEN = 'broken JSON: not read up to the next line that begins with "{"'


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    """Yield line number and value of each object in a file, and a problem for what is none.

    After a broken object, reading goes on at the next line that begins with "{".

    Raises:
        OSError, UnicodeDecodeError: The file cannot be read.
    """
    decode, most = json.JSONDecoder().raw_decode, current().object
    with path.open(encoding="utf-8-sig") as file:
        text, at, line, ended = "", 0, 1, False
        while True:
            skipped = re.compile(r"[\s,\[\]]*").match(text, at)
            start = skipped.end() if skipped else at
            line += text.count("\n", at, start)
            inner = start
            try:
                value, end = decode(text, start)
                whole = True
            except ValueError:
                whole = False
            except RecursionError:  # what it begins with lies within it, and is not tried again
                whole, inner = False, _deep_within(text, start)
            if not whole and inner == start and not ended and len(text) - start < most:
                piece = file.read(max(PIECE, len(text) - start))
                text, at, ended = text[start:] + piece, 0, not piece
                continue
            if not whole:
                if start >= len(text):
                    return
                cut = not ended and len(text) - start >= most
                told = f"; its characters are {current().told('object')}" if cut else ""
                yield Problem(f"{path}:{line}", _BROKEN + told)
                following = re.compile(r"\n[ \t]*(?=\{)").search(text, inner)
                end = following.end() if following else len(text)
            elif isinstance(value, dict):
                yield line, value
            else:
                yield Problem(f"{path}:{line}", f"not an object but {str(value)[:20]!r}")
            line += text.count("\n", start, end)
            at = end


def _deep_within(text: str, start: int) -> int:
    """Return where `DEEP` objects and lists have begun since `start`."""
    places = islice(re.compile(r"[\[{]").finditer(text, start), DEEP)
    return max((place.start() for place in places), default=start)
