"""A trained network to bundles that `edge_retrieval` runs: FP32, FP16, and INT8 behind a gate.

Everything is built and measured in a folder of its own first; only what is handed over is written,
at the end, each bundle whole or not at all: a stop at any moment leaves nothing half-done.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.bundles import Parts, history, make_folder, winners
from distill.config import TrainConfig
from distill.cut_drawings import CutDrawings, ToGate
from distill.finalists import Finalist, best_of, measure_finalists
from distill.flips import write_flips
from distill.gate import Gate, Row
from distill.model import Student, TorchEncoder, load_student
from distill.odd import odd_drawings
from distill.onnx_file import export_fp32, to_fp16, to_openvino
from distill.qat import QatSettings, quantization_aware
from distill.quantize import (
    ENOUGH_DRAWINGS,
    LEAST_DRAWINGS,
    Recipe,
    choose_calibration,
    warn_of_few,
)
from distill.run_folder import write_json
from distill.trials import Judge, Limits, Search, Trial
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.bundle import FORMATS, Bundle
from edge_retrieval.drawing import fit_batch
from edge_retrieval.errors import ConfigError, EdgeRetrievalError, MissingExtraError
from edge_retrieval.progress import Track, silent
from edge_retrieval.speed import machine_is_busy

ALIKE = 0.9
"""Mean cosine between golden drawings from which on a check by them says little."""

JUDGED_ON = 1000
"""Held-out figures that the gate looks at, at most."""

TIMED_ON = 64
"""Drawings that are timed."""

QAT = "QAT + "
"""Candidates of a network that was trained for quantization are named so."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class ExportSettings:
    """What shall be exported.

    Attributes:
        formats: Of `FORMATS`; empty: both, as far as their tools are installed.
        fp16: Write networks with weights of half the size as well; they compute in FP32.
        int8: Quantize.
        qat: Where nothing quantized passes, train a little under fake quantization and try again.
        limits: What INT8 must keep, and the time for finding it.
        drawings: That calibrate.
    """

    formats: tuple[str, ...] = ()
    fp16: bool = False
    int8: bool = False
    qat: bool = False
    limits: Limits = field(default_factory=Limits)
    drawings: int = ENOUGH_DRAWINGS

    def __post_init__(self) -> None:
        for one in self.formats:
            if one not in FORMATS:
                raise ConfigError(f"no format {one!r}", hint=f"choose from {', '.join(FORMATS)}")
        if self.qat and not self.int8:
            raise ConfigError("--qat without --int8", hint="add --int8")
        if "openvino" in self.formats and not _has_openvino():
            raise MissingExtraError.of("exporting to OpenVINO", "export")


@dataclass(frozen=True)
class ExportResult:
    """What an export gave.

    Attributes:
        bundles: Those that were written.
        parity: Largest absolute difference between torch and the FP32 ONNX file.
        trials: Of each format: the INT8 candidates, in the order in which they were tried.
        refused: Format -> why no INT8 bundle of it was written.
        finalists: All that was measured side by side at the end; empty without INT8.
        best: What to use on this machine; None without INT8.
        why: One sentence on that choice.
        pages: Of each INT8 bundle: the HTML page with the queries that flipped.
        stale: Bundles of an earlier export under the same name that no longer hold: of other
            weights, or INT8 that is refused now. They are left as they are.
    """

    bundles: tuple[Bundle, ...]
    parity: float
    trials: Mapping[str, tuple[Trial, ...]]
    refused: Mapping[str, str]
    finalists: tuple[Finalist, ...]
    best: Finalist | None
    why: str
    pages: tuple[Path, ...]
    stale: tuple[Path, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "bundles": [str(bundle.folder) for bundle in self.bundles],
            "parity": self.parity,
            "trials": {
                format: [trial.row.to_json() | {"refused": trial.refused} for trial in trials]
                for format, trials in self.trials.items()
            },
            "refused": dict(self.refused),
            "finalists": [finalist.to_json() for finalist in self.finalists],
            "best": {"bundle": self.best.row.name, "backend": self.best.row.backend}
            if self.best
            else None,
            "why": self.why,
            "pages": [str(page) for page in self.pages],
            "stale": [str(folder) for folder in self.stale],
        }


