"""A report's headline and tables: every measurement once, and names of machines stay text."""

from __future__ import annotations

import pytest

from edge_retrieval.report import Measurement, Report
from edge_retrieval.report_table import (
    GROUPS,
    grouped,
    headline,
    said_facts,
    said_labels,
    shared_labels,
    tables,
)

OURS = {"bundle": "small", "precision": "int8", "backend": "onnx", "threads": 2}
RIVAL = {**OURS, "backend": "openvino"}


def made(*measurements: Measurement, **changes: object) -> Report:
    values: dict[str, object] = {
        "host": {"cpu": "Cortex-A76", "memory": 8_000_000_000, "limits": {}},
        "versions": {"python": "3.11.2"},
        "settings": {**OURS, "sample": True, "data": None},
        "created": "2026-11-28T19:36:47+00:00",
    }
    return Report("bench", measurements, **{**values, **changes})  # type: ignore[arg-type]


def total(median: float, labels: dict[str, str | int], n: int = 3) -> Measurement:
    return Measurement("latency", "s", (median,) * n, {**labels, "stage": "total"})


PEAKS = [
    Measurement("memory", "B", (peak,), {"part": part, "kind": "peak"})
    for part, peak in (("interpreter", 20e6), ("register", 93e6))
]


def test_the_headline_is_a_sentence_with_median_p90_and_peak():
    samples = tuple(0.040 + 0.001 * place for place in range(11))
    one = Measurement("latency", "s", samples, {**OURS, "stage": "total"})
    assert headline(made(one, *PEAKS)) == (
        "One search takes 45.0 ms on this device (90 % below 49.0 ms), 93.0 MB at the peak."
    )


@pytest.mark.parametrize(
    ("measurements", "sentence"),
    [
        ([], "Bench."),
        (PEAKS, "One search needs 93.0 MB at the peak."),
        ([total(0.041, OURS, n=1)], "One search takes 41.0 ms on this device."),
        (
            [total(0.020, RIVAL), total(0.041, OURS)],
            "One search takes 41.0 ms on this device (90 % below 41.0 ms) with ONNX Runtime.",
        ),
    ],
)
def test_the_headline_says_what_there_is_of_the_contestant_that_the_settings_name(
    measurements, sentence
):
    assert headline(made(*measurements)) == sentence


def test_every_measurement_stands_in_exactly_one_table():
    names = (
        "latency", "quality", "memory", "throughput", "search_cost", "search_memory", "sustained",
        "temperature", "clock", "throttled", "cold_start", "energy", "power", "noise.reference",
        "noise.others", "load.encoder",
    )  # fmt: skip
    report = made(*[Measurement(name, "1", (1.0, 2.0)) for name in names], total(0.1, OURS))
    assert sum(len(table.rows) for table in tables(report)) == len(report.measurements)
    assert [table.group for table in tables(report)] == [g for g in GROUPS if g in grouped(report)]
    assert [one.name for one in grouped(report)["other"]] == ["load.encoder"]


def test_what_all_rows_share_stands_above_the_table_and_only_the_rest_in_it():
    [table] = tables(made(total(0.041, OURS), total(0.020, RIVAL)))
    assert table.about == "Bundle small, INT8, 2 threads"
    assert [row[0] for row in table.rows] == ["ONNX Runtime", "OpenVINO"]
    assert table.rows[0][1:] == ("41.0 ms", "41.0 ms", "41.0 ms", "3")


def test_bundles_that_differ_as_their_precisions_do_are_told_once():
    whole = {**OURS, "bundle": "small-fp32", "precision": "fp32"}
    [table] = tables(made(total(0.041, OURS), total(0.050, whole)))
    assert table.about == "Bundles small, small-fp32, ONNX Runtime, 2 threads"
    assert [row[0] for row in table.rows] == ["INT8", "FP32"]


def test_one_sample_has_no_percentiles():
    [table] = tables(made(Measurement("quality", "1", (0.421,), {"metric": "mAP"})))
    assert table.rows == (("mAP", "0.421", "–", "–", "1"),)


def test_labels_are_said_in_words():
    labels = {"batch": 1, **OURS, "threads": 1, "figures": 10_000, "colour": 3}
    assert said_labels(labels) == (
        "bundle small, ONNX Runtime INT8, 1 thread, one by one, 10,000 figures, colour 3"
    )
    assert said_labels({}) == ""
    assert shared_labels([]) == ""


def test_facts_without_a_value_are_left_out_and_bytes_are_told_in_megabytes():
    facts = {
        "cpu": "A76", "memory": 8e9, "flags": ["a", "b"], "none": None, "limits": {},
        "sample": True,
        "nested": {"memory": 2e9, "cores": 2.0},
    }  # fmt: skip
    assert said_facts(facts) == {
        "CPU": "A76",
        "memory": "8.00 GB",
        "vector extensions": "a, b",
        "sample": "yes",
        "nested": "memory 2.00 GB, cores 2.0",
    }
