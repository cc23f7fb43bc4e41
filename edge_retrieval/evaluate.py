"""How well an encoder retrieves: a register's vectors, or a source that is cut and embedded now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_retrieval.arrays import Codes, Embeddings
from edge_retrieval.drawing import FigureImage, cut_sheet, whole_sheet
from edge_retrieval.encoder import Encoder, embed_figures
from edge_retrieval.encoder.prefix import cut_rows
from edge_retrieval.errors import ConfigError, DrawingError, EvaluationError
from edge_retrieval.metrics import RetrievalScores, by_design, leave_one_out
from edge_retrieval.progress import Track, silent
from edge_retrieval.register import Register
from edge_retrieval.sources import Problem, Sheet, open_source
from edge_retrieval.split import Keep
from edge_retrieval.taxonomy import UNKNOWN, LabelPath, partial_codes

BATCH = 64  # figures that are embedded at once


@dataclass(frozen=True)
class Embedded:
    """A source, cut and embedded; figures in the source's order.

    Attributes:
        embeddings: ``(N, D)`` rows of length 1.
        labels: ``(N,)`` labels above the design of each figure; () if unknown.
        designs: ``(N,)`` numbers of the designs.
        front_pages: Left out, since they repeat figures of other sheets.
        problems: What could not be read.
        other_parts: Designs left out, since they were not wanted.
        applicants: ``(N,)`` applicants of the design of each figure; () where none is known.
    """

    embeddings: Embeddings
    labels: tuple[LabelPath, ...]
    designs: tuple[str, ...]
    front_pages: int
    problems: tuple[Problem, ...]
    other_parts: int = 0
    applicants: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class Evaluation:
    """Retrieval scores of figures among one another.

    Attributes:
        figures: Each figure searches all the others: see `metrics.leave_one_out`.
        designs: Each figure searches the designs: see `metrics.by_design`.
        counts: Of "designs", "figures", "unlabelled" designs (they are found or not at design
            level, and count as unlike all others above it), "front_pages" left out, designs of
            "other_parts" of a split left out.
        problems: What could not be read.
    """

    figures: tuple[RetrievalScores, ...]
    designs: tuple[RetrievalScores, ...]
    counts: dict[str, int]
    problems: tuple[Problem, ...] = ()

    @property
    def tables(self) -> dict[str, tuple[RetrievalScores, ...]]:
        """Both lists of scores by name."""
        return {"figures": self.figures, "designs": self.designs}

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **{name: [asdict(scores) for scores in table] for name, table in self.tables.items()},
            "counts": self.counts,
            "problems": [{"where": p.where, "reason": p.reason} for p in self.problems],
        }


def evaluate_register(
    register: Register, *, dim: int | None = None, keep: Keep | None = None
) -> Evaluation:
    """Let every figure of a register search among all the others.

    Args:
        register: An open one.
        dim: Use so many of the first numbers of its vectors; None: all.
        keep: Tells the wanted designs by their numbers; the others are neither searched with nor
            in. None: all are wanted.

    Raises:
        EvaluationError: Fewer than two figures.
        RegisterError: A damaged vector: it must not be measured.
        ConfigError: The encoder was not trained for so many numbers, or the register has fewer.
    """
    own = register.bundle.dim
    if dim is not None and register.bundle.cut(dim).dim > own:
        raise ConfigError(
            f"{register.folder}: holds {own} numbers a figure, not {dim}",
            hint=f"leave out --dim, or choose one up to {own}",
        )
    rows = register.living_rows()  # those of removed designs are left out
    left_out = 0
    if keep is not None:
        columns = register.columns
        designs = columns.design_of[rows]  # (n,)
        present = np.unique(designs)
        wanted = np.array([keep(columns.number(int(place))) for place in present], bool)
        left_out = int((~wanted).sum())
        rows = rows[np.isin(designs, present[wanted])]
    register.check_batches_of(0, len(register.vectors))
    vectors = register.vectors if len(rows) == len(register.vectors) else register.vectors[rows]
    return _scored(
        cut_rows(vectors, dim or own), register.codes()[rows], register.levels, other_parts=left_out
    )


def evaluate_source(
    source: Path, encoder: Encoder, *, keep: Keep | None = None, track: Track = silent
) -> Evaluation:
    """Cut and embed a source, and let every figure search among all the others.

    Args, Raises: as `embed_source` and `evaluate_embedded`.
    """
    return evaluate_embedded(embed_source(source, encoder, keep=keep, track=track))


def embed_source(
    source: Path, encoder: Encoder, *, keep: Keep | None = None, track: Track = silent
) -> Embedded:
    """Cut every drawing sheet of a source and embed its figures; front pages are left out.

    Args:
        source: What `open_source` reads.
        encoder: What embeds.
        keep: Tells the wanted designs by their numbers; None: all.
        track: Shows progress.

    Raises:
        SourceError: It cannot be read at all.
    """
    rows = [np.empty((0, encoder.dim), np.float32)]
    labels: list[LabelPath] = []
    designs: list[str] = []
    applicants: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    pending: list[FigureImage] = []
    front_pages = 0
    unwanted: set[str] = set()
    for item in track(open_source(source), "Embedding"):
        if isinstance(item, Problem):
            problems.append(item)
            continue
        if keep is not None and not keep(item.number):
            unwanted.add(item.number)
            continue
        sheets = [sheet for sheet in item.sheets if sheet.role != "front"]
        front_pages += len(item.sheets) - len(sheets)
        figures = _cut(sheets, problems)
        pending += figures
        labels += [item.labels] * len(figures)
        designs += [item.number] * len(figures)
        applicants += [item.applicants] * len(figures)
        if len(pending) >= BATCH:
            rows.append(embed_figures(encoder, pending, batch=BATCH))
            pending = []
    rows.append(embed_figures(encoder, pending, batch=BATCH))
    embeddings = np.concatenate(rows)
    return Embedded(
        embeddings, tuple(labels), tuple(designs), front_pages, tuple(problems), len(unwanted),
        tuple(applicants),
    )  # fmt: skip


def evaluate_embedded(embedded: Embedded) -> Evaluation:
    """Let every figure of a source search among all the others.

    Raises:
        EvaluationError: Fewer than two figures, or an encoder that gives no numbers.
    """
    if not np.isfinite(embedded.embeddings).all():
        raise EvaluationError(
            "the encoder gives numbers that are not finite", hint="take another checkpoint"
        )
    pairs = zip(embedded.labels, embedded.designs, strict=True)
    levels, codes = partial_codes(pairs)
    return _scored(
        embedded.embeddings, codes, levels, embedded.front_pages, embedded.problems,
        embedded.other_parts,
    )  # fmt: skip


def _scored(
    embeddings: Embeddings,
    codes: Codes,
    levels: tuple[str, ...],
    front_pages: int = 0,
    problems: tuple[Problem, ...] = (),
    other_parts: int = 0,
) -> Evaluation:
    first = np.unique(codes[:, -1], return_index=True)[1]  # one figure of each design
    bare = (codes[first, :-1] == UNKNOWN).all(axis=1)
    counts = {
        "designs": len(first),
        "figures": len(codes),
        "unlabelled": int(bare.sum()),
        "front_pages": front_pages,
        "other_parts": other_parts,
    }
    return Evaluation(
        tuple(leave_one_out(embeddings, codes, levels)),
        tuple(by_design(embeddings, codes, levels)),
        counts,
        problems,
    )


def _cut(sheets: Iterable[Sheet], problems: list[Problem]) -> list[FigureImage]:
    """Cut sheets as a register does; what cannot be read is added to `problems`."""
    figures: list[FigureImage] = []
    for sheet in sheets:
        try:
            data = sheet.read()
            found = (
                [whole_sheet(data, where=sheet.where)]
                if sheet.single
                else cut_sheet(data, where=sheet.where, boxes=sheet.boxes)
            )
        except DrawingError as error:
            problems.append(Problem(sheet.where, str(error).removeprefix(f"{sheet.where}: ")))
            continue
        if not found:
            problems.append(Problem(sheet.where, "no figure was found on it"))
        figures += found
    return figures
