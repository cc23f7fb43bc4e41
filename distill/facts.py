"""What is written of a run's data and place, and what a person should know of it beforehand."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from distill.config import TrainConfig
from distill.data import Drawings, Scheme
from edge_retrieval.errors import SourceError
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.split import Split


def run_facts(
    sources: Sequence[Path],
    validation: Sequence[Path],
    drawings: Drawings,
    training: Sequence[Scheme],
    others: Drawings,
    held: Sequence[Scheme],
) -> dict[str, Any]:
    """Return the provenance of a run.

    Args:
        sources: What `drawings` was loaded from.
        validation: What `others` was loaded from, if anything.
        drawings: Those that `training` is of.
        training: What is trained on.
        others: Drawings that `held` is of.
        held: What is held out.

    Raises:
        SourceError: A scheme has one design only.
    """
    return {
        "created": now(),
        "versions": versions(),
        "host": host(),
        "sources": [path.name for path in sources],
        "validation": [path.name for path in validation],
        "training": {s.name: _counts(s) for s in training},
        "held_out": {s.name: _counts(s) for s in held},
        "drawings": drawings.digest,
        # What an export finds the run's own sources by, in a cache that others may share.
        "cut": {
            "sources": list(drawings.parts),
            "validation": list(others.parts) if validation else [],
        },
        "split": _split(training, others, held),
        "problems": len(drawings.problems),
        "notes": [note for scheme in training for note in _notes(scheme)],
    }


def _split(training: Sequence[Scheme], others: Drawings, held: Sequence[Scheme]) -> str:
    """Return a digest of what is trained on and what is held out."""
    digest = hashlib.sha256(others.digest.encode())
    for side in (training, held):
        rows = np.concatenate([np.empty(0, np.int64), *(scheme.rows for scheme in side)])
        digest.update(str(len(rows)).encode() + rows.tobytes())
    return digest.hexdigest()


def left_out(split: Split | None, drawings: Drawings, others: Drawings) -> list[str]:
    """Return lines that say how many designs a split kept from the run.

    Args:
        split: What it was begun with.
        drawings: What is trained on.
        others: What is held out: `drawings` itself, or of a source of its own.
    """
    if split is None:
        return []
    lines = [
        f"left out of the training: {drawings.left_out} designs that {split.name} does not give"
        " to train on"
    ]
    if others is not drawings:
        lines.append(
            f"left out of the validation: {others.left_out} designs that {split.name} does not"
            " give to validation"
        )
    return lines


def _counts(scheme: Scheme) -> dict[str, int]:
    levels = {n: len(np.unique(c)) for n, c in zip(scheme.levels, scheme.codes.T, strict=True)}
    return {**levels, "figures": len(scheme.rows)}


def beginning(facts: dict[str, Any], config: TrainConfig, device: object) -> list[str]:
    """Return lines that say what is trained on what, and what the labels cannot teach."""
    lines = [
        f"{config.backbone}, {config.size} px, loss {config.loss}, on {device}"
        + (f", teacher {config.teacher}" if config.teacher else "")
    ]
    for part, title in (("training", "training on"), ("held_out", "held out")):
        for name, counts in facts[part].items():
            said = ", ".join(f"{number} {_plural(level)}" for level, number in counts.items())
            lines.append(f"{title} {name}: {said}")
    return lines + [f"note: {note}" for note in facts["notes"]]


def _plural(level: str) -> str:
    if level.endswith("s"):
        return level if level == "figures" else f"{level}es"
    return f"{level}s"


def _notes(scheme: Scheme) -> list[str]:
    """Say what a person should know of a scheme's labels before it is trained on."""
    designs = len(np.unique(scheme.codes[:, -1]))
    if designs < 2:
        raise SourceError(
            f"{scheme.name}: one design to train on: nothing to tell it from",
            hint="add designs, or lower held_out",
        )
    found = []
    for level, codes in zip(scheme.levels[:-1], scheme.codes.T, strict=False):
        labels = np.unique(codes[codes >= 0])
        if len(labels) == 1 and (codes >= 0).all():
            found.append(
                f"{scheme.name}: every design has the same {level}, so its share of mass only pulls"
                " all together: give it 0"
            )
            continue
        known = codes >= 0
        pairs = np.unique(np.stack([codes[known], scheme.codes[known, -1]]), axis=1)
        single = int((np.bincount(np.unique(pairs[0], return_inverse=True)[1]) == 1).sum())
        if single:
            found.append(
                f"{scheme.name}: {single} of {len(labels)} at level {level} have one design only,"
                " which has no neighbour there to learn from"
            )
    return found
