"""The command that turns a run into bundles."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_retrieval.cli.talk import (
    EXIT_SKIPPED,
    JsonFlag,
    bar,
    one_line,
    print_json,
    print_table,
    say,
)
from edge_retrieval.encoder import RUNTIMES
from edge_retrieval.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from distill.export import ExportResult
    from distill.finalists import Finalist


FILES = {"onnx": "ONNX", "openvino": "IR"}
"""Format -> what people call such a file."""


def export(
    run: Annotated[Path | None, typer.Argument(help="Run folder. Default: the latest.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantize to INT8 as well.")] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", help="Store weights as FP16 as well: half the size.")
    ] = False,
    qat: Annotated[
        bool,
        typer.Option(
            "--qat", help="Where no INT8 passes, train for it: minutes, beyond the budget."
        ),
    ] = False,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="onnx or openvino. Repeatable. Default: both."),
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option("--max-drop", help="Most mAP that INT8 may lose, absolute.", min=0, max=1),
    ] = 0.01,
    min_overlap: Annotated[
        float,
        typer.Option(
            "--min-overlap", help="Least share of FP32's ten nearest that INT8 finds.", min=0, max=1
        ),
    ] = 0.9,
    budget: Annotated[
        str, typer.Option("--budget", help="Time for trying INT8 candidates: 90s, 10m, 1h.")
    ] = "10m",
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the bundles go.")] = Path(
        "bundles"
    ),
    name: Annotated[str | None, typer.Option("--name", help="Default: the run's name.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Turn a run into bundles; INT8 only if it finds what FP32 finds, measured on this machine.

    Examples: edge-ret export --int8; edge-ret export runs/1 --int8 --format openvino --budget 5m
    """
    import distill

    distill.require("export")
    from distill.export import ExportSettings, export_run
    from distill.trials import Limits

    settings = ExportSettings(
        formats=tuple(dict.fromkeys(formats or ())),
        fp16=fp16,
        int8=int8,
        qat=qat,
        limits=Limits(max_drop=max_drop, min_overlap=min_overlap, budget=seconds_of(budget)),
    )
    folder = run if run is not None else latest_run(Path("runs"))
    if not (folder / "config.toml").is_file():
        raise ConfigError(f"{folder} is no run", hint="give a folder that edge-ret train wrote")
    say(one_line(f"run: {folder}"))
    result = export_run(
        folder,
        out,
        settings,
        name=name or folder.resolve().name,
        track=bar,
        tell=lambda line: say(one_line(line)),
    )
    if as_json:
        print_json(result.to_json())
    else:
        _print_export(result)
    _end_of_export(result, out, qat=qat)


def _print_export(result: ExportResult) -> None:
    """Show what was written, or with INT8 what was measured side by side."""
    if result.best is None:
        rows = [(b.name, b.precision, b.format, _megabytes(b.model_bytes)) for b in result.bundles]
        columns = (("bundle", "left"), ("precision", "left"), ("format", "left"), ("size", "right"))
        print_table("Bundles", columns, rows)
        print(f"largest difference from torch: {result.parity:.1e}")
        return
    print_table(
        "Side by side on this machine, one thread; overlap and speed against the fastest FP32",
        [("network", "left"), ("runtime", "cut")]
        + [
            (heading, "right")
            for heading in (
                "patent\nmAP",
                "subcl.\nmAP",
                "cosine",
                "over-\nlap@10",
                "ms",
                "speed",
                "per s,\nby 16",
                "MB",
            )
        ],
        [_cells(each) for each in result.finalists],
    )
    row = result.best.row
    named = f"best here: {row.name} on {RUNTIMES[row.backend]}"
    print(one_line(named))
    print(one_line(f"why: {result.why}"))


def _cells(each: Finalist) -> tuple[str, ...]:
    """Return a network's row; its speed is over that of the fastest FP32."""
    row = each.row
    network = f"{each.precision.upper()} {FILES[row.format]}"
    first, size = (network, RUNTIMES[row.backend]), _three(row.bytes / 1e6)
    if row.quality is None:
        return (*first, "cannot run", *[""] * 7)
    return (
        *first,
        _score(row.quality.patent_map),
        _score(row.quality.subclass_map),
        f"{row.quality.mean_cosine:.4f}",
        f"{row.quality.overlap:.3f}",
        _three(statistics.median(row.seconds_1) * 1e3),
        f"{row.speedup_1:.2f}x",
        f"{16 / statistics.median(row.seconds_16):.0f}",
        size,
    )


def _end_of_export(result: ExportResult, out: Path, *, qat: bool) -> None:
    """Say what was left out and what comes next; end with an error if no INT8 was good enough."""
    for finalist in result.finalists:
        row = finalist.row
        if row.failed:
            say(one_line(f"{row.name} on {RUNTIMES[row.backend]}: {row.failed}"))
    for page in result.pages:
        say(f"look: {page}: the queries that flipped")
    for format, why in result.refused.items():
        say(one_line(f"warning: no INT8 bundle for {RUNTIMES[format]}: {why}"))
    for stale in result.stale:
        say(one_line(f"warning: {stale} is of an earlier export and does not hold: delete it"))
    if result.refused and not any(bundle.precision == "int8" for bundle in result.bundles):
        raise BundleError(
            "no INT8 network keeps what FP32 finds: none was written; the others were",
            hint=("" if qat else "add --qat, ")
            + "raise --budget, or allow more with --max-drop and --min-overlap",
        )
    chosen = result.best.row.name if result.best else result.bundles[0].name
    runtime = ""
    if result.best and result.best.row.backend != result.best.row.format:
        runtime = f" --backend {result.best.row.backend}"
    say(one_line(f"next: edge-ret index SOURCE --bundle {out / chosen}{runtime} -o register"))
    if result.refused:
        raise typer.Exit(EXIT_SKIPPED)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


def _three(value: float) -> str:
    """Return three digits: 49.1, 1.83, 135."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def _score(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def seconds_of(text: str) -> float:
    """Read a time such as 90s, 10m, 1.5h or plain seconds.

    Raises:
        ConfigError: It is none.
    """
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    number, unit = (text[:-1], text[-1]) if text[-1:] in units else (text, "s")
    try:
        seconds = float(number) * units[unit]
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < math.inf:
        raise ConfigError(f"--budget {text}: no time", hint="write 90s, 10m or 1h")
    return seconds


def latest_run(runs: Path) -> Path:
    """Return the run folder that was written last."""
    found = [folder for folder in runs.glob("*") if (folder / "config.toml").is_file()]
    if not found:
        raise ConfigError(
            f"there is no run in {runs}/", hint="train first: edge-ret train --data FOLDER"
        )
    return max(found, key=lambda folder: (folder / "config.toml").stat().st_mtime)
