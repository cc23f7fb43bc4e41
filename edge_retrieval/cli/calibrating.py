"""The command that measures what a bundle's scores mean: calibrate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_retrieval.cli.talk import (
    EXIT_FIXABLE,
    EXIT_SKIPPED,
    BackendOption,
    JsonFlag,
    StrictFlag,
    bar,
    chosen_backend,
    count,
    one_line,
    print_json,
    print_table,
    say,
    show_problems,
)

if TYPE_CHECKING:
    from edge_retrieval.calibration import Calibration, Table

SHOWN = (10, 100, 1_000, 10_000, 100_000)
"""The score of 1 in so many is shown, as far as the data go."""


def calibrate(
    folder: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle to measure.")],
    data: Annotated[
        list[Path],
        typer.Option("--data", help="Designs that it was not trained on. Repeatable."),
    ],
    split: Annotated[
        Path | None, typer.Option("--split", help="Measure on one part of the designs: see --part.")
    ] = None,
    part: Annotated[
        str | None,
        typer.Option("--part", help="Of the split: test (default), validation or train."),
    ] = None,
    backend: BackendOption = None,
    strict: StrictFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Measure how high unrelated designs score, and keep it in the bundle: searches then tell it.

    Registers that are made from now on tell it, too. Example: edge-ret calibrate bundles/mine-int8
    --data grants/
    """
    from edge_retrieval.bundle import Bundle
    from edge_retrieval.calibrating import ENOUGH, calibrate_bundle
    from edge_retrieval.cli.measures import part_of_split
    from edge_retrieval.register import is_register
    from edge_retrieval.sources import Note

    if is_register(folder):
        raise typer.BadParameter(f"{folder} is a register: name the bundle, then index with it")
    keep, _ = part_of_split(split, part)
    bundle = Bundle.open(folder)
    found = calibrate_bundle(
        folder, data, keep=keep, backend=chosen_backend(bundle, backend), track=bar
    )
    show_problems([one for one in found.problems if isinstance(one, Note)], what="note")
    skipped = [one for one in found.problems if not isinstance(one, Note)]
    show_problems(skipped, what="skipped")
    if as_json:
        print_json({"bundle": str(folder), "calibration": found.calibration.to_json()})
    else:
        _print(bundle.name, found.calibration)
    if found.calibration.designs < ENOUGH:
        say(f"note: only {found.calibration.designs} designs: {ENOUGH} or more tell rarer scores")
    if skipped:
        say(f"skipped: {count(len(skipped), 'input')}")
        raise typer.Exit(EXIT_FIXABLE if strict else EXIT_SKIPPED)


def _print(name: str, found: Calibration) -> None:
    """Show which score is how rare for a drawing of one figure."""
    tables = [table for table in found.tables if table.figures[0] == 1]
    shown = [one for one in SHOWN if any(_rarest(table) >= one for table in tables)]
    print_table(
        f"{name}: the score that 1 in so many unrelated designs has to one figure",
        [("numbers", "right"), ("figures\nof a design", "right"), ("pairs", "right")]
        + [(f"1 in {one:,}", "right") for one in shown]
        + [("rarest told", "right")],
        [_row(table, shown) for table in tables],
    )
    sources = ", ".join(source.name for source in found.sources)
    figures = sum(source.figures for source in found.sources)
    print(
        one_line(
            f"measured on {count(found.designs, 'design')}, {count(figures, 'figure')} of {sources}"
        )
    )


def _rarest(table: Table) -> float:
    return table.pairs / table.counts[-1]


def _row(table: Table, shown: Sequence[int]) -> tuple[str, ...]:
    cells = []
    for one in shown:
        reached = zip(table.scores, table.counts, strict=True)
        score = next((s for s, pairs in reached if pairs * one <= table.pairs), None)
        cells.append("" if score is None else f"{score:.3f}")
    last = table.strength(table.scores[-1])
    return (str(table.dim), str(table.figures[1]), f"{table.pairs:,}", *cells, last.text)
