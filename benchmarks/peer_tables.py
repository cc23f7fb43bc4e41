"""The tables of `peers.py`; rendered by `render.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

Table = Callable[[list[str], list[list[str]]], str]


def peers(result: Mapping[str, Any], table: Table) -> str:
    """What a folder costs each, what a broken file does, and who could not be measured."""
    return "\n\n".join(
        [
            table(
                ["", "index", "CPU", "memory", "a search", "CPU", "memory", "installed"],
                [tool(row) for row in result["rows"]],
            ),
            about(result),
            table(
                ["with a broken file", "what happens", "exit code", "others kept"],
                [line for row in result["rows"] for line in broken(row)],
            ),
            table(
                ["vectors alone", "a search", "CPU", "memory", "each more", "installed",
                 "with a flipped bit"],
                [library(row) for row in result["libraries"]],
            ),
            "Not measured here:",
            "\n".join(f"- {name}: {why}." for name, why in result["left_out"].items()),
        ]
    )  # fmt: skip


def tool(row: Mapping[str, Any]) -> list[str]:
    """One line: medians over the rounds."""
    index = [one["index"] for one in row["rounds"]]
    search = [sample for one in row["rounds"] for sample in one["search"]]
    return [
        bold(row),
        f"{middle(index, 'wall'):.1f} s",
        f"{middle(index, 'cpu'):.1f} s",
        f"{middle(index, 'total') / 1e6:.0f} MB",
        f"{middle(search, 'wall') * 1e3:.0f} ms",
        f"{middle(search, 'cpu') * 1e3:.0f} ms",
        f"{middle(search, 'total') / 1e6:.0f} MB",
        installed(row),
    ]


def broken(row: Mapping[str, Any]) -> list[list[str]]:
    """One line for each kind of broken file: what became of the folder with it."""
    return [
        [
            f"{bold(row)}: {way}",
            found["verdict"],
            str(found["code"]),
            f"{found['kept']} of {found['sound']}",
        ]
        for way, found in row["broken"].items()
    ]


def library(row: Mapping[str, Any]) -> list[str]:
    """One line: medians over all processes, and over all searches in them."""
    search = [sample for one in row["rounds"] for sample in one["search"]]
    seconds = [value for one in row["rounds"] for value in one["seconds"]]
    return [
        bold(row),
        f"{middle(search, 'wall') * 1e3:.0f} ms",
        f"{middle(search, 'cpu') * 1e3:.0f} ms",
        f"{middle(search, 'total') / 1e6:.0f} MB",
        f"{median(seconds) * 1e3:.3f} ms",
        installed(row),
        row["flipped"]["verdict"],
    ]


def about(result: Mapping[str, Any]) -> str:
    """Say what the figures hold for."""
    network, host = result["network"], result["host"]
    known: dict[str, str] = {}
    for row in [*result["rows"], *result["libraries"]]:
        known |= row["install"]["versions"]
    versions = ", ".join(f"{name} {version}" for name, version in known.items())
    notes = "; ".join(f"{row['name']}: {row['note']}" for row in result["rows"] if row["note"])
    return (
        f"{result['sheets']} sheets of {result['source']}, the same for all; {network['backbone']},"
        f" {network['size']} px, {network['dim']} numbers ({network['weights']}), FP32, where"
        f" nothing else is said. {notes}. Medians of {result['rounds']} rounds in turn with"
        f" {result['searches']} searches each, a process each, file cache warm. Memory: the most"
        " that all its processes held at once. Installed: the package and all that it requires,"
        f" networks left out. {versions}; {host['cpu']}, {result['cores']} cores."
    )


def bold(row: Mapping[str, Any]) -> str:
    """Return the name, ours in bold."""
    return f"**{row['name']}**" if row["ours"] else str(row["name"])


def installed(row: Mapping[str, Any]) -> str:
    """Say how much has to be installed."""
    return f"{row['install']['bytes'] / 1e6:.0f} MB"


def middle(samples: Sequence[Mapping[str, float]], key: str) -> float:
    """Return the median of one measure."""
    return median(sample[key] for sample in samples)
