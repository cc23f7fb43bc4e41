"""New designs against a portfolio: the same as by plain loops, each pair told once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_retrieval.bundle import Bundle, save_calibration
from edge_retrieval.calibration import Calibration, Measured, Strength, Table, digest_of
from edge_retrieval.errors import BundleError, BundleMismatchError, ConfigError, RegisterError
from edge_retrieval.evidence.watch_page import SHOWN, watch_html
from edge_retrieval.filters import Filters
from edge_retrieval.register import Register
from edge_retrieval.register.ahead import SHEETS_AHEAD
from edge_retrieval.sources import Design, Note, Problem
from edge_retrieval.watch import (
    Arrived,
    Threshold,
    Watched,
    arriving,
    comparing,
    from_register,
    from_source,
    parse_share,
    read_kept,
    report_of,
    watch,
    write_kept,
)
from tests import fakes
from tests.calling import Outcome, Run
from tests.test_cli import is_one_line_and_a_hint
from tests.test_cli import run as run  # fixture

STEPS = tuple(np.linspace(0.5, 0.99, 50).tolist())


def calibrated(folder: Path, *, golden: int = 2) -> Bundle:
    """A bundle that tells what its scores mean: twice the figures, more come close."""
    made = fakes.tiny_bundle(folder, golden=golden)
    counts = tuple(int(90_000 * 0.8**i) for i in range(50))
    tables = (
        Table(64, (1, 1), 90_000, STEPS, counts, 0.995),
        Table(64, (2, 4), 20_000, STEPS[:40], tuple(c // 5 for c in counts[:40]), 0.9),
    )
    told = Calibration(
        made.fingerprint, "of other classes", (Measured("made", "ab" * 32, 9, 9),), tables,
        "2026-11-22T00:00:00+00:00", {"numpy": "2"},
    )  # fmt: skip
    return save_calibration(made.folder, told)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return calibrated(tmp_path / "bundle")


@pytest.fixture
def encoder(bundle: Bundle) -> fakes.FakeEncoder:
    return fakes.FakeEncoder(bundle.fingerprint)


@pytest.fixture
def portfolio(tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder) -> Iterator[Register]:
    """Designs D0000 to D0011 of 1 to 4 views; the third was removed, a sheet came late."""
    with Register.create(tmp_path / "mine", bundle) as register:
        late = replace(
            own_designs()[1],
            sheets=(fakes.sheet(fakes.drawing(1, 7), "late.png", single=True),),
        )
        register.add([*own_designs(), late], encoder)
        register.remove(["D0003"])
        yield register


def own_designs() -> list[Design]:
    return [fakes.designs(12, views=i % 4 + 1)[i] for i in range(12)]


def new_design(number: str, seed: int, views: int = 3, **facts: Any) -> Design:
    """A design that looks like the portfolio's of that seed, from other sides."""
    sheets = [
        fakes.sheet(fakes.drawing(seed, 20 + v), f"{v}.png", single=True) for v in range(views)
    ]
    return fakes.design(number, sheets, **{"title": f"New {number}", **facts})


def week() -> list[Design | Problem]:
    return [new_design(f"N{seed}", seed, views=seed % 3 + 1) for seed in (1, 2, 3, 6, 50, 51)]


def by_loops(
    new: list[Arrived], register: Register, threshold: float
) -> dict[tuple[str, str], tuple[float, Strength, int]]:
    """Return score, strength and matching views of each pair that is to be told."""
    columns, found = register.columns, {}
    calibration = register.bundle.calibration
    assert calibration is not None
    for arrived in new:
        for place in range(len(columns.alive)):
            if not columns.alive[place]:
                continue
            rows = [r for r, d in enumerate(columns.design_of.tolist()) if d == place]
            each = []
            for view in arrived.embeddings:
                cosines = []
                for figure in register.read_rows(rows):
                    dot = sum(float(a) * float(b) for a, b in zip(view, figure, strict=True))
                    cosines.append(min(1.0, dot))
                each.append(max(cosines))

            def strength(cosine: float, views: int = len(each), own: int = len(rows)) -> Strength:
                told = calibration.strength(cosine, dim=64, figures=views, others=own)
                assert told is not None
                return told

            best = strength(max(each))
            if best.share <= threshold or best.beyond:
                matches = [strength(m).share <= threshold or strength(m).beyond for m in each]
                score = (max(each) + sum(each) / len(each)) / 2
                pair = arrived.design.number, columns.number(place)
                found[pair] = score, best, sum(matches)
    return found


