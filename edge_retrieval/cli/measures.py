"""The command that measures retrieval: eval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_retrieval.cli.limiting import FLAGS
from edge_retrieval.cli.talk import (
    EXIT_FIXABLE,
    EXIT_SKIPPED,
    BackendOption,
    DimOption,
    JsonFlag,
    StrictFlag,
    bar,
    chosen_backend,
    count,
    one_line,
    open_bundle,
    print_json,
    print_table,
    say,
    show_problems,
)

if TYPE_CHECKING:
    from edge_retrieval.evaluate import Evaluation
    from edge_retrieval.split import Keep

MOST_THREADS = 256
"""More than any device of ours has; thousands by a slip would bring it to a halt."""

LIMITED = {"evaluate": tuple(FLAGS)}


def evaluate(
    subject: Annotated[
        Path | None,
        typer.Argument(
            metavar="REGISTER|BUNDLE|RUN",
            help="Register to measure; or with --data a bundle (default: the one that ships),"
            " or a run folder.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Source of designs to measure on.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option("--checkpoint", help="Of a run: best (default) or last.")
    ] = None,
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="Measure a run even on what it was trained on.")
    ] = False,
    dim: DimOption = None,
    backend: BackendOption = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Of the encoder.", min=1, max=MOST_THREADS)
    ] = None,
    split: Annotated[
        Path | None, typer.Option("--split", help="Measure on one part of the designs: see --part.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--part", help="Of the split: test (default), validation or train."),
    ] = None,
    strict: StrictFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure retrieval: every figure searches among all the others.

    Needs designs with several figures, and labels above them for the coarser levels. Examples:
    edge-ret eval my-register; edge-ret eval runs/1 --data grants/
    """
    keep, kept = part_of_split(split, part)
    if data is None:
        _refuse_all_but_a_register(subject, checkpoint or allow_leak or threads or backend)
        scores, facts = _of_register(subject or Path(), dim, keep)
    elif subject is not None and (subject / "config.toml").is_file():
        if backend or threads or dim:
            raise typer.BadParameter(
                "--backend, --threads and --dim are for a bundle; a run uses torch, and all of it"
            )
        scores, facts = _of_run(subject, data, checkpoint or "best", allow_leak, keep)
    else:
        if checkpoint or allow_leak:
            raise typer.BadParameter("--checkpoint and --allow-leak are for a run folder")
        scores, facts = _of_bundle(subject, data, dim, backend, threads, keep)
    facts = {**facts, **kept}
    from edge_retrieval.sources import Note

    show_problems([one for one in scores.problems if isinstance(one, Note)], what="note")
    skipped = [one for one in scores.problems if not isinstance(one, Note)]
    show_problems(skipped, what="skipped")
    if as_json:
        print_json({**facts, **scores.to_json()})
    else:
        named = [str(value) for key, value in facts.items() if key not in UNNAMED]
        named += [f"the first {dim} numbers"] if dim else []
        say(one_line(", ".join(named)))
        _print_scores(scores)
    if skipped:
        say(f"skipped: {count(len(skipped), 'input')}")
        raise typer.Exit(EXIT_FIXABLE if strict else EXIT_SKIPPED)


def _refuse_all_but_a_register(subject: Path | None, options: object) -> None:
    if subject is None:
        raise typer.BadParameter("name a register, or a source with --data")
    for file, what in (("config.toml", "a run folder"), ("bundle.json", "a bundle")):
        if (subject / file).is_file():
            raise typer.BadParameter(f"{subject} is {what}: say with --data what to measure it on")
    if options:
        raise typer.BadParameter(
            "--checkpoint, --allow-leak, --backend and --threads go with --data"
        )


def part_of_split(file: Path | None, part: str | None) -> tuple[Keep | None, dict[str, object]]:
    """Return what tells the designs to measure on, and what to say of it."""
    if file is None:
        if part is not None:
            raise typer.BadParameter("--part is of a split: name its file with --split")
        return None, {}
    from edge_retrieval.split import read_split

    part = part or "test"
    return read_split(file).within(part), {"split": f"{part} part of {file.name}"}


