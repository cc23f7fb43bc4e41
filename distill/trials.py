"""INT8 candidates of one format: built, measured, refined and chosen between, in a given time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from distill.candidates import Candidate, Workshop, candidates, refine
from distill.choice import choose
from distill.gate import Gate, Row, verdict
from edge_retrieval.arrays import Images
from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import Encoder, load_encoder
from edge_retrieval.speed import compare_speed

ROUNDS_1, ROUNDS_16 = 30, 6
"""Interleaved rounds of timing, one drawing at a time and 16 at once."""


UNREFINED = 2
"""Candidates that are tried before layers are put back to float."""


@dataclass(frozen=True)
class Limits:
    """What an INT8 network must keep, and how long may be spent on finding it.

    Attributes:
        max_drop: Most that patent mAP and subclass mAP may fall below FP32, absolute.
        min_overlap: Least share of FP32's ten nearest neighbours that it must find.
        budget: Seconds for trying candidates, all formats together. One of each format is always
            tried.
    """

    max_drop: float = 0.01
    min_overlap: float = 0.9
    budget: float = 600.0

    def refusal(self, row: Row) -> str | None:
        """Say why a network does not pass; None: it does."""
        return verdict(row, max_drop=self.max_drop, min_overlap=self.min_overlap)


@dataclass(frozen=True)
class Trial:
    """A candidate that was tried.

    Attributes:
        candidate: What was tried.
        row: What the gate measured, or why it failed.
        model: The network; None if it failed.
        refused: Why the gate does not let it through; None: it passes.
    """

    candidate: Candidate
    row: Row
    model: Path | None
    refused: str | None

    def summary(self) -> dict[str, Any]:
        """Return plain values without the single samples: what a bundle carries."""
        told = {k: v for k, v in self.row.to_json().items() if "seconds" not in k}
        return told | {"refused": self.refused}


class Draft(Protocol):
    """Makes a bundle of a network, for measuring only."""

    def __call__(self, model: Path) -> Bundle:
        """Return the bundle."""
        ...


class Judge:
    """Measures networks of one format against FP32: neighbours, then seconds, in turn."""

    def __init__(
        self, gate: Gate, fp32: Bundle, images: Images, *, draft: Draft, limits: Limits
    ) -> None:
        """Load FP32 on the format's own runtime.

        Args:
            gate: Compares neighbours.
            fp32: The reference, in the same format.
            images: ``(N, C, H, W)`` to time with, N >= 16.
            draft: Makes a bundle of a candidate.
            limits: What passes.
        """
        self._gate, self._images, self._draft, self._limits = gate, images, draft, limits
        self._bytes = fp32.model_bytes
        self._fp32 = load_encoder(fp32, threads=1)

    def __call__(self, candidate: Candidate, workshop: Workshop) -> Trial:
        """Build a candidate and measure it; what a tool or runtime lacks is a failed row."""
        try:
            model: Path | None = workshop.build(candidate)
            assert model is not None
            row = self._measured(candidate, self._draft(model))
        except Exception as error:  # the tools' errors share no base; the others go on
            format = candidate.format
            reason = without_place(str(error)) or type(error).__name__
            row, model = Row.of_failure(candidate.name, format, format, reason), None
        return Trial(candidate, row, model, self._limits.refusal(row))

    def _measured(self, candidate: Candidate, bundle: Bundle) -> Row:
        quality = self._gate.measure(load_encoder(bundle))
        pair: dict[str, Encoder] = {
            "fp32": self._fp32,
            "int8": load_encoder(bundle, threads=1),
        }
        one = compare_speed(pair, self._images, batch=1, rounds=ROUNDS_1)
        sixteen = compare_speed(pair, self._images, batch=16, rounds=ROUNDS_16, warm_up=1)
        return Row(
            name=candidate.name,
            format=candidate.format,
            backend=candidate.format,
            bytes=bundle.model_bytes,
            quality=quality,
            seconds_1=one["int8"],
            seconds_16=sixteen["int8"],
            fp32_seconds_1=one["fp32"],
            fp32_seconds_16=sixteen["fp32"],
            fp32_bytes=self._bytes,
        )


class Search:
    """INT8 networks of one export: every format, one pass after another.

    Attributes:
        trials: Format -> what was tried, in order.
    """

    def __init__(
        self,
        judges: Mapping[str, Judge],
        folder: Path,
        limits: Limits,
        *,
        backbone: str,
        won: Sequence[str],
        told: Callable[[Trial], None],
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Take what all passes share.

        Args:
            judges: Format -> who measures it.
            folder: For networks and what is kept between candidates.
            limits: What passes, and the time for one pass.
            backbone: timm's name: says which candidates come first.
            won: Candidates that won in earlier exports: before all others.
            told: Hears of every trial.
            tell: Takes a line for a person, where time ran out.
        """
        self._judges, self._folder, self._limits = judges, folder, limits
        self._backbone, self._won, self._told, self._tell = backbone, won, told, tell
        self.trials: dict[str, list[Trial]] = {format: [] for format in judges}

    def run(self, fp32: Path, images: Images, formats: Sequence[str], *, prefix: str = "") -> None:
        """Try candidates of some formats on one FP32 network, in the time that is given.

        Args:
            fp32: ONNX file.
            images: ``(N, C, H, W)`` that calibrate.
            formats: Of those that have a judge; they share the time evenly.
            prefix: Of the candidates' names.
        """
        workshop = Workshop(fp32, images, self._folder / f"{prefix or 'plain'}".strip(" +"))
        began = time.monotonic()
        for number, format in enumerate(formats, 1):
            deadline = began + self._limits.budget * number / len(formats)
            planned = candidates(format, backbone=self._backbone, won=self._won)
            own = [replace(one, name=prefix + one.name) for one in planned]
            self._try(format, own, workshop, deadline)

    def chosen(self, format: str) -> Trial | None:
        """Return the best of those that passed, by the gate's own choice; None: none passed."""
        passed = [trial for trial in self.trials[format] if trial.refused is None]
        limits = self._limits
        choice = choose(
            [trial.row for trial in passed],
            max_drop=limits.max_drop,
            min_overlap=limits.min_overlap,
        )
        return next((trial for trial in passed if trial.row is choice.best), None)

    def short(self) -> list[str]:
        """Return the formats in which nothing passed."""
        return [format for format in self.trials if self.chosen(format) is None]

    def why_not(self, format: str) -> str:
        """Say what the nearest of a format's candidates lacks."""
        near = _nearest(self.trials[format])
        if near is None:
            return self.trials[format][-1].refused or "nothing was tried"
        return f"the nearest, {near.candidate.name}: {near.refused}"

    def _try(
        self, format: str, planned: Sequence[Candidate], workshop: Workshop, deadline: float
    ) -> None:
        """Try candidates in order until `deadline` (of time.monotonic); the first in any case.

        If none of the first ones passes, the layers of the nearest are ranked by how much each
        alone moves the embeddings, and the worst are put back to float: where a few layers do the
        harm, no choice of ranges or bits mends it.
        """
        judge, own = self._judges[format], list[Trial]()
        for number, candidate in enumerate(_in_time(planned, deadline), 1):
            self._add(judge(candidate, workshop), own)
            if number == UNREFINED and all(trial.refused for trial in own):
                self._refine(own, judge, workshop, deadline)
        if left := len(planned) - number:
            self._tell(f"{format}: the time is spent: {left} more were not tried")
        self.trials[format] += own

    def _refine(self, own: list[Trial], judge: Judge, workshop: Workshop, deadline: float) -> None:
        """Put the layers that hurt most in the nearest of some trials back to float."""
        # NNCF names the layers of OpenVINO's own form in another way than they are ranked by.
        near = _nearest([trial for trial in own if trial.candidate.tool == "onnxruntime"])
        if near is None or time.monotonic() >= deadline:
            return
        try:
            refined = refine(workshop, near.candidate)
        except Exception as error:  # as above; what was tried before is not lost
            self._tell(f"layers could not be ranked: {without_place(str(error))}")
            return
        if refined is not None:
            self._add(judge(refined, workshop), own)

    def _add(self, trial: Trial, own: list[Trial]) -> None:
        own.append(trial)
        self._told(trial)


def without_place(reason: str) -> str:
    """Return an error as one line without the folder of drafts, which is gone when it is read."""
    text = " ".join(reason.replace(tempfile.gettempdir(), "").split())
    place, colon, rest = text.partition(": ")
    return rest if colon and place.startswith("/") else text


def _in_time(planned: Sequence[Candidate], deadline: float) -> Iterator[Candidate]:
    for number, candidate in enumerate(planned):
        if number and time.monotonic() >= deadline:
            return
        yield candidate


def _nearest(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the most of FP32's neighbours, one that passes before all others."""
    found: tuple[bool, float] = (False, -1.0)
    nearest = None
    for trial in trials:
        if trial.row.quality is None:
            continue
        rank = (trial.refused is None, trial.row.quality.overlap)
        if rank > found:
            found, nearest = rank, trial
    return nearest
