"""How designs get into a register: read, cut, embed and commit, a batch at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from edge_retrieval.drawing import FigureImage, cut_sheet, to_png, whole_sheet
from edge_retrieval.encoder import Encoder, embed_figures
from edge_retrieval.errors import DrawingError, RegisterError
from edge_retrieval.progress import Track
from edge_retrieval.register.database import Database
from edge_retrieval.register.reading import (
    has_sheet,
    read_design,
)
from edge_retrieval.register.records import AddResult, DesignRecord
from edge_retrieval.register.writing import (
    NewFigure,
    Store,
    drop_problems,
    put_design,
    put_figures,
    put_problem,
    put_sheet,
)
from edge_retrieval.sources.design import Design, Problem, Sheet, in_unicode

COMMIT_FIGURES = 64
"""So many figures are committed together: what a kill costs, and how much memory it takes."""

PICTURE_SIDE = 320
"""Longest side of the picture kept of each figure, in pixels."""


def moment(name: str) -> None:
    """Do nothing: a test replaces this to end the process at the worst of moments."""


class Adder:
    """One writer at work. Everything happens inside a transaction that `_commit` ends.

    Args:
        database: Opened for writing, under the writer's lock.
        store: The files of vectors and pictures.
        depth: Number of labels above a design.
        encoder: What embeds the figures.
        batch: Figures that are embedded together.
        source: Name of what is indexed; kept with each new design.
    """

    def __init__(
        self,
        database: Database,
        store: Store,
        *,
        depth: int,
        encoder: Encoder,
        batch: int,
        source: str = "",
    ) -> None:
        self._database = database
        self._store = store
        self._source = source
        self._depth = depth
        self._encoder = encoder
        self._batch = batch
        self._pending: list[FigureImage] = []
        self._figures: list[NewFigure] = []  # what is known of them
        self._numbered = 0  # figures of the design at hand so far
        self._places: list[str] = []  # of the pending figures, for messages
        self._result = AddResult()

    def add(self, designs: Iterable[Design | Problem], track: Track) -> AddResult:
        """Add everything; on any error, what was committed stays and the rest never was."""
        self._database.begin()
        try:
            for item in track(designs, "Indexing"):
                if isinstance(item, Problem):
                    self._report(item.where, item.reason)
                else:
                    self._design(item)
            self._commit()
        finally:
            self._database.rollback()
        return self._result

    def _design(self, design: Design) -> None:
        found = read_design(self._database, design.number)
        if reason := self._refusal(design, found[1] if found else None):
            self._report(design.where, reason)
            return
        key = self._update(design, *found) if found else None
        self._numbered = sum(figure.design == key for figure in self._figures)
        self._numbered += found[1].figures_count if found else 0
        sheets = [sheet for sheet in design.sheets if sheet.role != "front"]
        self._result.front_pages += len(design.sheets) - len(sheets)
        if not sheets:
            self._report(design.where, f"{design.number} has no sheet of drawings")
        for sheet in sheets:
            key = self._sheet(design, key, sheet)
            if len(self._pending) >= COMMIT_FIGURES:
                self._commit()
                self._database.begin()
        if key is not None:
            self._compare_with_stated(design)

    def _refusal(self, design: Design, old: DesignRecord | None) -> str | None:
        if not design.number:
            return "a design without a number"
        if len(design.labels) not in (0, self._depth):
            path = "/".join(design.labels)
            return f"{design.number} has the classes {path}; this register has {self._depth} levels"
        other = old and design.labels and old.labels and design.labels != old.labels
        if old and other and old.where != design.where:
            return (
                f"the number {design.number} is taken by a design in {old.labels[-1]} "
                f"({old.where}); this one is in {design.labels[-1]}"
            )
        return None

    def _update(self, design: Design, key: int, old: DesignRecord) -> int:
        """Write down what is new; what the newer source does not know stays as it was."""
        changes = {
            name: value
            for name in Design.__dataclass_fields__
            if name not in ("number", "sheets")
            and (value := getattr(design, name)) not in ((), "", None, getattr(old, name))
        }
        if changes:
            kept = {k: getattr(old, k) for k in Design.__dataclass_fields__ if hasattr(old, k)}
            put_design(
                self._database, replace(design, **(kept | changes)), source=old.source, old=key
            )
            self._result.designs_updated += changes.keys() != {"where"}
        return key

    def _sheet(self, design: Design, key: int | None, sheet: Sheet) -> int | None:
        """Read one sheet; return the id of its design, None while the design has no figure."""
        try:
            data = sheet.read()
            sha256 = hashlib.sha256(data).hexdigest()
            if key is not None and has_sheet(self._database, key, sha256):
                self._result.unchanged += 1
                return key
            figures = _cut(sheet, data)
        except DrawingError as error:
            self._report(sheet.where, str(error).removeprefix(f"{sheet.where}: "))
            return key
        if not figures:
            self._report(sheet.where, "no figure was found on it")
            return key
        if key is None:
            key = put_design(self._database, design, source=self._source)
            self._result.designs_added += 1
        told = len(sheet.captions) == len(figures)
        record = put_sheet(self._database, key, sheet.name, sha256)
        for i, figure in enumerate(figures):
            self._numbered += 1
            self._figures.append(
                NewFigure(
                    design=key,
                    sheet=record,
                    figure=self._numbered,
                    box=figure.box,
                    turned=figure.turned,
                    caption=sheet.captions[i] if told else "",
                    png=to_png(figure.pixels, side=PICTURE_SIDE),
                )
            )
        drop_problems(self._database, sheet.where)
        self._pending += figures
        self._places += [f"{sheet.where}, figure {i + 1}" for i in range(len(figures))]
        self._result.sheets_read += 1
        self._result.figures_added += len(figures)
        return key

    def _compare_with_stated(self, design: Design) -> None:
        found = self._numbered
        if design.stated_figures is not None and design.stated_figures != found:
            stated = f"the office states {design.stated_figures} figures"
            self._result.notes.append(Problem(design.where, f"{stated}, the cut found {found}"))

    def _report(self, where: str, reason: str) -> None:
        problem = Problem(in_unicode(where), in_unicode(reason))
        self._result.problems.append(problem)
        put_problem(self._database, problem)

    def _commit(self) -> None:
        """Embed what is pending, write the vectors to the disk, then end the transaction."""
        if self._pending:
            vectors = embed_figures(self._encoder, self._pending, batch=self._batch)
            good = np.isclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)  # NaN is not close
            if vectors.shape != (len(self._pending), self._encoder.dim) or not good.all():
                raise RegisterError(
                    f"{self._places[int(np.argmin(good))]}: its vector is not of length 1",
                    hint="check the bundle on this device: edge-ret doctor BUNDLE",
                )
            moment("embedded")
            put_figures(self._database, self._store, self._figures, vectors)
            moment("vectors written")
        moment("before commit")
        self._database.commit()
        moment("committed")
        self._pending, self._figures, self._places = [], [], []


def _cut(sheet: Sheet, data: bytes) -> list[FigureImage]:
    if getattr(sheet, "single", False):
        return [whole_sheet(data, where=sheet.where)]
    return cut_sheet(data, where=sheet.where, boxes=sheet.boxes)
