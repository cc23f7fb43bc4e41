"""The command that searches; on its way nothing is imported that it does not need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_retrieval.cli.limiting import DRAWINGS
from edge_retrieval.cli.talk import (
    EXIT_SKIPPED,
    BackendOption,
    JsonFlag,
    RegisterOption,
    StoreOption,
    answer,
    chosen_backend,
    completes,
    count,
    find_register,
    one_line,
    opened_store,
    print_json,
    print_table,
    say,
    write_text,
)
from edge_retrieval.cli.terminals import PicturesOption, chosen_kind

if TYPE_CHECKING:
    from edge_retrieval.arrays import Embeddings
    from edge_retrieval.cli.asking import Asking
    from edge_retrieval.encoder import Encoder
    from edge_retrieval.filters import Filters
    from edge_retrieval.plan import Planner
    from edge_retrieval.register import Register
    from edge_retrieval.search import Query, SearchResult


LIMITED = {"search": DRAWINGS}
ALONE = 8
"""Figures up to which one thread embeds them: to start others takes longer."""


def several(*names: str, help: str, kind: str | None = None) -> Any:
    """Return an option that may be given more than once, perhaps completed by a shell."""
    how = completes(kind) if kind else None
    return typer.Option(*names, help=f"{help} Repeatable.", autocompletion=how)


def search(
    drawings: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Drawings to search with, or folders of them: views of one product. Or a design"
            " of the register, by its number. The sample's own drawing if none is named."
        ),
    ] = None,
    register_path: RegisterOption = None,
    k: Annotated[int, typer.Option("-k", help="Designs to show.", min=1)] = 10,
    within: Annotated[
        list[str] | None,
        several("--class", "-c", help="Only this class or subclass: 06 or 06-01.", kind="classes"),
    ] = None,
    not_within: Annotated[
        list[str] | None,
        several("--not-class", help="Not this class or subclass.", kind="classes"),
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
        list[str] | None,
        several("--source", help="Only what was indexed from this.", kind="sources"),
    ] = None,
    not_source: Annotated[
        list[str] | None,
        several("--not-source", help="Nothing that was indexed from this.", kind="sources"),
    ] = None,
    design: Annotated[
        list[str] | None,
        several("--design", help="Only this design, by its number.", kind="numbers"),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        several("--exclude", help="Leave out this design, by its number.", kind="numbers"),
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
    each: Annotated[
        bool,
        typer.Option("--each", help="Search with each drawing alone: they are different products."),
    ] = False,
    whole: Annotated[
        bool, typer.Option("--whole", help="Take each drawing as one figure: do not cut it.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Also write one page to look at and keep.")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option("--record", help="Also write a record that edge-ret replay proves."),
    ] = None,
    without_drawings: Annotated[
        bool,
        typer.Option(
            "--without-drawings", help="Keep the drawings out of the record: only their hashes."
        ),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", help="Also write the designs found as a table.")
    ] = None,
    notes: Annotated[
        str, typer.Option("--notes", help="What to write into the page and the record.")
    ] = "",
    counts: Annotated[
        bool,
        typer.Option("--counts", help="Also count the designs by class, year, applicant, source."),
    ] = False,
    pictures: PicturesOption = "auto",
    store: StoreOption = None,
    backend: BackendOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Rank the designs of a register by how much they look like a product, in all its views.

    Example: edge-ret search front.png side.png -r my-register --class 06-01 --html hits.html
    """
    from edge_retrieval.cli.asking import ask, refuse_nothing
    from edge_retrieval.encoder import load_encoder
    from edge_retrieval.filters import Filters

    if not drawings:
        from edge_retrieval.sample import sample_query

        drawings = [sample_query()]
        say("drawing: the sample's own (none was named)")
    kind = chosen_kind(pictures)
    register = find_register(register_path)
    asking = ask(drawings, register, whole=whole, each=each)
    if asking.queries or len(asking.unread) > 1:
        for reason in asking.unread:
            say(one_line(f"skipped: {reason}"))
    refuse_nothing(asking)
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
    found_in = opened_store(store, register)
    few = sum(len(query.figures) for query in asking.queries) <= ALONE
    runs_on = chosen_backend(register.bundle, backend)
    encoder = load_encoder(
        register.bundle,
        backend=runs_on,
        threads=1 if few else None,
        keep=True,
    )
    results = find(
        asking, register, encoder, k=k, filters=filters, exclude_self=exclude_self, exact=exact,
        store=found_in,
    )  # fmt: skip
    if explain:
        print_plan(results[0])
    written = {}
    if html is not None:
        from edge_retrieval.evidence import to_html

        settings = {"k": k, "filters": filters.text or "none", "exclude self": exclude_self}
        page = to_html(results, register=register, settings=settings, notes=notes)
        written["page"] = write_text(html, page)
    if record is not None:
        from edge_retrieval.evidence import Asked, make_record, record_text

        made = make_record(
            results,
            register=register,
            asked=Asked(
                k, filters, exclude_self, exact, runs_on, found_in.facts if found_in else None
            ),
            drawings={} if without_drawings else asking.drawings,
            notes=notes,
        )
        written["record"] = write_text(record, record_text(made))
    if csv is not None:
        from edge_retrieval.evidence import to_csv

        written["citations"] = write_text(csv, to_csv(results, register=register))
    if as_json:
        from edge_retrieval.evidence import to_json

        problems = [str(reason) for reason in asking.unread]
        told = to_json(results, register=register, explain=explain, problems=problems)
        if counts:
            from edge_retrieval.facets import facets, facets_as_data

            told["facets"] = facets_as_data(facets(register, filters))
        print_json(told)
    else:
        for result in results:
            print_hits(result)
            if kind is not None:
                from edge_retrieval.cli.pictures import hit_pictures, print_hit_pictures

                print_hit_pictures(kind, hit_pictures(result, register))
        if counts:
            from edge_retrieval.cli.counting import print_counts
            from edge_retrieval.facets import facets

            print_counts(facets(register, filters))
    say_what_is_gone(results)
    for what, path in written.items():
        say(f"{what}: {path.resolve()}")
    register.close()
    if found_in is not None:
        found_in.close()
    if asking.unread:
        say(f"skipped: {count(len(asking.unread), 'drawing')} of {asking.named}")
        raise typer.Exit(EXIT_SKIPPED)


