"""The choice: the fastest beyond the noise, else the nearest, else the smallest; and it says so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from distill.choice import Choice, choose, pace_of
from distill.gate import Row
from tests.distill.test_gate import quality, row


def timed(ratio: float, *, base: float = 0.010, noise: float = 0.01, seed: int = 0) -> Any:
    """Samples of FP32 and of a network that is `ratio` times as fast, 30 rounds."""
    rng = np.random.default_rng(seed)
    fp32 = base * np.exp(rng.normal(0, 0.2, 30))  # the machine is busy, for both alike
    own = fp32 / ratio * np.exp(rng.normal(0, noise, 30))
    return {"fp32_seconds_1": tuple(fp32.tolist()), "seconds_1": tuple(own.tolist())}


def one(name: str, ratio: float, overlap: float = 0.95, size: int = 1_900_000, **more: Any) -> Row:
    seed = sum(map(ord, name))
    times = {key: more.pop(key) for key in ("base", "noise") if key in more}
    found = {"name": name, "bytes": size, "quality": quality(overlap=overlap), **more}
    return row(**timed(ratio, seed=seed, **times), **found)


def chosen(*rows: Row) -> Choice:
    return choose(rows, max_drop=0.01, min_overlap=0.9)


def name_of(choice: Choice) -> str:
    assert choice.best is not None
    return choice.best.name


def test_the_fastest_beyond_the_noise_is_chosen() -> None:
    choice = chosen(one("near", 1.3, 0.98), one("quick", 1.7, 0.93), one("wrong", 2.5, 0.7))
    assert name_of(choice) == "quick"
    assert "quick is 1.7" in choice.why
    assert "the fastest of 2 that pass" in choice.why


def test_of_equally_fast_ones_the_nearest_is_chosen() -> None:
    choice = chosen(one("far", 1.62, 0.92, noise=0.2), one("near", 1.6, 0.97, noise=0.2))
    assert name_of(choice) == "near"
    assert "as fast as far within the noise, and nearer to FP32 (0.970, not 0.920)" in choice.why


def test_a_small_gain_in_speed_does_not_count_however_sure_it_is() -> None:
    assert name_of(chosen(one("a", 1.63, 0.92, noise=1e-4), one("b", 1.6, 0.97, noise=1e-4))) == "b"


def test_of_equally_fast_and_near_ones_the_smallest_is_chosen() -> None:
    choice = chosen(one("large", 1.6, 0.951, 2_100_000), one("small", 1.6, 0.95, 1_900_000))
    assert name_of(choice) == "small"
    assert "as fast and as near to FP32 as large, and smaller (not 2.10 MB)" in choice.why


def test_networks_timed_while_the_machine_was_busy_are_not_called_slow() -> None:
    rows = (one("calm", 1.3, base=0.010), one("busy", 1.7, base=0.025))
    assert name_of(chosen(*rows)) == "busy"
    assert np.median(rows[1].seconds_1) > np.median(rows[0].seconds_1)


def test_the_pace_of_a_network_alone_is_the_median_with_the_spread_of_its_ranks() -> None:
    samples = tuple(float(n) for n in range(1, 31))
    pace = pace_of(row(seconds_1=samples, fp32_seconds_1=()), [])
    assert (pace.middle, pace.low, pace.high) == (15.5, 10.0, 22.0)
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        drawn = tuple(np.exp(rng.normal(0, 1, 30)).tolist())
        pace = pace_of(row(seconds_1=drawn, fp32_seconds_1=()), [])
        held += pace.low <= 1.0 <= pace.high
    assert held / 300 >= 0.93


@pytest.mark.parametrize("seed", range(20))
def test_what_is_beaten_in_everything_is_not_on_the_front_and_the_best_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        one(
            f"{seed}-{n}",
            float(rng.uniform(0.9, 1.3)),
            float(rng.uniform(0.88, 0.99)),
            int(rng.integers(1_500_000, 2_000_000)),
            noise=float(rng.uniform(0.001, 0.3)),
        )
        for n in range(8)
    ]
    choice = chosen(*rows)
    passed = [r for r in rows if r.quality is not None and r.quality.overlap >= 0.9]

    def merits(r: Row) -> tuple[float, float, int]:
        assert r.quality is not None
        return -r.quality.overlap, pace_of(r, rows).middle, r.bytes

    front = [
        r
        for r in passed
        if not any(
            merits(o) != merits(r)
            and all(a <= b for a, b in zip(merits(o), merits(r), strict=True))
            for o in passed
        )
    ]
    assert {r.name for r in choice.pareto} == {r.name for r in front}
    assert choice.best in choice.pareto
    seconds = [pace_of(r, rows).middle for r in choice.pareto]
    assert seconds == sorted(seconds)


# ------------------------------------------------------------------ the sentence


def test_a_gain_is_told_with_what_it_costs() -> None:
    why = chosen(one("u8s8", 1.72)).why
    assert "u8s8 is 1.7" in why
    assert "x as fast as FP32 here, 6.80 MB to 1.90 MB" in why
    assert "6.80 MB to 1.90 MB" in why
    assert "patent mAP falls by 0.002 (95 %: -0.004 to 0.009), overlap@10 0.950" in why
    assert why.count(";") == 1


@pytest.mark.parametrize("ratio", [0.93, 1.0, 1.03])
def test_where_int8_is_no_faster_that_comes_first(ratio: float) -> None:
    why = chosen(one("u8s8", ratio)).why
    assert why.startswith("INT8 is not faster here (")
    assert "u8s8 buys size, 6.80 MB to 1.90 MB; --backend auto measures" in why


def test_a_gain_that_may_be_noise_is_none() -> None:
    assert chosen(one("u8s8", 1.1, noise=0.9)).why.startswith("INT8 is not faster here")


def test_a_drop_that_few_designs_cannot_bound_is_said() -> None:
    unsure = quality(patent_interval=(-0.02, 0.024))
    why = chosen(one("u8s8", 1.5, quality=unsure)).why
    assert "63 designs are too few to rule out a fall above 0.01" in why


@pytest.mark.parametrize(
    ("drop", "words"),
    [(-0.004, "rises by 0.004 (95 %: -0.009 to 0.004)"), (0.0001, "patent mAP stays")],
)
def test_a_drop_that_is_none_is_not_called_one(drop: float, words: str) -> None:
    assert words in chosen(one("u8s8", 1.5, quality=quality(patent_drop=drop))).why


def test_where_map_says_nothing_the_sentence_says_so() -> None:
    nan = math.nan
    unknown = quality(patent_drop=nan, patent_interval=(nan, nan), designs=0)
    why = chosen(one("u8s8", 1.5, quality=unknown)).why
    assert "no design has two figures here, so mAP says nothing" in why
    assert "nan" not in why


def test_where_nothing_passes_the_nearest_one_and_its_reason_are_told() -> None:
    failed = Row.of_failure("s8s8", "onnx", "onnx", "no kernel")
    choice = chosen(failed, one("far", 1.5, 0.5), one("near", 1.5, 0.89))
    assert (choice.best, choice.pareto) == (None, ())
    assert choice.why == (
        "no INT8 passes: of 3 tried near is the nearest, but overlap@10 is 0.890, below 0.90"
    )
    assert chosen(failed).why == "no INT8 could be made: s8s8 failed: no kernel"
    assert chosen().why == "no INT8 was tried"


def test_the_only_one_that_passes_is_told_to_be_that() -> None:
    choice = chosen(one("a", 1.5), one("b", 1.9, 0.5))
    assert name_of(choice) == "a"
    assert choice.why.endswith("the only one of 2 that passes")


def test_names_of_several_formats_are_told_with_theirs() -> None:
    other = one("u8s8", 1.9, format="openvino", backend="openvino")
    choice = chosen(one("u8s8", 1.5), other)
    assert choice.best is other
    assert "u8s8 on OpenVINO is" in choice.why


def test_a_network_that_was_not_timed_comes_last_and_its_sentence_says_so() -> None:
    untimed = row(name="untimed", seconds_1=())
    assert name_of(chosen(untimed, one("timed", 0.5))) == "timed"
    assert "untimed: 6.80 MB to 1.90 MB, not timed" in chosen(untimed).why


def test_an_equally_good_one_is_told_to_be_no_worse() -> None:
    why = chosen(one("a", 1.6), one("b", 1.6)).why
    assert "nothing sets them apart beyond the noise" in why
