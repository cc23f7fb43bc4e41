"""One bench from its first part to its report."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from edge_retrieval.bench.contestants import Contestant, contestants
from edge_retrieval.bench.course import Course
from edge_retrieval.bench.fresh import measure_cold_start, measure_memory
from edge_retrieval.bench.growth import measure_growth
from edge_retrieval.bench.lasting import measure_energy, measure_sustained
from edge_retrieval.bench.latency import Searcher, measure_latency
from edge_retrieval.bench.quality import measure_quality
from edge_retrieval.bench.settings import BenchSettings
from edge_retrieval.bench.throughput import measure_throughput
from edge_retrieval.errors import EdgeRetrievalError, EvaluationError, SourceError
from edge_retrieval.progress import Track, silent
from edge_retrieval.provenance import sha256_of
from edge_retrieval.register import Register
from edge_retrieval.report import Measurement, Report

QUICK_DRAWINGS = 5
"""That a quick bench searches with: each as often as the others, in the rounds that it has."""


def bench(
    register: Register,
    sheets: Sequence[Path],
    settings: BenchSettings | None = None,
    *,
    sample: bool = False,
    track: Track = silent,
) -> Report:
    """Measure what a search costs on this device, and how good it is.

    Args:
        register: What is searched; its bundle is the first contestant.
        sheets: Drawings to search with, taken in turn; read from disk each time.
        settings: What is measured, and how long; None: everything, in less than three minutes.
        sample: Whether the register is the one that ships.
        track: Shows the rounds.

    Returns:
        What `edge_retrieval.bench` lists.

    A part that fails is a note, and named in the settings as "failed"; what was measured before it
    is kept. So are inputs of the data that could not be read: as many are "skipped".

    Raises:
        EvaluationError: No drawing.
        SourceError: There is no such data.
        EdgeRetrievalError: The first part that failed, if nothing at all could be measured.
        DrawingError: A drawing cannot be read.
        BundleError: The register's bundle cannot be run here, or a further bundle is none.
        ConfigError: No such backend.
    """
    settings = settings or BenchSettings()
    parts = [part for part in settings.parts if _asked(part, settings)]
    if not sheets or not parts:
        raise EvaluationError(
            f"nothing to measure: {'no part of the bench' if sheets else 'no drawing'}",
            hint="give a drawing, data for quality, and a time for sustained",
        )
    if settings.data is not None and not settings.data.exists():
        raise SourceError(f"{settings.data}: no such file or folder", hint="check --data")
    if settings.quick:
        sheets = sheets[:QUICK_DRAWINGS]
    course = Course(track)
    who = contestants(register.bundle, settings, course.notes)
    searcher = Searcher(register, sheets, settings.k)
    searcher.figures()  # a drawing that cannot be read is told before anything is measured
    found: list[Measurement] = []
    failed: dict[str, EdgeRetrievalError] = {}
    for part in parts:
        try:
            found += _measured(part, searcher, who, settings, course)
        except EdgeRetrievalError as error:
            failed[part] = error
            course.note(f"{part} is not measured: {error}")
    if failed and not found:
        raise next(iter(failed.values()))
    if busy := course.busy():
        course.notes.insert(0, busy)
    return Report.of(
        "bench",
        [*found, *course.measurements()],
        settings=_facts(register, who[0], sheets, settings)
        | {"sample": sample, "parts": parts, "seconds": round(course.at(), 1)}
        | ({"failed": list(failed)} if failed else {})
        | ({"skipped": course.skipped} if course.skipped else {}),
        notes=course.notes,
    )


def _asked(part: str, settings: BenchSettings) -> bool:
    if part == "quality":
        return settings.data is not None
    return part != "sustained" or settings.sustained > 0


def _measured(
    part: str,
    searcher: Searcher,
    who: Sequence[Contestant],
    settings: BenchSettings,
    course: Course,
) -> list[Measurement]:
    """Measure one part."""
    register, sheet, first = searcher.register.folder, searcher.sheets[0], who[0]
    if part == "cold_start":
        return measure_cold_start(register, sheet, first, settings, course)
    if part == "latency":
        return measure_latency(searcher, who, settings, course)
    if part == "throughput":
        return measure_throughput(searcher.figures(), first, settings, course)
    if part == "memory":
        return measure_memory(register, sheet, first, settings, course)
    if part == "search_cost":
        return measure_growth(searcher.register.bundle.dim, settings, course)
    if part == "quality":
        assert settings.data is not None
        return measure_quality(settings.data, who, course)
    if part == "energy":
        return measure_energy(searcher, who, settings, course)
    return measure_sustained(searcher, first, settings, course)


def _facts(
    register: Register, first: Contestant, sheets: Sequence[Path], settings: BenchSettings
) -> dict[str, object]:
    return {
        **first.labels,
        "fingerprint": first.bundle.fingerprint,
        "size": first.bundle.preprocessing.size,
        "figures": register.figures_count,
        "designs": register.designs_count,
        "k": settings.k,
        "drawings": len(sheets),
        "drawings_sha256": _digest(sheets),
        "quick": settings.quick,
        "data": None if settings.data is None else settings.data.name,
    }


def _digest(sheets: Sequence[Path]) -> str:
    """Return one hash of all drawings: reports of other drawings are not alike."""
    return hashlib.sha256("".join(sha256_of(sheet) for sheet in sheets).encode()).hexdigest()[:16]