def find(
    asking: Asking,
    register: Register,
    encoder: Encoder,
    *,
    k: int,
    filters: Filters,
    exclude_self: bool,
    exact: bool,
    store: Planner | None = None,
) -> list[SearchResult]:
    """Search with all drawings at once, and with each design of the register."""
    from edge_retrieval.search import search as run_search

    def searched(
        queries: list[Query], embeddings: list[Embeddings] | None
    ) -> Iterator[SearchResult]:
        yield from run_search(
            register, queries, encoder, embeddings=embeddings, k=k, filters=filters,
            exclude_self=exclude_self, exact=exact, store=store,
        )  # fmt: skip

    pairs = list(zip(asking.queries, asking.embeddings, strict=True))
    drawn = searched([query for query, vectors in pairs if vectors is None], None)
    return [
        next(drawn) if vectors is None else next(searched([query], [vectors]))
        for query, vectors in pairs
    ]


def print_hits(result: SearchResult) -> None:
    """Print one query's ranked designs as a table."""
    from edge_retrieval.evidence import class_of

    if not result.hits:
        answer(one_line(f"{Path(result.query.name).name}: {result.statement}"))
        return
    told = [hit.strength.short for hit in result.hits if hit.strength is not None]
    several = len(result.query.figures) > 1
    matched = [f"{hit.matched} of {len(hit.views)}" for hit in result.hits] if several else []
    if result.hits[0].matched is None:
        matched = []
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
                *matched[place : place + 1],
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
            *([("views match", "left")] if matched else []),
        ),
        rows,
    )
    print(f"  {result.statement}")
    if result.chance:
        print(f"  {result.chance}")
    if result.predicted is not None:
        print(one_line(f"  {result.predicted.sentence}"))
    for alarm in result.alarms:
        print(one_line(f"  alarm: {alarm.sentence}"))


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
