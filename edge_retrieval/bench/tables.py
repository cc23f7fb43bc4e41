"""A report as tables, for a terminal and for Markdown: the median first, and never without n."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from edge_retrieval.bench.headline import HEADLINES, device_name, own
from edge_retrieval.report import Label, Measurement, Report, human

PERCENTILES = ("p50", "p90", "p99")
STAGES = ("decode", "cut", "fit", "embed", "search", "print", "total")


class Table(NamedTuple):
    """A table of text.

    Attributes:
        title: Stands above it.
        columns: (heading, "left" | "right") of each.
        rows: Cells.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]


def tables(report: Report) -> list[Table]:
    """Return what a report tells, a table a question; what was not measured is left out."""
    made = (
        _cold_start(report), _stages(report), _contestants(report), _throughput(report),
        _memory(report), _growth(report), _energy(report), _sustained(report), _other(report),
    )  # fmt: skip
    return [table for table in made if table is not None and table.rows]


def to_markdown(report: Report) -> str:
    """Return the tables as Markdown, with the machine, the settings and the notes."""
    told = _cell(device_name(report)), _cell(about(report))
    lines = [f"# edge-ret bench: {told[0]}", "", f"{told[1]}.", ""]
    for note in report.notes:
        lines += [f"> {_cell(note)}", ""]
    for table in tables(report):
        lines += [f"## {_cell(table.title)}", "", *markdown_of(table), ""]
    return "\n".join(lines)


def about(report: Report) -> str:
    """Say in one line what was measured, on what."""
    told = report.settings
    host = report.host
    parts = [
        f"{told['bundle']} ({told['precision']}) on {told['backend']}" if "bundle" in told else "",
        f"{told['threads']} thread(s)" if "threads" in told else "",
        f"{told['figures']:,} figures" if "figures" in told else "",
        str(host.get("cpu", "")),
        f"{host['cores']} cores" if "cores" in host else "",
        str(host.get("os", host.get("system", ""))),
        report.created,
    ]
    return ", ".join(part for part in parts if part)


def device_table(reports: Sequence[Report]) -> Table:
    """Return the headlines of several reports, a column a device."""
    names = [device_name(report) for report in reports]
    seen: dict[str, int] = {}
    for place, name in enumerate(names):
        seen[name] = seen.get(name, 0) + 1
        names[place] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    rows = [("cores", *(str(report.host.get("cores", "")) for report in reports))]
    memory = [report.host.get("memory") for report in reports]
    rows.append(("memory", *(human(m, "B") if isinstance(m, int) else "" for m in memory)))
    for bundle in ("bundle", "precision", "backend", "threads"):
        rows.append((bundle, *(str(report.settings.get(bundle, "")) for report in reports)))
    for line in HEADLINES:
        values = [line.value(report) for report in reports]
        cells = ["" if value is None else human(value, line.unit) for value in values]
        if any(cells):
            rows.append((line.told, *cells))
    columns = (("", "left"), *((name, "right") for name in names))
    return Table("Devices side by side", columns, tuple(rows))


def _percentiles(one: Measurement) -> tuple[str, ...]:
    values = (human(getattr(one, name), one.unit) for name in PERCENTILES)
    return (*values, str(one.n))


def _columns(*left: str) -> tuple[tuple[str, str], ...]:
    right = ((name, "right") for name in (*PERCENTILES, "n"))
    return (*((name, "left") for name in left), *right)


def _cold_start(report: Report) -> Table:
    rows = [(str(one.labels["what"]), *_percentiles(one)) for one in report.find("cold_start")]
    return Table("Cold start: a process from its start to its end", _columns(""), tuple(rows))


def _stages(report: Report) -> Table:
    found = {one.labels["stage"]: one for one in own(report, "latency")}
    rows = [(stage, *_percentiles(found[stage])) for stage in STAGES if stage in found]
    return Table("Latency of one search, stage by stage", _columns("stage"), tuple(rows))


def _contestants(report: Report) -> Table:
    """Return cost and quality of every contestant, side by side."""
    rows = []
    for total in report.find("latency", stage="total"):
        labels = {key: value for key, value in total.labels.items() if key != "stage"}
        embed = report.find("latency", stage="embed", **labels)
        labels.pop("threads", None)
        quality = report.find("quality", metric="mAP", **labels)
        rows.append(
            (
                *(str(labels.get(key, "")) for key in ("bundle", "precision", "backend")),
                human(embed[0].p50, "s") if embed else "",
                *_percentiles(total),
                human(quality[0].p50, "1") if quality else "",
            )
        )
    columns = (*_columns("bundle", "precision", "runtime"), ("mAP", "right"))
    columns = (*columns[:3], ("embed p50", "right"), *columns[3:])
    return Table("Bundles and runtimes, measured in turn: whole searches", columns, tuple(rows))


