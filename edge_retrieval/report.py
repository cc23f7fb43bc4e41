"""Measurements with their raw samples, on disk with all that they must be read with.

SI units inside; `human` is for the edge. The headline of a measurement is its median, beside it
percentiles and how many samples there are: never the best of them.

The JSON form, `{"schema", "title", "created", "host", "versions", "settings", "notes",
"measurements"}`, and its history:

    1  A measurement is `{"name", "unit", "samples"}`, unlike the others by its name. No notes.
       Units s, B, 1.
    2  A measurement may have `labels`, which tell it from others of its name, and `at`, when each
       sample was taken; both are left out where they are empty. Notes. Units degC, Hz, J, W, 1/s,
       too. `host` also tells memory, board, limits and the like: see `edge_retrieval.host`.

Every older form is read for ever, and becomes the newest.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np

from edge_retrieval import provenance
from edge_retrieval.errors import ConfigError
from edge_retrieval.host import host
from edge_retrieval.human import human, human_bytes, human_seconds

__all__ = [
    "REPORT_SCHEMA",
    "UNITS",
    "Label",
    "Measurement",
    "Report",
    "human",
    "human_bytes",
    "human_seconds",
    "load_json",
    "save_json",
]

REPORT_SCHEMA = 2
UNITS = ("s", "B", "1", "degC", "Hz", "J", "W", "1/s")
"""Seconds, bytes, numbers without a unit (a share, a score), degrees Celsius, hertz, joules, watts,
and so many a second."""

Label: TypeAlias = str | int | float


@dataclass(frozen=True)
class Measurement:
    """What was measured, every sample of it.

    Attributes:
        name: "latency".
        unit: One of `UNITS`.
        samples: In the order in which they were taken; at least one, all finite.
        labels: What tells it from others of its name: `{"stage": "embed", "threads": 2}`.
        at: Seconds since the run began, one per sample and never falling; or () where time does
            not matter.
    """

    name: str
    unit: str
    samples: tuple[float, ...]
    labels: Mapping[str, Label] = field(default_factory=dict)
    at: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"{self.name}: unit {self.unit!r} is none of {', '.join(UNITS)}")
        object.__setattr__(self, "samples", tuple(float(sample) for sample in self.samples))
        if not self.samples or not all(math.isfinite(sample) for sample in self.samples):
            raise ValueError(f"{self.name}: samples must be finite and at least one")
        object.__setattr__(self, "labels", dict(self.labels))
        for key, value in self.labels.items():
            if not isinstance(key, str) or type(value) not in (str, int, float):
                raise ValueError(f"{self.name}: label {key!r} is neither a text nor a number")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{self.name}: label {key!r} is not finite")
        object.__setattr__(self, "at", tuple(float(moment) for moment in self.at))
        if self.at and len(self.at) != len(self.samples):
            raise ValueError(f"{self.name}: {len(self.at)} moments of {len(self.samples)} samples")
        if not all(math.isfinite(moment) for moment in self.at) or list(self.at) != sorted(self.at):
            raise ValueError(f"{self.name}: moments must be finite and never fall")

    @property
    def key(self) -> tuple[str, frozenset[tuple[str, Label]]]:
        """What no other measurement of a report has: the name and the labels."""
        return self.name, frozenset(self.labels.items())

    @property
    def title(self) -> str:
        """The name and the labels, for people: "latency (embed, int8, onnx, 2)"."""
        told = ", ".join(str(value) for value in self.labels.values())
        return f"{self.name} ({told})" if told else self.name

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
        measurements: Unlike by name or labels.
        host: From `host.host`.
        versions: From `provenance.versions`.
        settings: What was chosen for the run; plain JSON values.
        created: ISO time, UTC.
        notes: Sentences for a person: that the machine was busy, what could not be measured and
            why.
        schema: Of the JSON form.
    """

    title: str
    measurements: tuple[Measurement, ...]
    host: Mapping[str, Any]
    versions: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    created: str = field(default_factory=provenance.now)
    notes: tuple[str, ...] = ()
    schema: int = REPORT_SCHEMA

    def __post_init__(self) -> None:
        object.__setattr__(self, "measurements", tuple(self.measurements))
        object.__setattr__(self, "notes", tuple(self.notes))
        many = Counter(measurement.key for measurement in self.measurements)
        if twice := sorted({one.title for one in self.measurements if many[one.key] > 1}):
            raise ValueError(f"measured twice: {', '.join(twice)}")

    @classmethod
    def of(
        cls,
        title: str,
        measurements: Iterable[Measurement],
        *,
        settings: Mapping[str, Any] | None = None,
        notes: Iterable[str] = (),
    ) -> Report:
        """Make the report of a run that ends now, on this machine."""
        return cls(
            title,
            tuple(measurements),
            host=host(),
            versions=provenance.versions(),
            settings=dict(settings or {}),
            notes=tuple(notes),
        )

    def find(self, name: str, **labels: Label) -> list[Measurement]:
        """Return the measurements of a name that have these labels, whatever others they have."""
        return [
            one
            for one in self.measurements
            if one.name == name and labels.items() <= one.labels.items()
        ]

    def __getitem__(self, name: str) -> Measurement:
        """Return the only measurement of a name, or its first; KeyError if there is none."""
        for measurement in self.find(name):
            return measurement
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; headline numbers are left out, since samples hold them."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self), allow_nan=False))
        for measurement in content["measurements"]:
            for key in ("labels", "at"):
                if not measurement[key]:
                    del measurement[key]
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
        if content["schema"] >= 2:
            types["notes"] = list
        for key, kind in types.items():
            if not isinstance(content.get(key), kind):
                _refuse(where, f"{key!r} is missing or not a {kind.__name__}")
        if unknown := sorted(content.keys() - types.keys() - {"schema"}):
            _refuse(where, f"{unknown[0]!r} is no part of a report")
        if not all(isinstance(note, str) for note in content.get("notes", [])):
            _refuse(where, "a note is no text")
        try:
            measurements = [_measurement(item) for item in content["measurements"]]
            newest = {"measurements": tuple(measurements), "schema": REPORT_SCHEMA}
            return cls(**{**content, **newest})
        except (KeyError, TypeError, ValueError, OverflowError) as error:
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
        return json.loads(
            path.read_text(encoding="utf-8"), parse_constant=_no_constant, parse_float=_finite
        )
    except OSError as error:
        _refuse(str(path), f"cannot be read: {error.strerror}")
    except (ValueError, RecursionError) as error:
        _refuse(str(path), f"is not JSON: {error}")


def _measurement(item: Any) -> Measurement:
    if not (isinstance(item["name"], str) and isinstance(item["samples"], list)):
        raise TypeError("a name and a list of samples are needed")
    if not (isinstance(item.get("labels", {}), dict) and isinstance(item.get("at", []), list)):
        raise TypeError(f"{item['name']}: labels are an object and at is a list")
    return Measurement(**item)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is not a number that can be held")
    return number


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _refuse(where: str, why: str) -> NoReturn:
    raise ConfigError(f"{where}: {why}", hint="give a report that `edge-ret bench` has written")
