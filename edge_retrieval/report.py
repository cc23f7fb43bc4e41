"""Measurements with their raw samples, on disk with all that they must be read with.

SI units inside; `human_seconds` and `human_bytes` are for the edge. The headline of a measurement
is its median, beside it percentiles and how many samples there are: never the best of them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from edge_retrieval import provenance
from edge_retrieval.errors import ConfigError

REPORT_SCHEMA = 1
UNITS = ("s", "B", "1")
"""Seconds, bytes, and numbers without a unit (a share, a score)."""


@dataclass(frozen=True)
class Measurement:
    """What was measured, every sample of it.

    Attributes:
        name: "latency.embed".
        unit: "s", "B" or "1".
        samples: In the order in which they were taken; at least one, all finite.
    """

    name: str
    unit: str
    samples: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"{self.name}: unit {self.unit!r} is none of {', '.join(UNITS)}")
        object.__setattr__(self, "samples", tuple(float(sample) for sample in self.samples))
        if not self.samples or not all(math.isfinite(sample) for sample in self.samples):
            raise ValueError(f"{self.name}: samples must be finite and at least one")

    @property
    def n(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    @property
    def median(self) -> float:
        """The same as `p50`."""
        return self.p50

    @property
    def p50(self) -> float:
        """The median."""
        return self.percentile(50)

    @property
    def p90(self) -> float:
        """90 % of the samples are not above it, between two samples by linear interpolation."""
        return self.percentile(90)

    @property
    def p99(self) -> float:
        """99 % of the samples are not above it; of fewer than 100 samples about the largest."""
        return self.percentile(99)

    def percentile(self, percent: float) -> float:
        """Return a percentile by linear interpolation between the two nearest samples."""
        return float(np.percentile(self.samples, percent))


@dataclass(frozen=True)
class Report:
    """Measurements of one run with the machine, the versions and the settings they hold for.

    Attributes:
        title: "search latency".
        measurements: Unlike names.
        host: From `provenance.host`.
        versions: From `provenance.versions`.
        settings: What was chosen for the run; plain JSON values.
        created: ISO time, UTC.
        schema: Of the JSON form.
    """

    title: str
    measurements: tuple[Measurement, ...]
    host: Mapping[str, Any]
    versions: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=provenance.now)
    schema: int = REPORT_SCHEMA

    def __post_init__(self) -> None:
        object.__setattr__(self, "measurements", tuple(self.measurements))
        names = [measurement.name for measurement in self.measurements]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"measured twice: {', '.join(twice)}")

    @classmethod
    def of(
        cls,
        title: str,
        measurements: Iterable[Measurement],
        *,
        settings: Mapping[str, Any] | None = None,
    ) -> Report:
        """Make the report of a run that ends now, on this machine."""
        return cls(
            title,
            tuple(measurements),
            host=provenance.host(),
            versions=provenance.versions(),
            settings=dict(settings or {}),
        )

    def __getitem__(self, name: str) -> Measurement:
        """Return the measurement of that name; KeyError if there is none."""
        for measurement in self.measurements:
            if measurement.name == name:
                return measurement
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; headline numbers are left out, since samples hold them."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        return content

    @classmethod
    def from_json(cls, content: object, *, where: str = "report") -> Report:
        """Read what `to_json` returned.

        Raises:
            ConfigError: It is no report, or of a newer schema.
        """
        if not isinstance(content, dict) or type(content.get("schema")) is not int:
            _refuse(where, "is not a report")
        if content["schema"] > REPORT_SCHEMA:
            raise ConfigError(
                f"{where}: report schema {content['schema']} is newer than {REPORT_SCHEMA}",
                hint="read it with a newer edge-retrieval: pip install -U edge-retrieval",
            )
        types = {"title": str, "measurements": list, "created": str}
        types |= dict.fromkeys(("host", "versions", "settings"), dict)
        for key, kind in types.items():
            if not isinstance(content.get(key), kind):
                _refuse(where, f"{key!r} is missing or not a {kind.__name__}")
        if unknown := sorted(content.keys() - types.keys() - {"schema"}):
            _refuse(where, f"{unknown[0]!r} is no part of a report")
        try:
            measurements = [_measurement(item) for item in content["measurements"]]
            return cls(**{**content, "measurements": tuple(measurements)})
        except (KeyError, TypeError, ValueError) as error:
            _refuse(where, f"a measurement cannot be read: {error}")

    def save(self, path: Path) -> None:
        """Write the report as JSON, whole or not at all."""
        save_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read a report that `save` wrote.

        Raises:
            ConfigError: It cannot be read, is no report, or of a newer schema.
        """
        return cls.from_json(load_json(path), where=str(path))