def _of_register(
    folder: Path, dim: int | None, keep: Keep | None
) -> tuple[Evaluation, Mapping[str, object]]:
    from edge_retrieval.evaluate import evaluate_register
    from edge_retrieval.register import Register

    register = Register.open(folder)
    try:
        facts = {
            "register": str(folder),
            "bundle": register.bundle.name,
            "fingerprint": register.bundle.fingerprint,
            "dim": dim or register.bundle.dim,
        }
        return evaluate_register(register, dim=dim, keep=keep), facts
    finally:
        register.close()


def _of_bundle(
    folder: Path | None,
    source: Path,
    dim: int | None,
    backend: str | None,
    threads: int | None,
    keep: Keep | None,
) -> tuple[Evaluation, Mapping[str, object]]:
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.evaluate import evaluate_source
    from edge_retrieval.register import is_register
    from edge_retrieval.register.opening import open_bundle as bundle_of_register

    if folder is not None and is_register(folder):
        _, bundle = bundle_of_register(folder)
    else:
        bundle = open_bundle(folder)
    encoder = load_encoder(
        bundle, dim=dim, backend=chosen_backend(bundle, backend, threads), threads=threads
    )
    facts = {
        "source": str(source),
        "bundle": bundle.name,
        "fingerprint": encoder.fingerprint,
        "dim": encoder.dim,
        "backend": encoder.backend,
    }
    return evaluate_source(source, encoder, keep=keep, track=bar), facts


def _of_run(
    folder: Path, source: Path, checkpoint: str, allow_leak: bool, keep: Keep | None
) -> tuple[Evaluation, Mapping[str, object]]:
    import distill

    distill.require("train")
    from distill.evaluate import CHECKPOINTS, evaluate_run
    from distill.leaks import said_of

    if checkpoint not in CHECKPOINTS:
        raise typer.BadParameter(f"--checkpoint is {' or '.join(CHECKPOINTS)}, not {checkpoint!r}")
    found = evaluate_run(
        folder, source, checkpoint=checkpoint, allow_leak=allow_leak, keep=keep, track=bar
    )
    if found.leaks:
        say(one_line(f"leak: {said_of(found.leaks)}: these scores are too good"))
    facts = {
        "source": str(source),
        "run": str(folder),
        "checkpoint": checkpoint,
        "fingerprint": found.fingerprint,
        "leaks": [asdict(leak) for leak in found.leaks],
    }
    return found.scores, facts


UNNAMED = ("fingerprint", "dim", "leaks")
"""Facts for a program, not for a person."""

TITLES = {
    "figures": "Ranked figures: each figure is left out in turn and searches all the others",
    "designs": "Ranked designs: each figure searches the designs, its own figure left out",
}


def _print_scores(scores: Evaluation) -> None:
    for name, table in scores.tables.items():
        measures = dict.fromkeys(key for one in table for key in one.values)
        # A column a level: six of them fit a terminal of 80 letters, thirteen measures do not.
        print_table(
            TITLES[name],
            [("level\nrelevance", "left")]
            + [(f"{one.level}\n{one.relevance}", "right") for one in table],
            [
                ("gallery", *(str(one.gallery) for one in table)),
                ("queries", *(str(one.queries) for one in table)),
                *(
                    (key, *(f"{s.values[key]:.3f}" if key in s.values else "" for s in table))
                    for key in measures
                ),
            ],
        )
    say(
        "inclusive: figures that agree deeper count too; exclusive: they are taken out of the"
        " ranking first"
    )
    counts = scores.counts
    if counts["other_parts"]:
        say(f"left out: {count(counts['other_parts'], 'design')} of other parts, or of no one")
    if counts["front_pages"]:
        say(f"left out: {count(counts['front_pages'], 'front page')} that repeat other figures")
    if counts["unlabelled"]:
        say(
            f"no class is known of {counts['unlabelled']} of {count(counts['designs'], 'design')}:"
            " above design level they count as unlike all others"
        )
