"""What a score means: measured as by plain loops, kept in the bundle, told beside every hit."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_retrieval import unrelated
from edge_retrieval.bundle import Bundle, default_bundle_path, save_calibration
from edge_retrieval.calibrating import at_most, calibrate_bundle
from edge_retrieval.calibration import Calibration, Measured, Strength, Table, digest_of, plain
from edge_retrieval.doctor import examine
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import BundleError, EvaluationError
from edge_retrieval.evaluate import Embedded, embed_source
from edge_retrieval.evidence import to_html, to_json
from edge_retrieval.filters import Filters
from edge_retrieval.register import Register
from edge_retrieval.search import Query, query_from_bytes, search
from edge_retrieval.unrelated import APART, FEW, LEAST, SPOKEN, STEPS, tables_of
from tests import fakes
from tests.calling import Run
from tests.test_cli import is_one_line_and_a_hint
from tests.test_cli import run as run  # fixture


def embedded(
    designs: int = 40, dim: int = 6, seed: int = 0, *, labels: bool = True, name: str = "{}"
) -> Embedded:
    """Designs of 1 to 9 figures, of 4 classes and some of none, a few applicants, in any order."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 10, designs)
    of = rng.permutation(np.repeat(np.arange(designs), counts))
    centres = rng.normal(size=(designs, dim))
    rows = centres[of] + rng.normal(size=(len(of), dim)) * 0.6
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    classes = [("06", "06-01"), ("06", "06-02"), ("07", "07-01"), ("12", "12-08"), ()]
    owner = [("A",), ("B", "C"), ("C",), (), (), (), ()]
    numbers = rng.permutation(designs) * 4
    return Embedded(
        embeddings=rows,
        labels=tuple(classes[i % 5] if labels else () for i in of),
        designs=tuple(name.format(f"D{numbers[i]:05d}") for i in of),
        front_pages=0,
        problems=(),
        applicants=tuple(owner[i % 7] for i in of),
    )


def by_loops(
    sources: list[Embedded], dim: int, figures: tuple[int, int]
) -> tuple[list[float], dict[tuple[object, ...], float]]:
    """Return the score of every unrelated pair, and the best of every pair of designs."""
    scores: list[float] = []
    best: dict[tuple[object, ...], float] = {}
    for place, source in enumerate(sources):
        facts: dict[str, Any] = {}
        for row, number in enumerate(source.designs):
            vector = source.embeddings[row, :dim].astype(np.float64)
            facts.setdefault(number, ([], source.labels[row], set(source.applicants[row])))
            facts[number][0].append(vector / np.linalg.norm(vector))
        for one, (own, label, owners) in facts.items():
            for other, (theirs, label_2, owners_2) in facts.items():
                if one == other or owners & owners_2:
                    continue
                if label and label_2:
                    if label[0] == label_2[0]:
                        continue
                elif one[:-5] == other[:-5] and abs(int(one[-5:]) - int(other[-5:])) <= APART:
                    continue
                for drawn in groups_of(own, figures[0]):
                    for found in groups_of(theirs, figures[1]):
                        score = max(float(a @ b) for a in drawn for b in found)
                        scores.append(score)
                        pair = (place, *sorted((one, other)))
                        best[pair] = max(best.get(pair, -1.0), score)
    return scores, best


def groups_of(figures: list[Any], count: int) -> list[list[Any]]:
    return [figures[at : at + count] for at in range(0, len(figures) - count + 1, count)]


@pytest.mark.parametrize("dim", [6, 3])
def test_counts_are_those_of_plain_loops(dim: int) -> None:
    sources = [embedded(60), embedded(25, seed=1, labels=False)]
    tables = {table.figures: table for table in tables_of(sources, [dim])}
    assert set(tables) >= {(1, 1), (1, 2), (1, 4), (2, 2), (2, 4), (4, 4)}
    for figures, table in tables.items():
        scores, best = by_loops(sources, dim, figures)
        assert table.pairs == len(scores)
        near = 2e-6  # loops count in float64
        for score, count in zip(table.scores, table.counts, strict=True):
            assert sum(s >= score + near for s in scores) <= count
            assert count <= sum(s >= score - near for s in scores)
        assert sum(value >= table.scores[-1] - near for value in best.values()) >= LEAST
        assert sum(value >= table.beyond + near for value in best.values()) < LEAST
        assert table.beyond == pytest.approx(table.scores[-1] + 1 / STEPS)


