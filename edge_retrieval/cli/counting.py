"""What a register holds by class, year, applicant and source, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_retrieval.cli.talk import print_table
from edge_retrieval.facets import ClassCount, Facets

SHOWN = 10
"""So many applicants and sources, and the latest so many years, are shown; the rest is summed."""


def print_counts(found: Facets) -> None:
    """Print the counts, each under all filters but its own."""
    rows = [*_classes(found.classes)]
    rows += _listed("class", found.unknown["class"])
    rows += _some("year", [(str(year), many) for year, many in reversed(found.years)])
    rows += _listed("year", found.unknown["year"])
    rows += _some("applicant", found.applicants)
    rows += _some("source", found.sources)
    columns = (("by", "left"), ("designs", "right"), ("", "cut"))
    print_table("what each would leave, under all other filters", columns, rows)


def _classes(classes: Sequence[ClassCount], depth: int = 0) -> Iterator[tuple[str, str, str]]:
    for one in classes:
        name = f"{'  ' * depth}{one.code} {one.title}".rstrip()
        yield "class", f"{one.designs:,}", name
        yield from _classes(one.children, depth + 1)


def _listed(what: str, unknown: int) -> list[tuple[str, str, str]]:
    return [(what, f"{unknown:,}", "unknown")] if unknown else []


def _some(what: str, counted: Sequence[tuple[str, int]]) -> Iterator[tuple[str, str, str]]:
    for name, many in counted[:SHOWN]:
        yield what, f"{many:,}", name
    if rest := counted[SHOWN:]:
        yield what, f"{sum(many for _, many in rest):,}", f"{len(rest)} more"