def export_run(
    run: Path,
    out: Path,
    settings: ExportSettings,
    *,
    name: str,
    track: Track = silent,
    tell: Tell = lambda _: None,
) -> ExportResult:
    """Turn the best checkpoint of a run into bundles.

    OUT/NAME-fp32, and as asked for NAME-fp16 and NAME-int8, are ONNX; those that end in -openvino
    are OpenVINO's. Bundles of these names that are there already are replaced. An INT8 network that
    the gate refuses is not written.

    Args:
        run: What `train` wrote, its cache of cut drawings included.
        out: The folder to write into.
        settings: What to export.
        name: A plain file name.
        track: Shows progress.
        tell: Takes lines for a person.

    Raises:
        ConfigError: Not a run folder, nothing to calibrate with, or no such name.
        BundleError: The network cannot be exported, or `out` cannot be written.
    """
    if not name or Path(name).name != name:
        raise ConfigError(f"no name for a folder: {name!r}", hint="give a name without / in it")
    if settings.int8 and machine_is_busy():  # asked now: later it is this export that is busy
        tell("warning: the machine is busy with other work: speeds will be rough")
    student, config = load_student(run)
    cut = CutDrawings.read(run, config)
    rows = _calibrating(cut, student, settings, tell) if settings.int8 else np.empty(0, np.int64)
    golden = cut.golden(usual=lambda images: _usual(student, images))
    embed = TorchEncoder(student, cut.preprocessing).embed
    parts = Parts(
        name=name,
        preprocessing=cut.preprocessing,
        levels=cut.levels,
        golden_images=golden,
        golden_embeddings=embed(fit_batch(list(golden), cut.preprocessing)),
        prefixes=config.prefixes,
        history=history(run, config),
    )
    if (alike := _likeness(parts.golden_embeddings)) > ALIKE:
        tell(
            f"warning: drawings hardly differ to this network (mean cosine {alike:.2f} between"
            " golden ones): train it longer; a check by golden vectors says little of it"
        )
    formats = settings.formats or (tuple(FORMATS) if _has_openvino() else ("onnx",))
    if not settings.formats and len(formats) < len(FORMATS):
        tell("OpenVINO and NNCF are not installed: ONNX alone is exported")
    wanted = ("fp32", *["fp16"] * settings.fp16, *["int8"] * settings.int8)
    make_folder(out, [parts.named(precision, one) for precision in wanted for one in formats])
    tell(f"exporting FP32: {' and '.join(formats)}")
    with tempfile.TemporaryDirectory() as folder:
        plain = _plain(student, config, parts, formats, Path(folder), fp16=settings.fp16)
        facts: dict[str, Any] = {"parity": plain.parity}
        if not settings.int8:
            bundles = [parts.publish(out, draft, facts) for draft in plain.drafts]
            stale = parts.stale(out, bundles)
            return ExportResult(tuple(bundles), plain.parity, {}, {}, (), None, "", (), stale)
        job = _Job(settings, student, config, cut, parts, out, Path(folder), track, tell)
        result = _with_int8(job, plain, rows, formats)
    write_json(out / f"{name}-export.json", result.to_json())
    return result


def _calibrating(
    cut: CutDrawings, student: Student, settings: ExportSettings, tell: Tell
) -> NDArray[np.int64]:
    """Choose training drawings, as evenly over the classes as they allow; no odd ones.

    Returns:
        Places in `cut.training`.
    """
    rows = choose_calibration(cut.classes[cut.training], Recipe(drawings=settings.drawings))
    if warning := warn_of_few(len(rows)):
        tell(f"warning: {warning}")
    return rows[_usual(student, cut.images(cut.training[rows]))]


def _likeness(embeddings: Embeddings) -> float:
    """Return the mean cosine between different rows of ``(G, D)``; 0 of a single one."""
    count = len(embeddings)
    alike = float((embeddings @ embeddings.T).sum()) - count
    return alike / max(1, count * (count - 1))


def _usual(network: Student, images: Images) -> NDArray[np.bool_]:
    """Tell which drawings may calibrate: all that are not odd, if those are enough."""
    usual = ~odd_drawings(network, images)
    return usual if usual.sum() >= LEAST_DRAWINGS else np.ones(len(images), bool)


