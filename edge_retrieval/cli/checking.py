"""The command that checks this device: doctor."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_retrieval.cli.talk import (
    BackendOption,
    JsonFlag,
    answer,
    one_line,
    print_json,
    print_table,
    say,
)
from edge_retrieval.errors import BundleError

if TYPE_CHECKING:
    from edge_retrieval.doctor import Diagnosis, Trial

MARKS = {True: "good", False: "OFF", None: "-"}


def doctor(
    subject: Annotated[
        Path | None,
        typer.Argument(
            metavar="BUNDLE|REGISTER",
            help="What to check; of a register the bundle that it keeps. Default: what ships.",
            show_default=False,
        ),
    ] = None,
    backend: BackendOption = None,
    statement: Annotated[
        Path | None,
        typer.Option(
            "--statement",
            help="What its maker stated of it. Default: statement.json beside it, if there is one.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Check that this very device computes what a bundle's maker computed; time the runtimes.

    The files are held against their hashes, the bundle's golden drawings are scaled and embedded
    here, and compared with the vectors it carries. What is off is named: a damaged file, a changed
    setting, another resize, a runtime or a processor on which INT8 saturates, files that are not
    those that their maker stated.

    Examples: edge-ret doctor; edge-ret doctor my-register --statement statement.json
    """
    from edge_retrieval.bundle import default_bundle_path
    from edge_retrieval.doctor import examine
    from edge_retrieval.encoder import AUTO

    folder = subject if subject is not None else default_bundle_path()
    if (folder / "bundle" / "bundle.json").is_file():
        folder = folder / "bundle"  # a register: the encoder that it keeps
    backends = None if backend is None or backend == AUTO else [backend]
    found = examine(folder, backends=backends, statement=statement)
    if as_json:
        print_json(found.to_json())
    elif found.bundle is not None:
        _print_diagnosis(found)
    if found.fault is not None:
        raise BundleError(found.fault[0], hint=found.fault[1])


def _print_diagnosis(found: Diagnosis) -> None:
    from edge_retrieval.report import human_bytes

    bundle = found.bundle
    assert bundle is not None
    print_table(
        f"{bundle.name}: {bundle.precision}, format {bundle.format},"
        f" {human_bytes(bundle.model_bytes)}, {bundle.folder}",
        (("check", "left"), ("", "left"), ("found", "cut")),
        [(check.name, MARKS[check.good], check.told) for check in found.checks],
    )
    if not found.trials:
        return
    print_table(
        f"Golden drawings on each runtime: a cosine of {bundle.golden_tolerance:.3f} is asked",
        (
            ("runtime", "left"),
            ("", "left"),
            ("least\ncosine", "right"),
            ("mean\ncosine", "right"),
            ("a figure\np50", "right"),
        ),
        [_row(trial) for trial in found.trials],
    )
    if found.faster:
        answer(found.faster)
    if found.fault is None:
        answer(f"{bundle.name} is good on this device")
    for trial in found.trials:
        if not trial.good and found.fault is None:
            say(one_line(f"note: {trial.runtime}: {trial.told}"))


def _row(trial: Trial) -> tuple[str, ...]:
    from edge_retrieval.report import human_seconds

    return (
        trial.runtime,
        MARKS[trial.good],
        "" if math.isnan(trial.least) else f"{trial.least:.4f}",
        "" if math.isnan(trial.mean) else f"{trial.mean:.4f}",
        human_seconds(statistics.median(trial.seconds)) if trial.seconds else "",
    )
