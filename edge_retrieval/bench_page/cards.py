"""A report's measurements as cards: each answers one question with a caption, a plot, a table.

What was not measured has no card; what fits no plot still has its table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edge_retrieval.bench_page.axes import Plot, scale
from edge_retrieval.bench_page.plots import growth, lines, stacks, strips
from edge_retrieval.bench_page.points import points
from edge_retrieval.bench_page.timeline import Panel, over_time
from edge_retrieval.report import Label, Measurement, Report
from edge_retrieval.report_table import (
    GROUPS,
    Table,
    capital,
    contestants,
    grouped,
    said_label,
    said_labels,
    said_measurement,
    same_contestant,
    shared,
    tables,
)

METRICS = ("mAP", "hit_rate@5", "hit_rate@1")
"""Of quality: the first that was measured is drawn."""
LEVEL = "design"

Drawn = tuple[str, Plot | None]
"""A caption, and what it is the caption of."""


@dataclass(frozen=True)
class Card:
    """One question's answer.

    Attributes:
        table: Its title is the heading, its rows are the numbers.
        caption: One or two sentences: what is seen, in which unit.
        plot: None where there is nothing to draw.
    """

    table: Table
    caption: str
    plot: Plot | None


def cards(report: Report) -> list[Card]:
    """Return the cards of a report in the order in which they are shown.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    found = grouped(report)
    made = []
    for table in tables(report):
        caption, plot = _DRAW[table.group](found[table.group], report)
        made.append(Card(table, caption, plot))
    return made


def _search(found: Sequence[Measurement], _: Report) -> Drawn:
    rows = {said_measurement(one, found): one.samples for one in found}
    plot = strips("search", GROUPS["search"], rows, "s")
    return (
        f"Each dot is one search, from the file to the printed answer, in {plot.unit}. The strong "
        "line is the median, the thinner ones p90 and p99: 90 % and 99 % of the searches took no "
        "longer. The numbers are these three; left is better, and what is far slower stands at the "
        "right edge.",
        plot,
    )


def _stages(found: Sequence[Measurement], _: Report) -> Drawn:
    rows = _stacked(found, "stage")
    plot = stacks("stages", GROUPS["stages"], rows, "s")
    return f"Median of each stage of a search, in {plot.unit}; shorter is better.", plot


def _quality(found: Sequence[Measurement], report: Report) -> Drawn:
    measured = [str(one.labels.get("metric", "")) for one in found]
    metric = next((name for name in METRICS if name in measured), measured[0])
    drawn = [one for one in found if str(one.labels.get("metric", "")) == metric]
    drawn = [one for one in drawn if one.labels.get("level", LEVEL) == LEVEL] or drawn
    totals = contestants(report)
    pairs = {}
    for one in drawn:
        name = said_labels(one.labels, without=("metric", "level", *shared(drawn)))
        if total := next((total for total in totals if same_contestant(one, total)), None):
            pairs[name] = (total.median, one.median)
    said = said_label("metric", metric)
    if len(pairs) < 2:
        return "Shares of 1, of figures among one another; 1 is best.", None
    plot = points("quality", GROUPS["quality"], pairs, x="one search, median", y=said, unit="s")
    return (
        f"{said} (a share of 1) against the median of one search in {plot.unit}: "
        "further up finds more, further left is faster.",
        plot,
    )


def _memory(found: Sequence[Measurement], _: Report) -> Drawn:
    said = {"rss": "resident (RSS)", "pss": "shared pages in parts (PSS)"}
    added = [one for one in found if one.labels.get("kind") in said]
    if not added:
        return "What a process held in memory, in decimal units.", None
    rows = _stacked(added, "part", {"kind": said})
    plot = stacks("memory", GROUPS["memory"], rows, "B")
    return (
        f"What each part of a search adds to the memory of a fresh process, in {plot.unit} "
        "(1 MB is a million bytes). PSS counts pages that other processes hold as well in parts: "
        "it is less while such run, as this bench itself.",
        plot,
    )


def _throughput(found: Sequence[Measurement], _: Report) -> Drawn:
    across, along = ("threads", "batch")
    if len(_values(found, "batch")) > len(_values(found, "threads")):
        across, along = along, across
    rest = {name for name in shared(found) if name != across}
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for one in found:
        if isinstance(at := one.labels.get(across), str | None):
            continue
        panel = said_labels(one.labels, without=(*rest, "threads", "batch"))
        line = said_label(along, one.labels[along]) if along in one.labels else ""
        panels.setdefault(panel, {}).setdefault(line, []).append((at, one.median))
    if len(_values(found, across)) < 2 or not panels:
        return "Figures embedded a second (1/s).", None
    said = {"threads": "threads", "batch": "figures in a batch"}[across]
    plot = lines("throughput", GROUPS["throughput"], panels, x=said, y="median", unit="1/s")
    return f"Figures embedded a second (1/s) by {said}; higher is better.", plot


