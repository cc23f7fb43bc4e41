"""New designs as they arrive, a few at a time, with all their views embedded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from edge_retrieval.arrays import Embeddings
from edge_retrieval.drawing.ready import ReadyFigure, SheetTask
from edge_retrieval.encoder import Encoder
from edge_retrieval.errors import BundleError, BundleMismatchError, ConfigError, DrawingError
from edge_retrieval.register import DesignRecord, Register
from edge_retrieval.register.ahead import Begin, End, Step, Taken, look_ahead
from edge_retrieval.register.cutters import Cutters
from edge_retrieval.sources import Design, Problem

BATCH = 16
"""Figures that are embedded at once."""
ENOUGH = 64
"""Figures that are waited for: few designs fill a batch alone."""


@dataclass(frozen=True)
class Arrived:
    """A new design with all its views.

    Attributes:
        design: What is known of it.
        embeddings: ``(F, D)`` rows of length 1, one for each view, F at least 1.
        sheets: SHA-256 of the sheets that its views were cut from.
        picture: Gives the small PNG of a view, by its place from 0.
        front_pages: Left out, since they repeat figures of other sheets.
    """

    design: Design | DesignRecord
    embeddings: Embeddings
    sheets: frozenset[str]
    picture: Callable[[int], bytes]
    front_pages: int = 0


def from_source(
    items: Iterable[Design | Problem], encoder: Encoder, *, jobs: int = 1
) -> Generator[Arrived | Problem, None, None]:
    """Cut and embed designs as a register does; hold no more of them than are embedded together.

    Args:
        items: From `open_source`.
        encoder: What embeds.
        jobs: Processes that cut sheets, if there are many; 1 cuts them here.

    Yields:
        Each design of which a view could be read, and each problem.

    Raises:
        BundleError: The encoder gives numbers that are not finite.
        ConfigError: `jobs` below 1.
    """
    if jobs < 1:
        raise ConfigError(f"{jobs} jobs", hint="give 1 or more")
    with Cutters(encoder.preprocessing, jobs) as cutters:
        waiting: list[_Cut] = []
        for found in _cut(look_ahead(_steps(items, cutters))):
            if isinstance(found, Problem):
                yield found
                continue
            waiting.append(found)
            if sum(len(cut.figures) for cut in waiting) >= ENOUGH:
                yield from _embedded(waiting, encoder)
                waiting = []
        yield from _embedded(waiting, encoder)


def from_register(new: Register, portfolio: Register) -> Iterator[Arrived]:
    """Yield the living designs of a register; nothing is embedded.

    Raises:
        BundleMismatchError: At once: its vectors are of another encoder than the portfolio's.
        ConfigError: At once: it is the portfolio.
        RegisterError: It is damaged.
    """
    if new.folder.resolve() == portfolio.folder.resolve():
        raise ConfigError(
            f"{new.folder}: is the portfolio itself", hint="name what is new: a folder, a tar"
        )
    if new.bundle.fingerprint != portfolio.bundle.fingerprint:
        own, other = (
            f"{one.bundle.name} ({one.bundle.fingerprint[:12]}, {one.bundle.dim} numbers a figure)"
            for one in (portfolio, new)
        )
        raise BundleMismatchError(
            f"{new.folder}: made by the bundle {other}, the portfolio by {own}",
            hint="give the designs themselves: they are then embedded by the portfolio's bundle",
        )
    return _registered(new)


def _registered(new: Register) -> Iterator[Arrived]:
    rows = new.living_rows()
    order = rows[np.argsort(new.columns.design_of[rows], kind="stable")]
    of = new.columns.design_of[order]
    starts = np.flatnonzero(np.diff(of, prepend=-1))
    for own in np.split(order, starts[1:]) if len(order) else []:
        figures = sorted(new.figures(own), key=lambda figure: figure.figure)
        places = [figure.row for figure in figures]
        yield Arrived(
            design=new.design(figures[0].design),
            embeddings=new.read_rows(places),
            sheets=frozenset(figure.sheet_sha256 for figure in figures),
            picture=lambda view, places=places: new.picture(places[view]),  # type: ignore[misc]
        )


@dataclass(frozen=True)
class _Cut:
    """A new design whose figures wait to be embedded."""

    design: Design
    figures: list[ReadyFigure]
    sheets: frozenset[str]


def _steps(items: Iterable[Design | Problem], cutters: Cutters) -> Iterator[Step]:
    """Say what there is to do, and have the sheets cut: some way ahead of what is done."""
    for item in items:
        if isinstance(item, Problem):
            yield item
            continue
        yield Begin(item)
        for sheet in item.sheets:
            if sheet.role == "front":
                continue
            try:
                data = sheet.read()
            except DrawingError as error:
                yield _problem(sheet.where, error)
                continue
            task = SheetTask(data, sheet.where, sheet.boxes, sheet.single)
            yield Taken(sheet, data, hashlib.sha256(data).hexdigest(), cutters.submit(task))
        yield End()


def _cut(steps: Iterable[Step]) -> Iterator[_Cut | Problem]:
    """Wait for the sheets of each design, in order."""
    design: Design | None = None
    figures: list[ReadyFigure] = []
    sheets: set[str] = set()
    for step in steps:
        if isinstance(step, Problem):
            yield step
        elif isinstance(step, Begin):
            design, figures, sheets = step.design, [], set()
        elif isinstance(step, Taken):
            assert step.cut is not None
            try:
                found = step.cut.result()
            except DrawingError as error:
                yield _problem(step.sheet.where, error)
                continue
            if not found:
                yield Problem(step.sheet.where, "no figure was found on it")
                continue
            figures += [figure for figure in found if isinstance(figure, ReadyFigure)]  # all are
            sheets.add(step.sha256)
        elif design is not None:
            if figures:
                yield _Cut(design, figures, frozenset(sheets))
            elif all(sheet.role == "front" for sheet in design.sheets):
                yield Problem(design.where, f"{design.number} has no sheet of drawings")


def _embedded(waiting: list[_Cut], encoder: Encoder) -> Iterator[Arrived]:
    images = [figure.image for cut in waiting for figure in cut.figures]
    rows = np.empty((len(images), encoder.dim), np.float32)
    for start in range(0, len(images), BATCH):
        rows[start : start + BATCH] = encoder.embed(np.stack(images[start : start + BATCH]))
    if not np.isfinite(rows).all():
        raise BundleError(
            "the encoder gives numbers that are not finite",
            hint="check the portfolio's bundle on this device: edge-ret doctor PORTFOLIO/bundle",
        )
    start = 0
    for cut in waiting:
        pictures = [figure.png for figure in cut.figures]
        stop = start + len(pictures)
        fronts = sum(sheet.role == "front" for sheet in cut.design.sheets)
        yield Arrived(cut.design, rows[start:stop], cut.sheets, pictures.__getitem__, fronts)
        start = stop


def _problem(where: str, error: DrawingError) -> Problem:
    return Problem(where, str(error).removeprefix(f"{where}: "))