def test_the_told_share_is_never_below_the_true_one_and_close_to_it() -> None:
    sources = [embedded(80, seed=3)]
    for table in tables_of(sources, [6]):
        if table.figures not in ((1, 1), (2, 4), (1, 8)):
            continue
        scores = np.sort(by_loops(sources, 6, table.figures)[0])
        for score in np.random.default_rng(0).uniform(-1, 1, 300):
            true = (len(scores) - np.searchsorted(scores, score + 1e-6)) / len(scores)
            told = table.strength(float(score))
            assert told.share >= true
            if not told.beyond:
                # No rarer one that is spoken of holds a step of the score below.
                rarer = next(n for n in SPOKEN if 1 / n < told.share)
                below = np.searchsorted(scores, score - 1 / STEPS - 1e-6)
                assert (len(scores) - below) * rarer > len(scores)


def test_a_share_falls_as_the_score_rises() -> None:
    found = calibration(tuple(tables_of([embedded(80, seed=4)], [6])))
    scores = np.linspace(-1, 1, 201)
    for figures in (1, 2, 3, 7, 9, 30):
        told = [strength_of(found, float(score), figures, 4.2) for score in scores]
        assert all(a.share >= b.share for a, b in pairwise(told))
        assert told == sorted(told, key=lambda strength: strength.beyond)


def test_a_share_grows_with_the_figures_of_either_side() -> None:
    found = calibration(tuple(tables_of([embedded(80, seed=4)], [6])))
    scores = np.linspace(-1, 1, 201)

    def mean(figures: float, others: float) -> float:
        told = [strength_of(found, float(score), figures, others).share for score in scores]
        return float(np.mean(told))

    counts = (1, 2, 4, 8, 16, 32)
    for a, b in pairwise(counts):
        for other in counts:
            assert mean(a, other) < mean(b, other)
            assert mean(other, a) == mean(a, other)
    assert mean(1, 2) <= mean(1, 2.1) <= mean(1, 4)


def strength_of(found: Calibration, score: float, figures: float, others: float = 1) -> Strength:
    told = found.strength(score, dim=6, figures=figures, others=others)
    assert told is not None
    assert 0 < told.share <= 1
    return told


def test_beyond_the_data_nothing_is_made_up() -> None:
    [table, *_] = tables_of([embedded(60)], [6])
    told = table.strength(0.99999999)
    assert told.beyond
    assert told.share == table.counts[-1] / table.pairs
    assert told.text == f"fewer than 1 in {plain(1 / told.share):,}"
    assert table.counts[-1] >= LEAST


def test_more_figures_than_were_measured_count_as_so_many_times_the_most() -> None:
    one = Table(4, (1, 1), 1000, (-1.0, 0.5, 0.9), (1000, 100, 3), 0.95)
    two = replace(one, figures=(1, 2), counts=(1000, 150, 4))
    found = calibration((two, one))
    assert found.strength(0.6, dim=4) == (0.1, False)
    assert found.strength(0.6, dim=4, figures=2) == (0.15, False)
    assert found.strength(0.6, dim=4, others=1.5) == (0.15, False)
    assert found.strength(0.6, dim=4, figures=2, others=2) == (0.3, False)
    assert found.strength(0.6, dim=4, figures=3) == (0.3, False)
    assert found.strength(0.6, dim=4, figures=40) == (1.0, False)
    assert found.strength(0.97, dim=4, figures=4) == (0.008, True)
    assert found.strength(0.6, dim=3) is None


@pytest.mark.parametrize(
    ("strength", "text"),
    [
        (Strength(0.7, False), "most"),
        (Strength(0.5, False), "1 in 2"),
        (Strength(0.3, False), "1 in 3"),
        (Strength(1 / 12, False), "1 in 10"),
        (Strength(1 / 15, False), "1 in 15"),
        (Strength(1 / 2000, False), "1 in 2,000"),
        (Strength(1 / 2999, False), "1 in 2,000"),
        (Strength(3 / 60_000, True), "fewer than 1 in 20,000"),
    ],
)
def test_a_strength_is_said_in_plain_words(strength: Strength, text: str) -> None:
    assert strength.text == text
    assert strength.short == text.replace("fewer than", "<")
    assert text in strength.sentence


