"""What the comparison of encoders counts, draws and subtracts, once more by plain loops."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from distill.config import TrainConfig
from distill.model import TorchEncoder, make_student, preprocessing_of
from distill.teacher import _combined
from edge_retrieval.bundle import default_bundle_path
from edge_retrieval.drawing import Preprocessing, fit_batch
from edge_retrieval.errors import ConfigError, EvaluationError
from edge_retrieval.metrics import leave_one_out
from edge_retrieval.split import Split

LEVELS = ("class", "subclass", "design")
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts import one another as files of one folder."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def made(figures: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of length 1 and codes; some labels are unknown."""
    rng = np.random.default_rng(seed)
    design = np.sort(rng.integers(0, 17, figures))
    codes = np.stack([design % 3, design % 6, design], axis=1).astype(np.int32)
    codes[design == 5, :2] = -1
    rows = rng.normal(size=(figures, 6)).astype(np.float32) + codes[:, 2:] * 0.1
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), codes


# --- rankings ------------------------------------------------------------------------------------


def test_means_over_all_figures_are_those_of_leave_one_out() -> None:
    from ranking import query_values

    rows, codes = made()
    found = query_values(rows, codes, len(rows))
    expected = {(s.level, s.relevance): s.values for s in leave_one_out(rows, codes, LEVELS)}
    for name, place, measure in (
        ("patent mAP", ("design", "inclusive"), "mAP"),
        ("hit_rate@1", ("design", "inclusive"), "hit_rate@1"),
        ("hit_rate@5", ("design", "inclusive"), "hit_rate@5"),
        ("subclass mAP", ("subclass", "exclusive"), "mAP"),
        ("H-AP", ("all", "inclusive"), "H-AP"),
    ):
        assert np.nanmean(found[name]) == pytest.approx(expected[place][measure])


def test_queries_search_all_that_is_put_among_them() -> None:
    from ranking import query_values

    rows, codes = made(40)
    queries = 12
    found = query_values(rows, codes, queries)["patent mAP"]
    for query in range(queries):
        order = sorted(
            (other for other in range(40) if other != query),
            key=lambda other: (-float(rows[query] @ rows[other]), other),
        )
        hits, total = 0, 0.0
        for rank, other in enumerate(order, 1):
            if codes[other, 2] == codes[query, 2]:
                hits += 1
                total += hits / rank
        if hits:
            assert found[query] == pytest.approx(total / hits)
        else:
            assert np.isnan(found[query])
    assert len(found) == queries


# --- intervals -----------------------------------------------------------------------------------


def test_the_bootstrap_draws_patents_with_all_their_queries() -> None:
    from ranking import Resampling

    rng = np.random.default_rng(1)
    patent = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])
    values, others = rng.uniform(size=10), rng.uniform(size=10)
    values[4] = others[4] = np.nan
    draws = Resampling.of(patent, resamples=300)
    assert (draws.counts.sum(axis=1) == 4).all()
    means, differences, ratios = [], [], []
    for counts in draws.counts:
        drawn: list[float] = []
        against: list[float] = []
        for number, times in enumerate(counts):
            for _ in range(times):
                drawn += [v for v in values[patent == number] if v == v]
                against += [v for v in others[patent == number] if v == v]
        means.append(sum(drawn) / len(drawn))
        differences.append(means[-1] - sum(against) / len(against))
        ratios.append(means[-1] / (sum(against) / len(against)))
    for found, drawn, value in (
        (draws.interval(values), means, np.nanmean(values)),
        (draws.difference(values, others), differences, np.nanmean(values) - np.nanmean(others)),
        (draws.ratio(values, others), ratios, np.nanmean(values) / np.nanmean(others)),
    ):
        assert found.value == pytest.approx(value)
        assert found.low == pytest.approx(np.percentile(drawn, 2.5))
        assert found.high == pytest.approx(np.percentile(drawn, 97.5))


def test_the_draws_are_always_the_same_and_an_encoder_differs_from_itself_by_nothing() -> None:
    from ranking import Resampling

    patent = np.repeat(np.arange(9), 3)
    one, other = Resampling.of(patent), Resampling.of(patent)
    assert np.array_equal(one.counts, other.counts) and len(one.counts) == 2000
    values = np.random.default_rng(0).uniform(size=27)
    assert one.difference(values, values) == (0.0, 0.0, 0.0)
    assert one.ratio(values, values) == (1.0, 1.0, 1.0)
    assert one.interval(np.full(27, np.nan)) is None


# --- what stands beside ours ---------------------------------------------------------------------


