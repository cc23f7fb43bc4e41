"""The tables of the plan, for the terminal and for Markdown: `scale_plan.py`, `render.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scale_plan_details import (
    assumed_of,
    bends_of,
    constants_of,
    fans_of,
    loads_of,
    pieces_of,
    store_of,
)
from scale_plan_short import pictures, sentences
from scale_plan_words import Titled, count, hours, milli, money, pair, size

Table = Callable[[list[str], list[list[str]]], str]
SHORT, PICTURES = "scale_plan_short", "scale_plan_pictures"
PARTS = ("vectors", "pass", "graph", "pictures", "records")


def laptop(result: Mapping[str, Any]) -> Titled:
    """What one laptop does, before anything else is bought."""
    a = result["assumed"]
    rows = []
    for row in result["rows"][:3]:
        made = row["making"]
        rows.append(
            [
                count(row["figures"]),
                size(row["bytes"]["all"]),
                hours(made["laptop"]),
                *(pair(milli(way["p50"]), milli(way["p99"])) + star(way) for way in row["search"]),
                pair(*(size(way["memory"]) for way in row["search"])),
                pair(hours(made["laptop_pictures"]), hours(made["laptop_projected"])),
            ]
        )
    return Titled(
        f"What a laptop of {a['laptop_cores']} cores can do",
        ["figures", "disk", "first index", "exact, p50 / p99", "graph, p50 / p99",
         "memory, exact / graph", "new model, from pictures / projected"],
        rows,
        "Disk, memory: measured bytes a figure times the figures. First index, from sheets, and"
        " another model: extrapolated from measured seconds a sheet, a figure, a vector; each with"
        " a new graph, which one core builds. A search, from the drawing's bytes to what is shown:"
        " simulated, the sum of measured samples, nobody else searching; of a hundred one takes"
        f" longer than p99.{_graph_said(result)}",
    )  # fmt: skip


def of(result: Mapping[str, Any], name: str) -> str:
    """Return the seconds of a constant."""
    return milli(next(one["value"] for one in result["constants"] if one["name"] == name))


def _graph_said(result: Mapping[str, Any]) -> str:
    values = {one["name"]: one["value"] for one in result["constants"]}
    said = f" Exact compares every figure; the graph finds {values['graph_overlap']:.1%} of the"
    said += " ten nearest."
    return said + starred(result["rows"][:3])


def star(way: Mapping[str, Any]) -> str:
    """Return the mark of what was not measured at its size."""
    return "" if way["shard_measured"] else " †"


def starred(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say what the mark means, where there is one."""
    if all(way["shard_measured"] for row in rows for way in row["search"]):
        return ""
    return " †: extrapolated: a graph of so many figures was not measured."


def bytes_of(result: Mapping[str, Any]) -> Titled:
    """Bytes of a register."""
    each = result["bytes_of_one"]
    first = ["one, measured", *(f"{each[part]:,.0f} B" for part in PARTS), f"{each['all']:,.0f} B"]
    rows = [
        [
            count(row["figures"]),
            *(size(row["bytes"][part]) for part in PARTS),
            size(row["bytes"]["all"]),
        ]
        for row in result["rows"]
    ]
    return Titled(
        "Bytes of a register",
        ["figures", "vectors", "first pass", "graph", "pictures", "records", "all"],
        [first, *rows],
        "All but the first line extrapolated: bytes of one times the figures. Records: the"
        " database and the columns. The office's sheets are not kept in it; at"
        f" {result['assumed']['sheet_kb']:g} kB each (assumed) those of a billion figures are"
        f" {size(result['rows'][-1]['sheets_bytes'])}.",
    )


def search_of(result: Mapping[str, Any]) -> Titled:
    """How each size is searched."""
    a = result["assumed"]
    rows = []
    for row in result["rows"]:
        for way in row["search"]:
            inside = way["search_cpu"] - way["index_cpu"] * (1 - a["class_share"])
            rows.append(
                [
                    *named(row, way),
                    f"{way['shards']:,}",
                    size(way["memory"]),
                    pair(milli(way["search_cpu"]), milli(inside)),
                    pair(milli(way["p50"]), milli(way["p99"])),
                    f"{way['bears']:,.0f}",
                ]
            )
    return Titled(
        "How it is searched",
        ["figures", "form", "shards", "memory", "CPU, all / one class",
         "alone, p50 / p99: simulated", f"a second, p99 < {a['p99_s']:g} s: simulated"],
        rows,
        "←: the cheaper form that answers 99 of 100 in time; of equal price the exact one. Up to"
        f" {count(a['shard'])} figures in one piece, above that in shards of so many. CPU and time"
        " hold the drawing's preparation. One class holds"
        f" {a['class_share']:.0%} of the figures (assumed), and shards are by class."
        f" A second: of the machines that hold it, {a['cores']} cores each, without the spare;"
        f" that their cores share a memory bus is not in it. Vectors that"
        f" memory has no room for are read from the disk, {a['disk_read_us']:g} µs each (assumed)."
        f"{starred(result['rows'])}",
    )  # fmt: skip