def test_every_number_that_is_spoken_of_is_said_as_it_is() -> None:
    assert [plain(1 / (1 / n)) for n in SPOKEN] == list(SPOKEN)
    assert SPOKEN[:13] == (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 30)
    assert list(SPOKEN) == sorted(set(SPOKEN))


@pytest.mark.parametrize(
    ("strength", "designs", "said"),
    [
        (Strength(1 / 2000, False), 18_412, "about 9"),
        (Strength(1 / 2000, False), 1_000, "fewer than 1"),
        (Strength(0.08, False), 18_412, "about 1,500"),
        (Strength(1 / 2000, True), 18_412, "fewer than 9"),
    ],
)
def test_it_is_said_how_many_come_so_close_by_chance(
    strength: Strength, designs: int, said: str
) -> None:
    assert strength.among(designs) == said


def test_too_few_designs_and_designs_of_one_class_are_refused() -> None:
    with pytest.raises(EvaluationError, match=f"{FEW - 1} designs: too few"):
        list(tables_of([embedded(FEW - 1)], [6]))
    one = embedded(30)
    alike = replace(one, labels=(("06", "06-01"),) * len(one.designs))
    with pytest.raises(EvaluationError, match="one class"):
        list(tables_of([alike], [6]))


def test_a_source_without_a_design_adds_nothing() -> None:
    source = embedded(50)
    nothing = replace(
        source, embeddings=source.embeddings[:0], labels=(), designs=(), applicants=()
    )
    assert list(tables_of([source, nothing], [6])) == list(tables_of([source], [6]))


def without(source: Embedded, numbers: set[str]) -> Embedded:
    """Return a source without some designs."""
    rows = [row for row, number in enumerate(source.designs) if number not in numbers]
    return replace(
        source,
        embeddings=source.embeddings[rows],
        labels=tuple(source.labels[row] for row in rows),
        designs=tuple(source.designs[row] for row in rows),
        applicants=tuple(source.applicants[row] for row in rows),
    )


