"""A report in words: its headline, and every number of it in tables of one form.

The HTML page shows them beside its plots; `bench.tables` has those for a terminal and Markdown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_retrieval.human import human, human_bytes
from edge_retrieval.report import Label, Measurement, Report

HEADER = ("", "median", "p90", "p99", "n")
GROUPS = {
    "search": "How long one search takes",
    "stages": "Where the time goes",
    "quality": "Quality",
    "memory": "Memory",
    "throughput": "Figures a second",
    "growth": "As the register grows",
    "growth_memory": "Memory as the register grows",
    "sustained": "Under lasting load",
    "cold_start": "From a standing start",
    "energy": "Energy and power",
    "noise": "How quiet the machine was",
    "other": "Also measured",
}
"""What is told together, in the order in which it is told, and its heading."""

_GROUP_OF = {
    "quality": "quality",
    "memory": "memory",
    "throughput": "throughput",
    "search_cost": "growth",
    "search_memory": "growth_memory",
    "sustained": "sustained",
    "temperature": "sustained",
    "clock": "sustained",
    "throttled": "sustained",
    "cold_start": "cold_start",
    "energy": "energy",
    "power": "energy",
    "noise.reference": "noise",
    "noise.others": "noise",
}
CONTESTANT = ("bundle", "backend", "precision", "threads")
"""Labels that tell contestants apart; those that all rows of a table share stand above it."""

_FIRST = ("part", "stage", "what", "metric", *CONTESTANT, "batch", "figures", "index")
"""Labels in the order in which they are said; others follow as they stand."""

_WORDS = {
    "onnx": "ONNX Runtime",
    "openvino": "OpenVINO",
    "fp32": "FP32",
    "fp16": "FP16",
    "int8": "INT8",
    "rss": "RSS",
    "pss": "PSS",
    "hit_rate@1": "hit rate@1",
    "hit_rate@5": "hit rate@5",
}
_STARTED = {
    "python": "start Python",
    "import": "and import what a search loads",
    "search": "and search, all of it",
}
_NAMES = {
    "latency": "one search",
    "sustained": "one search",
    "noise.reference": "the same small work",
    "noise.others": "share of other processes",
}
_FACTS = {
    "cpu": "CPU",
    "os": "operating system",
    "cores": "cores for this process",
    "logical": "logical cores",
    "physical": "physical cores",
    "flags": "vector extensions",
    "limits": "limits of the container",
    "k": "designs asked for (k)",
}


@dataclass(frozen=True)
class Table:
    """Numbers that are told together.

    Attributes:
        group: A key of `GROUPS`.
        about: What all rows are of: "small, ONNX Runtime INT8, 2 threads"; or "".
        header: Of the columns; the first is empty, since its cells say what a row is.
        rows: As many cells as `header`, all text for people.
    """

    group: str
    about: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def title(self) -> str:
        """The heading."""
        return GROUPS[self.group]


def tables(report: Report) -> list[Table]:
    """Return every measurement in exactly one table; groups without any are left out."""
    return [
        Table(group, shared_labels(found), HEADER, tuple(_row(one, found) for one in found))
        for group, found in grouped(report).items()
    ]


def grouped(report: Report) -> dict[str, list[Measurement]]:
    """Return group -> its measurements, as the report orders them; only groups that have some."""
    found: dict[str, list[Measurement]] = {group: [] for group in GROUPS}
    for measurement in report.measurements:
        found[_group_of(measurement)].append(measurement)
    return {group: measurements for group, measurements in found.items() if measurements}


def headline(report: Report) -> str:
    """Return the report in one sentence: how long a search takes, and the memory it needs."""
    total, peak = chosen(report), peak_memory(report)
    memory = f"{human_bytes(peak)} at the peak" if peak is not None else ""
    if total is None:
        return f"One search needs {memory}." if memory else f"{capital(report.title)}."
    text = f"One search takes {human(total.median, total.unit)} on this device"
    if total.n > 1:
        text += f" (90 % below {human(total.p90, total.unit)})"
    if len(contestants(report)) > 1 and total.labels:
        apart = ("stage", *shared(contestants(report)))
        text += f" with {said_labels(total.labels, without=apart)}"
    return f"{text}, {memory}." if memory else f"{text}."


def contestants(report: Report) -> list[Measurement]:
    """Return the whole of a search as each contestant took it, in the order of the report."""
    return [one for one in report.measurements if _group_of(one) == "search"]


def chosen(report: Report) -> Measurement | None:
    """Return the search that the settings name, else the first; never the best for being best."""
    found = contestants(report)
    for one in found:
        named = {name: one.labels[name] for name in CONTESTANT if name in one.labels}
        if named and all(report.settings.get(name) == value for name, value in named.items()):
            return one
    return found[0] if found else None


def same_contestant(one: Measurement, other: Measurement) -> bool:
    """Say whether two can be of one contestant: no label differs that both have."""
    return all(
        one.labels[name] == other.labels[name]
        for name in CONTESTANT
        if name in one.labels and name in other.labels
    )


def peak_memory(report: Report) -> float | None:
    """Return the most memory that a search ever held, in bytes; None if it was not measured."""
    peaks = report.find("memory", kind="peak")
    return max((one.median for one in peaks), default=None)


def said_labels(labels: Mapping[str, Label], *, without: Iterable[str] = ()) -> str:
    """Return labels in words: "small, ONNX Runtime INT8, 2 threads"; "" where there are none."""
    names = [name for name in _FIRST if name in labels]
    names += [name for name in labels if name not in _FIRST]
    text, before = "", ""
    for name in (name for name in names if name not in set(without)):
        joined = " " if (before, name) == ("backend", "precision") else ", " if text else ""
        text += joined + said_label(name, labels[name])
        before = name
    return text


def said_label(name: str, value: Label) -> str:
    """Return one label in words: "2 threads"."""
    if name == "bundle":
        return f"bundle {value}"
    if name == "what":
        return _STARTED.get(str(value), str(value))
    if name == "threads":
        return "1 thread" if value == 1 else f"{value} threads"
    if name == "batch":
        return "one by one" if value == 1 else f"batches of {value}"
    if name == "figures" and not isinstance(value, str):
        return f"{value:,} figures"
    return _WORDS.get(value, value) if isinstance(value, str) else f"{name} {value}"


def shared(among: Sequence[Measurement]) -> tuple[str, ...]:
    """Return those of `CONTESTANT` that tell none of the measurements from another.

    No two differ in them; or they are the bundle, and the precision tells bundles apart as well.
    """
    values = {name: {one.labels.get(name) for one in among} - {None} for name in CONTESTANT}
    pairs = {
        (one.labels["bundle"], one.labels.get("precision"))
        for one in among
        if "bundle" in one.labels
    }
    same = [name for name, found in values.items() if len(found) == 1]
    if 1 < len(values["bundle"]) == len(values["precision"]) == len(pairs):
        same.insert(0, "bundle")
    return tuple(same)


def shared_labels(among: Sequence[Measurement]) -> str:
    """Return what `shared` names, in words."""
    names = shared(among)
    bundles = list(
        dict.fromkeys(str(one.labels["bundle"]) for one in among if "bundle" in one.labels)
    )
    labels = {k: v for one in among for k, v in one.labels.items() if k in names}
    if "bundle" in labels and len(bundles) > 1:
        rest = said_labels(labels, without=("bundle",))
        return ", ".join(part for part in (f"Bundles {', '.join(bundles)}", rest) if part)
    return capital(said_labels(labels))


def said_measurement(one: Measurement, among: Sequence[Measurement]) -> str:
    """Return what tells a measurement from the others of its table."""
    several = len({other.name for other in among}) > 1
    name = _NAMES.get(one.name, one.name)
    whole = ("stage",) if _group_of(one) == "search" else ()
    labels = said_labels(one.labels, without=(*shared(among), *whole))
    text = ", ".join(part for part in (name if several else "", labels) if part) or name
    return text if one.name == "quality" else capital(text)  # mAP is written so


def said_facts(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> value as text for people; what has no value is left out."""
    found = {}
    for name, value in facts.items():
        if (text := _fact(name, value)) != "":
            known = _FACTS.get(name)
            found[known or (name if "-" in name else name.replace("_", " "))] = text
    return found


def said_time(created: str) -> str:
    """Return an ISO time as people read it."""
    return created.replace("T", " ").replace("+00:00", " UTC")


def _group_of(one: Measurement) -> str:
    if one.name == "latency":
        return "search" if one.labels.get("stage", "total") == "total" else "stages"
    return _GROUP_OF.get(one.name, "other")


def capital(text: str) -> str:
    """Return text that begins as a sentence does."""
    return text[:1].upper() + text[1:]


def _row(one: Measurement, among: Sequence[Measurement]) -> tuple[str, ...]:
    def told(value: float) -> str:
        return f"{value:g}" if one.name == "throttled" else human(value, one.unit)

    spread = [told(value) if one.n > 1 else "–" for value in (one.p90, one.p99)]
    return (said_measurement(one, among), told(one.median), *spread, f"{one.n:,}")


def _fact(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_fact(str(key), item)}" for key, item in value.items())
    if isinstance(value, list | tuple | set):
        return ", ".join(_fact("", item) for item in value)
    if isinstance(value, int | float) and ("memory" in name or "bytes" in name):
        return human_bytes(value)
    if isinstance(value, int) and name in ("figures", "designs"):
        return f"{value:,}"
    return "" if value is None else str(value)