def _has_openvino() -> bool:
    return find_spec("openvino") is not None and find_spec("nncf") is not None


@dataclass(frozen=True)
class _Plain:
    """The networks before quantization.

    Attributes:
        onnx: The FP32 ONNX file.
        drafts: Bundles, in the order in which they are handed over.
        parity: Largest absolute difference between torch and the ONNX file.
    """

    onnx: Path
    drafts: tuple[Bundle, ...]
    parity: float

    def fp32(self, format: str) -> Bundle:
        """Return the FP32 draft of a format."""
        return next(
            draft for draft in self.drafts if (draft.precision, draft.format) == ("fp32", format)
        )


def _plain(
    student: Student,
    config: TrainConfig,
    parts: Parts,
    formats: Sequence[str],
    folder: Path,
    *,
    fp16: bool,
) -> _Plain:
    """Write FP32 in every format, and FP16 if asked for."""
    onnx = folder / "fp32.onnx"
    parity = export_fp32(
        student, size=config.size, channels=config.channels, dim=config.dim, path=onnx
    )
    drafts = []
    for precision in ("fp32", "fp16") if fp16 else ("fp32",):
        for format in formats:
            model = folder / f"{precision}.{'onnx' if format == 'onnx' else 'xml'}"
            if format == "openvino":
                to_openvino(onnx, model, fp16=precision == "fp16")
            elif precision == "fp16":
                to_fp16(onnx, model)
            drafts.append(parts.draft(folder / parts.named(precision, format), precision, model))
    return _Plain(onnx, tuple(drafts), parity)


@dataclass(frozen=True)
class _Job:
    """What the steps of one INT8 export share; see `export_run`."""

    settings: ExportSettings
    student: Student
    config: TrainConfig
    cut: CutDrawings
    parts: Parts
    out: Path
    folder: Path
    track: Track
    tell: Tell


def _with_int8(
    job: _Job, plain: _Plain, rows: NDArray[np.int64], formats: Sequence[str]
) -> ExportResult:
    """Find INT8, measure all side by side, and hand over what passed."""
    judged = job.cut.to_gate(JUDGED_ON, without=rows)
    if judged.note:
        job.tell(f"warning: {judged.note}")
    embed = TorchEncoder(job.student, job.cut.preprocessing).embed
    gate = Gate(judged.images, judged.schemes, embed(judged.images))
    job.tell(
        f"calibrating on {len(rows)} training drawings, judging on {len(judged.images)}"
        f" {'held-out ones' if judged.held_out else 'others'}"
    )
    search = _searched(job, plain, gate, rows, formats)
    drafts = [*plain.drafts, *_winning(job, search)]
    finalists = measure_finalists(drafts, gate, judged.images[:TIMED_ON])
    best, why = best_of(finalists, job.settings.limits)
    facts = {
        "parity": plain.parity,
        "calibration_figures": len(rows),
        "gate": _gate_facts(job.settings.limits, judged, finalists),
    }
    bundles, pages = _handed_over(job, drafts, search, gate, judged, finalists, facts)
    return ExportResult(
        bundles=tuple(bundles),
        parity=plain.parity,
        trials={format: tuple(own) for format, own in search.trials.items()},
        refused={format: search.why_not(format) for format in search.short()},
        finalists=tuple(finalists),
        best=best,
        why=why,
        pages=tuple(pages),
        stale=job.parts.stale(job.out, bundles, search.short()),
    )


