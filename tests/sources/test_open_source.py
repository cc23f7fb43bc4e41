"""A source is recognised by what lies there; where nothing does, the error says what to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edge_retrieval.errors import SourceError
from edge_retrieval.sources import SOURCES, Design, detect, expected_designs, open_source


def test_each_kind_is_recognised(tmp_path, made):
    made.lay(tmp_path / "grants" / "one", made.grant())
    made.lay(tmp_path / "tree", {"a/b/c/1.png": made.png()})
    made.lay(tmp_path / "table", {"metadata.csv": b"file_name\na.png\n", "a.png": b""})
    made.lay(tmp_path / "dp2" / "2019", {"design2019.json": b"[]"})
    made.lay(tmp_path, {"week.tar": made.tarred({"g.zip": made.zipped(made.grant())})})
    made.lay(tmp_path, {"tree.zip": made.zipped({"a/1.png": b""}), "one.png": made.png()})
    kinds = {
        "grants": "uspto",
        "grants/one": "uspto",
        "week.tar": "uspto",
        "tree": "folder",
        "tree.zip": "folder",
        "one.png": "folder",
        "table": "table",
        "table/metadata.csv": "table",
        "dp2": "deeppatent2",
    }
    assert {name: detect(tmp_path / name) for name in kinds} == kinds
    assert set(kinds.values()) == set(SOURCES)


def test_open_source_yields_what_the_reader_yields(tmp_path, made):
    made.lay(tmp_path, made.grant())
    for kind in ("auto", "uspto"):
        [design] = open_source(tmp_path, kind=kind)
        assert isinstance(design, Design)
        assert design.number == "USD0909824"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("nowhere", "auto", "no such file or folder"),
        ("nowhere", "table", "no such file or folder"),
        ("empty", "auto", "no designs found"),
        ("tree", "fax", "no source kind 'fax'"),
        ("notes.txt", "auto", "no designs found"),
        ("broken.zip", "auto", "damaged or cut short"),
    ],
)
def test_what_is_no_source_is_refused_at_once_with_a_hint(name, kind, message, tmp_path, made):
    (tmp_path / "empty").mkdir()
    made.lay(tmp_path, {"tree/a/1.png": b"", "notes.txt": b"", "broken.zip": b"nonsense"})
    with pytest.raises(SourceError, match=message) as caught:
        open_source(tmp_path / name, kind=kind)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(SOURCES))
def test_a_source_that_gives_nothing_is_refused_at_the_end(kind, tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(SourceError):
        list(open_source(tmp_path, kind=kind))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_of_any_bytes_can_be_stored_and_its_file_read(tmp_path, made):
    made.lay(
        tmp_path, {"a\udcff/\udcfe/1.png": made.png(), "a\udcff/\udcfd/x\udcfc.png": made.png()}
    )
    designs = [item for item in open_source(tmp_path) if isinstance(item, Design)]
    assert len({design.number for design in designs}) == 2
    for design in designs:
        [sheet] = design.sheets
        assert sheet.read() == made.png()
        for text in (design.number, design.where, *design.labels, sheet.name, sheet.where):
            text.encode()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_refused(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    try:
        with pytest.raises(SourceError, match="cannot be read"):
            open_source(locked)
    finally:
        locked.chmod(0o700)


def test_the_number_of_designs_is_told_beforehand_where_names_tell_it(tmp_path: Path) -> None:
    for name in ("a/b/one/1.png", "a/b/one/2.png", "a/c/two/1.tif", "a/c/two/.hidden.png"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(b"")
    assert expected_designs(tmp_path / "tree") == 2
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("1.png", "2.png", "3.png"):
        (flat / name).write_bytes(b"")
    assert expected_designs(flat) == 3
    (flat / "more.zip").write_bytes(b"")
    assert expected_designs(flat, kind="folder") is None