def test_of_a_large_source_some_designs_are_compared_from_its_beginning_to_its_end() -> None:
    source = embedded(50)
    some = at_most(20, source)
    numbers = sorted(set(source.designs))
    kept = sorted(set(some.designs))
    assert kept == [numbers[place * 50 // 20] for place in range(20)]
    assert list(tables_of([some], [6])) == list(
        tables_of([without(source, set(numbers) - set(kept))], [6])
    )
    assert at_most(50, source) is source


@pytest.mark.real
def test_what_is_told_holds_for_real_patents_that_were_not_measured(real_data: Path) -> None:
    """Measured on every other patent, it is held against the rest, on the bundle that ships."""
    encoder = load_encoder(Bundle.open(default_bundle_path()))
    source = embed_source(real_data / "uspto-multiview", encoder)
    half = at_most((len(set(source.designs)) + 1) // 2, source)
    other = without(source, set(half.designs))
    told, true = (
        {table.figures: table for table in tables_of([part], [encoder.dim])}
        for part in (half, other)
    )
    for rarity in (2, 5, 10, 20, 50, 100):
        score = next(
            s for s in np.arange(-1, 1, 1e-3) if told[1, 4].strength(s).share <= 1 / rarity
        )
        # A table tells shares in steps: the commonest is followed by half of it.
        assert 1 / 2 <= true[1, 4].strength(score).share * rarity <= 2


def test_the_size_of_the_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    sources = [embedded(50)]
    whole = list(tables_of(sources, [6]))
    monkeypatch.setattr(unrelated, "CHUNK", 7)
    for table, again in zip(whole, tables_of(sources, [6]), strict=True):
        assert table.pairs == again.pairs
        assert table.scores == pytest.approx(again.scores, abs=2 / STEPS)


# ------------------------------------------------------------------ in the bundle


def calibration(tables: tuple[Table, ...] = (), fingerprint: str = "f") -> Calibration:
    plain_table = Table(64, (1, 1), 90_000, (-1.0, 0.5, 0.9), (90_000, 900, 45), 0.95)
    return Calibration(
        fingerprint=fingerprint,
        unrelated="of other classes",
        sources=(Measured("made", "ab" * 32, 300, 900),),
        tables=tables or (plain_table,),
        created="2026-11-22T00:00:00+00:00",
        versions={"numpy": "2"},
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """A bundle that tells what its scores mean."""
    made = fakes.tiny_bundle(tmp_path / "b")
    return save_calibration(made.folder, calibration(fingerprint=made.fingerprint))


def test_a_calibration_comes_back_as_it_was_kept_and_decides_no_vector(
    bundle: Bundle, tmp_path: Path
) -> None:
    plain_bundle = fakes.tiny_bundle(tmp_path / "plain")
    assert plain_bundle.calibration is None
    assert Bundle.open(bundle.folder) == bundle
    assert bundle.calibration == calibration(fingerprint=bundle.fingerprint)
    assert bundle.fingerprint == plain_bundle.fingerprint
    assert Bundle.open(bundle.copy_to(tmp_path / "copy").folder).calibration == bundle.calibration
    again = save_calibration(bundle.folder, replace(bundle.calibration, created="later"))
    assert Bundle.open(bundle.folder) == again
    assert {p.name for p in bundle.folder.iterdir()} == {"bundle.json", "model.onnx", "golden.npz"}


def change(told: dict[str, Any], edit: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Change what is kept and make its digest fit: as somebody who means it would."""
    edit(told)
    return told | {"sha256": digest_of(told)}


def table_of(told: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = told["tables"][0]
    return found


WRONG: dict[str, Callable[[dict[str, Any]], object]] = {
    "newer": lambda c: c.update(schema=2),
    "no schema": lambda c: c.pop("schema"),
    "of another encoder": lambda c: c.update(fingerprint="0" * 64),
    "no tables": lambda c: c.update(tables=[]),
    "tables of text": lambda c: c.update(tables="x"),
    "no source": lambda c: c.pop("sources"),
    "versions of text": lambda c: c.update(versions="x"),
    "no scores": lambda c: table_of(c).update(scores=[], counts=[]),
    "fewer counts": lambda c: table_of(c)["counts"].pop(),
    "counts that ascend": lambda c: table_of(c).update(counts=[900, 45, 90]),
    "more than there are": lambda c: table_of(c).update(pairs=10),
    "a count of none": lambda c: table_of(c).update(counts=[90_000, 900, 0]),
    "a count of truth": lambda c: table_of(c).update(figures=[True, 1]),
    "three numbers of figures": lambda c: table_of(c).update(figures=[1, 1, 2]),
    "figures that fall": lambda c: table_of(c).update(figures=[2, 1]),
    "scores that fall": lambda c: table_of(c).update(scores=[0.5, -1.0, 0.9]),
    "a score of text": lambda c: table_of(c).update(scores=[-1.0, "x", 0.9]),
    "a huge score": lambda c: table_of(c).update(scores=[-1.0, 0.5, 10**400]),
    "no number": lambda c: table_of(c).update(beyond=float("nan")),
    "before its end": lambda c: table_of(c).update(beyond=0.9),
}


@pytest.mark.parametrize("edit", WRONG.values(), ids=WRONG.keys())
def test_a_calibration_that_makes_no_sense_is_one_clear_error(
    edit: Callable[[dict[str, Any]], object], bundle: Bundle
) -> None:
    file = bundle.folder / "bundle.json"
    manifest = json.loads(file.read_text("utf-8"))
    manifest["calibration"] = change(manifest["calibration"], edit)
    file.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(BundleError, match=r"bundle\.json: calibration: ") as caught:
        Bundle.open(bundle.folder)
    assert "edge-ret calibrate" in caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [None, [], "x", {}, 7])
def test_what_is_no_calibration_is_one_clear_error(value: object, bundle: Bundle) -> None:
    file = bundle.folder / "bundle.json"
    manifest = json.loads(file.read_text("utf-8")) | {"calibration": value}
    file.write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(BundleError, match="calibration"):
        Bundle.open(bundle.folder)


def test_the_doctor_tells_of_it_and_finds_a_changed_number(bundle: Bundle) -> None:
    found = examine(bundle.folder, backends=["onnx"])
    assert found.fault is None
    assert [check.told for check in found.checks if check.name == "scores"] == [
        f"measured on 300 designs, SHA-256 {bundle.calibration.sha256[:12]}"  # type: ignore[union-attr]
    ]
    file = bundle.folder / "bundle.json"
    file.write_text(file.read_text("utf-8").replace(" 900,", " 90,"), "utf-8")
    fault = examine(bundle.folder, backends=["onnx"]).fault
    assert fault is not None
    assert "calibration: changed since it was measured" in fault[0]


def test_a_calibration_of_another_encoder_is_not_written(bundle: Bundle) -> None:
    before = (bundle.folder / "bundle.json").read_bytes()
    with pytest.raises(BundleError, match="another encoder"):
        save_calibration(bundle.folder, calibration(fingerprint="other"))
    assert (bundle.folder / "bundle.json").read_bytes() == before


def test_a_bundle_is_measured_on_a_source_and_says_on_which(tmp_path: Path) -> None:
    made = fakes.tiny_bundle(tmp_path / "b")
    write_designs(tmp_path / "grants", 24)
    found = calibrate_bundle(made.folder, [tmp_path / "grants"], threads=1)
    opened = Bundle.open(made.folder)
    assert opened.calibration == found.calibration
    assert opened.fingerprint == made.fingerprint
    [source] = found.calibration.sources
    assert (source.name, source.designs, source.figures) == ("grants", 24, 48)
    again = calibrate_bundle(
        made.folder, [tmp_path / "grants"], keep=lambda number: number != "T000", threads=1
    ).calibration
    assert (again.designs, again.sources[0].figures) == (23, 46)
    assert again.sources[0].sha256 != source.sha256
    table, fewer = (
        next(t for t in one.tables if t.figures == (1, 2)) for one in (found.calibration, again)
    )
    assert (table.dim, fewer.dim) == (64, 64)
    assert table.pairs == 48 * 18  # four classes of six designs
    assert fewer.pairs == 36 * 17 + 10 * 18


def test_a_bundle_that_cannot_be_written_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fakes.tiny_bundle(tmp_path / "b")

    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(BundleError, match="b: cannot be written: Permission denied"):
        calibrate_bundle(made.folder, [tmp_path / "nowhere"])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have names of letters only")
def test_a_source_may_have_any_name(tmp_path: Path) -> None:
    made = fakes.tiny_bundle(tmp_path / "b")
    source = tmp_path / os.fsdecode(b"gr\xff")
    write_designs(source, 24)
    calibrate_bundle(made.folder, [source], threads=1)
    found = Bundle.open(made.folder).calibration
    assert found is not None
    assert found.sources[0].name == "gr\\udcff"


def write_designs(folder: Path, count: int) -> None:
    """A folder tree of designs with two drawings, in four classes."""
    for i in range(count):
        place = folder / f"{i % 4:02d}" / f"{i % 4:02d}-01" / f"T{i:03d}"
        place.mkdir(parents=True)
        for view in (0, 1):
            (place / f"{view}.png").write_bytes(fakes.drawing(i, view))


# ------------------------------------------------------------------ beside every hit


@pytest.fixture
def register(bundle: Bundle, tmp_path: Path) -> Register:
    register = Register.create(tmp_path / "r", bundle)
    register.add(fakes.designs(8), fakes.FakeEncoder(bundle.fingerprint))
    return register


def queries() -> list[Query]:
    one = query_from_bytes(fakes.drawing(1, 9), "one.png", cut=False)
    two = query_from_bytes(fakes.drawing(5, 9), "two.png", cut=False)
    return [one, Query("both.png", [*one.figures, *two.figures])]


def test_every_hit_tells_what_its_score_means(register: Register, bundle: Bundle) -> None:
    results = search(register, queries(), fakes.FakeEncoder(bundle.fingerprint), k=8)
    found = bundle.calibration
    assert found is not None
    for result, figures in zip(results, (1, 2), strict=True):
        assert len(result.hits) == 8
        for hit in result.hits:
            assert hit.strength == found.strength(hit.pair, dim=64, figures=figures, others=3)
    told = to_json(results, register=register)
    for line, hit in zip(told["results"][0]["hits"], results[0].hits, strict=True):
        assert hit.strength is not None
        assert (line["share"], line["strength"]) == (hit.strength.share, hit.strength.text)
    assert told["results"][0]["chance"] == results[0].chance != ""
    page = to_html(results, register=register)
    assert results[0].hits[0].strength is not None
    assert results[0].hits[0].strength.sentence in page
    assert "measured on 300 designs of made" in page


def test_how_many_come_as_close_by_chance_is_said_of_the_first_and_the_last(
    register: Register, bundle: Bundle
) -> None:
    [result, _] = search(register, queries(), fakes.FakeEncoder(bundle.fingerprint), k=8)
    first, last = result.hits[0], result.hits[-1]
    hits = [
        replace(first, strength=Strength(0.001, True)),
        replace(last, strength=Strength(0.25, False)),
    ]
    assert replace(result, hits=hits, compared_designs=80).chance == (
        "by chance 80 unrelated designs hold fewer than 1 as close as rank 1, about 20 as rank 8"
    )
    alike = [replace(hit, strength=Strength(0.001, True)) for hit in result.hits]
    assert replace(result, hits=alike).chance == (
        "by chance 8 unrelated designs hold fewer than 1 as close as rank 8"
    )


def test_without_a_calibration_all_is_as_it_was(
    register: Register, bundle: Bundle, tmp_path: Path
) -> None:
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    with Register.create(tmp_path / "old", fakes.tiny_bundle(tmp_path / "plain")) as old:
        old.add(fakes.designs(8), encoder)
        bare = search(old, queries(), encoder, k=8)
        told = to_json(bare, register=old)
        page = to_html(bare, register=old)
    assert all(hit.strength is None for result in bare for hit in result.hits)
    assert [result.chance for result in bare] == ["", ""]
    assert told["results"][0]["hits"][0]["strength"] is None
    assert "unrelated" not in page.lower()
    results = search(register, queries(), encoder, k=8)
    for one, other in zip(results, bare, strict=True):
        assert [(h.score, h.design.number) for h in one.hits] == [
            (h.score, h.design.number) for h in other.hits
        ]


# ------------------------------------------------------------------ on the command line


def test_the_command_measures_a_bundle_and_searches_tell_it_from_then_on(
    run: Run, tmp_path: Path
) -> None:
    made = fakes.tiny_bundle(tmp_path / "mine")
    write_designs(tmp_path / "grants", 24)
    done = run("calibrate", made.folder, "--data", tmp_path / "grants")
    assert done.code == 0, done.err
    assert "24 designs, 48 figures of grants" in done.out
    assert "only 24 designs" in done.err
    told = json.loads(run("calibrate", made.folder, "--data", tmp_path / "grants", "--json").out)
    assert told["calibration"]["sources"][0]["designs"] == 24
    assert run("index", tmp_path / "grants", "-o", "r", "--bundle", made.folder).code == 0
    drawing = tmp_path / "grants" / "00" / "00-01" / "T000" / "0.png"
    found = run("search", drawing, "-r", "r")
    assert found.code == 0, found.err
    heading, first = (line for line in found.out.splitlines() if "score" in line or "T000" in line)
    assert "strength" in heading
    assert "< 1 in " in first
    assert "by chance 24 unrelated designs hold" in found.out
    [hit, *_] = json.loads(run("search", drawing, "-r", "r", "--json").out)["results"][0]["hits"]
    assert hit["strength"] == f"fewer than 1 in {plain(1 / hit['share']):,}"


def test_the_table_of_a_search_fits_a_terminal_of_80_letters(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fakes.tiny_bundle(tmp_path / "mine")
    save_calibration(made.folder, calibration(fingerprint=made.fingerprint))
    write_designs(tmp_path / "grants", 4)
    run("index", tmp_path / "grants", "-o", "r", "--bundle", made.folder)
    monkeypatch.setattr("edge_retrieval.cli.talk.PIPE_WIDTH", 80)
    drawing = tmp_path / "grants" / "00" / "00-01" / "T000" / "0.png"
    lines = run("search", drawing, "-r", "r").out.splitlines()
    assert any("strength" in line for line in lines)
    table = lines[: next(at for at, line in enumerate(lines) if "compared" in line)]
    assert max(map(len, table)) <= 80


def test_what_cannot_be_measured_is_one_line_and_a_hint_and_changes_nothing(
    run: Run, tmp_path: Path
) -> None:
    made = fakes.tiny_bundle(tmp_path / "mine")
    before = (made.folder / "bundle.json").read_bytes()
    write_designs(tmp_path / "few", 3)
    done = run("calibrate", made.folder, "--data", tmp_path / "few")
    assert done.code == 1
    assert is_one_line_and_a_hint(done.err)
    assert (made.folder / "bundle.json").read_bytes() == before
    with Register.create(tmp_path / "r", made):
        pass
    done = run("calibrate", tmp_path / "r", "--data", tmp_path / "few")
    assert done.code == 2
    assert "name the bundle" in " ".join(done.err.split())


# ------------------------------------------------------------------ very similar, elsewhere


def test_a_very_similar_design_that_the_class_filter_leaves_out_is_an_alarm(
    register: Register, bundle: Bundle
) -> None:
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    asked = query_from_bytes(fakes.drawing(1, 9), "one.png", cut=False)  # D0001 is in 06-04
    only = Filters(classes=["07"], not_applicants=["nobody"])
    [result] = search(register, [asked], encoder, filters=only)
    assert "D0001" not in [hit.design.number for hit in result.hits]
    [alarm] = result.alarms
    assert (alarm.hit.design.number, alarm.filtered) == ("D0001", True)
    assert alarm.sentence == (
        "D0001 (06-04) is very similar and was left out by the class filter: in 07"
    )
    [inside] = search(register, [asked], encoder, filters=Filters(classes=["06"]))
    assert not inside.alarms
    [mine] = search(register, [asked], encoder, filters=Filters(not_classes=["06-04"]))
    assert [alarm.hit.design.number for alarm in mine.alarms] == ["D0001"]


def test_what_another_filter_leaves_out_is_no_alarm(register: Register, bundle: Bundle) -> None:
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    asked = query_from_bytes(fakes.drawing(1, 9), "one.png", cut=False)
    without = Filters(classes=["07"], not_designs=["D0001"])
    [result] = search(register, [asked], encoder, filters=without)
    assert not result.alarms


def test_a_very_similar_design_outside_the_class_of_most_is_an_alarm(
    bundle: Bundle, tmp_path: Path
) -> None:
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    alike = [
        fakes.design(f"S{i}", [fakes.sheet(fakes.drawing(1, 20 + i), f"{i}.png", single=True)])
        for i in range(3)
    ]
    odd = fakes.design(
        "ODD", [fakes.sheet(fakes.drawing(1, 30), "odd.png", single=True)], ("21", "21-01"),
        locarno="21-01",
    )  # fmt: skip
    with Register.create(tmp_path / "r", bundle) as register:
        register.add([*alike, odd], encoder)
        asked = query_from_bytes(fakes.drawing(1, 9), "one.png", cut=False)
        [result] = search(register, [asked], encoder)
    assert result.predicted is not None and result.predicted.clear
    assert [alarm.hit.design.number for alarm in result.alarms] == ["ODD"]
    assert result.alarms[0].sentence == "ODD (21-01) is very similar; it is not in 07-03"


def test_without_a_calibration_nothing_is_called_very_similar(tmp_path: Path) -> None:
    bundle = fakes.tiny_bundle(tmp_path / "b")
    encoder = fakes.FakeEncoder(bundle.fingerprint)
    with Register.create(tmp_path / "r", bundle) as register:
        register.add(fakes.designs(8), encoder)
        asked = query_from_bytes(fakes.drawing(1, 9), "one.png", cut=False)
        [result] = search(register, [asked], encoder, filters=Filters(classes=["07"]))
    assert not result.alarms
    assert all(view.matches is None for hit in result.hits for view in hit.views)