def test_whitening_with_its_own_rows_is_that_of_a_bare_teacher() -> None:
    from encoders import whitened
    from figures import unit

    rng = np.random.default_rng(2)
    plain = rng.normal(size=(90, 20)).astype(np.float32) @ rng.normal(size=(20, 20))
    mirrored = plain + rng.normal(size=plain.shape) * 0.1
    plain, mirrored = plain.astype(np.float32), mirrored.astype(np.float32)
    rows = plain + mirrored
    expected = _combined(plain, mirrored, whiten=True)
    found = unit(whitened(rows, rows))
    assert found.shape == expected.shape
    assert np.allclose(found @ found.T, expected @ expected.T, atol=1e-4)


def test_whitening_takes_nothing_from_the_rows_that_it_turns() -> None:
    from encoders import centred, whitened

    rng = np.random.default_rng(3)
    training, rows = (rng.normal(size=(n, 8)).astype(np.float32) for n in (50, 10))
    for finish in (whitened, centred):
        assert np.allclose(finish(rows, training)[:4], finish(rows[:4], training), atol=1e-5)


def test_pixels_and_gradients_of_a_drawing_hang_on_it_alone() -> None:
    from encoders import hog, pixels

    pytest.importorskip("skimage", reason="the extra bench is not installed")
    rng = np.random.default_rng(4)
    for embed, side, width in ((pixels, 112, 784), (hog, 128, 1764)):
        images = rng.uniform(size=(3, 1, side, side)).astype(np.float32)
        rows = embed(images)
        assert rows.shape == (3, width)
        assert np.allclose(embed(images[1:2])[0], rows[1], atol=1e-6)
    image = rng.uniform(size=(1, 1, 112, 112)).astype(np.float32)
    first = image[0, 0, :4, :4].mean() - image.mean()
    assert pixels(image)[0, 0] == pytest.approx(first, abs=1e-5)


def test_two_encoders_of_one_name_are_refused() -> None:
    from encoders import plain_ones, refuse_equal_names

    refuse_equal_names(plain_ones())
    with pytest.raises(ConfigError, match="two encoders"):
        refuse_equal_names(plain_ones() * 2)


# --- galleries -----------------------------------------------------------------------------------


def source_of(root: Path, numbers: list[str], seed: int) -> Path:
    rng = np.random.default_rng(seed)
    for number in numbers:
        folder = root / "06" / "06-01" / number
        folder.mkdir(parents=True)
        for view in range(2):
            image = Image.new("L", (150, 120), 255)
            corners = [(float(x), float(y)) for x, y in rng.integers(5, 115, (6, 2))]
            ImageDraw.Draw(image).line(corners, fill=0, width=3)
            image.save(folder / f"{view}.png")
    return root


@pytest.fixture
def three(tmp_path: Path) -> tuple[Any, Any, Any]:
    from figures import read_squares

    patents = source_of(tmp_path / "a", [f"D{n}" for n in (101, 102, 103, 104, 105)], 1)
    others = source_of(tmp_path / "b", ["USD0000102", "D7", "D8"], 2)
    drawn = source_of(tmp_path / "c", ["MADE-1", "MADE-2"], 3)
    return tuple(read_squares(path, (32, 48)) for path in (patents, others, drawn))  # type: ignore[return-value]


def test_squares_are_what_fit_gives_bit_for_bit(tmp_path: Path) -> None:
    from figures import read_figures, read_squares

    source = source_of(tmp_path, ["D1", "D2"], 5)
    found = read_squares(source, (32, 48))
    masters, paths, skipped = read_figures(source)
    assert not skipped and [path[-1] for path in paths] == list(found.designs)
    for about in (Preprocessing(size=32), Preprocessing(size=48, channels=3, mean=0.0, std=1.0)):
        expected = fit_batch(masters, about)
        assert np.array_equal(found.images(about, slice(0, len(found))), expected)


def test_only_test_patents_search_and_no_statistic_is_taken_from_them(
    three: tuple[Any, Any, Any],
) -> None:
    from model import galleries_of

    split = Split("s", "", {"train": ("D101",), "validation": ("D102",), "test": ("D103", "D104")})
    every, training, galleries = galleries_of(*three, split)
    trained = {every.designs[row] for row in np.flatnonzero(training)}
    assert trained == {"D101", "D105", "D7", "D8"}  # D105 is in no part: it may train
    named = {
        name: [every.designs[row] for row in gallery.rows] for name, gallery in galleries.items()
    }
    assert set(named["test"]) == {"D103", "D104"}
    assert set(named["distractors"]) == {"D103", "D104", "D7", "D8"}  # D102 comes in both sources
    assert set(named["all"]) == {"D101", "D102", "D103", "D104", "D105", "D7", "D8"}
    assert set(named["made"]) == {"MADE-1", "MADE-2"}
    for name in ("test", "distractors", "all"):
        assert galleries[name].queries == 4 and named[name][:4] == ["D103"] * 2 + ["D104"] * 2
    assert galleries["made"].queries == 4
    assert galleries["all"].measures == ("patent mAP", "hit_rate@1", "hit_rate@5")
    assert (galleries["all"].codes[:, :2] == -1).all()
    assert galleries["test"].resampling().counts.shape[1] == 2


