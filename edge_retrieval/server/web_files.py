"""The page's files: read once at the start; a request names one of them, never a path."""

from __future__ import annotations

from http import HTTPStatus
from importlib import resources
from importlib.resources.abc import Traversable

from edge_retrieval.server.answers import Answer, Refused

KINDS = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "webmanifest": "application/manifest+json",
}
"""Media type of each kind of file; others are not served."""

FIRST = "index.html"


def read_web_files() -> dict[str, Answer]:
    """Return the answer for each file of the page, by its name."""
    folder = resources.files("edge_retrieval.server") / "web"
    return dict(_below(folder, "")) if folder.is_dir() else {}


def _below(folder: Traversable, before: str) -> list[tuple[str, Answer]]:
    found = []
    for entry in folder.iterdir():
        name = f"{before}{entry.name}"
        kind = KINDS.get(entry.name.rpartition(".")[2])
        if entry.is_dir():
            found += _below(entry, f"{name}/")
        elif kind is not None:
            found.append((name, Answer(entry.read_bytes(), kind)))
    return found


def web_file(files: dict[str, Answer], name: str) -> Answer:
    """Return one file.

    Raises:
        Refused: There is none of that name.
    """
    if name not in files:
        raise Refused(HTTPStatus.NOT_FOUND, "no such file", "open / or /api")
    return files[name]