def _throughput(report: Report) -> Table:
    found = {(one.labels["threads"], one.labels["batch"]): one for one in own(report, "throughput")}
    threads, batches = (sorted({key[i] for key in found}, key=float) for i in (0, 1))
    rows = [
        (
            str(count),
            *(
                human(found[count, batch].p50, "1/s") if (count, batch) in found else ""
                for batch in batches
            ),
        )
        for count in threads
    ]
    columns = (("threads", "left"), *((f"batch {batch}", "right") for batch in batches))
    return Table("Throughput: figures embedded a second, median", columns, tuple(rows))


def _memory(report: Report) -> Table:
    found = {(one.labels["part"], one.labels["kind"]): one.p50 for one in report.find("memory")}
    parts = dict.fromkeys(part for part, _ in found)
    kinds = [kind for kind in ("rss", "pss", "peak") if any(key[1] == kind for key in found)]

    def cells(part: Label) -> Iterator[str]:
        for kind in kinds:
            yield human(found[part, kind], "B") if (part, kind) in found else ""

    rows = [(str(part), *cells(part)) for part in parts]
    if rows:
        sums = [
            (max if kind == "peak" else sum)([v for (_, k), v in found.items() if k == kind])
            for kind in kinds
        ]
        rows.append(("whole", *(human(value, "B") for value in sums)))
    heads = {"rss": "adds, resident", "pss": "adds, shared in parts", "peak": "peak up to here"}
    columns = (("part", "left"), *((heads[kind], "right") for kind in kinds))
    return Table("Memory of a search, part by part", columns, tuple(rows))


def _growth(report: Report) -> Table:
    rows = []
    for one in report.find("search_cost"):
        held = report.find("search_memory", **one.labels)
        rows.append(
            (
                f"{one.labels['figures']:,}", str(one.labels["index"]), *_percentiles(one),
                human(held[0].p50, "B") if held else "",
            )
        )  # fmt: skip
    columns = (*_columns("figures", "index"), ("holds", "right"))
    return Table("One query as a register grows (made vectors)", columns, tuple(rows))


def _energy(report: Report) -> Table:
    rows = [
        (f"a search, {one.labels['bundle']} on {one.labels['backend']}",
         str(one.labels["domain"]), *_percentiles(one))
        for one in report.find("energy")
    ]  # fmt: skip
    rows += [
        (f"power, {one.labels['doing']}", str(one.labels["domain"]), *_percentiles(one))
        for one in report.find("power")
    ]
    return Table("Energy", _columns("", "domain"), tuple(rows))


def _sustained(report: Report) -> Table:
    """Return the first and the last tenth of what goes on for minutes."""
    rows = []
    for name in ("sustained", "temperature", "clock", "throttled"):
        for one in report.find(name):
            tenth = max(1, one.n // 10)
            cells = (one.samples[:tenth], one.samples[-tenth:])
            first, last = (human(float(np.median(part)), one.unit) for part in cells)
            ends = human(min(one.samples), one.unit), human(max(one.samples), one.unit)
            told = "search" if name == "sustained" else name
            rows.append((told, first, last, *ends, str(one.n)))
    heads = ("first tenth", "last tenth", "least", "most", "n")
    columns = (("", "left"), *((head, "right") for head in heads))
    return Table("Searching without a pause", columns, tuple(rows))


SHOWN = {
    "cold_start", "latency", "throughput", "memory", "quality", "search_cost", "search_memory",
    "energy", "power", "sustained", "temperature", "clock", "throttled",
}  # fmt: skip


def _other(report: Report) -> Table:
    """Return what no other table shows: noise, and whatever a report of another program holds."""
    rows = [(one.title, *_percentiles(one)) for one in report.measurements if one.name not in SHOWN]
    return Table("The machine meanwhile", _columns(""), tuple(rows))


def markdown_of(table: Table) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    yield "| " + " | ".join(_cell(heading) for heading, _ in table.columns) + " |"
    yield "|" + "|".join("---:" if side == "right" else "---" for _, side in table.columns) + "|"
    for row in table.rows:
        yield "| " + " | ".join(map(_cell, row)) + " |"


def _cell(text: str) -> str:
    """Return text that stays within its cell, and marks nothing up."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return line.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
