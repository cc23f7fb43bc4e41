"""How well each contestant retrieves on labelled designs: the other half of every cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_retrieval.bench.contestants import Contestant
from edge_retrieval.bench.course import Course
from edge_retrieval.evaluate import evaluate_source
from edge_retrieval.report import Measurement
from edge_retrieval.sources import Note

NAMED = 20
"""Inputs that cannot be read and are named; of more, the number."""

METRICS = ("mAP", "hit_rate@1", "hit_rate@5", "recall@10")


def measure_quality(source: Path, who: Sequence[Contestant], course: Course) -> list[Measurement]:
    """Return `quality` of every contestant: each figure searches among all the others.

    Of the finest level that has relevant figures, "design" as a rule; what is relevant is told in
    `metrics.leave_one_out`, "inclusive".

    Raises:
        EvaluationError: Fewer than two figures.
        SourceError: It cannot be read at all.
    """
    found = []
    for one in who:
        scores = evaluate_source(source, one.encoder, track=course.track)
        skipped = [one for one in scores.problems if not isinstance(one, Note)]
        course.skipped = len(skipped)
        for problem in skipped[:NAMED]:
            course.note(f"skipped, counts for nothing: {problem.where}: {problem.reason}")
        if len(skipped) > NAMED:
            course.note(f"{source.name}: {len(skipped) - NAMED} more inputs could not be read")
        table = [
            item
            for item in scores.figures
            if item.relevance == "inclusive" and METRICS[0] in item.values
        ]
        if not table:
            course.note(f"{source.name}: no two figures of one design: no quality is measured")
            return []
        labels = {key: value for key, value in one.labels.items() if key != "threads"}
        finest = table[-1]
        found += [
            Measurement(
                "quality", "1", (finest.values[metric],),
                {**labels, "metric": metric, "level": finest.level},
            )
            for metric in METRICS
            if metric in finest.values
        ]  # fmt: skip
    return found
