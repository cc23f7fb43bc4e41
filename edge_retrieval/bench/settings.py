"""What a bench measures, how long each part may take, and how often."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_retrieval.errors import ConfigError

PARTS = (
    "cold_start", "latency", "throughput", "memory", "search_cost", "quality", "energy",
    "sustained",
)  # fmt: skip
"""In the order in which they run: the one that heats the processor last."""

BUDGET = {
    "cold_start": 25.0, "latency": 45.0, "throughput": 25.0, "memory": 20.0, "search_cost": 35.0,
    "energy": 12.0,
}  # fmt: skip
"""Seconds that a part may take, about; together less than three minutes. A part ends when its
budget is spent and it has its least rounds, or when it has its most. Quality takes as long as the
data is large, `sustained` as long as it is told."""

QUICK = 0.12
"""Share of each budget in a quick bench."""

ROUNDS = {
    "cold_start": (3, 15), "latency": (5, 200), "throughput": (3, 30), "memory": (1, 3),
    "search_cost": (5, 50), "energy": (2, 5),
}  # fmt: skip
"""Least and most samples of each measurement of a part."""

FIGURES = (10_000, 100_000)
MANY_FIGURES = 1_000_000
QUICK_FIGURES = (10_000,)
BATCHES = (1, 4, 16)


@dataclass(frozen=True)
class BenchSettings:
    """What is measured, and how long.

    Attributes:
        parts: Of `PARTS`; `quality` needs `data`, and `sustained` a time.
        quick: A first impression, in an eighth of the time.
        runs: Searches whose latency is counted for each contestant; None: as the budget allows.
        k: Designs asked for.
        backend: Of the register's own bundle: "onnx" or "openvino"; None: what it is made for.
            Choose before measuring: "auto" would count its choosing as loading.
        threads: Of the encoder.
        also: Folders of further bundles.
        data: Source of labelled designs to measure quality on; None: none is measured.
        sustained: Seconds of searching without a pause; 0: none.
        large: Search among a million made vectors, too: 2 GB of disk.
        graph: Build and measure the graph, too: half an hour for a million vectors.
        seed: Of what is made.
    """

    parts: tuple[str, ...] = PARTS
    quick: bool = False
    runs: int | None = None
    k: int = 10
    backend: str | None = None
    threads: int = 1
    also: tuple[Path, ...] = ()
    data: Path | None = None
    sustained: float = 0.0
    large: bool = False
    graph: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _known(self.parts))
        object.__setattr__(self, "also", tuple(self.also))
        for name, value in (("runs", self.runs), ("k", self.k), ("threads", self.threads)):
            if value is not None and value < 1:
                raise ConfigError(f"{value} {name}: nothing to measure", hint="give 1 or more")
        if not 0 <= self.sustained < float("inf"):
            raise ConfigError(f"a sustained run of {self.sustained} s", hint="give 5m, or 90s")

    def on(self, backend: str) -> BenchSettings:
        """Return the same with another backend of the register's own bundle."""
        return replace(self, backend=backend)

    def budget(self, part: str) -> float:
        """Return the seconds that a part may take."""
        return BUDGET[part] * (QUICK if self.quick else 1.0)

    def rounds(self, part: str) -> tuple[int, int]:
        """Return the least and the most samples of each measurement of a part."""
        if part == "latency" and self.runs is not None:
            return self.runs, self.runs
        return ROUNDS[part]

    @property
    def figures(self) -> tuple[int, ...]:
        """The sizes of the registers of made vectors."""
        sizes = QUICK_FIGURES if self.quick else FIGURES
        return (*sizes, MANY_FIGURES) if self.large else sizes


def _known(parts: Sequence[str]) -> tuple[str, ...]:
    """Return the parts in the order in which they run; `ConfigError` for one that is not there."""
    for part in parts:
        if part not in PARTS:
            near = difflib.get_close_matches(part, PARTS, n=1, cutoff=0.4)
            raise ConfigError(
                f"the bench has no part {part!r}",
                hint=f"did you mean {near[0]}?" if near else f"choose from {', '.join(PARTS)}",
            )
    if not parts:
        raise ConfigError("no part of the bench", hint=f"choose from {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in parts)


def seconds_of(text: str) -> float:
    """Return the seconds of "5m", "90s", "90" or "1h".

    Raises:
        ConfigError: It is no time, or none at all.
    """
    number, size = text.strip().lower(), 1.0
    for letter, seconds in (("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        if number.endswith(letter):
            number, size = number[:-1], seconds
            break
    try:
        found = float(number) * size
    except ValueError:
        found = 0.0
    if not 0 < found < 30 * 24 * 3600:
        raise ConfigError(f"{text!r} is no time", hint="write it as 5m or 90s")
    return found