def _growth(found: Sequence[Measurement], _: Report) -> Drawn:
    name = found[0].name
    rows: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        size = one.labels.get("figures")
        if not isinstance(size, str | None) and size > 0 and one.median > 0:
            label = said_labels(one.labels, without=("figures", *shared(found)))
            rows.setdefault(label, []).append((size, one.median))
    said = {"search_cost": "one query", "search_memory": "memory"}[name]
    group = {"search_cost": "growth", "search_memory": "growth_memory"}[name]
    if len(_values(found, "figures")) < 2 or not rows:
        return f"{capital(said)} of a register of made vectors, units beside the numbers.", None
    plot = growth(
        group, GROUPS[group], rows, x="figures in the register", y=said, unit=found[0].unit
    )
    what = {
        "search_cost": "Median time of one query among made vectors (µs, ms or s",
        "search_memory": "Memory of a search among made vectors (kB, MB or GB",
    }[name]
    return f"{what}, as the axis says); both axes are logarithmic.", plot


def _sustained(found: Sequence[Measurement], _: Report) -> Drawn:
    titles = {"sustained": "one search", "temperature": "temperature", "clock": "clock"}
    timed = [one for one in found if one.at and one.name in titles]
    panels = _panels(timed, titles)
    if not panels:
        return "Searches without a pause between them.", None
    slow = _spans([one for one in found if one.name == "throttled" and one.at])
    plot = over_time("sustained", GROUPS["sustained"], panels, slow)
    what = ", ".join(f"{panel.title} ({_unit_of(panel)})" for panel in panels)
    told = "Searches without a pause. The line is the median of a stretch, the band p10 to p90"
    shade = "; shaded: the device slowed itself down" if slow else ""
    if any(one.name == "throttled" for one in found) and not slow:
        shade = "; the device never slowed itself down"
    return f"{capital(what)} over {plot.unit}. {told}{shade}.", plot


def _unit_of(panel: Panel) -> str:
    """Return the unit that the axis of a panel has."""
    return scale(panel.unit, max(max(values) for _, values in panel.found.values()))[1]


def _cold_start(found: Sequence[Measurement], _: Report) -> Drawn:
    rows = {said_measurement(one, found): {"": one.median} for one in found}
    plot = stacks("cold-start", GROUPS["cold_start"], rows, "s")
    return (
        f"A fresh process from its start to its end, median in {plot.unit}; each does what those "
        "above it do, and more.",
        plot,
    )


def _energy(found: Sequence[Measurement], _: Report) -> Drawn:
    drawn = [one for one in found if one.unit == "J"] or found
    rows = {said_measurement(one, drawn): {"": one.median} for one in drawn}
    unit = drawn[0].unit
    plot = stacks("energy", GROUPS["energy"], rows, unit)
    said = "Energy of one search" if unit == "J" else "Power"
    return f"{said}, median in {plot.unit}, as the device tells it.", plot


def _noise(found: Sequence[Measurement], _: Report) -> Drawn:
    titles = {
        "noise.reference": "the same small work",
        "noise.others": "share of other processes",
    }
    panels = _panels([one for one in found if one.at], titles)
    works = [one for one in found if one.name == "noise.reference"]
    unit = scale("s", max((max(one.samples) for one in works), default=1.0))[1]
    told = (
        f"The same small computation again and again, in {unit}, and the share of all cores' time "
        "(1: all of it) that other processes took: on a quiet machine the first line is flat and "
        "the second low."
    )
    return told, over_time("noise", GROUPS["noise"], panels) if panels else None


def _other(_: Sequence[Measurement], __: Report) -> Drawn:
    return "Units stand beside the numbers.", None


_DRAW: Mapping[str, Callable[[Sequence[Measurement], Report], Drawn]] = {
    "search": _search,
    "stages": _stages,
    "quality": _quality,
    "memory": _memory,
    "throughput": _throughput,
    "growth": _growth,
    "growth_memory": _growth,
    "sustained": _sustained,
    "cold_start": _cold_start,
    "energy": _energy,
    "noise": _noise,
    "other": _other,
}


def _stacked(
    found: Sequence[Measurement], part: str, words: Mapping[str, Mapping[str, str]] | None = None
) -> dict[str, dict[str, float]]:
    """Return what tells a row -> what `part` says -> median, in the order of the report."""
    rows: dict[str, dict[str, float]] = {}
    for one in found:
        labels = {k: (words or {}).get(k, {}).get(str(v), v) for k, v in one.labels.items()}
        row = said_labels(labels, without=(part, *shared(found))) or "one search"
        rows.setdefault(capital(row), {})[str(one.labels.get(part, ""))] = one.median
    return rows


def _panels(timed: Sequence[Measurement], titles: Mapping[str, str]) -> list[Panel]:
    panels = []
    for name, title in titles.items():
        of_name = [one for one in timed if one.name == name]
        if of_name:
            lines = {said_measurement(one, of_name): (one.at, one.samples) for one in of_name}
            panels.append(Panel(title, of_name[0].unit, lines))
    return panels


def _spans(throttled: Sequence[Measurement]) -> list[tuple[float, float]]:
    """Return the stretches in which the device slowed itself down."""
    spans: list[tuple[float, float]] = []
    for one in throttled:
        counts = one.labels.get("counter") == "events"
        steps = list(zip(one.at, one.samples, strict=True))
        for (start, before), (end, after) in pairwise(steps):
            if (after > before) if counts else before > 0:
                if spans and spans[-1][1] == start:
                    spans[-1] = (spans[-1][0], end)
                else:
                    spans.append((start, end))
    return spans


def _values(found: Sequence[Measurement], name: str) -> set[Label]:
    return {one.labels[name] for one in found if name in one.labels}