@pytest.mark.parametrize("share", [0.5, 0.05, 0.001])
@pytest.mark.parametrize("chunk", [comparing.CHUNK, 6])
def test_pairs_scores_and_strengths_are_those_of_plain_loops(
    portfolio: Register,
    encoder: fakes.FakeEncoder,
    share: float,
    chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(comparing, "CHUNK", chunk)
    new = [item for item in from_source(week(), encoder) if isinstance(item, Arrived)]
    found = watch(new, portfolio, Threshold(share=share))
    expected = by_loops(new, portfolio, share)
    assert {(pair.new.number, pair.own.number) for pair in found.close} == set(expected)
    assert ("N1", "D0001") in expected
    assert len(expected) < 6 * 11
    for pair in found.close:
        score, strength, matches = expected[pair.new.number, pair.own.number]
        assert pair.score == pytest.approx(score, abs=1e-6)
        assert pair.strength == strength
        assert sum(view.matches for view in pair.views) == matches >= 1
        assert pair.best.score == max(view.score for view in pair.views)
    assert (found.designs, found.pairs, found.own_designs) == (6, 6 * 11, 11)
    assert found.figures == sum(len(each.embeddings) for each in new)


def test_the_strongest_pair_comes_first_and_what_is_beyond_measure_before_all(
    portfolio: Register, encoder: fakes.FakeEncoder
) -> None:
    found = watch(from_source(week(), encoder), portfolio, Threshold(share=0.5))
    told = [pair.strength for pair in found.close if pair.strength is not None]
    beyond = [strength.beyond for strength in told]
    assert beyond == sorted(beyond, reverse=True)
    assert True in beyond
    assert False in beyond
    shares = [strength.share for strength in told if not strength.beyond]
    assert shares == sorted(shares)


def test_each_view_is_shown_beside_the_figure_most_like_it(
    portfolio: Register, encoder: fakes.FakeEncoder
) -> None:
    new = [
        item for item in from_source([new_design("N2", 2)], encoder) if isinstance(item, Arrived)
    ]
    pair = watch(new, portfolio, Threshold(share=0.001)).close[0]
    assert pair.own.number == "D0002"
    rows = np.flatnonzero(portfolio.columns.design_of == portfolio.columns.find("D0002"))
    for view, own in zip(pair.views, new[0].embeddings, strict=True):
        cosines = portfolio.read_rows(rows) @ own
        assert view.figure.row == rows[cosines.argmax()]
        assert view.score == pytest.approx(float(cosines.max()), abs=1e-6)
        assert view.other == portfolio.picture(view.figure.row)
        assert view.picture == new[0].picture(view.view - 1) != view.other


def test_a_design_is_not_compared_with_itself(
    portfolio: Register, encoder: fakes.FakeEncoder
) -> None:
    by_number = new_design("USD0004", 4)  # as the office spells D0004
    by_sheet = fakes.design(
        "N5", [fakes.sheet(fakes.drawing(5, 0), "a.png", single=True)]
    )  # very bytes of D0005
    found = watch(from_source([by_number, by_sheet], encoder), portfolio, Threshold(share=1))
    pairs = {(pair.new.number, pair.own.number) for pair in found.close}
    assert ("USD0004", "D0004") not in pairs
    assert ("N5", "D0005") not in pairs
    assert len(pairs) == found.pairs == 2 * 11 - 2
    assert found.same == 2


def test_removed_designs_and_other_classes_are_not_compared_with(
    portfolio: Register, encoder: fakes.FakeEncoder
) -> None:
    found = watch(
        from_source(week(), encoder),
        portfolio,
        Threshold(share=1),
        filters=Filters(classes=["07-03"]),
    )
    assert {pair.own.number for pair in found.close} == {"D0002", "D0006", "D0010"}
    everything = watch(from_source(week(), encoder), portfolio, Threshold(share=1))
    assert "D0003" not in {pair.own.number for pair in everything.close}


def test_a_register_is_watched_without_embedding_and_tells_the_same(
    portfolio: Register, bundle: Bundle, encoder: fakes.FakeEncoder, tmp_path: Path
) -> None:
    by_source = watch(from_source(week(), encoder), portfolio, Threshold(share=0.01))
    with Register.create(tmp_path / "new", bundle) as new:
        new.add(week(), encoder)
        before = encoder.embedded
        found = watch(from_register(new, portfolio), portfolio, Threshold(share=0.01))
    assert encoder.embedded == before
    assert [(p.key, p.score, p.strength) for p in found.close] == [
        (p.key, p.score, p.strength) for p in by_source.close
    ]
    assert [v.picture for p in found.close for v in p.views] == [
        v.picture for p in by_source.close for v in p.views
    ]
    assert (found.pairs, found.figures) == (by_source.pairs, by_source.figures)


def test_vectors_of_another_encoder_and_the_portfolio_itself_are_refused(
    portfolio: Register, tmp_path: Path
) -> None:
    other = Register.create(tmp_path / "other", calibrated(tmp_path / "b2", golden=3))
    with other, pytest.raises(BundleMismatchError, match="other: made by the bundle tiny"):
        from_register(other, portfolio)
    with pytest.raises(ConfigError, match="is the portfolio itself"):
        from_register(portfolio, portfolio)


def test_an_empty_portfolio_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with (
        Register.create(tmp_path / "empty", bundle) as empty,
        pytest.raises(RegisterError, match="empty: the portfolio has no design"),
    ):
        watch([], empty, Threshold(share=0.1))


def test_new_designs_are_read_no_further_than_they_are_needed(
    encoder: fakes.FakeEncoder,
) -> None:
    read = 0

    def endless() -> Iterator[Design | Problem]:
        nonlocal read
        while True:
            read += 1
            yield new_design(f"N{read}", 1, views=1)

    stream = from_source(endless(), encoder)
    for _ in range(3 * arriving.ENOUGH):
        next(stream)
    stream.close()
    assert read <= 4 * arriving.ENOUGH + SHEETS_AHEAD


def test_front_pages_are_left_out_and_what_cannot_be_read_is_named(
    portfolio: Register, encoder: fakes.FakeEncoder
) -> None:
    good = fakes.sheet(fakes.drawing(1, 30), "good.png", single=True)
    front = fakes.sheet(fakes.drawing(1, 31), "front.png", role="front")
    broken = fakes.sheet(b"no image", "broken.png")
    blank = fakes.sheet(fakes.drawing(1, 32)[:60], "cut.png", single=True)
    items = [
        fakes.design("N1", [front, good, broken]),
        fakes.design("N2", [front]),
        fakes.design("N3", [blank]),
        Problem("week/x.xml", "no grant"),
        Note("week/y.xml", "a date that is none"),
    ]
    found = watch(from_source(items, encoder), portfolio, Threshold(share=0.01))
    assert (found.designs, found.figures, found.front_pages) == (1, 1, 1)
    assert [problem.where for problem in found.problems] == [
        "made/broken.png", "made/N2", "made/cut.png", "week/x.xml",
    ]  # fmt: skip
    assert [note.where for note in found.notes] == ["week/y.xml"]


def test_an_encoder_that_gives_no_numbers_is_told(portfolio: Register, bundle: Bundle) -> None:
    broken = fakes.BrokenEncoder(bundle.fingerprint)
    with pytest.raises(BundleError, match="not finite"):
        list(from_source(week(), broken))


# ------------------------------------------------------------------ what is close


@pytest.mark.parametrize(
    "text",
    ["1/2000", "1:2000", "1 in 2,000", "1 IN 2000", " 1 / 2000 ", "0.0005", "5e-4", "2/4000"],
)
def test_a_strength_may_be_spelled_in_many_ways(text: str) -> None:
    assert parse_share(text) == pytest.approx(0.0005)
    assert Threshold(share=parse_share(text)).text == "stronger than 1 in 2,000"


@pytest.mark.parametrize(
    "text",
    ["", "strong", "1/0", "0", "-0.1", "2", "2000", "3/2", "nan", "inf", "1e-400", "1/", "1 in"],
)
def test_nonsense_is_no_strength(text: str) -> None:
    with pytest.raises(ConfigError, match="no strength"):
        parse_share(text)


@pytest.mark.parametrize("score", [1.1, -2.0, float("nan")])
def test_nonsense_is_no_score(score: float) -> None:
    with pytest.raises(ConfigError, match="no score"):
        Threshold(score=score)


def test_the_least_cosine_is_where_telling_begins() -> None:
    def strength(cosine: float) -> Strength:
        return Strength(0.5 if cosine < 0.7321 else 0.001, False)

    assert Threshold(share=0.01).least_cosine(strength) == pytest.approx(0.7321, abs=1e-6)
    assert Threshold(share=0.6).least_cosine(strength) == -1
    assert Threshold(share=0.0001).least_cosine(strength) > 1
    assert Threshold(score=0.7).least_cosine(strength) == 0.7


def test_pairs_may_be_told_by_their_score_alone(tmp_path: Path) -> None:
    plain = fakes.tiny_bundle(tmp_path / "plain")
    encoder = fakes.FakeEncoder(plain.fingerprint)
    with Register.create(tmp_path / "r", plain) as register:
        register.add(own_designs(), encoder)
        everything = watch(from_source(week(), encoder), register, Threshold(score=-1))
        least = sorted(pair.score for pair in everything.close)[-8]
        found = watch(from_source(week(), encoder), register, Threshold(score=least))
        assert len(everything.close) == everything.pairs == 72
        assert [pair.key for pair in found.close] == [pair.key for pair in everything.close[:8]]
        assert all(pair.strength is None for pair in found.close)
        with pytest.raises(BundleError, match="does not tell what a score means"):
            watch(from_source(week(), encoder), register, Threshold(share=0.1))


def test_what_is_closer_than_all_that_was_measured_is_told_and_so_it_is_said(
    portfolio: Register, encoder: fakes.FakeEncoder
) -> None:
    threshold = Threshold(share=1e-6)
    found = watch(from_source(week(), encoder), portfolio, threshold)
    assert ("N1", "D0001") in {(pair.new.number, pair.own.number) for pair in found.close}
    assert all(pair.strength is not None and pair.strength.beyond for pair in found.close)
    assert found.untold == found.pairs
    told, _ = told_of(found, portfolio, threshold)
    [note] = told["notes"]
    assert "66 of the 66 pairs" in note
    assert "not 1 in 1,000,000" in note
    assert told["chance"] == ""
    page = watch_html(told, {})
    assert f"{len(found.close)} new pairs closer than all that was measured among 6" in page
    assert "stronger than 1 in 1,000,000 among" not in page


def told_of(
    found: Watched, portfolio: Register, threshold: Threshold
) -> tuple[dict[str, Any], dict[str, bytes]]:
    nowhere = portfolio.folder.parent / "nowhere"
    kept = read_kept(nowhere, portfolio)
    return report_of(found, kept, portfolio=portfolio, source="week", threshold=threshold)


# ------------------------------------------------------------------ the command


def put(folder: Path, seeds: dict[str, int], view: int = 0) -> Path:
    """A folder tree of designs with two drawings each."""
    for number, seed in seeds.items():
        place = folder / "07" / "07-03" / number
        place.mkdir(parents=True, exist_ok=True)
        for v in range(2):
            (place / f"{v}.png").write_bytes(fakes.drawing(seed, view + v))
    return folder


@pytest.fixture
def mine(tmp_path: Path, bundle: Bundle, run: Run) -> Path:
    """A portfolio on disk, P10 to P17."""
    source = put(tmp_path / "own", {f"P{i}": i for i in range(10, 18)})
    assert run("index", source, "-o", tmp_path / "mine", "--bundle", bundle.folder).code == 0
    return tmp_path / "mine"


@pytest.fixture
def tuesday(tmp_path: Path) -> Path:
    return put(tmp_path / "tuesday", {"W1": 10, "W2": 13, "W3": 70}, view=20)


def watched(run: Run, new: Path, mine: Path, *options: str, code: int = 0) -> dict[str, Any]:
    outcome = run("watch", new, "--against", mine, "-o", "out", "--json", *options)
    assert outcome.code == code, outcome.err
    told: dict[str, Any] = json.loads(outcome.out)
    return told


def is_refused(outcome: Outcome) -> None:
    assert outcome.code == 1
    assert outcome.out == ""
    assert is_one_line_and_a_hint(outcome.err)


def pairs_of(told: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(pair["new"]["design"], pair["own"]["design"]) for pair in told}


def test_a_pair_is_told_once_and_kept_with_its_day(run: Run, mine: Path, tuesday: Path) -> None:
    first = watched(run, tuesday, mine)
    assert pairs_of(first["new"]) >= {("W1", "P10"), ("W2", "P13")}
    assert first["earlier"] == []
    assert first["counts"]["pairs"] == 3 * 8
    day = first["created"][:10]
    again = watched(run, tuesday, mine)
    assert again["new"] == []
    assert pairs_of(again["earlier"]) == pairs_of(first["new"])
    assert {pair["told"] for pair in again["earlier"]} == {day}
    put(tuesday, {"W4": 15}, view=20)
    third = watched(run, tuesday, mine)
    assert ("W4", "P15") in pairs_of(third["new"])
    assert {new for new, _ in pairs_of(third["new"])} == {"W4"}
    assert pairs_of(third["earlier"]) == pairs_of(first["new"])
    assert [run["new"] for run in third["runs"]] == [
        len(first["new"]), 0, len(third["new"]),
    ]  # fmt: skip
    kept = json.loads(Path("out/watch.json").read_text(encoding="utf-8"))
    assert {name for name in kept if name not in third} == {"pictures", "sha256"}
    assert kept["earlier"] == third["earlier"]


def test_what_is_found_stands_on_stdout_and_all_else_does_not(
    run: Run, mine: Path, tuesday: Path
) -> None:
    outcome = run("watch", tuesday, "--against", mine, "--stronger-than", "1 in 100")
    assert outcome.code == 0
    assert re.search(r"W1 .*P10 .*2 of 2", outcome.out)
    assert "among 3 designs compared with 8" in outcome.out
    assert "page: " in outcome.err
    again = run("watch", tuesday, "--against", mine, "--stronger-than", "1/100")
    assert again.out.startswith(
        "no new pair stronger than 1 in 100 among 3 designs compared with 8; "
    )
    assert "told before" in again.out
    chance = "by chance 24 pairs of unrelated designs hold fewer than 1 as strong"
    assert chance in outcome.out
    assert chance[1:] in Path("watch/watch.html").read_text(encoding="utf-8")


def test_another_threshold_tells_what_was_not_told(run: Run, mine: Path, tuesday: Path) -> None:
    few = watched(run, tuesday, mine)
    more = watched(run, tuesday, mine, "--stronger-than", "0.9")
    assert not pairs_of(few["new"]) & pairs_of(more["new"])
    assert len(more["new"]) + len(more["earlier"]) == more["counts"]["close"]
    assert more["threshold"] == {"share": 0.9, "score": None, "text": "stronger than 0.9"}


def test_inputs_that_cannot_be_read_are_counted_in_the_exit_code(
    run: Run, mine: Path, tuesday: Path
) -> None:
    (tuesday / "07" / "07-03" / "W1" / "2.png").write_bytes(b"none")
    told = watched(run, tuesday, mine, code=3)
    assert told["counts"]["skipped"] == 1
    assert "2.png" in told["problems"][0]["where"]
    assert ("W1", "P10") in pairs_of(told["new"])
    outcome = run("watch", tuesday, "--against", mine, "-o", "out", "--strict")
    assert outcome.code == 1
    assert "2.png" in outcome.err


def test_a_week_of_which_nothing_can_be_read_is_an_error_and_nothing_is_written(
    run: Run, mine: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"none")
    outcome = run("watch", tmp_path / "bad", "--against", mine)
    assert outcome.code == 1
    assert "error: no design of" in outcome.err
    assert not Path("watch").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--stronger-than", "strong"], "no strength: 'strong'"),
        (["--score-above", "7"], "no score: 7"),
        (["--stronger-than", "1/9", "--score-above", "0.7"], "two ways"),
        (["--class", "99"], "no design is in class '99'"),
        (["--backend", "abacus"], "abacus"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(
    run: Run, mine: Path, tuesday: Path, options: list[str], error: str
) -> None:
    outcome = run("watch", tuesday, "--against", mine, *options)
    is_refused(outcome)
    assert error in outcome.err
    assert not Path("watch").exists()


def test_a_register_of_another_encoder_is_refused(
    run: Run, mine: Path, tuesday: Path, tmp_path: Path
) -> None:
    other = calibrated(tmp_path / "b2", golden=3)
    assert run("index", tuesday, "-o", "new", "--bundle", other.folder).code == 0
    outcome = run("watch", "new", "--against", mine)
    is_refused(outcome)
    assert "made by the bundle tiny" in outcome.err


def test_without_a_calibration_the_hint_names_what_measures_one(
    run: Run, tuesday: Path, tmp_path: Path
) -> None:
    plain = fakes.tiny_bundle(tmp_path / "plain")
    source = put(tmp_path / "own2", {"P1": 10, "P2": 11})
    assert run("index", source, "-o", "r", "--bundle", plain.folder).code == 0
    outcome = run("watch", tuesday, "--against", "r")
    assert outcome.code == 1
    assert "does not tell what a score means" in outcome.err
    assert "edge-ret calibrate" in outcome.err
    by_score = run("watch", tuesday, "--against", "r", "--score-above", "0.98")
    assert by_score.code == 0
    assert re.search(r"W1 .*P1 ", by_score.out)
    assert "new pair that scores 0.98 or more among 3" in by_score.out


# ------------------------------------------------------------------ what is kept


def changed(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change what is kept and make its digest fit: as somebody who means it would."""
    told = json.loads(path.read_text(encoding="utf-8"))
    edit(told)
    told["sha256"] = digest_of(told)
    path.write_text(json.dumps(told), encoding="utf-8")


def spoil_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"title": "', b'"title": "x', 1))


FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "a newer schema": lambda told: told.update(schema=2),
    "no schema": lambda told: told.update(schema="1"),
    "no pairs": lambda told: told.pop("new"),
    "another portfolio": lambda told: told["portfolio"].update(name="theirs"),
    "another encoder": lambda told: told["portfolio"].update(fingerprint="ab" * 32),
    "pictures": lambda told: told["pictures"].update(x="é"),
    "views": lambda told: told["new"][0]["views"].clear(),
    "best": lambda told: told["new"][0]["best"].update(view=99),
    "facts": lambda told: told["new"][0]["own"].update(title=None),
    "applicants": lambda told: told["new"][0]["own"].update(applicants=[1]),
    "runs": lambda told: told["runs"].append({}),
}


@pytest.mark.parametrize("how", ["cut", "a byte", "empty", "list", "deep", "no text", *FORGED])
def test_a_file_that_is_damaged_or_of_something_else_is_refused_and_left_alone(
    run: Run, mine: Path, tuesday: Path, how: str
) -> None:
    watched(run, tuesday, mine)
    path = Path("out/watch.json")
    if how in FORGED:
        changed(path, FORGED[how])
    elif how == "a byte":
        spoil_byte(path)
    else:
        whole = path.read_bytes()
        spoiled = {"cut": whole[:-20], "empty": b"", "list": b"[]", "deep": b"[" * 99_999}
        path.write_bytes(spoiled.get(how, b"\xff\xfe"))
    before = path.read_bytes(), Path("out/watch.html").read_bytes()
    outcome = run("watch", tuesday, "--against", mine, "-o", "out")
    is_refused(outcome)
    assert "watch.json" in outcome.err
    assert (path.read_bytes(), Path("out/watch.html").read_bytes()) == before


def test_a_folder_of_other_things_is_refused(run: Run, mine: Path, tuesday: Path) -> None:
    before = sorted(path.name for path in mine.iterdir())
    is_refused(run("watch", tuesday, "--against", mine, "-o", mine))
    assert sorted(path.name for path in mine.iterdir()) == before
    Path("file").write_bytes(b"mine")
    is_refused(run("watch", tuesday, "--against", mine, "-o", "file"))
    assert Path("file").read_bytes() == b"mine"


def test_other_files_in_the_folder_stay(run: Run, mine: Path, tuesday: Path) -> None:
    watched(run, tuesday, mine)
    Path("out/letter.txt").write_text("Dear Ms. Winter", encoding="utf-8")
    watched(run, tuesday, mine)
    assert Path("out/letter.txt").read_text(encoding="utf-8") == "Dear Ms. Winter"


@pytest.mark.parametrize("moment", ["staged", "page", "meanwhile"])
def test_a_watch_that_fails_writes_neither_file(
    portfolio: Register,
    encoder: fakes.FakeEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    threshold, out = Threshold(share=0.01), tmp_path / "out"
    found = watch(from_source(week(), encoder), portfolio, threshold)
    nothing = read_kept(out, portfolio)
    told, pictures = told_of(found, portfolio, threshold)
    write_kept(out, told, pictures, after=nothing, portfolio=portfolio, page=watch_html)
    before = (out / "watch.json").read_bytes()
    kept = nothing if moment == "meanwhile" else read_kept(out, portfolio)

    def no_page(*_: object) -> str:
        raise OSError(28, "No space left on device")

    if moment == "staged":
        monkeypatch.setattr("edge_retrieval.staging._sync", no_page)
    error = OSError if moment == "page" else ConfigError
    page = no_page if moment == "page" else watch_html
    with pytest.raises(error):
        write_kept(out, told, pictures, after=kept, portfolio=portfolio, page=page)
    monkeypatch.undo()
    assert (out / "watch.json").read_bytes() == before
    assert [path.name for path in tmp_path.glob(".out*")] == []


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_embedded(
    run: Run, mine: Path, tuesday: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    outcome = run("watch", tuesday, "--against", mine)
    is_refused(outcome)
    assert "watch cannot be written: Permission denied" in outcome.err


# ------------------------------------------------------------------ the page


def test_the_page_needs_nothing_else_and_shows_pairs_side_by_side(
    portfolio: Register, encoder: fakes.FakeEncoder
) -> None:
    hostile = new_design("N2", 2, title="<script>alert(1)</script>", applicants=("A & B",))
    threshold = Threshold(share=0.01)
    found = watch(from_source([hostile], encoder), portfolio, threshold)
    told, pictures = told_of(found, portfolio, threshold)
    page = watch_html(told, pictures)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "A &amp; B" in page
    assert not re.search(r"https?://", page)
    assert "default-src 'none'" in page
    first = page[page.index("<article>") : page.index("</article>")]
    # The best pair large, the two other views small beside the figures most like them.
    assert first.count("<img") == 2 + 2 * 2
    assert "<b>N2</b> close to\n<b>D0002</b>" in first
    assert told["new"][0]["sentence"].lower() in first.lower()
    assert f"{told['new'][0]['matched']} of 3 views match" in first


def test_the_page_says_plainly_that_nothing_is_new_and_folds_away_what_was(
    run: Run, mine: Path, tuesday: Path
) -> None:
    first = watched(run, tuesday, mine, "--stronger-than", "1/100")
    page = Path("out/watch.html").read_text(encoding="utf-8")
    assert "told before" not in page
    watched(run, tuesday, mine, "--stronger-than", "1/100")
    page = Path("out/watch.html").read_text(encoding="utf-8")
    assert "No new pair stronger than 1 in 100 among 3 designs compared with 8." in page
    folded = page[page.index('<details class="earlier">') :]
    assert page.count("<article>") == folded.count("<article>") == len(first["new"])
    assert folded.count("<img") == 2 * len(first["new"])
    assert f"told on {first['created'][:10]}" in folded


def test_the_page_draws_the_strongest_pairs_and_lists_the_others(
    portfolio: Register, encoder: fakes.FakeEncoder
) -> None:
    many = [new_design(f"N{i}", 200 + i, views=1) for i in range(SHOWN // 11 + 2)]
    threshold = Threshold(share=1)
    found = watch(from_source(many, encoder), portfolio, threshold)
    told, pictures = told_of(found, portfolio, threshold)
    page = watch_html(told, pictures)
    assert page.count("<article>") == SHOWN
    assert f'<ol class="rest" start="{SHOWN + 1}">' in page
    listed = page[page.index('<ol class="rest"') : page.index("</ol>")]
    assert listed.count("<li>") == len(found.close) - SHOWN > 0