def _searched(
    job: _Job, plain: _Plain, gate: Gate, rows: NDArray[np.int64], formats: Sequence[str]
) -> Search:
    """Try post-training candidates; where none passes and it is asked for, train for it."""
    limits, images = job.settings.limits, job.cut.images(job.cut.training[rows])
    judges = {
        format: Judge(
            gate,
            plain.fp32(format),
            gate.images[:TIMED_ON],
            draft=lambda model: job.parts.draft(job.folder / "candidate", "int8", model),
            limits=limits,
        )
        for format in formats
    }
    search = Search(
        judges,
        job.folder / "candidates",
        limits,
        backbone=job.config.backbone,
        won=winners(job.out),
        told=lambda trial: job.tell(_told(trial)),
        tell=job.tell,
    )
    search.run(plain.onnx, images, formats)
    short = search.short()
    if not job.settings.qat:
        return search
    if not short:
        job.tell("post-training quantization passes: --qat has nothing to mend")
        return search
    job.tell(f"no INT8 passes for {' and '.join(short)}: training under fake quantization")
    try:
        trained = quantization_aware(
            job.student, job.config, job.cut, QatSettings(), track=job.track, tell=job.tell
        )
    except EdgeRetrievalError as error:  # what passed in another format is not lost with it
        job.tell(f"warning: it could not be trained for INT8: {error}")
        return search
    if trained is None:
        return search
    onnx = job.folder / "qat.onnx"
    config = job.config
    export_fp32(trained, size=config.size, channels=config.channels, dim=config.dim, path=onnx)
    images = images[_usual(trained, images)]  # what is odd to one network is not to another
    search.run(onnx, images, short, prefix=QAT)
    return search


def _told(trial: Trial) -> str:
    """Say in one line how a candidate did."""
    row = trial.row
    name = f"{row.format}: {row.name}"
    if row.quality is None:
        return f"{name}: failed: {row.failed}"
    quality = row.quality
    return (
        f"{name}: patent mAP {-quality.patent_drop:+.3f}, overlap@10 {quality.overlap:.3f},"
        f" {row.speedup_1:.2f}x, {row.bytes / 1e6:.2f} MB: {trial.refused or 'passes'}"
    )


def _winning(job: _Job, search: Search) -> list[Bundle]:
    """Return drafts of the best candidate of each format that has one."""
    drafts = []
    for format in search.trials:
        trial = search.chosen(format)
        if trial is not None and trial.model is not None:
            folder = job.folder / job.parts.named("int8", format)
            drafts.append(job.parts.draft(folder, "int8", trial.model))
    return drafts


def _handed_over(
    job: _Job,
    drafts: Sequence[Bundle],
    search: Search,
    gate: Gate,
    judged: ToGate,
    finalists: Sequence[Finalist],
    facts: Mapping[str, Any],
) -> tuple[list[Bundle], list[Path]]:
    """Write the bundles, and for each INT8 one a page with the queries that flipped."""
    bundles, pages = [], []
    rows = {(one.row.name, one.row.backend): one.row for one in finalists}
    for draft in drafts:
        trial = search.chosen(draft.format) if draft.precision == "int8" else None
        own = dict(facts)
        if trial is not None:
            own |= {
                "runtimes": [
                    one.row.backend
                    for one in finalists
                    if one.row.name == draft.name and not job.settings.limits.refusal(one.row)
                ],
                "candidate": trial.candidate.name.removeprefix(QAT),
                "recipe": asdict(trial.candidate.recipe),
                "qat": asdict(QatSettings()) if trial.candidate.name.startswith(QAT) else None,
                "tried": [other.summary() for other in search.trials[draft.format]],
            }
        bundles.append(job.parts.publish(job.out, draft, own))
        if trial is not None and trial.row.quality is not None:
            pages.append(job.out / f"{draft.name}-flips.html")
            write_flips(
                pages[-1],
                trial.row.quality,
                judged.squares,
                gate.schemes,
                title=f"{draft.name} against FP32",
                facts=_page_facts(trial, rows[draft.name, draft.format]),
                designs=judged.designs,
            )
    return bundles, pages


def _gate_facts(limits: Limits, judged: ToGate, finalists: Sequence[Finalist]) -> dict[str, Any]:
    """Return the gate's table as a bundle carries it: medians; NAME-export.json has the samples."""
    return {
        "limits": asdict(limits),
        "figures": len(judged.images),
        "held_out": judged.held_out,
        "note": judged.note,
        "table": [one.summary() for one in finalists],
    }


def _page_facts(trial: Trial, row: Row) -> dict[str, str]:
    """Return what stands at the top of a page of flips."""
    return {
        "network": f"{trial.candidate.name}, {row.format}",
        "size": f"{row.fp32_bytes / 1e6:.2f} MB to {row.bytes / 1e6:.2f} MB",
        "speed, one drawing": f"{row.speedup_1:.2f} times that of the fastest FP32 here",
    }
