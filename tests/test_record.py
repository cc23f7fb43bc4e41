"""The record of a search: replayed it proves the same answer, or tells what changed."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_retrieval.bundle import Bundle
from edge_retrieval.calibration import digest_of
from edge_retrieval.errors import EdgeRetrievalError, RecordError
from edge_retrieval.evidence import (
    Asked,
    Flag,
    Replay,
    make_record,
    read_record,
    record_text,
    replay,
    to_csv,
    to_html,
)
from edge_retrieval.filters import Filters
from edge_retrieval.query import choose_figures
from edge_retrieval.register import Register
from edge_retrieval.search import query_from_bytes, query_of_design, search, together
from tests import fakes

VIEWS = (fakes.drawing(3, 60), fakes.drawing(3, 61), fakes.drawing(9, 60))
SUMS = {hashlib.sha256(data).hexdigest(): data for data in VIEWS}
ASKED = Asked(k=5, filters=Filters(not_classes=["12"]))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fakes.tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> fakes.FakeEncoder:
    return fakes.FakeEncoder(bundle.fingerprint)


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, encoder: fakes.FakeEncoder
) -> Path:
    folder = tmp_path_factory.mktemp("made") / "r"
    with Register.create(folder, bundle) as register:
        register.add(fakes.designs(20), encoder)
    return folder


@pytest.fixture
def register(tmp_path: Path, made: Path) -> Iterator[Register]:
    """A copy that a test may change."""
    shutil.copytree(made, tmp_path / "r")
    with Register.open(tmp_path / "r") as register:
        yield register


def recorded(
    register: Register, encoder: fakes.FakeEncoder, *, asked: Asked = ASKED, **more: Any
) -> dict[str, Any]:
    query = together([query_from_bytes(data, f"{i}.png") for i, data in enumerate(VIEWS)])
    results = search(register, [query], encoder, k=asked.k, filters=asked.filters)
    told = {"drawings": SUMS} | more
    record = make_record(results, register=register, asked=asked, **told)
    return read_record(record_text(record).encode(), where="record.json")


def test_a_record_replays_identically(register: Register, encoder: fakes.FakeEncoder) -> None:
    found = replay(recorded(register, encoder), register, encoder)
    assert (found.same, found.identical, found.hits) == (True, True, 5)
    assert (found.changes, found.notes) == ((), ())
    assert found.statement == "identical: 5 hits, the same designs, ranks and scores"


def test_a_record_tells_what_is_needed_to_repeat_it(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    record = recorded(register, encoder, notes="first look", flags={"D0003": Flag(note="close")})
    assert record["encoder"]["fingerprint"] == register.bundle.fingerprint
    assert record["register"]["snapshot"] == register.snapshot
    assert record["search"]["filters"]["not_classes"] == ["12"]
    assert record["versions"]["edge-retrieval"]
    assert record["notes"] == "first look"
    assert "made/D" not in json.dumps(record)  # where the designs lay on this machine
    assert record["flags"] == {"D0003": {"relevant": True, "note": "close"}}
    [result] = record["results"]
    assert result["compared_designs"] == 15 and result["exact"] is True
    assert [file["sha256"] for file in result["files"]] == list(SUMS)


def test_it_replays_identically_after_the_register_was_compacted(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    register.remove(["D0007"])
    record = recorded(register, encoder)
    register.compact()
    found = replay(record, register, encoder)
    assert found.identical
    assert "the very same designs, drawings and vectors" in found.notes[0]


def test_a_design_added_since_is_told(register: Register, encoder: fakes.FakeEncoder) -> None:
    record = recorded(register, encoder)
    sheets = [fakes.sheet(data, f"{i}.png", single=True) for i, data in enumerate(VIEWS)]
    register.add([fakes.design("NEWER", sheets)], encoder)
    found = replay(record, register, encoder)
    assert not found.same
    told = "\n".join(found.changes)
    assert "21 designs now, 20 when recorded" in told
    assert "16 designs were compared, 15 when recorded" in told
    assert (
        "NEWER, rank 1 with 1.000, was not found when recorded: it was added or changed since"
        in told
    )
    assert found.statement == (
        "changed: 5 differences; scores of the 4 hits found both times: unchanged"
    )
    assert "has rank" not in told  # the others only made room


def test_a_design_that_is_removed_or_left_out_of_the_answer_is_told(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    record = recorded(register, encoder)
    first = record["results"][0]["hits"][0]["design"]
    register.remove([first])
    told = "\n".join(replay(record, register, encoder).changes)
    assert f"{first}, rank 1 when recorded, is no longer in the register" in told
    assert "was not among the first 5 when recorded" in told  # the sixth has moved up


def test_a_change_that_changes_no_answer_is_told_all_the_same(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    record = recorded(register, encoder)
    far = fakes.sheet(fakes.drawing(77), "far.png", single=True)
    register.add([fakes.design("FAR", [far], ("12", "12-08"))], encoder)
    found = replay(record, register, encoder)
    assert found.changes == ("the register holds something else: 21 designs now, 20 when recorded; "
                             "61 figures now, 60 when recorded",)  # fmt: skip
    assert found.same and found.identical
    assert "identical" in found.statement


def test_a_register_with_another_encoder_is_told_and_not_searched(
    register: Register, encoder: fakes.FakeEncoder, tmp_path: Path
) -> None:
    other = fakes.tiny_bundle(tmp_path / "b", golden=3)
    with Register.create(tmp_path / "other", other) as others:
        others.add(fakes.designs(3), fakes.FakeEncoder(other.fingerprint))
        found = replay(recorded(register, encoder), others, fakes.FakeEncoder(other.fingerprint))
    assert not found.same
    assert "encoder is another one" in found.changes[0]


def test_a_class_that_is_gone_is_told(register: Register, encoder: fakes.FakeEncoder) -> None:
    record = recorded(register, encoder, asked=Asked(k=2, filters=Filters(classes=["12-08"])))
    register.remove([f"D{number:04d}" for number in range(3, 20, 4)])
    register.compact()
    found = replay(record, register, encoder)
    assert not found.same
    assert any("cannot be searched as recorded" in change for change in found.changes)


def test_drawings_may_stay_out_of_the_record_and_are_then_asked_for(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    record = recorded(register, encoder, drawings={})
    assert "drawing" not in json.dumps(record["results"][0]["files"]).replace('"drawing": null', "")
    with pytest.raises(RecordError, match=r"does not hold the drawing 0\.png") as error:
        replay(record, register, encoder)
    assert "--drawing" in error.value.hint
    assert replay(record, register, encoder, drawings=SUMS).identical


def test_some_figures_of_a_sheet_are_recorded_as_such(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    data = fakes.drawing(4, 60, figures=3)
    whole = query_from_bytes(data, "sheet.png")
    asked = choose_figures(whole, [3, 1])
    results = search(register, [asked, whole], encoder, k=4)
    record = make_record(
        results,
        register=register,
        asked=Asked(k=4),
        drawings={hashlib.sha256(data).hexdigest(): data},
    )
    assert record["results"][0]["files"][0]["chosen"] == [3, 1]
    assert [view["figure"] for view in record["results"][0]["views"]] == [3, 1]
    assert replay(record, register, encoder).identical


def test_a_design_of_the_register_needs_no_drawing(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    query, vectors = query_of_design(register, "D0006")
    results = search(register, [query], encoder, embeddings=[vectors], k=4)
    record = make_record(results, register=register, asked=Asked(k=4))
    assert replay(record, register, encoder).identical
    register.remove(["D0006"])
    assert not replay(record, register, encoder).same


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["results"][0]["hits"].reverse(),
        lambda record: record["search"].update(k=4),
        lambda record: record.update(notes="nothing found"),
        lambda record: record.pop("sha256"),
    ],
)
def test_a_record_that_was_changed_is_refused(
    register: Register, encoder: fakes.FakeEncoder, change: Any
) -> None:
    record = recorded(register, encoder)
    change(record)
    with pytest.raises(RecordError, match="changed since it was made"):
        read_record(json.dumps(record).encode(), where="r.json")


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"kind": "x", "schema": 1}', "\xff"])
def test_what_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match="no record"):
        read_record(text.encode("latin-1"), where="r.json")


def test_a_newer_record_is_refused() -> None:
    told = {"kind": "edge-retrieval search record", "schema": 2}
    with pytest.raises(RecordError, match="schema 2"):
        read_record(json.dumps(told).encode(), where="r.json")


@pytest.mark.parametrize(
    "place",
    ["encoder", "search", "results", "register", "versions"],
)
@pytest.mark.parametrize("value", [None, 7, "x", [1], {"x": 1}])
def test_a_record_that_lies_about_itself_is_an_error_or_a_change_never_a_crash(
    made: Path, encoder: fakes.FakeEncoder, place: str, value: object
) -> None:
    with Register.open(made) as register:
        record = recorded(register, encoder) | {place: value}
        record["sha256"] = digest_of(record)
        try:
            told = replay(read_record(json.dumps(record).encode(), where="r"), register, encoder)
        except EdgeRetrievalError:
            return
        assert isinstance(told, Replay) and (place == "versions" or not told.identical)


def test_citations_are_a_table_and_no_cell_of_it_a_formula(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    evil = fakes.design(
        "D9999", [fakes.sheet(VIEWS[0], "a.png", single=True)], title='=HYPERLINK("x")',
        applicants=("@cmd", "Acme, Inc."),
    )  # fmt: skip
    register.add([evil], encoder)
    results = search(register, [query_from_bytes(VIEWS[0], "-q.png")], encoder, k=6)
    text = to_csv(results, register=register, flags={"D9999": Flag(note="+1")})
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))))
    assert [row["design"] for row in rows] == [hit.design.number for hit in results[0].hits]
    assert rows[0]["title"] == '\'=HYPERLINK("x")'
    assert rows[0]["applicants"] == "'@cmd; Acme, Inc."
    assert (rows[0]["relevant"], rows[0]["note"]) == ("yes", "'+1")
    assert rows[0]["query"] == "'-q.png"
    assert float(rows[0]["score"]) == pytest.approx(results[0].hits[0].score, abs=1e-6)
    assert rows[0]["class title"] == "Table cutlery"


def test_the_report_shows_flags_and_notes(register: Register, encoder: fakes.FakeEncoder) -> None:
    results = search(register, [query_from_bytes(VIEWS[0], "q.png")], encoder, k=3)
    first = results[0].hits[0].design.number
    html = to_html(
        results, register=register, flags={first: Flag(note="same <legs>")}, notes="to file & keep"
    )
    assert "same &lt;legs&gt;" in html
    assert "to file &amp; keep</div>" in html
    assert 'contenteditable="plaintext-only"' in html
