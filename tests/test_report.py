"""Percentiles by hand, a report that survives the disk, numbers as people read them."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_retrieval.errors import ConfigError
from edge_retrieval.report import (
    Measurement,
    Report,
    human,
    human_bytes,
    human_seconds,
    save_json,
)
from tests.fakes import PINNED

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)


def slow_percentile(samples: list[float], percent: float) -> float:
    """The value at the place percent/100 * (n - 1) of the sorted samples, between two by share."""
    ordered = sorted(samples)
    place = percent / 100 * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def made(**changes: object) -> Report:
    report = Report.of(
        "bench",
        [
            Measurement("latency", "s", (0.003, 0.001, 0.002), {"stage": "embed", "threads": 2}),
            Measurement("latency", "s", (0.005, 0.004), {"stage": "total", "threads": 2}),
            Measurement("temperature", "degC", (41.5, 60.0), at=(0.0, 1.5)),
            Measurement("quality.mAP", "1", (0.376,)),
        ],
        settings={"threads": 1, "backend": "onnx", "chunk": None},
        notes=["the machine was busy"],
    )
    return replace(report, **changes)  # type: ignore[arg-type]


@settings(deadline=None)  # no time is judged
@given(st.lists(NUMBERS, min_size=1, max_size=50), st.floats(0, 100))
def test_percentiles_interpolate_between_the_two_nearest_samples(samples, percent):
    measured = Measurement("x", "s", tuple(samples))
    scale = max(1.0, *(abs(sample) for sample in samples), 0.0)
    expected = slow_percentile(samples, percent)
    assert measured.percentile(percent) == pytest.approx(expected, abs=1e-9 * scale)
    for name, value in (("p50", 50), ("p90", 90), ("p99", 99), ("median", 50)):
        assert getattr(measured, name) == measured.percentile(value)
    assert measured.n == len(samples)


def test_samples_keep_their_order():
    assert Measurement("x", "s", (3, 1, 2)).samples == (3.0, 1.0, 2.0)


@pytest.mark.parametrize(
    ("unit", "samples"),
    [("ms", (1.0,)), ("s", ()), ("s", (math.nan,)), ("s", (1.0, math.inf))],
)
def test_a_measurement_of_nothing_or_in_another_unit_is_our_own_mistake(unit, samples):
    with pytest.raises(ValueError, match="x: "):
        Measurement("x", unit, samples)


@pytest.mark.parametrize(
    ("labels", "message"),
    [({"stage": None}, "stage"), ({"stage": True}, "stage"), ({1: "a"}, "1"),
     ({"size": math.nan}, "size"), ({"size": [1]}, "size")],
)  # fmt: skip
def test_a_label_is_a_text_or_a_number(labels, message):
    with pytest.raises(ValueError, match=message):
        Measurement("x", "s", (1.0,), labels)


@pytest.mark.parametrize("at", [(1.0,), (1.0, 2.0, 3.0), (2.0, 1.0), (0.0, math.inf)])
def test_every_sample_has_its_moment_or_none_has(at):
    with pytest.raises(ValueError, match=r"x: .*moments"):
        Measurement("x", "s", (1.0, 2.0), at=at)
    assert Measurement("x", "s", (1.0, 2.0), at=(1.0, 1.0)).at == (1.0, 1.0)


def test_a_name_with_its_labels_is_measured_once():
    one = Measurement("x", "s", (1.0,), {"stage": "embed"})
    other = Measurement("x", "s", (1.0,), {"stage": "fit"})
    assert len(Report.of("title", [one, other]).measurements) == 2
    with pytest.raises(ValueError, match=r"measured twice: x \(embed\)"):
        Report.of("title", [one, other, Measurement("x", "B", (2.0,), {"stage": "embed"})])


def test_measurements_are_found_by_name_and_some_of_their_labels():
    report = made()
    assert [one.labels["stage"] for one in report.find("latency", threads=2)] == ["embed", "total"]
    assert [one.median for one in report.find("latency", stage="total")] == [pytest.approx(0.0045)]
    assert report.find("latency", stage="none") == report.find("nothing") == []


def test_a_report_says_machine_versions_settings_and_time():
    report = made()
    assert report.host["cores"] >= 1
    assert "numpy" in report.versions
    assert report.settings["threads"] == 1
    assert report.created.endswith("+00:00")
    assert report["latency"].median == 0.002
    with pytest.raises(KeyError):
        report["nothing"]


def test_a_saved_report_is_read_as_it_was(tmp_path):
    report = made()
    report.save(tmp_path / "deep" / "report.json")
    assert Report.load(tmp_path / "deep" / "report.json") == report
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["report.json"]
    assert Report.from_json(report.to_json()) == report


def test_a_report_of_schema_1_can_be_read_for_ever():
    report = Report.load(PINNED / "report-1.json")
    assert report["latency.embed"].samples == (0.001, 0.002)
    assert report["latency.embed"].labels == {}
    assert report["latency.embed"].at == report.notes == ()
    told = json.loads((PINNED / "report-1.json").read_text(encoding="utf-8"))
    assert report.to_json() == told | {"schema": 2, "notes": []}


def test_a_report_of_schema_2_can_be_read_for_ever():
    report = Report.load(PINNED / "report-2.json")
    [embed] = report.find("latency", stage="embed", threads=2)
    assert embed.samples == (0.001, 0.002)
    assert report["temperature"].at == (0.5, 1.5)
    assert report["temperature"].unit == "degC"
    assert report.notes == ("the machine was busy",)
    assert report.host["limits"] == {"cores": 1.5}
    told = json.loads((PINNED / "report-2.json").read_text(encoding="utf-8"))
    assert report.to_json() == told


def test_a_newer_schema_is_refused_with_a_hint(tmp_path):
    path = tmp_path / "report.json"
    save_json(path, made().to_json() | {"schema": 3, "surprise": True})
    with pytest.raises(ConfigError, match="schema 3 is newer than 2") as error:
        Report.load(path)
    assert "newer edge-retrieval" in error.value.hint
    assert str(path) in str(error.value)


def without(key: str) -> str:
    return json.dumps({k: v for k, v in made().to_json().items() if k != key})


def changed(**values: object) -> str:
    return json.dumps(made().to_json() | values)


def with_(**values: object) -> dict[str, object]:
    return {"name": "x", "unit": "s", "samples": [1], **values}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"schema": NaN}', "NaN is not a number"),
        ('{"schema": 1e999}', "1e999 is not a number"),
        (changed(measurements=[with_(samples=[10**400])]), "a measurement cannot be read"),
        ("[]", "is not a report"),
        ("{}", "is not a report"),
        ('{"schema": "1"}', "is not a report"),
        (without("host"), "'host' is missing"),
        (without("measurements"), "'measurements' is missing"),
        (changed(title=3), "'title' is missing or not a str"),
        (changed(colour="red"), "'colour' is no part of a report"),
        (changed(measurements=[3]), "a measurement cannot be read"),
        (changed(measurements=[{"name": "x"}]), "a measurement cannot be read"),
        (
            changed(measurements=[{"name": "x", "unit": "s", "samples": ["fast"]}]),
            "a measurement cannot be read",
        ),
        (
            changed(measurements=[{"name": "x", "unit": "s", "samples": "123"}]),
            "a measurement cannot be read",
        ),
        (changed(notes="busy"), "'notes' is missing or not a list"),
        (changed(notes=["busy", 3]), "a note is no text"),
        (changed(measurements=[with_(labels=["a"])]), "labels are an object"),
        (changed(measurements=[with_(labels={"a": None})]), "label 'a' is neither"),
        (changed(measurements=[with_(at="1")]), "at is a list"),
        (changed(measurements=[with_(at=[1, 2])]), "2 moments of 1 samples"),
        (changed(measurements=[with_(), with_()]), "measured twice: x"),
        (
            changed(measurements=[{"name": "x", "unit": "ms", "samples": [1]}]),
            "unit 'ms' is none of s, B, 1",
        ),
    ],
)
def test_what_is_no_report_is_said_in_one_line(tmp_path, content, message):
    path = tmp_path / "report.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as error:
        Report.load(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_report_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        Report.load(tmp_path / "nothing.json")


def test_a_report_holds_no_number_that_json_lacks(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        made(settings={"limit": math.inf}).save(tmp_path / "report.json")
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_json(tmp_path / "report.json", {"mAP": math.nan})
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_report(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    made().save(path)
    before = path.read_bytes()

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="No space left") as error:
        made(title="other").save(path)
    assert error.value.hint
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_cannot_be_saved_under_a_file(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be written"):
        made().save(tmp_path / "file" / "report.json")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (2e-9, "2.00 ns"), (999.4e-9, "999 ns"), (999.6e-9, "1.00 µs"),
        (1.234e-5, "12.3 µs"), (0.00123, "1.23 ms"), (0.0999, "99.9 ms"), (0.09999, "100 ms"),
        (0.9994, "999 ms"), (0.9996, "1.00 s"), (12.34, "12.3 s"), (119.4, "119 s"),
        (119.6, "2 min 00 s"), (3725, "62 min 05 s"), (-0.5, "-500 ms"),
    ],
)  # fmt: skip
def test_seconds_are_written_as_people_read_them(seconds, text):
    assert human_seconds(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.5, "s", "500 ms"), (2e6, "B", "2.00 MB"), (0.9051, "1", "0.905"),
        (61.25, "degC", "61.2 °C"), (2.4e9, "Hz", "2.40 GHz"), (999.6e6, "Hz", "1.00 GHz"),
        (0.25, "J", "250 mJ"), (3.5, "W", "3.50 W"), (0, "W", "0 W"), (812.3, "1/s", "812/s"),
        (9.5, "1/s", "9.50/s"),
    ],
)  # fmt: skip
def test_every_unit_is_written_as_people_read_it(value, unit, text):
    assert human(value, unit) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (65_999_999, "66.0 MB"),
        (999_900_000, "1.00 GB"), (1.24e9, "1.24 GB"), (512e12, "512 TB"), (-2048, "-2.05 kB"),
    ],
)  # fmt: skip
def test_bytes_are_written_as_people_read_them(count, text):
    assert human_bytes(count) == text
