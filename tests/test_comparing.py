"""Two reports side by side: intervals by plain loops, floors, tables of all that was measured."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_retrieval.bench import Change, comparing
from edge_retrieval.bench.comparing import compare, ratio_interval, resampled_medians
from edge_retrieval.bench.floors import FLOORS, floors_of, misses
from edge_retrieval.bench.headline import HEADLINES
from edge_retrieval.bench.tables import device_table, tables, to_markdown
from edge_retrieval.errors import ConfigError
from edge_retrieval.report import Measurement, Report

OWN = {"bundle": "small", "precision": "int8", "backend": "onnx"}
OTHER = {"bundle": "small", "precision": "fp32", "backend": "onnx"}


def measurement(name: str, unit: str, *samples: float, **labels: Any) -> Measurement:
    return Measurement(name, unit, samples, labels)


def made(**changes: Any) -> Report:
    """A report of everything that decides."""
    one = measurement
    threads = {"threads": 1}
    report = Report.of(
        "bench",
        [
            one("cold_start", "s", 0.4, 0.5, 0.6, what="search"),
            one("latency", "s", 0.001, 0.003, 0.002, **OWN, **threads, stage="embed"),
            one("latency", "s", 0.010, 0.030, 0.020, **OWN, **threads, stage="total"),
            one("latency", "s", 0.1, 0.1, 0.1, **OTHER, **threads, stage="total"),
            one("throughput", "1/s", 500.0, **OWN, threads=1, batch=1),
            one("throughput", "1/s", 900.0, **OWN, threads=2, batch=4),
            one("memory", "B", 10e6, part="interpreter", kind="rss"),
            one("memory", "B", 50e6, part="runtime", kind="rss"),
            one("memory", "B", 11e6, part="interpreter", kind="peak"),
            one("memory", "B", 66e6, part="runtime", kind="peak"),
            one("search_cost", "s", 0.002, figures=100_000, index="first pass"),
            one("search_memory", "B", 5e6, figures=100_000, index="first pass"),
            one("quality", "1", 0.8, **OWN, metric="recall@10", level="design"),
            one("quality", "1", 0.7, **OWN, metric="mAP", level="design"),
            one("quality", "1", 0.9, **OTHER, metric="mAP", level="design"),
            one("energy", "J", 0.2, **OWN, **threads, domain="package-0"),
            one("power", "W", 3.0, domain="package-0", doing="idle"),
            Measurement("sustained", "s", (0.01, 0.02), {**OWN, **threads}, (1.0, 2.0)),
            Measurement("temperature", "degC", (40.0, 60.0), {"sensor": "cpu"}, (1.0, 2.0)),
            Measurement("noise.reference", "s", (0.001, 0.002), at=(1.0, 2.0)),
        ],
        settings={**OWN, **threads, "figures": 360},
        notes=["energy | of <idle> machines counts"],
    )
    return replace(report, **changes)


# ------------------------------------------------------------------ ratios


SAMPLES = st.lists(st.floats(0.5, 2.0, width=32), min_size=1, max_size=12)


@settings(max_examples=20, deadline=None)
@given(SAMPLES, SAMPLES, st.integers(0, 5))
def test_the_interval_of_a_ratio_is_that_of_plain_loops(before, after, seed):
    found = ratio_interval(before, after, rng=np.random.default_rng(seed), resampled=50)
    rng = np.random.default_rng(seed)

    def medians(samples: list[float]) -> list[float]:
        drawn = rng.integers(0, len(samples), (50, len(samples)))
        out = []
        for row in drawn:
            ordered = sorted(samples[i] for i in row)
            half = len(ordered) // 2
            odd = len(ordered) % 2
            out.append(ordered[half] if odd else (ordered[half - 1] + ordered[half]) / 2)
        return out

    below, above = medians(before), medians(after)
    ratios = sorted(a / b for a, b in zip(above, below, strict=True))

    def percentile(share: float) -> float:
        place = share * (len(ratios) - 1)
        low = math.floor(place)
        high = min(low + 1, len(ratios) - 1)
        return ratios[low] + (ratios[high] - ratios[low]) * (place - low)

    assert found == pytest.approx((percentile(0.025), percentile(0.975)), rel=1e-6)


def test_medians_are_drawn_a_bounded_number_of_samples_at_once(monkeypatch):
    samples = np.random.default_rng(0).uniform(1, 2, 7)
    whole = resampled_medians(samples, 40, np.random.default_rng(1))
    monkeypatch.setattr(comparing, "DRAWN_AT_ONCE", 21)
    assert np.array_equal(whole, resampled_medians(samples, 40, np.random.default_rng(1)))


def test_a_change_that_chance_explains_is_not_clear():
    rng = np.random.default_rng(0)
    noisy = tuple(rng.lognormal(0, 0.3, 50).tolist())
    like = tuple(rng.lognormal(0, 0.3, 50).tolist())
    slower = tuple((np.array(like) * 3).tolist())
    before = made(measurements=[Measurement("x", "s", noisy)])
    [same] = compare(before, made(measurements=[Measurement("x", "s", like)]))
    [other] = compare(before, made(measurements=[Measurement("x", "s", slower)]))
    assert same.interval is not None and same.interval[0] < same.ratio < same.interval[1]
    assert not same.clear
    assert other.clear
    assert other.interval is not None and other.interval[0] > 2


def test_reports_are_compared_by_median_and_by_labels():
    before = made()
    faster = replace(before.find("latency", stage="embed")[0], samples=(0.001, 0.001, 0.9))
    after = replace(before, measurements=(faster, Measurement("new", "s", (1.0,))))
    [change] = compare(before, after)
    assert (change.name, change.before, change.after) == ("latency", 0.002, 0.001)
    assert change.labels["stage"] == "embed"
    assert change.ratio == pytest.approx(0.5)
    assert compare(before, after) == [change], "seeded"


def test_few_samples_have_no_interval_and_so_no_clear_change():
    """Of three and three, all of one above all of the other, chance makes one in ten such."""
    for many, known in ((2, False), (5, False), (6, True)):
        low = Measurement("x", "s", tuple(1 + 0.01 * i for i in range(many)))
        high = replace(low, samples=tuple(2 * one for one in low.samples))
        [change] = compare(made(measurements=[low]), made(measurements=[high]))
        assert change.clear is known
    [change] = compare(
        made(measurements=[replace(low, name="search_cost")]),
        made(measurements=[replace(high, name="search_cost")]),
    )
    assert change.interval is None  # many samples, but of few processes


def test_one_sample_has_no_interval():
    changes = compare(made(), made())
    assert {one.interval is None for one in changes if one.name == "throughput"} == {True}
    assert "noise.reference" not in {one.name for one in changes}
    assert "temperature" not in {one.name for one in changes}


def test_a_change_from_nothing_has_no_finite_ratio():
    assert Change("x", "B", 0.0, 0.0).ratio == 1.0
    assert Change("x", "B", 0.0, 5.0).ratio == math.inf
    assert ratio_interval((0.0, 0.0), (1.0,), rng=np.random.default_rng(0)) is None


def test_reports_of_different_machines_are_compared_only_if_asked():
    here = made()
    there = made(host={"cpu": "Cortex-A76"})
    with pytest.raises(ConfigError, match="Cortex-A76") as error:
        compare(here, there)
    assert "--across" in error.value.hint
    assert compare(here, there, across=True)
    more = made(host={**here.host, "cores": 99})
    with pytest.raises(ConfigError, match="99 cores"):
        compare(here, more)


def test_what_cannot_be_compared_is_said_so():
    before = made()
    with pytest.raises(ConfigError, match="nothing in common"):
        compare(before, replace(before, measurements=()))
    other = replace(before.measurements[0], unit="1")
    with pytest.raises(
        ConfigError, match=r"cold_start \(search\): s in one report, 1 in the other"
    ):
        compare(before, replace(before, measurements=(other,)))


# ------------------------------------------------------------------ floors


def test_floors_are_read_as_they_are_written():
    assert floors_of("recall=0.9, p90_ms=20") == {"recall": 0.9, "p90_ms": 20.0}


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("recal=0.9", "'recal'", "recall?"),
        ("p95_ms=20", "'p95_ms'", "_ms?"),
        ("zzz=1", "'zzz'", "choose from mAP"),
        ("", "''", "choose from"),
        ("recall", "nothing is no number", "recall=20"),
        ("recall=high", "high is no number", "recall=20"),
        ("recall=nan", "nan is no number", ""),
        ("recall=-1", "-1 is no number", ""),
        ("mAP=1,mAP=2", "twice", "once"),
    ],
)
def test_a_floor_that_makes_no_sense_gets_one_line_and_a_hint(text, told, hint):
    with pytest.raises(ConfigError) as error:
        floors_of(text)
    assert told in str(error.value)
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("floor", "good", "bad"),
    [
        ("recall", 0.8, 0.81), ("recall@10", 0.79, 0.9), ("mAP", 0.7, 0.71),
        ("p50_ms", 20, 19.9), ("p90_ms", 28.1, 27.9), ("p99_ms", 30, 29),
        ("cold_start_ms", 500, 499), ("peak_mb", 66, 65), ("throughput", 900, 901),
        ("joules", 0.2, 0.1),
    ],
)  # fmt: skip
def test_a_floor_is_held_by_what_a_search_here_uses(floor, good, bad):
    assert misses(made(), {floor: good * (1 - 1e-9 if FLOORS[floor].at_least else 1 + 1e-9)}) == []
    [miss] = misses(made(), {floor: bad})
    assert floor in miss.text
    assert miss.hint


def test_a_floor_that_was_not_measured_is_missed():
    for name in FLOORS:
        [miss] = misses(made(measurements=()), {name: 1.0})
        assert "not measured" in miss.text
        assert miss.hint


# ------------------------------------------------------------------ tables


def test_every_measurement_is_in_a_table():
    shown = tables(made())
    text = "\n".join(" ".join(row) for table in shown for row in table.rows)
    for part in ("500 ms", "20.0 ms", "900/s", "60.0 MB", "2.00 ms", "0.900", "200 mJ", "60.0 °C"):
        assert part in text, part
    assert all(len(row) == len(table.columns) for table in shown for row in table.rows)


def test_parts_of_memory_add_up_to_the_whole():
    [memory] = [table for table in tables(made()) if table.title.startswith("Memory")]
    assert memory.rows[-1] == ("whole", "60.0 MB", "66.0 MB")


def test_markdown_marks_up_nothing_that_a_note_says():
    told = to_markdown(made())
    assert told.startswith("# edge-ret bench: ")
    assert "energy \\| of &lt;idle> machines" in told
    widths = [line.count("|") - line.count("\\|") for line in told.splitlines() if line[:1] == "|"]
    assert min(widths) >= 3


def test_a_report_of_schema_1_has_a_table_too():
    old = made(measurements=[Measurement("latency.embed", "s", (0.1,))], settings={})
    assert "latency.embed" in to_markdown(old)


def test_devices_stand_side_by_side():
    pi = made(host={"cpu": "Cortex-A76", "board": "Raspberry Pi 5", "cores": 4})
    slow = made(host=pi.host, measurements=made().measurements[:3])
    table = device_table([made(), pi, slow])
    assert [heading for heading, _ in table.columns][2:] == ["Raspberry Pi 5", "Raspberry Pi 5 (2)"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["search, p50"] == ("20.0 ms",) * 3
    assert rows["mAP"] == ("0.700", "0.700", "")
    assert {line.told for line in HEADLINES} >= rows.keys() - {
        "cores", "memory", "bundle", "precision", "backend", "threads",
    }  # fmt: skip
