"""The command that searches; on its way nothing is imported that it does not need."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_retrieval.cli.talk import (
    EXIT_SKIPPED,
    STDIN,
    BackendOption,
    JsonFlag,
    RegisterOption,
    answer,
    chosen_backend,
    count,
    find_register,
    one_line,
    print_json,
    print_table,
    read_drawing,
    say,
    write_text,
)
from edge_retrieval.errors import DrawingError

if TYPE_CHECKING:
    from edge_retrieval.search import SearchResult


ALONE = 8
"""Figures up to which one thread embeds them: to start others takes longer."""


def several(*names: str, help: str) -> Any:
    """Return an option that may be given more than once."""
    return typer.Option(*names, help=f"{help} Repeatable.")


def search(
    drawings: Annotated[
        list[Path] | None,
        typer.Argument(help="Drawings to search with; the sample's own if none is named."),
    ] = None,
    register_path: RegisterOption = None,
    k: Annotated[int, typer.Option("-k", help="Designs to show.", min=1)] = 10,
    within: Annotated[
        list[str] | None,
        several("--class", "-c", help="Only this class or subclass: 06 or 06-01."),
    ] = None,
    not_within: Annotated[
        list[str] | None, several("--not-class", help="Not this class or subclass.")
    ] = None,
    before: Annotated[
        str | None,
        typer.Option("--before", help="Only designs published before this day: 2021-03-04."),
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", help="Only designs published on this day or later.")
    ] = None,
    applicant: Annotated[
        list[str] | None, several("--applicant", help="Only applicants with this in their name.")
    ] = None,
    not_applicant: Annotated[
        list[str] | None, several("--not-applicant", help="No applicant with this in its name.")
    ] = None,
    source: Annotated[
        list[str] | None, several("--source", help="Only what was indexed from this.")
    ] = None,
    not_source: Annotated[
        list[str] | None, several("--not-source", help="Nothing that was indexed from this.")
    ] = None,
    design: Annotated[
        list[str] | None, several("--design", help="Only this design, by its number.")
    ] = None,
    exclude: Annotated[
        list[str] | None, several("--exclude", help="Leave out this design, by its number.")
    ] = None,
    exclude_self: Annotated[
        bool,
        typer.Option(
            "--exclude-self", help="Leave out the register's figures of the very same file."
        ),
    ] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every figure, however many there are.")
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say how the register was searched, and why so.")
    ] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Take each drawing as one figure: do not cut it.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write one page to look at and keep.")
    ] = None,
    backend: BackendOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Rank the designs of a register by how much they look like each drawing.

    Example: edge-ret search drawing.png --register my-register --class 06-01 --html hits.html
    """
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.filters import Filters
    from edge_retrieval.search import query_from_bytes
    from edge_retrieval.search import search as run_search

    if not drawings:
        from edge_retrieval.sample import sample_query

        drawings = [sample_query()]
        say("drawing: the sample's own (none was named)")
    queries, unread = [], []
    for path in drawings:
        try:
            name = "standard input" if path == STDIN else str(path)
            queries.append(query_from_bytes(read_drawing(path), name, cut=not whole))
        except DrawingError as error:
            unread.append(error)
    if not queries and len(unread) == 1:
        raise unread[0]
    for reason in unread:
        say(one_line(f"skipped: {reason}"))
    if not queries:
        raise DrawingError(
            f"none of the {len(unread)} drawings can be read", hint="see the reasons above"
        )
    register = find_register(register_path)
    filters = Filters(
        classes=within or (),
        not_classes=not_within or (),
        before=before,
        after=after,
        applicants=applicant or (),
        not_applicants=not_applicant or (),
        sources=source or (),
        not_sources=not_source or (),
        designs=design or (),
        not_designs=exclude or (),
    )
    # What is wrong is told before anything is computed.
    for note in filters.choose(register.columns, where=register.folder).notes:
        say(one_line(f"note: {note}"))
    few = sum(len(query.figures) for query in queries) <= ALONE
    encoder = load_encoder(
        register.bundle,
        backend=chosen_backend(register.bundle, backend),
        threads=1 if few else None,
        keep=True,
    )
    results = run_search(
        register, queries, encoder, k=k, filters=filters, exclude_self=exclude_self, exact=exact
    )
    if explain:
        print_plan(results[0])
    if html is not None:
        from edge_retrieval.evidence import to_html

        settings = {"k": k, "filters": filters.text or "none", "exclude self": exclude_self}
        write_text(html, to_html(results, register=register, settings=settings))
    if as_json:
        from edge_retrieval.evidence import to_json

        problems = [str(reason) for reason in unread]
        print_json(to_json(results, register=register, explain=explain, problems=problems))
    else:
        for result in results:
            print_hits(result)
    say_what_is_gone(results)
    if html is not None:
        say(f"page: {html.resolve()}")
    register.close()
    if unread:
        say(f"skipped: {count(len(unread), 'drawing')} of {len(drawings)}")
        raise typer.Exit(EXIT_SKIPPED)


def print_hits(result: SearchResult) -> None:
    """Print one query's ranked designs as a table."""
    from edge_retrieval.evidence import class_of

    if not result.hits:
        answer(one_line(f"{Path(result.query.name).name}: {result.statement}"))
        return
    told = [hit.strength.short for hit in result.hits if hit.strength is not None]
    rows = []
    for place, hit in enumerate(result.hits):
        rows.append(
            (
                str(hit.rank),
                f"{hit.score:.3f}",
                *told[place : place + 1],
                hit.design.number,
                class_of(hit.design),
                hit.design.title,
                f"{hit.query_figure + 1} ~ {hit.figure.name.removeprefix('figure ')}",
            )
        )
    print_table(
        Path(result.query.name).name,
        (
            ("rank", "right"),
            ("score", "right"),
            *([("strength", "right")] if told else []),
            ("design", "left"),
            ("class", "cut"),
            ("title", "cut"),
            ("best pair", "left"),
        ),
        rows,
    )
    print(f"  {result.statement}")
    if result.chance:
        print(f"  {result.chance}")


def print_plan(result: SearchResult) -> None:
    """Say how all queries of one call were answered, a line a step."""
    if result.plan is None:
        return
    say(f"plan: {'exact' if result.exact else 'approximate'}")
    for number, step in enumerate(result.plan.steps, start=1):
        size = f", {step.bytes / 1e6:.1f} MB" if step.bytes >= 50_000 else ""
        say(f"  {number}. {step.what}: {count(step.rows, 'figure')}{size}; {step.why}")


def say_what_is_gone(results: Sequence[SearchResult]) -> None:
    """Say once which designs' files are no longer where they were indexed."""
    gone: dict[str, Path] = {}
    for result in results:
        for hit in result.hits:
            # The line of a table, and a part of an archive, stand after the file's name.
            place = Path(re.sub(r":\d+$", "", hit.design.where.split("!")[0]))
            told_from_here = place.is_absolute() or Path(*place.parts[:1]).exists()
            if told_from_here and not place.exists():
                gone[hit.design.number] = place
    if gone:
        number, place = next(iter(gone.items()))
        say(
            one_line(
                f"note: {count(len(gone), 'design')} of these came from files that have gone"
                f" ({number}: {place}); the register keeps its own pictures"
            )
        )
