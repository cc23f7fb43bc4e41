"""How far does it go? A plan to a billion figures, computed from what was measured.

    python benchmarks/scale_plan.py                                     # print the plan
    python benchmarks/scale_plan.py --rate 50 --core-hour 0.08          # with your own assumptions
    python benchmarks/scale_plan.py --out benchmarks/results/scale_plan_table.json
    python benchmarks/scale_plan.py --measure path/to/uspto-multiview   # what it needs measured

Every number is one of four. Measured: read from a file of benchmarks/results, which the table of
constants names with its key. Assumed: a named argument with a default, printed with the rest.
Extrapolated: a formula of `scale_plan_formulas.py` that carries a measured number further than it
was measured. Simulated: played with a seed from raw measured samples (`scale_plan_simulation.py`).
Nothing here is built into the product: where the plan needs what does not exist yet, its page,
docs/scale-plan.md, says so.
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import scale_plan_played as played
import scale_plan_rows as planned
import scale_plan_table as tables
from scale_plan_assumed import Assumed, add_arguments, meaning
from scale_plan_constants import MEASURED, RESULTS, Measured, MissingResultError
from scale_plan_short import sentences
from scale_plan_sources import read

from edge_retrieval.report import save_json

TABLE = RESULTS / "scale_plan_table.json"


def plan(m: Measured, a: Assumed) -> dict[str, Any]:
    """Return all tables as data."""
    rows = []
    for figures in planned.SIZES:
        ways = [planned.search_of(figures, form, m, a) for form in ("exact", "graph")]
        rows.append(
            {
                "figures": figures,
                "designs": figures / m["figures_per_design"],
                "bytes": planned.size_of(figures, m),
                "sheets_bytes": figures / m["figures_per_sheet"] * a.sheet_kb * 1e3,
                "search": ways,
                "right": right(ways, a),
                "making": planned.making_of(figures, m, a),
                "change": planned.change_of(figures, m, a),
                "store": planned.store_of(figures, m, a),
                "bends": planned.bends_of(figures, m),
            }
        )
    return {
        "question": "what would up to a billion figures take?",
        "constants": [asdict(one) for one in m.constants.values()],
        "assumed": asdict(a),
        "meanings": {name: meaning(name) for name in asdict(a)},
        "bytes_of_one": planned.size_of(1, m),
        "rows": rows,
        "fans": played.fans(m, a),
        "loads": played.loads(m, a),
        "pieces": played.pieces(m, a),
        "served": {
            "clients": m["served_clients"],
            "cores": m["served_cores"],
            "measured": m["served"],
            "predicted": m["served_cores"] / statistics.fmean(m.query),
        },
    }


def right(ways: list[dict[str, Any]], a: Assumed) -> str:
    """Return the cheaper form of those that answer in time; of equal price, the first."""
    in_time = [way for way in ways if way["p99"] <= a.p99_s] or ways
    return str(min(in_time, key=lambda way: way["month"])["form"])


def show(result: dict[str, Any]) -> None:
    """Print the tables, as wide as the terminal is."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for sentence in sentences(result):
        console.print(re.sub(r"\*\*(.+?)\*\*", r"[bold]\1[/bold]", sentence), highlight=False)
    console.print()
    for make in tables.TABLES.values():
        one = make(result)
        shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), header_style="")
        for number, name in enumerate(one.head):
            text = number >= len(one.head) - one.words
            justify, overflow = ("left", "fold") if text or not number else ("right", "ellipsis")
            shown.add_column(name, justify=justify, overflow=overflow, no_wrap=not number)
        for row in one.rows:
            shown.add_row(*(plain(cell) for cell in row))
        console.print(one.title, style="bold", highlight=False)
        console.print(shown)
        if one.note:
            console.print(one.note, style="dim", highlight=False)
        console.print()


def plain(cell: str) -> str:
    """Return a cell of Markdown as the terminal shows it."""
    from rich.markup import escape

    if cell.endswith("**"):
        start, _, bold = cell.removesuffix("**").partition("**")
        return f"{escape(start)}[bold]{escape(bold)}[/bold]"
    return escape(cell)


def main() -> None:
    """Measure, or plan: print, and save where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--measure", type=Path, metavar="SOURCE", help="measure, do not plan")
    parser.add_argument("--tiffs", type=Path, help="grants with TIFF pages, measured too")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are read")
    parser.add_argument("--out", type=Path, help="also write the plan as JSON")
    add_arguments(parser)
    args = parser.parse_args()
    if args.measure:
        from scale_plan_measure import measure

        measure(
            args.measure, args.tiffs, args.out or MEASURED, lambda text: print(text, flush=True)
        )
        return
    try:
        result = plan(read(args.results), Assumed.from_arguments(args))
    except MissingResultError as error:
        sys.exit(f"error: {error}")
    if args.out:
        save_json(args.out, result)
    show(result)


if __name__ == "__main__":
    main()
