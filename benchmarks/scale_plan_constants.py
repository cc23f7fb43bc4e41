"""Where the plan's measured numbers come from: each is read, with its file and key."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_retrieval.report import save_json

RESULTS = Path(__file__).parent / "results"
MEASURED = RESULTS / "scale_plan.json"
HOW = {
    "scale_plan": "python benchmarks/scale_plan.py --measure path/to/uspto-multiview",
    "scale_plan.large": "python benchmarks/scale_plan_large.py WORK",
    "scale_plan.opening": "python benchmarks/scale_plan_opening.py",
    "scale_plan.store": "python benchmarks/scale_plan_store.py --store milvus:http://HOST:PORT"
    " --data DATA --process ID",
    "search": "python benchmarks/search.py WORK",
    "latency": "edge-ret bench -o benchmarks/results/latency.json",
    "serving": "python benchmarks/serving.py",
    "store": "python benchmarks/store.py --store milvus:http://HOST:PORT",
}
"""What makes each result file that the plan reads, or a part of one."""


class MissingResultError(Exception):
    """A result file, or a key of it, that the plan needs is not there; one line."""


@dataclass(frozen=True)
class Constant:
    """A measured number: its value, its unit, the file and key that it was read from, and where.

    Attributes:
        cpu: The processor of the machine that measured.
    """

    name: str
    value: float
    unit: str
    file: str
    key: str
    cpu: str


@dataclass(frozen=True)
class Ways:
    """Raw seconds of one search of an index, by the number of figures in it."""

    seconds: Mapping[int, list[float]]
    overlap: float
    """Of the largest, with the exact answer."""


@dataclass(frozen=True)
class Measured:
    """All that was measured.

    Attributes:
        constants: By name.
        ways: "pass" (exact) and "graph": raw samples of one search.
        query: Raw seconds of a whole search of a small register: from the drawing's bytes to what
            is shown.
    """

    constants: Mapping[str, Constant]
    ways: Mapping[str, Ways]
    query: list[float] = field(repr=False)

    def __getitem__(self, name: str) -> float:
        return self.constants[name].value


@dataclass
class Reader:
    """Reads result files, and notes where each number was found."""

    folder: Path
    found: dict[str, Constant] = field(default_factory=dict)
    _files: dict[str, Any] = field(default_factory=dict)

    def file(self, name: str) -> Any:
        """Return a result file.

        Raises:
            MissingResultError: It is not there.
        """
        if name not in self._files:
            path = self.folder / f"{name}.json"
            if not path.exists():
                raise MissingResultError(f"{path} is missing; to make it: {HOW[name]}")
            self._files[name] = json.loads(path.read_text(encoding="utf-8"))
        return self._files[name]

    def take(
        self, name: str, unit: str, file: str, key: str, value: Callable[[Any], float]
    ) -> float:
        """Read a number and note it.

        Raises:
            MissingResultError: The file or the key is not there.
        """
        try:
            number = float(value(self.file(file)))
        except (LookupError, TypeError, statistics.StatisticsError, StopIteration) as error:
            raise self.lacking(file, key) from error
        told = self.file(file)
        part = told.get(part_of(key)) if f"{file}.{part_of(key)}" in HOW else told
        host = (part[-1] if isinstance(part, list) else part)["host"]
        self.found[name] = Constant(name, number, unit, f"{file}.json", key, host["cpu"])
        return number

    def lacking(self, file: str, key: str) -> MissingResultError:
        """Return what to say of a key that a result file does not have."""
        how = HOW.get(f"{file}.{part_of(key)}", HOW[file])
        return MissingResultError(f"{self.folder / file}.json has no {key}; to make it: {how}")


def part_of(key: str) -> str:
    """Return the first part of a key: parts of a file may come of several runs."""
    return key.split(".")[0].split("[")[0]


def put(path: Path, some: dict[str, Any]) -> None:
    """Put some keys into a result file; the others stay."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    save_json(path, kept | some)