@dataclass(frozen=True)
class Change:
    """One measurement in two reports: medians, and the second over the first."""

    name: str
    unit: str
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """Return `after / before`; infinite from zero to something, 1 from zero to zero."""
        if self.before == 0.0:
            return 1.0 if self.after == 0.0 else math.inf
        return self.after / self.before


def compare(before: Report, after: Report, *, across_hosts: bool = False) -> list[Change]:
    """Put the medians of what both reports measured side by side, in the order of `before`.

    Raises:
        ConfigError: They are of different machines and `across_hosts` is not set, a name has two
            units, or nothing is in both.
    """
    if before.host != after.host and not across_hosts:
        names = [str(report.host.get("cpu", "unknown")) for report in (before, after)]
        raise ConfigError(
            f"reports of different machines: {names[0]} and {names[1]}",
            hint="measure both on one machine, or ask for a comparison across hosts",
        )
    later = {measurement.name: measurement for measurement in after.measurements}
    changes = []
    for old in before.measurements:
        if (new := later.get(old.name)) is None:
            continue
        if new.unit != old.unit:
            raise ConfigError(
                f"{old.name}: {old.unit} in one report, {new.unit} in the other",
                hint="measure both with one version of edge-retrieval",
            )
        changes.append(Change(old.name, old.unit, old.median, new.median))
    if not changes:
        raise ConfigError("the reports measure nothing in common", hint="compare like with like")
    return changes


def save_json(path: Path, content: object) -> None:
    """Write strict JSON (no NaN, no infinity) whole or not at all; folders are made.

    Raises:
        ConfigError: It cannot be written there.
        ValueError: A number is not finite: our own mistake.
    """
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written: {error.strerror}", hint="choose another place to write to"
        ) from error


def load_json(path: Path) -> object:
    """Read strict JSON.

    Raises:
        ConfigError: It cannot be read, or is no strict JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as error:
        _refuse(str(path), f"cannot be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        _refuse(str(path), f"is not JSON: {error}")


def _measurement(item: Any) -> Measurement:
    if not (isinstance(item["name"], str) and isinstance(item["samples"], list)):
        raise TypeError("a name and a list of samples are needed")
    return Measurement(**item)


def human_seconds(seconds: float) -> str:
    """Return "1.23 ms": three digits, from ns to minutes."""
    if abs(seconds) >= 119.5:
        minutes, rest = divmod(round(abs(seconds)), 60)
        return f"{'-' if seconds < 0 else ''}{minutes} min {rest:02d} s"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(seconds) >= size * 0.9995:
            return f"{_three_digits(seconds / size)} {unit}"
    return "0 s" if seconds == 0 else f"{_three_digits(seconds * 1e9)} ns"


def human_bytes(count: float) -> str:
    """Return "66.0 MB": three digits, decimal units, from B to TB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= size * 0.9995:
            return f"{_three_digits(count / size)} {unit}"
    return f"{round(count)} B"


def _three_digits(value: float) -> str:
    """Return the value, below 1000, to three digits without an exponent."""
    whole = abs(value)
    places = 2 if whole < 9.995 else 1 if whole < 99.95 else 0
    return f"{value:.{places}f}"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _refuse(where: str, why: str) -> NoReturn:
    raise ConfigError(f"{where}: {why}", hint="give a report that edge-ret bench wrote")