def test_a_test_patent_whose_drawings_may_have_been_trained_on_is_refused(
    three: tuple[Any, Any, Any],
) -> None:
    from figures import Figures
    from model import refuse_twins

    patents, others, _ = three
    split = Split("s", "", {"train": ("D101",), "validation": (), "test": ("D103", "D104")})
    refuse_twins(patents, others, split)
    copy = patents.only(np.array([number == "D103" for number in patents.designs]))
    copy = Figures(("D999",) * len(copy), copy.labels, copy.squares)
    with pytest.raises(EvaluationError, match="D103 is almost D999"):
        refuse_twins(patents, Figures.joined([others, copy]), split)


def test_a_result_becomes_tables_and_a_picture_whose_labels_do_not_overlap(
    three: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    from encoders import REFERENCE, Contestant
    from model import embedded, galleries_of, measured, timed
    from model_plot import draw
    from model_tables import model, model_full
    from ranking import Values

    split = Split("s", "", {"train": (), "validation": (), "test": ("D103", "D104", "D105")})
    every, training, galleries = galleries_of(*three, split)
    draws = {name: gallery.resampling() for name, gallery in galleries.items()}
    reference: dict[str, dict[str, Values]] = {}
    groups = ("imagenet", "plain", "ours")
    contestants = [
        Contestant(
            REFERENCE if group == "imagenet" else group,
            group,
            Preprocessing(size=32 + 16 * (group == "ours")),
            lambda images, step=step: images.reshape(len(images), -1)[:, ::step].copy(),
            None if group == "plain" else 1_500_000,
        )
        for step, group in enumerate(groups, 3)
    ]
    rows = []
    for one in contestants:
        told, values = measured(embedded(one, every, training), galleries, draws, reference)
        reference = reference or values
        for prefix in (None, 8):
            rows.append(
                {"encoder": one.name, "group": one.group, "prefix": prefix, "bytes": one.bytes,
                 "galleries": told}
            )  # fmt: skip
    result = {
        "source": "a", "convention": "so", "reference": REFERENCE, "resamples": 2000,
        "galleries": {name: gallery.about for name, gallery in galleries.items()},
        "statistics": {"whitening": 4}, "rows": rows, "seconds": timed(contestants, every),
        "host": {"cpu": "one"},
    }  # fmt: skip
    first = rows[0]["galleries"]["test"]["patent mAP"]
    assert first["difference"]["value"] == 0.0 and first["ratio"]["high"] == 1.0
    sums, queries = (map(float, first[f"patent_{what}"].split()) for what in ("sums", "queries"))
    assert sum(sums) / sum(queries) == pytest.approx(first["value"], abs=1e-5)
    assert "ratio" not in rows[0]["galleries"]["test"]["hit_rate@1"]

    def table(head: list[str], lines: list[list[str]]) -> str:
        assert all(len(line) == len(head) for line in lines)
        return "\n".join(" | ".join(line) for line in (head, *lines))

    short, full = model(result, table), model_full(result, table)
    assert "**ours**" in short and "first 8 numbers" not in short and "1.50" in short
    assert "first 8 numbers" in full and full.count("(a)") == full.count("(c)") == 1
    assert draw(result, tmp_path / "model.png") == 0
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")


def test_every_script_of_the_comparison_is_importable_alone() -> None:
    for name in ("figures", "ranking", "encoders", "model_plot", "model_tables", "model"):
        __import__(name)
        assert sys.modules[name].__doc__


def test_a_run_or_a_bundle_can_be_the_teacher_and_nothing_else(
    three: tuple[Any, Any, Any], tmp_path: Path
) -> None:
    from encoders import of_bundle, teacher

    config = TrainConfig(backbone="test_efficientnet", size=32, dim=8)
    run = tmp_path / "run"
    run.mkdir()
    config.save(run / "config.toml")
    student = make_student(config).eval()
    save_file(student.state_dict(), run / "best.safetensors")
    found = teacher(run, tmp_path)
    assert found.group == "teacher" and found.bytes and "test_efficientnet, 32 px" in found.name
    patents = three[0]
    images = patents.images(found.preprocessing, slice(0, len(patents)))
    expected = TorchEncoder(student, preprocessing_of(config)).embed(images)
    assert np.allclose(found.embed(images), expected, atol=1e-4)
    bundle = default_bundle_path()
    own, taught = of_bundle(bundle), teacher(bundle, tmp_path)
    assert own.prefixes == (64, 32) and taught.prefixes == ()
    assert own.group == "ours" and taught.group == "teacher" and taught.name != own.name
    with pytest.raises(ConfigError, match="no teacher"):
        teacher(tmp_path / "nothing", tmp_path)
