"""The gate: what FP32 finds another network must find, and a drop is told with its noise."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from distill.data import Scheme
from distill.gate import Gate, Quality, Row, verdict
from distill.ranks import CHUNK, RESAMPLES, interval
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.errors import EvaluationError
from edge_retrieval.metrics import leave_one_out

LEVELS = ("class", "subclass", "design")


def of_length_one(rows: Any) -> Embeddings:
    rows = np.asarray(rows, np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def made_schemes(counts: tuple[int, ...] = (60, 40), seed: int = 0) -> tuple[Scheme, ...]:
    """Designs of 1 to 4 figures in 3 classes x 2 subclasses; some subclasses are not known."""
    rng = np.random.default_rng(seed)
    schemes = []
    order = rng.permutation(sum(counts))
    for number, count in enumerate(counts):
        design = np.repeat(np.arange(count), rng.integers(1, 5, count))[:count]
        codes = np.stack([design % 3, design % 6, design], axis=1).astype(np.int32)
        codes[design % 7 == 0, 1] = -1
        start = sum(counts[:number])
        rows = np.sort(order[start : start + count])
        schemes.append(Scheme(f"s{number}", LEVELS, codes, rows))
    return tuple(schemes)


def made(
    schemes: tuple[Scheme, ...], *, noise: float, count: int = 0, seed: int = 1
) -> tuple[Embeddings, Embeddings]:
    """Embeddings near those of the same design, and the same with noise."""
    rng = np.random.default_rng(seed)
    count = max(count, *(1 + int(scheme.rows.max()) for scheme in schemes))
    rows = rng.normal(0, 1, (count, 16))
    for scheme in schemes:
        centres = rng.normal(0, 1, (1 + int(scheme.codes[:, -1].max()), 16))
        rows[scheme.rows] += 1.5 * centres[scheme.codes[:, -1]]
    return of_length_one(rows), of_length_one(rows + rng.normal(0, noise, rows.shape))


def images_of(embeddings: Embeddings) -> Images:
    """Images that `Reads` turns into these embeddings."""
    return np.ascontiguousarray(embeddings[:, None, None, :])


class Reads:
    """An encoder that finds its embeddings written in the images; may spoil them."""

    def __init__(self, embeddings: Embeddings, spoil: float = 1.0) -> None:
        self.of = {bytes(row): found for row, found in zip(embeddings, embeddings, strict=True)}
        self.spoil = spoil
        self.dim = embeddings.shape[1]
        self.preprocessing: Any = None
        self.fingerprint = self.backend = ""
        self.batches: list[int] = []

    def embed(self, images: Images) -> Embeddings:
        self.batches.append(len(images))
        rows = np.stack([self.of[bytes(image[0, 0])] for image in images])
        return np.asarray(rows * np.float32(self.spoil))


def compared(*, noise: float = 0.8, **changed: Any) -> tuple[Quality, Gate, Embeddings, Embeddings]:
    schemes = made_schemes(**changed)
    fp32, int8 = made(schemes, noise=noise)
    gate = Gate(images_of(fp32), schemes, fp32)
    return gate.compare(int8), gate, fp32, int8


def map_of(embeddings: Embeddings, schemes: tuple[Scheme, ...], level: str) -> float:
    """As the trainer validates: over the schemes, coarser levels without the own design."""
    means = []
    for scheme in schemes:
        for scores in leave_one_out(embeddings[scheme.rows], scheme.codes, scheme.levels):
            wanted = "inclusive" if level == "design" else "exclusive"
            if (scores.level, scores.relevance) == (level, wanted) and scores.values:
                means.append(scores.values["mAP"])
    return float(np.mean(means))


# ------------------------------------------------------------------ what is measured


@pytest.mark.parametrize("counts", [(60, 40), (CHUNK + 30,)])
def test_map_and_its_drop_are_those_of_the_metrics(counts: tuple[int, ...]) -> None:
    quality, gate, fp32, int8 = compared(counts=counts)
    patent, subclass = (map_of(int8, gate.schemes, level) for level in ("design", "subclass"))
    assert quality.patent_map == pytest.approx(patent, abs=1e-12)
    assert quality.subclass_map == pytest.approx(subclass, abs=1e-12)
    assert quality.patent_drop == pytest.approx(map_of(fp32, gate.schemes, "design") - patent)
    assert quality.subclass_drop == pytest.approx(map_of(fp32, gate.schemes, "subclass") - subclass)
    assert quality.patent_drop > 0.02


def test_cosines_and_overlap_agree_with_plain_loops() -> None:
    quality, _, fp32, int8 = compared()
    shared = []
    for row in range(len(fp32)):
        near = []
        for embeddings in (fp32, int8):
            others = [other for other in range(len(fp32)) if other != row]
            others.sort(key=lambda other: (-float(embeddings[row] @ embeddings[other]), other))
            near.append(set(others[:10]))
        shared.append(len(near[0] & near[1]) / 10)
    cosines = sorted(float(one @ two) for one, two in zip(fp32, int8, strict=True))
    assert quality.overlap == pytest.approx(np.mean(shared))
    assert quality.mean_cosine == pytest.approx(np.mean(cosines), abs=1e-6)
    assert quality.least_cosine == pytest.approx(cosines[0], abs=1e-6)
    assert cosines[0] <= quality.p1_cosine <= cosines[1]
    assert quality.figures == len(fp32)


def test_a_network_against_itself_loses_nothing() -> None:
    quality, *_ = compared(noise=0.0)
    assert quality.patent_drop == quality.subclass_drop == 0.0
    assert quality.patent_interval == quality.subclass_interval == (0.0, 0.0)
    assert quality.overlap == 1.0
    assert quality.least_cosine == pytest.approx(1.0)
    assert quality.flips == ()


def test_flips_are_the_queries_whose_first_figure_changed_design() -> None:
    quality, gate, fp32, int8 = compared()
    expected = {}
    queries, designs, hits = 0, 0, 0
    margins = []
    for place, scheme in enumerate(gate.schemes):
        design = dict(zip(scheme.rows.tolist(), scheme.codes[:, -1].tolist(), strict=True))
        with_others = [row for row in design if list(design.values()).count(design[row]) > 1]
        queries += len(with_others)
        designs += len({design[row] for row in with_others})
        for row in with_others:
            told = []
            for embeddings in (fp32, int8):
                score = {i: float(embeddings[row] @ embeddings[i]) for i in design if i != row}
                order = sorted(score, key=lambda i: (-score[i], i))
                rank = 1 + [design[i] == design[row] for i in order].index(True)
                told.append((order[:5], [score[i] for i in order[:5]], rank))
                if len(told) == 1:
                    other = next(i for i in order if design[i] != design[row])
                    margin = score[order[rank - 1]] - score[other]
            hits += told[0][2] == 1
            margins.append(abs(margin))
            if (told[0][2] == 1) != (told[1][2] == 1):
                expected[place, row] = (*told, margin)
    assert (quality.queries, quality.designs, quality.hits) == (queries, designs, hits)
    assert {(flip.scheme, flip.row) for flip in quality.flips} == set(expected)
    assert quality.narrow == pytest.approx(np.percentile(margins, 25), abs=1e-6)
    assert quality.lost > 2
    assert quality.gained > 0
    for flip in quality.flips:
        *both, margin = expected[flip.scheme, flip.row]
        assert flip.margin == pytest.approx(margin, abs=1e-6)
        assert flip.lost == (margin > 0) == (flip.before.right == 1)
        for answer, (order, scores, rank) in zip((flip.before, flip.after), both, strict=True):
            assert list(answer.rows) == order
            assert list(answer.scores) == pytest.approx(scores, abs=1e-6)
            assert answer.right == rank


def test_lost_queries_come_first_and_the_far_ones_before_others() -> None:
    flips = compared()[0].flips
    assert [flip.lost for flip in flips] == sorted((flip.lost for flip in flips), reverse=True)
    lost = [flip.after.right for flip in flips if flip.lost]
    assert lost == sorted(lost, reverse=True)


def test_where_no_design_has_two_figures_only_the_neighbours_are_compared() -> None:
    [scheme] = made_schemes((30,))
    codes = scheme.codes.copy()
    codes[:, -1] = np.arange(30)
    schemes = (replace(scheme, codes=codes),)
    fp32, int8 = made(schemes, noise=0.1)
    quality = Gate(images_of(fp32), schemes, fp32).compare(int8)
    assert math.isnan(quality.patent_map)
    assert math.isnan(quality.patent_drop)
    assert math.isnan(quality.patent_interval[0])
    assert (quality.queries, quality.designs, quality.flips) == (0, 0, ())
    assert math.isnan(quality.narrow)
    assert 0.5 < quality.overlap < 1.0
    assert not math.isnan(quality.subclass_drop)


def test_without_labels_above_the_design_there_is_no_subclass_map() -> None:
    [scheme] = made_schemes((30,))
    schemes = (replace(scheme, levels=("design",), codes=scheme.codes[:, -1:]),)
    fp32, int8 = made(schemes, noise=0.1)
    quality = Gate(images_of(fp32), schemes, fp32).compare(int8)
    assert math.isnan(quality.subclass_map)
    assert quality.patent_map > 0


def test_a_scheme_of_one_figure_and_figures_of_none_are_borne() -> None:
    [scheme] = made_schemes((20,))
    alone = Scheme("alone", LEVELS, np.zeros((1, 3), np.int32), np.array([24]))
    fp32, int8 = made((scheme,), noise=0.1, count=25)
    several = Gate(images_of(fp32), (scheme, alone), fp32).compare(int8)
    assert several == Gate(images_of(fp32), (scheme,), fp32).compare(int8)
    assert several.figures == 25
    assert Gate(images_of(fp32), (), fp32).compare(int8).overlap == several.overlap


def test_an_encoder_is_measured_in_small_batches() -> None:
    schemes = made_schemes()
    fp32, _ = made(schemes, noise=0.0)
    encoder = Reads(fp32)
    gate = Gate(images_of(fp32), schemes, fp32)
    assert gate.measure(encoder) == gate.compare(fp32)
    assert sum(encoder.batches) == len(fp32)
    assert max(encoder.batches) <= 32


@pytest.mark.parametrize("spoil", [math.nan, math.inf])
def test_an_encoder_that_gives_no_numbers_is_refused(spoil: float) -> None:
    schemes = made_schemes()
    fp32, _ = made(schemes, noise=0.0)
    with pytest.raises(EvaluationError, match="not finite"):
        Gate(images_of(fp32), schemes, fp32).measure(Reads(fp32, spoil))
    with pytest.raises(EvaluationError, match="instead of"):
        Gate(images_of(fp32), schemes, fp32).compare(fp32[:, :8])


def test_too_few_figures_to_have_ten_neighbours_are_refused() -> None:
    rows = of_length_one(np.eye(11))
    with pytest.raises(EvaluationError, match="11 drawings") as told:
        Gate(images_of(rows), (), rows)
    assert "12 or more" in told.value.hint


# ------------------------------------------------------------------ the interval


def test_the_interval_agrees_with_plain_loops_over_the_drawn_designs() -> None:
    rng = np.random.default_rng(5)
    drops = [rng.normal(0.01, 0.1, 12), rng.normal(0.0, 0.2, 7)]
    drops[0][3] = np.nan
    designs = [np.sort(rng.integers(0, 5, len(drop))).astype(np.int32) for drop in drops]
    draws = np.random.default_rng(0)
    sums: list[list[float]] = [[] for _ in range(RESAMPLES)]
    for drop, design in zip(drops, designs, strict=True):
        own = {
            number: [float(d) for d, n in zip(drop, design, strict=True) if n == number and d == d]
            for number in sorted(set(design[~np.isnan(drop)].tolist()))
        }
        drawn = draws.multinomial(len(own), [1 / len(own)] * len(own), size=RESAMPLES)
        for resample, times in zip(sums, drawn.tolist(), strict=True):
            bag = [d for n, values in zip(times, own.values(), strict=True) for d in values * n]
            resample.append(sum(bag) / len(bag))
    expected = np.percentile([sum(means) / 2 for means in sums], [2.5, 97.5])
    assert interval(drops, designs) == pytest.approx(tuple(expected))
    assert interval(drops, designs) == interval(drops, designs)
    assert interval(drops, designs) != interval(drops, designs, seed=1)


def test_more_figures_of_the_same_designs_do_not_make_a_drop_surer() -> None:
    rng = np.random.default_rng(2)
    drop, design = rng.normal(0.0, 0.1, 40), np.arange(40, dtype=np.int32)
    once = interval([drop], [design])
    assert interval([drop.repeat(5)], [design.repeat(5)]) == pytest.approx(once)
    more = interval([np.tile(drop, 16)], [np.arange(640, dtype=np.int32)])
    assert more[1] - more[0] == pytest.approx((once[1] - once[0]) / 4, rel=0.15)


def test_the_interval_holds_the_drop_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    design = np.arange(50, dtype=np.int32).repeat(3)
    held = 0
    for _ in range(200):
        drop = 0.01 + rng.normal(0.0, 0.05, 50).repeat(3) + rng.normal(0.0, 0.02, 150)
        low, high = interval([drop], [design])
        held += low <= 0.01 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_one_design_tells_nothing_of_others() -> None:
    one = np.zeros(4, np.int32)
    assert all(map(math.isnan, interval([np.full(4, 0.3)], [one])))
    assert all(map(math.isnan, interval([], [])))


# ------------------------------------------------------------------ rows and verdicts


def quality(**changed: Any) -> Quality:
    told: dict[str, Any] = {
        "figures": 300, "queries": 280, "designs": 63, "hits": 200,
        "patent_map": 0.8, "subclass_map": 0.4, "patent_drop": 0.002, "subclass_drop": 0.001,
        "patent_interval": (-0.004, 0.009), "subclass_interval": (-0.002, 0.004),
        "overlap": 0.95, "mean_cosine": 0.99, "p1_cosine": 0.97, "least_cosine": 0.9, "flips": (),
    }  # fmt: skip
    return Quality(**(told | changed))


def row(**changed: Any) -> Row:
    told: dict[str, Any] = {
        "name": "u8s8", "format": "onnx", "backend": "onnx", "bytes": 1_900_000,
        "quality": quality(), "seconds_1": (0.005, 0.006, 0.02), "seconds_16": (0.08, 0.08),
        "fp32_seconds_1": (0.010, 0.012, 0.03), "fp32_seconds_16": (0.08, 0.12),
        "fp32_bytes": 6_800_000,
    }  # fmt: skip
    return Row(**(told | changed))


def said(row: Row, *, max_drop: float = 0.01, min_overlap: float = 0.9) -> str | None:
    return verdict(row, max_drop=max_drop, min_overlap=min_overlap)


def test_a_network_passes_up_to_the_limits_themselves() -> None:
    assert said(row()) is None
    assert said(row(quality=quality(patent_drop=0.01, overlap=0.9))) is None


def test_a_refusal_tells_what_fell_by_how_much_and_how_sure_that_is() -> None:
    worse = quality(patent_drop=0.023, patent_interval=(0.012, 0.035), overlap=0.84)
    assert said(row(quality=worse)) == (
        "patent mAP falls by 0.023, more than 0.010 (95 %: 0.012 to 0.035);"
        " overlap@10 is 0.840, below 0.90"
    )
    assert "subclass mAP falls by 0.020" in (said(row(quality=quality(subclass_drop=0.02))) or "")


def test_the_drop_itself_decides_not_its_interval() -> None:
    assert said(row(quality=quality(patent_drop=0.009, patent_interval=(-0.01, 0.03)))) is None
    assert said(row(quality=quality(patent_drop=0.011, patent_interval=(-0.01, 0.03))))


def test_what_cannot_be_measured_is_not_refused_but_the_overlap_counts() -> None:
    unknown = {"patent_drop": math.nan, "patent_interval": (math.nan, math.nan)}
    assert said(row(quality=quality(**unknown))) is None
    assert said(row(quality=quality(**unknown, overlap=0.8)))
    assert said(row(quality=quality(overlap=math.nan)))


def test_a_failed_network_is_refused_with_its_reason_in_one_line() -> None:
    failed = Row.of_failure("s8s8", "onnx", "onnx", "no kernel\nfor  Gelu")
    assert said(failed) == "failed: no kernel for Gelu"
    assert math.isnan(failed.speedup_1)


def test_a_speedup_is_the_median_of_the_rounds_ratios() -> None:
    assert row().speedup_1 == pytest.approx(2.0)
    assert row().speedup_16 == pytest.approx(1.25)
    assert math.isnan(row(seconds_1=()).speedup_1)


def test_a_row_is_strict_json_with_every_sample() -> None:
    unknown = quality(patent_drop=math.nan, patent_interval=(math.nan, math.nan))
    told = json.loads(json.dumps(row(quality=unknown, seconds_16=()).to_json(), allow_nan=False))
    assert told["seconds_1"] == [0.005, 0.006, 0.02]
    assert told["fp32_seconds_1"] == [0.010, 0.012, 0.03]
    assert told["speedup_16"] is None
    assert told["quality"]["patent_drop"] is None
    assert told["quality"]["patent_interval"] == [None, None]
    failed = Row.of_failure("s8s8", "onnx", "onnx", "no").to_json()
    assert json.loads(json.dumps(failed, allow_nan=False))["quality"] is None


def test_the_flips_of_a_quality_are_counted_in_json() -> None:
    measured = compared()[0]
    told = json.loads(json.dumps(measured.to_json(), allow_nan=False))
    assert (told["lost"], told["gained"]) == (measured.lost, measured.gained)
    assert "flips" not in told