def named(row: Mapping[str, Any], way: Mapping[str, Any]) -> tuple[str, str]:
    """Return the figures, and the form, marked where it is the right one."""
    form = way["form"] + star(way)
    return count(row["figures"]), f"**{form} ←**" if way["form"] == row["right"] else form


def machines_of(result: Mapping[str, Any]) -> Titled:
    """Machines and money."""
    a = result["assumed"]
    rows = []
    for row in result["rows"]:
        for way in row["search"]:
            need = way["machines"]
            prices = [way[name] for name in ("month", "per_million", "per_million_busy")]
            rows.append(
                [
                    *named(row, way),
                    f"{need['memory']} / {need['disk']} / {need['rate']}",
                    str(need["with_spare"]),
                    *(money(price) for price in prices),
                ]
            )
    return Titled(
        f"Machines and {a['currency']}, for {a['rate']:g} searches a second at the busiest",
        ["figures", "form", "for memory / disk / rate", "with one spare", "a month",
         "a million searches, held", "a million, no core idle"],
        rows,
        f"Computed. A machine: {a['cores']} cores, {a['memory_gb']:g} GB of memory,"
        f" {a['disk_tb']:g} TB of disk, filled to {a['fill']:.0%}; prices are assumed, see below."
        f" Held: machines run all month, the mean is {a['mean_share']:.0%} of the busiest.",
    )  # fmt: skip


def making_of(result: Mapping[str, Any]) -> Titled:
    """The first index."""
    a = result["assumed"]
    rows = []
    for row in result["rows"]:
        made = row["making"]
        rows.append(
            [
                count(row["figures"]),
                count(made["sheets"]),
                f"{made['core_hours']:,.0f}",
                hours(made["laptop"]),
                hours(made["one_writer"]),
                hours(made["writer_a_shard"]),
                money(made["cost"]),
            ]
        )
    return Titled(
        "The first index, from sheets",
        ["figures", "sheets", "core-hours", f"{a['laptop_cores']} cores",
         f"{a['workers']} cores, one writer", "same, a writer a shard", a["currency"]],
        rows,
        "Extrapolated: measured seconds of one core a sheet, times the sheets. First pass and graph"
        " included; a graph is built by one core a shard. One writer: what a register has today."
        f" {of(result, 'sheet_cpu')} a sheet; of the few full TIFF pages that were measured"
        f" {of(result, 'tiff_cpu')}.",
    )  # fmt: skip


def change_of(result: Mapping[str, Any]) -> Titled:
    """After a model change."""
    a = result["assumed"]
    rows = []
    for row in result["rows"]:
        cells = []
        for way in ("sheets", "pictures", "projection"):
            told = row["change"][way]
            cells.append(f"{hours(told['hours'])}, {money(told['cost'], a['currency'])}")
        again = row["change"]["sheets"]
        rows.append([count(row["figures"]), *cells, hours(again["graph_hours"])])
    return Titled(
        "After a model change: three ways to new vectors",
        ["figures", "from sheets", "from kept pictures", "by a projection", "graph again"],
        rows,
        f"Extrapolated. From sheets and pictures: on {a['workers']} cores; the office's archive is"
        " at hand. Projected: on the machines that hold the register, as fast as"
        f" their disks read and write ({a['disk_mb_s']:g} MB/s each, assumed). Cost: with first"
        " pass and graph, which each way makes anew, a core a shard.",
    )  # fmt: skip


TABLES: dict[str, Callable[[Mapping[str, Any]], Titled]] = {
    "scale_plan_laptop": laptop,
    "scale_plan_bytes": bytes_of,
    "scale_plan_search": search_of,
    "scale_plan_machines": machines_of,
    "scale_plan_making": making_of,
    "scale_plan_change": change_of,
    "scale_plan_bends": bends_of,
    "scale_plan_store": store_of,
    "scale_plan_fans": fans_of,
    "scale_plan_loads": loads_of,
    "scale_plan_pieces": pieces_of,
    "scale_plan_constants": constants_of,
    "scale_plan_assumed": assumed_of,
}


NAMES = (SHORT, PICTURES, *TABLES)


def markdown(name: str, result: Mapping[str, Any], table: Table) -> str:
    """Return one of the tables, or the sentences, as Markdown."""
    if name == SHORT:
        return "\n".join(f"- {sentence}" for sentence in sentences(result))
    if name == PICTURES:
        return pictures(result)
    one = TABLES[name](result)
    rows = [[unbroken(cell) for cell in row] for row in one.rows]
    return f"**{one.title}**\n\n{table(one.head, rows)}" + (f"\n\n{one.note}" if one.note else "")


def unbroken(cell: str) -> str:
    """Return a number with its unit, or a word with its mark, on one line in any page."""
    short = len(cell) < 20 and (cell[:1].isdigit() or cell.endswith(("†", "**")))
    return cell.replace(" ", "\u00a0") if short else cell
