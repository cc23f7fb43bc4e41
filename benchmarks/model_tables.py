"""The tables of `model.py`; rendered by `render.py`."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Table = Callable[[list[str], list[list[str]]], str]
COST = ["ms", "MB"]


def model(result: Mapping[str, Any], table: Table) -> str:
    """The encoders side by side on patents that none was trained on; whole rows only."""
    head = ["encoder", "patent mAP", "hit_rate@1", "times ImageNet", "subclass mAP", *COST]
    shown = [row for row in result["rows"] if row["prefix"] is None]
    untrained = [row for row in shown if row["group"] == "untrained"]
    lines = []
    for row in shown:
        own = row["galleries"]["test"]
        if row["group"] != "untrained":
            lines.append(
                [
                    name_of(row),
                    interval(own["patent mAP"]),
                    f"{own['hit_rate@1']['value']:.3f}",
                    _ratio(row, own["patent mAP"], result),
                    plain(own["subclass mAP"]),
                    *cost(row, result),
                ]
            )
        elif row is untrained[0]:
            lines.append(_seeds(untrained, result))
    return f"{table(head, lines)}\n\n{note(result)}"


def _seeds(rows: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> list[str]:
    """Write one line of a network's seeds: means, and the least and the greatest patent mAP."""
    found = {
        measure: [row["galleries"]["test"][measure] for row in rows]
        for measure in ("patent mAP", "hit_rate@1", "subclass mAP")
    }
    values = [one["value"] for one in found["patent mAP"]]
    means = {m: statistics.mean(one["value"] for one in each if one) for m, each in found.items()}
    return [
        f"{rows[0]['encoder'].partition(', seed ')[0]}, {len(rows)} seeds",
        f"{means['patent mAP']:.3f} (seeds: {min(values):.3f} to {max(values):.3f})",
        f"{means['hit_rate@1']:.3f}",
        f"{statistics.mean(one['ratio']['value'] for one in found['patent mAP']):.2f}",
        f"{means['subclass mAP']:.3f}",
        *cost(rows[0], result),
    ]


def model_full(result: Mapping[str, Any], table: Table) -> str:
    """Every encoder and prefix, in every gallery."""
    parts = []
    for name, title in TITLES.items():
        about = result["galleries"][name]
        measures = list(result["rows"][0]["galleries"][name])
        versus = ("above ImageNet", "times ImageNet")
        head = ["encoder", *measures, *versus, *(COST if name == "test" else [])]
        lines = []
        for row in result["rows"]:
            own = row["galleries"][name]
            lines.append(
                [
                    name_of(row),
                    *(
                        interval(own[measure]) if measure in SURE else plain(own[measure])
                        for measure in measures
                    ),
                    interval(own["patent mAP"]["difference"], sign=True),
                    interval(own["patent mAP"]["ratio"], digits=2),
                    *(cost(row, result) if name == "test" else []),
                ]
            )
        said = f"**{title}**: gallery {about['figures']:,} figures of {about['designs']:,} designs;"
        said += f" {about['queries']:,} of them search, of {about['patents that search']} designs."
        parts.append(f"{said}\n\n{table(head, lines)}")
    return "\n\n".join([*parts, note(result)])


TITLES = {
    "test": "(a) Patents of the test part among one another",
    "distractors": "(b) The same queries, patents of 2007 put among them",
    "all": "(b2) Likewise, and the patents of the other two parts too",
    "made": "(c) Made drawings of families never trained on",
}
SURE = ("patent mAP", "subclass mAP")
"""Measures that are told with their intervals."""


def note(result: Mapping[str, Any]) -> str:
    """Say what it all must be read with."""
    about, host = result["galleries"]["test"], result["host"]
    rounds = len(next(iter(result["seconds"].values()))["cpu"])
    return (
        f"Test part of {result['source']}: {about['designs']} patents, {about['figures']} figures;"
        f" {result['convention']}. In brackets: where 95 % of {result['resamples']:,} resamples of"
        " patents, with all their figures as queries, lie; the gallery stays. Above and times"
        f" ImageNet: patent mAP less, and over, that of {result['reference']}, on the same"
        " resamples. Whitened: with the"
        f" statistics of {result['statistics']['whitening']:,} training drawings. ms: one figure at"
        " a time on onnxruntime or the bundle's own runtime, one thread, embedding alone,"
        " processor time, median of"
        f" {rounds} rounds in turn; {host['cpu']}. MB: of the network's file."
    )


def name_of(row: Mapping[str, Any]) -> str:
    """Name an encoder, or the beginning of its rows."""
    name = str(row["encoder"])
    if row["prefix"] is not None:
        return f"{name}: first {row['prefix']} numbers"
    return f"**{name}**" if row["group"] == "ours" else name


def interval(found: Mapping[str, float] | None, *, digits: int = 3, sign: bool = False) -> str:
    """Write 0.293 (0.251 to 0.337)."""
    if found is None:
        return ""
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{found['value']:{form}} ({found['low']:{form}} to {found['high']:{form}})"


def plain(found: Mapping[str, float] | None) -> str:
    """Write 0.293."""
    return "" if found is None else f"{found['value']:.3f}"


def cost(row: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    """Write milliseconds and megabytes; the beginning of a row costs what the row does."""
    if row["prefix"] is not None:
        return ["", ""]
    samples: Sequence[float] = result["seconds"][row["encoder"]]["cpu"]
    size = "" if row["bytes"] is None else f"{row['bytes'] / 1e6:.2f}"
    return [f"{statistics.median(samples) * 1e3:.2f}", size]


def _ratio(row: Mapping[str, Any], found: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    own = row["encoder"] == result["reference"]
    return "1" if own else interval(found["ratio"], digits=2)
