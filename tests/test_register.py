"""The register: nothing committed is lost, nothing damaged is answered, nothing is added twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import from_png
from edge_retrieval.encoder import embed_figures, load_encoder
from edge_retrieval.errors import (
    BundleError,
    BundleMismatchError,
    DrawingError,
    EdgeRetrievalError,
    RegisterError,
    TaxonomyError,
)
from edge_retrieval.filters import Filters
from edge_retrieval.register import Register, adding, making
from edge_retrieval.register.columns import load_columns, same_columns
from edge_retrieval.register.database import Database
from edge_retrieval.register.files import writer_lock
from edge_retrieval.register.manifest import SCHEMA
from edge_retrieval.register.repairing import can_mend, faults_of, repair
from edge_retrieval.register.tabling import make_columns
from edge_retrieval.search import query_from_bytes, search
from edge_retrieval.sources.design import Design, Note, Problem
from tests import fakes

ROOT = Path(__file__).parents[1]
SNAPSHOT = "576628ad9655f236"
"""Of the pinned register of schema 2."""


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fakes.tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def encoder(bundle: Bundle) -> fakes.FakeEncoder:
    return fakes.FakeEncoder(bundle.fingerprint)


@pytest.fixture
def register(tmp_path: Path, bundle: Bundle) -> Iterator[Register]:
    with Register.create(tmp_path / "register", bundle) as register:
        yield register


@pytest.fixture(scope="session")
def stocked(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    """A register of 12 designs with 3 figures each; look, do not touch."""
    folder = tmp_path_factory.mktemp("stocked") / "register"
    with Register.create(folder, bundle) as register:
        register.add(fakes.designs(12), fakes.FakeEncoder(bundle.fingerprint))
    return folder


@pytest.fixture
def copied(stocked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stocked, tmp_path / "copied"))


def content(register: Register) -> list[object]:
    """Everything that a register tells of its figures, row by row."""
    rows = register.living_rows()
    return [
        (record, register.design(record.design), register.picture(record.row), vector.tobytes())
        for record, vector in zip(register.figures(rows), register.vectors, strict=True)
    ]


# Adding


def test_a_register_holds_what_was_added(register: Register, encoder: fakes.FakeEncoder) -> None:
    sheet = fakes.sheet(
        fakes.drawing(1, figures=2), "p.png", boxes=fakes.boxes(2), captions=("front", "back")
    )
    design = fakes.design(
        "USD1", [sheet], uspc=("D07/654",), filed="2019-01-02", applicants=("Ann & Co",)
    )
    result = register.add([design], encoder)
    assert (result.designs_added, result.figures_added, result.sheets_read) == (1, 2, 1)
    assert (register.designs_count, register.figures_count, len(register)) == (1, 2, 2)
    record = register.design("USD1")
    assert (record.labels, record.title, record.uspc) == (("07", "07-03"), "Spoon", ("D07/654",))
    assert (record.filed, record.applicants, record.figures_count) == (
        "2019-01-02",
        ("Ann & Co",),
        2,
    )
    front, back = register.figures([0, 1])
    assert (front.figure, front.description, front.sheet) == (1, "front", "p.png")
    assert (back.figure, back.description, back.design) == (2, "back", "USD1")
    assert back.box.y0 >= 240
    assert max(from_png(register.picture(0)).shape) <= 320


def test_vectors_are_what_the_encoder_makes_of_the_figures(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    register.add(fakes.designs(3), encoder, batch=2)
    for row, (design, view) in enumerate((d, v) for d in range(3) for v in range(3)):
        query = query_from_bytes(fakes.drawing(design, view), "q", cut=False)
        assert np.array_equal(register.vectors[row], embed_figures(encoder, query.figures)[0])


def test_adding_the_same_twice_changes_nothing_and_embeds_nothing(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    register.add(fakes.designs(5), encoder)
    before, embedded = content(register), encoder.embedded
    result = register.add(fakes.designs(5), encoder)
    assert (result.designs_added, result.designs_updated, result.figures_added) == (0, 0, 0)
    assert result.unchanged == 15
    assert encoder.embedded == embedded
    assert content(register) == before


def test_a_renamed_sheet_is_known_by_its_bytes(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    data = fakes.drawing(1)
    register.add([fakes.design(1, [fakes.sheet(data, "old.png")])], encoder)
    result = register.add([fakes.design(1, [fakes.sheet(data, "new.png")])], encoder)
    assert (result.unchanged, result.figures_added) == (1, 0)


def test_a_new_sheet_of_a_known_design_joins_it(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    first, second = (fakes.sheet(fakes.drawing(1, v), f"{v}.png", single=True) for v in (0, 1))
    register.add([fakes.design(1, [first])], encoder)
    result = register.add([fakes.design(1, [first, second])], encoder)
    assert (result.designs_added, result.unchanged, result.figures_added) == (0, 1, 1)
    assert [figure.figure for figure in register.figures([0, 1])] == [1, 2]
    assert register.designs_count == 1


def test_a_corrected_title_is_taken_over_and_what_is_not_told_is_kept(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    sheets = [fakes.sheet(fakes.drawing(1))]
    register.add([fakes.design(1, sheets, title="Spon", filed="2019-01-02")], encoder)
    result = register.add([fakes.design(1, sheets, title="Spoon", locarno=None)], encoder)
    record = register.design("D0001")
    assert result.designs_updated == 1
    assert (record.title, record.filed, record.locarno) == ("Spoon", "2019-01-02", "07-03")


def test_two_designs_with_one_number_are_a_problem_and_the_first_stays(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    first = fakes.design(1, [fakes.sheet(fakes.drawing(1))], where="a/D0001")
    other = fakes.design(1, [fakes.sheet(fakes.drawing(2))], ("12", "12-08"), where="b/D0001")
    result = register.add([first, other], encoder)
    assert [problem.where for problem in result.problems] == ["b/D0001"]
    assert "D0001" in result.problems[0].reason
    assert register.design("D0001").labels == ("07", "07-03")
    assert register.figures_count == 1


def test_a_sheet_that_cannot_be_read_is_told_and_the_others_are_added(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    def gone() -> bytes:
        raise DrawingError("cannot be read: gone", hint="look for it")

    sheets = [
        fakes.sheet(b"no image", "bad.png"),
        fakes.sheet(fakes.drawing(1), "good.png"),
        fakes.sheet(b"", "gone.png", read=gone),
    ]
    result = register.add([fakes.design(1, sheets), Problem("x.xml:3", "broken")], encoder)
    places = ["made/bad.png", "made/gone.png", "x.xml:3"]
    assert [problem.where for problem in result.problems] == places
    assert sorted(problem.where for problem in register.problems()) == places
    assert register.figures_count == 1


def test_a_problem_names_its_place_once(register: Register, encoder: fakes.FakeEncoder) -> None:
    result = register.add([fakes.design(1, [fakes.sheet(b"", "a.png")])], encoder)
    [problem] = [p for p in result.problems if p.where.endswith("a.png")]
    assert "a.png" not in problem.reason


def test_a_design_of_which_nothing_can_be_read_is_not_registered(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    front = fakes.sheet(fakes.drawing(2), role="front")
    designs = [fakes.design(1, [fakes.sheet(b"no image")]), fakes.design(2, [front])]
    result = register.add(designs, encoder)
    assert (result.designs_added, len(result.problems), result.front_pages) == (0, 2, 1)
    with pytest.raises(RegisterError, match="no design D0001"):
        register.design("D0001")


def test_front_pages_are_left_out_and_counted(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    front = fakes.sheet(fakes.drawing(1), "0.png", role="front")
    result = register.add([fakes.design(1, [front, fakes.sheet(fakes.drawing(1))])], encoder)
    assert (result.front_pages, result.sheets_read, register.figures_count) == (1, 1, 1)


def test_a_count_of_figures_other_than_stated_is_noted(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    good = fakes.design(1, [fakes.sheet(fakes.drawing(1))], stated_figures=1)
    odd = fakes.design(2, [fakes.sheet(fakes.drawing(2))], stated_figures=8)
    result = register.add([good, odd], encoder)
    assert result.notes == [Note("made/D0002", "the office states 8 figures, the cut found 1")]
    assert not result.problems


def test_descriptions_are_given_to_figures_only_if_there_are_as_many(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    told = ("a perspective view", "a front view")
    sheet = fakes.sheet(fakes.drawing(1, figures=2), boxes=fakes.boxes(2))
    register.add([fakes.design(1, [sheet], descriptions=told)], encoder)
    register.add([fakes.design(2, [sheet], descriptions=told[:1])], encoder)
    assert [f.description for f in register.figures(range(4))] == [*told, "", ""]


def test_labels_of_another_depth_are_a_problem(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    design = fakes.design(1, [fakes.sheet(fakes.drawing(1))], ("a", "b", "c"))
    result = register.add([design], encoder)
    assert "a/b/c" in result.problems[0].reason
    assert register.designs_count == 0


def test_an_encoder_of_another_bundle_is_refused(register: Register, tmp_path: Path) -> None:
    other = fakes.tiny_bundle(tmp_path / "other", golden=3)
    with pytest.raises(BundleMismatchError, match="tiny"):
        register.add(fakes.designs(1), fakes.FakeEncoder(other.fingerprint))
    assert len(register) == 0


def test_vectors_that_are_not_finite_are_refused_and_nothing_is_written(
    register: Register, bundle: Bundle
) -> None:
    with pytest.raises(RegisterError, match=r"made/0-0\.png, figure 1"):
        register.add(fakes.designs(1), fakes.BrokenEncoder(bundle.fingerprint))
    assert len(register) == 0
    assert register.verify() == []


# Classes


def rows_meeting(register: Register, **filters: Sequence[str]) -> list[int]:
    rows = Filters(**filters).choose(register.columns, where=register.folder).rows
    assert rows is not None
    return rows.tolist()


def test_rows_are_chosen_by_class_of_any_level_in_any_spelling(stocked: Path) -> None:
    with Register.open(stocked) as register:
        paths = register.label_paths()
        for prefix, level, label in (
            ("06", 0, "06"),
            ("6", 0, "06"),
            ("06-01", 1, "06-01"),
            ("0604", 1, "06-04"),
            ("7-3", 1, "07-03"),
            ("06/06-01", 1, "06-01"),
        ):
            slow = [row for row, path in enumerate(paths) if path[level] == label]
            assert rows_meeting(register, classes=[prefix]) == slow, prefix
        both = [row for row, path in enumerate(paths) if path[0] in ("07", "12")]
        assert rows_meeting(register, classes=["07", "12-08"]) == both
        assert rows_meeting(register, not_designs=["D0000"]) == list(range(3, 36))


def test_a_class_that_is_not_there_is_told_with_those_nearby(stocked: Path) -> None:
    with Register.open(stocked) as register:
        with pytest.raises(TaxonomyError) as caught:
            rows_meeting(register, classes=["06-99"])
        assert "06-01, 06-04" in caught.value.hint
        with pytest.raises(TaxonomyError) as caught:
            rows_meeting(register, classes=["nonsense"])
        assert "06, 07, 12" in caught.value.hint


def test_any_tree_of_labels_is_a_taxonomy(
    tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder
) -> None:
    levels = ("kind", "design")
    with Register.create(tmp_path / "r", bundle, levels) as register:
        sheets = [fakes.sheet(fakes.drawing(1))]
        register.add(
            [fakes.design("a", sheets, ("Chairs",)), fakes.design("b", sheets, ())], encoder
        )
        assert rows_meeting(register, classes=["chairs"]) == [0]
        assert register.label_paths()[0] == ("Chairs", "a")
    with Register.open(tmp_path / "r") as register:
        assert register.levels == levels


def test_designs_of_unknown_class_agree_with_no_other_design(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    one, two = (fakes.sheet(fakes.drawing(i, figures=2), boxes=fakes.boxes(2)) for i in (1, 2))
    register.add([fakes.design(1, [one], ()), fakes.design(2, [two], ())], encoder)
    codes = register.codes()
    assert codes.shape == (4, 3)
    assert (codes[0] == codes[1]).all()
    assert (codes[0] != codes[2]).all()


# On disk


def test_a_register_is_the_same_after_it_was_closed_and_copied(stocked: Path, copied: Path) -> None:
    with Register.open(stocked) as one, Register.open(copied) as two:
        assert content(one) == content(two)
        assert one.snapshot == two.snapshot


def test_a_snapshot_changes_when_figures_are_added(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    names = {register.snapshot}
    for count in (1, 2, 3):
        register.add(fakes.designs(count), encoder)
        names.add(register.snapshot)
    assert len(names) == 4


def test_a_register_that_cannot_be_written_can_be_searched(
    copied: Path, encoder: fakes.FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    with Register.open(copied) as register:
        assert len(register.figures(register.living_rows())) == 36
        with pytest.raises(RegisterError, match="no permission"):
            register.add(fakes.designs(1), encoder)


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear")
    with pytest.raises(RegisterError, match="not a register"):
        Register.create(tmp_path / "letters", bundle)
    assert [path.name for path in tmp_path.rglob("*")] == ["letters", "dear.txt"]


def test_an_empty_folder_may_become_a_register(tmp_path: Path, bundle: Bundle) -> None:
    Register.create(tmp_path, bundle).close()
    Register.open(tmp_path).close()


def test_of_two_that_make_a_register_at_once_the_second_is_told(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*arguments: Any) -> None:
        monkeypatch.undo()
        making.make_folder(tmp_path / "register", bundle, ("class", "design"))
        making._fill(*arguments)

    monkeypatch.setattr(making, "_fill", overtaken)
    with pytest.raises(RegisterError, match="another process"):
        Register.create(tmp_path / "register", bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["register"]
    assert Register.open(tmp_path / "register").levels == ("class", "design")


def test_a_register_is_not_made_twice(stocked: Path, bundle: Bundle) -> None:
    with pytest.raises(RegisterError, match="is a register already"):
        Register.create(stocked, bundle)


def test_a_folder_without_a_register_is_told(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RegisterError, match="not a register") as caught:
            Register.open(folder)
        assert "edge-ret index" in caught.value.hint


def test_a_register_of_a_newer_version_is_refused(copied: Path) -> None:
    manifest = json.loads((copied / "register.json").read_text())
    (copied / "register.json").write_text(json.dumps(manifest | {"schema": SCHEMA + 1}))
    with pytest.raises(RegisterError, match="newer") as caught:
        Register.open(copied)
    assert "upgrade" in caught.value.hint


def test_a_register_with_another_bundle_in_it_is_refused(copied: Path, tmp_path: Path) -> None:
    shutil.rmtree(copied / "bundle")
    fakes.tiny_bundle(tmp_path / "other", golden=3).copy_to(copied / "bundle")
    with pytest.raises(BundleMismatchError):
        Register.open(copied)


@pytest.mark.parametrize(
    "name", ["register.json", "designs.sqlite", "vectors-0.f32", "pictures-0.bin", "bundle"]
)
def test_a_register_with_a_part_missing_is_told(copied: Path, name: str) -> None:
    path = copied / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises((RegisterError, BundleError)):
        Register.open(copied)


def test_a_broken_bundle_in_a_register_is_not_to_be_exported_again(copied: Path) -> None:
    (copied / "bundle" / "model.onnx").write_bytes(b"")
    with pytest.raises(BundleError) as caught:
        Register.open(copied)
    assert "index the designs anew" in caught.value.hint


def test_one_damaged_record_is_one_fault(copied: Path) -> None:
    path = copied / "designs.sqlite"
    path.write_bytes(path.read_bytes().replace(b"Thing 7", b"Thang 7", 1))
    with Register.open(copied) as register:
        assert len(register.verify()) == 1


def test_a_sound_register_verifies(stocked: Path) -> None:
    with Register.open(stocked) as register:
        assert register.verify() == []


def test_short_vectors_are_told(copied: Path) -> None:
    with (copied / "vectors-0.f32").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(RegisterError, match="bytes short"):
        Register.open(copied)


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_byte_of_the_vectors_is_found_and_not_answered(
    copied: Path, encoder: fakes.FakeEncoder, seed: int
) -> None:
    flip(copied / "vectors-0.f32", seed)
    with Register.open(copied) as register:
        [line] = register.verify()
        assert "vectors-0.f32: damaged" in line
        query = query_from_bytes(fakes.drawing(1), "q")
        with pytest.raises(RegisterError):
            search(register, [query], encoder, k=12)


@pytest.mark.parametrize("seed", range(60))
def test_a_flipped_byte_of_the_database_is_found_or_harmless(copied: Path, seed: int) -> None:
    with Register.open(copied) as register:
        before = content(register)
    flip(copied / "designs.sqlite", seed)
    try:
        with Register.open(copied) as register:
            found = register.verify()
            assert found or content(register) == before
    except RegisterError:
        pass  # found on opening


def flip(path: Path, seed: int) -> None:
    """Change one bit of a file."""
    rng = np.random.default_rng(seed)
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def test_a_pinned_register_of_schema_1_opens_for_ever(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fakes.PINNED / "register-1", tmp_path / "register-1"))
    with Register.open(folder) as register:
        assert register.verify() == []
        assert (register.designs_count, register.figures_count) == (2, 4)
        assert register.design("D0001").labels == ("06", "06-04")
        encoder = load_encoder(register.bundle)
        query = query_from_bytes(register.picture(3), "q", cut=False)
        [result] = search(register, [query], encoder)
        assert [hit.design.number for hit in result.hits] == ["D0001", "D0000"]
        assert result.hits[0].score > 0.99


def test_a_pinned_register_of_schema_2_opens_for_ever(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fakes.PINNED / "register-2", tmp_path / "register-2"))
    with Register.open(folder) as register:
        assert register.verify() == []
        assert (register.designs_count, register.figures_count, register.epoch) == (2, 4, 1)
        assert register.columns.dead_rows.tolist() == [2, 3]
        assert register.design("D0002").source == "made"
        assert register.columns.sources == ("made",)
        query = query_from_bytes(register.picture(5), "q", cut=False)
        [result] = search(register, [query], load_encoder(register.bundle))
        assert [hit.design.number for hit in result.hits] == ["D0002", "D0000"]
        assert register.snapshot == SNAPSHOT


def test_a_pinned_register_of_schema_3_opens_for_ever(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fakes.PINNED / "register-3", tmp_path / "register-3"))
    with Register.open(folder) as register:
        assert register.verify() == []
        assert (register.designs_count, register.figures_count) == (3, 6)
        assert register.vectors.shape == (6, 16)
        assert (register.bundle.dim, register.bundle.whole.dim) == (16, 64)
        query = query_from_bytes(register.picture(5), "q", cut=False)
        [result] = search(register, [query], load_encoder(register.bundle))
        assert result.hits[0].design.number == "D0002"
        assert result.hits[0].strength is not None
        assert register.snapshot == "bcf12ffcc301ddbe"


# Kills and company

KILLED = """
import os, signal, sys
from pathlib import Path
from edge_retrieval.register import Register, adding
from tests import fakes

folder, name, times = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
seen = 0
def kill(moment):
    global seen
    seen += moment == name
    if seen == times:
        os.kill(os.getpid(), signal.SIGKILL)
adding.moment = kill
adding.COMMIT_FIGURES = 7
register = Register.open(folder)
register.add(fakes.designs(12), fakes.FakeEncoder(register.bundle.fingerprint))
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize(
    ("moment", "times", "committed"),
    [
        ("embedded", 1, 0),
        ("vectors written", 2, 7),
        ("before commit", 3, 14),
        ("committed", 3, 21),
    ],
)
def test_a_killed_add_loses_nothing_that_was_committed(
    register: Register,
    encoder: fakes.FakeEncoder,
    stocked: Path,
    moment: str,
    times: int,
    committed: int,
) -> None:
    command = [sys.executable, "-c", KILLED, str(register.folder), moment, str(times)]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert ended.returncode == -signal.SIGKILL
    with Register.open(register.folder) as left:
        assert left.figures_count == committed
        assert left.verify() == []
        result = left.add(fakes.designs(12), encoder)
        assert result.figures_added == 36 - committed
        with Register.open(stocked) as whole:
            assert content(left) == content(whole)


@pytest.mark.parametrize("moment", ["embedded", "vectors written", "before commit"])
def test_an_interrupted_add_leaves_what_was_committed(
    register: Register,
    encoder: fakes.FakeEncoder,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    register.add(fakes.designs(2), encoder)
    before = content(register)

    def interrupt(name: str) -> None:
        if name == moment:
            raise KeyboardInterrupt

    monkeypatch.setattr(adding, "moment", interrupt)
    with pytest.raises(KeyboardInterrupt):
        register.add(fakes.designs(5), encoder)
    assert content(register) == before
    monkeypatch.undo()
    register.add(fakes.designs(5), encoder)
    assert register.figures_count == 15


def test_a_second_writer_is_told_and_readers_go_on(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    def while_adding() -> Iterator[Design]:
        yield from fakes.designs(1)
        with Register.open(register.folder) as other:
            assert len(other) == 0  # nothing of a batch before its commit
            with pytest.raises(RegisterError, match="another process"):
                other.add(fakes.designs(1), encoder)

    register.add(while_adding(), encoder)
    assert register.figures_count == 3


def test_an_empty_register_is_discarded_but_not_under_a_writer(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    with writer_lock(register.folder / "writer.lock"):
        assert not register.discard_if_empty()
    with Register.open(register.folder) as other:
        other.add(fakes.designs(1), encoder)
    assert not register.discard_if_empty()  # another process has filled it meanwhile
    assert register.figures_count == 3


def test_the_lock_is_lifted_when_its_holder_ends(register: Register) -> None:
    with writer_lock(register.folder / "writer.lock"):
        pass
    with writer_lock(register.folder / "writer.lock"):
        pass


def test_a_reader_sees_the_figures_of_its_opening_until_it_refreshes(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    register.add(fakes.designs(1), encoder)
    with Register.open(register.folder) as reader:
        register.add(fakes.designs(4), encoder)
        assert (len(reader), reader.designs_count, len(reader.living_rows())) == (3, 1, 3)
        reader.refresh()
        assert (len(reader), reader.designs_count, len(reader.living_rows())) == (12, 4, 12)


def test_a_full_disk_is_told_and_nothing_is_half_written(
    register: Register, encoder: fakes.FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(RegisterError, match="No space left"):
        patch.setattr(os, "fsync", full)
        register.add(fakes.designs(1), encoder)
    assert len(register) == 0
    register.add(fakes.designs(1), encoder)
    assert register.verify() == []


def test_a_card_that_is_an_empty_folder_keeps_its_place(tmp_path: Path, bundle: Bundle) -> None:
    card = tmp_path / "card"
    card.mkdir()
    before = card.stat().st_ino
    Register.create(card, bundle).close()
    assert card.stat().st_ino == before
    assert not list(card.glob(".*"))


def test_a_sheet_that_was_mended_is_no_problem_any_more(
    register: Register, encoder: fakes.FakeEncoder
) -> None:
    register.add([fakes.design(1, [fakes.sheet(b"broken")])], encoder)
    assert len(register.problems()) == 1
    register.add([fakes.design(1, [fakes.sheet(fakes.drawing(1))])], encoder)
    assert register.problems() == []
    assert register.figures_count == 1


def test_a_large_design_is_committed_in_pieces(
    register: Register, encoder: fakes.FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "COMMIT_FIGURES", 4)
    moments: list[str] = []
    monkeypatch.setattr(adding, "moment", moments.append)
    sheets = [fakes.sheet(fakes.drawing(1, v), f"{v}.png", single=True) for v in range(10)]
    register.add([fakes.design(1, sheets)], encoder)
    assert moments.count("committed") == 3
    assert [figure.figure for figure in register.figures(range(10))] == list(range(1, 11))
    assert register.verify() == []


# Removing, compacting, merging, upgrading


def told(register: Register) -> list[Any]:
    """Everything that a register tells of its designs, whatever their rows."""
    found = []
    for row, record in zip(
        register.living_rows().tolist(), register.figures(register.living_rows()), strict=True
    ):
        [vector] = register.read_rows([row])
        found.append(
            (
                register.design(record.design),
                replace(record, row=0),
                register.picture(row),
                vector.tobytes(),
            )
        )
    return sorted(found, key=lambda one: (one[0].number, one[1].figure))


def test_a_removed_design_is_gone_at_once_and_can_come_back(
    copied: Path, encoder: fakes.FakeEncoder
) -> None:
    with Register.open(copied) as register, Register.open(copied) as reader:
        before = register.snapshot
        assert register.remove(["D0003", "D0005"]) == 2
        assert (register.designs_count, register.figures_count) == (10, 30)
        assert register.columns.find("D0003") is None
        with pytest.raises(RegisterError, match="no design D0003"):
            register.design("D0003")
        query = query_from_bytes(fakes.drawing(3), "q", cut=False)
        [result] = search(register, [query], encoder, k=12)
        assert {hit.design.number for hit in result.hits}.isdisjoint({"D0003", "D0005"})
        assert len(result.hits) == 10
        assert register.snapshot != before
        assert (reader.designs_count, reader.snapshot) == (12, before)
        assert reader.design("D0003").figures_count == 3  # a snapshot is a snapshot
        assert register.verify() == []
        register.add(fakes.designs(12), encoder)
        assert register.designs_count == 12
        assert register.verify() == []


def test_removing_what_is_not_there_removes_nothing(copied: Path) -> None:
    with Register.open(copied) as register:
        with pytest.raises(RegisterError, match="nothing was removed") as caught:
            register.remove(["D0001", "D0099"])
        assert "D0009" in caught.value.hint
        assert register.designs_count == 12


def test_compacting_keeps_what_lives_and_sorts_it_by_class(
    copied: Path, encoder: fakes.FakeEncoder
) -> None:
    with Register.open(copied) as register, Register.open(copied) as reader:
        register.remove(["D0003", "D0005"])
        before = told(register)
        register.compact()
        assert told(register) == before
        assert (len(register.vectors), register.epoch) == (30, 1)
        paths = register.label_paths()
        assert paths == sorted(paths)
        assert register.verify() == []
        assert len(content(reader)) == 36  # what it had when it was opened
        reader.refresh()
        assert told(reader) == before
        register.add(fakes.designs(12), encoder)
        assert register.verify() == []


def test_compacting_gives_back_the_bytes_of_removed_designs(copied: Path) -> None:
    def size() -> int:
        return sum(path.stat().st_size for path in copied.iterdir() if path.is_file())

    with Register.open(copied) as register:
        before = size()
        register.remove([f"D{number:04d}" for number in range(8)])
        register.compact()
    assert size() < 0.6 * before
    assert not [*copied.glob("*-0.*"), *copied.glob("*-wal"), *copied.glob("*.part")]


def test_merged_registers_hold_what_both_held(
    copied: Path, tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder
) -> None:
    with (
        Register.create(tmp_path / "other", bundle) as other,
        Register.create(tmp_path / "both", bundle) as both,
        Register.open(copied) as register,
    ):
        designs = fakes.designs(14)
        more = fakes.sheet(fakes.drawing(1, 7), "7.png", single=True)
        other.add(
            [replace(designs[1], sheets=(*designs[1].sheets[:1], more)), *designs[12:]], encoder
        )
        embedded = encoder.embedded
        result = register.merge_from(other)
        assert encoder.embedded == embedded
        assert (result.designs_added, result.figures_added, result.unchanged) == (2, 7, 1)
        both.add(designs, encoder)
        both.add([replace(designs[1], sheets=(more,))], encoder)
        assert told(register) == told(both)
        assert register.verify() == []
        again = register.merge_from(other)
        assert (again.designs_added, again.figures_added) == (0, 0)


def test_registers_that_do_not_fit_are_not_merged(
    copied: Path, tmp_path: Path, bundle: Bundle
) -> None:
    with Register.open(copied) as register:
        other = fakes.tiny_bundle(tmp_path / "bundle", golden=3)
        with (
            Register.create(tmp_path / "other", other) as stranger,
            pytest.raises(BundleMismatchError),
        ):
            register.merge_from(stranger)
        with (
            Register.create(tmp_path / "flat", bundle, ("kind", "design")) as flat,
            pytest.raises(RegisterError, match="levels"),
        ):
            register.merge_from(flat)
        with pytest.raises(RegisterError, match="same register"):
            register.merge_from(register)


def test_a_register_of_schema_1_is_upgraded_by_its_next_writer(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(fakes.PINNED / "register-1", tmp_path / "register-1"))
    with Register.open(folder) as register, Register.open(folder) as reader:
        before = told(register)
        register.add(fakes.designs(4)[2:], load_encoder(register.bundle))
        assert register.verify() == []
        register.remove(["D0003"])
        assert told(register)[: len(before)] == before
        assert register.designs_count == 3
        assert told(reader) == before
        reader.refresh()
        assert told(reader) == told(register)
    assert not (folder / "vectors.f32").exists()
    assert (folder / "vectors-0.f32").exists()


# Repairing


def damage(folder: Path, name: str, offset: int) -> None:
    """Change a byte of a file, counted from its end if negative."""
    data = bytearray((folder / name).read_bytes())
    data[offset] ^= 0x10
    (folder / name).write_bytes(data)


@pytest.mark.parametrize("name", ["columns.bin", "head.json"])
def test_a_damaged_cache_is_made_anew(copied: Path, name: str) -> None:
    with Register.open(copied) as register:
        before = content(register)
    damage(copied, name, 100)
    assert any(name in line for line in faults_of(copied))
    with Register.open(copied) as register:
        assert content(register) == before
    assert any(name in line for line in repair(copied)) or name == "columns.bin"
    assert faults_of(copied) == []
    assert repair(copied) == []


@pytest.mark.parametrize("name", ["vectors-0.f32", "pictures-0.bin"])
def test_repair_drops_the_designs_that_are_damaged_and_keeps_the_others(
    copied: Path, name: str
) -> None:
    with Register.open(copied) as register:
        before = told(register)
    damage(copied, name, -5)
    assert any(name in line for line in faults_of(copied))
    [line] = repair(copied)
    assert "D0011" in line
    assert faults_of(copied) == []
    with Register.open(copied) as register:
        assert told(register) == before[:-3]


def test_repair_reads_a_database_of_which_pages_are_damaged(copied: Path) -> None:
    with Register.open(copied) as register:
        before = told(register)
    path = copied / "designs.sqlite"
    data = path.read_bytes().replace(b"Thing 7", b"Thang 7", 1)
    index = data.index(b"D0003", data.index(b"Thing 3") + 4096) // 4096  # of the numbers
    path.write_bytes(data[: index * 4096] + bytes(4096) + data[(index + 1) * 4096 :])
    damage(copied, "designs.sqlite", 9)  # the header
    assert faults_of(copied)
    [line] = repair(copied)
    assert "D0007" in line
    assert faults_of(copied) == []
    with Register.open(copied) as register:
        assert told(register) == [one for one in before if one[0].number != "D0007"]


def test_a_database_that_was_cut_short_is_mended_as_far_as_it_goes(copied: Path) -> None:
    with Register.open(copied) as register:
        before = told(register)
    path = copied / "designs.sqlite"
    path.write_bytes(path.read_bytes()[: 9 * 4096 - 100])  # in the middle of the figures
    assert faults_of(copied)
    assert can_mend(copied)
    [line] = repair(copied)
    assert "D0000" in line
    assert faults_of(copied) == []
    with Register.open(copied) as register:
        assert told(register) == before[3:]


@pytest.mark.parametrize("pages", range(1, 13))
def test_a_database_cut_short_anywhere_is_mended_or_refused(copied: Path, pages: int) -> None:
    path = copied / "designs.sqlite"
    path.write_bytes(path.read_bytes()[: pages * 4096 - 100])
    try:
        repair(copied)
        assert faults_of(copied) == []
    except RegisterError as error:
        assert error.hint.startswith("copy")


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("designs.sqlite", None),
        ("designs.sqlite", 0),
        ("designs.sqlite", 4096),
        ("vectors-0.f32", None),
        ("pictures-0.bin", None),
        ("pictures-0.bin", 0),
        ("bundle/bundle.json", None),
    ],
)
def test_what_cannot_be_mended_is_told_without_a_hint_to_mend_it(
    copied: Path, name: str, left: int | None
) -> None:
    path = copied / name
    if name == "bundle/bundle.json":
        path.write_text(path.read_text() + "\n")
    elif left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    before = {path.name: path.read_bytes() for path in copied.iterdir() if path.is_file()}
    assert faults_of(copied)
    with pytest.raises(EdgeRetrievalError) as caught:
        repair(copied)
    assert caught.value.hint == "copy the register again, or index the designs anew"
    assert "part" not in str(caught.value)
    after = {path.name: path.read_bytes() for path in copied.iterdir() if path.is_file()}
    assert all(after[name] == data for name, data in before.items() if name != "head.json")
    if left != 0 and left != 4096:
        assert not can_mend(copied)


def test_a_repair_that_fails_leaves_everything_as_it_was(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(copied, "vectors-0.f32", -5)
    before = {path.name: path.read_bytes() for path in copied.iterdir() if path.is_file()}

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(RegisterError, match="No space left"):
        patch.setattr(os, "fsync", full)
        repair(copied)
    after = {path.name: path.read_bytes() for path in copied.iterdir() if path.is_file()}
    assert all(after[name] == data for name, data in before.items())
    assert repair(copied)
    assert faults_of(copied) == []


def test_a_log_that_lost_commits_is_found(copied: Path, encoder: fakes.FakeEncoder) -> None:
    with Register.open(copied) as reader, Register.open(copied) as register:
        reader.design("D0000")  # its snapshot keeps the log
        register.add(fakes.designs(14), encoder)
        log = copied / "designs.sqlite-wal"
        torn = Path(shutil.copytree(copied, copied.with_name("torn")))
        (torn / log.name).write_bytes(log.read_bytes()[:40])
    with pytest.raises(RegisterError, match="was committed"):
        Register.open(torn)
    assert any("lost" in line for line in repair(torn))
    with Register.open(torn) as register:
        assert register.designs_count == 12
        assert register.verify() == []


# Columns


def test_columns_that_were_extended_are_those_made_anew(
    register: Register, bundle: Bundle, encoder: fakes.FakeEncoder
) -> None:
    rng = np.random.default_rng(5)
    designs = [
        replace(
            design,
            number=f"N{int(rng.integers(1_000_000))}",
            applicants=tuple(f"Maker {n}" for n in rng.integers(0, 9, rng.integers(0, 3))),
            filed=f"2020-01-{i + 1:02d}",
        )
        for i, design in enumerate(fakes.designs(24, views=2))
    ]
    for step in range(8):
        chosen = [designs[i] for i in rng.permutation(24)[:5]]
        changed = [replace(one, applicants=(f"Heir {step}",)) for one in chosen[:2]]
        register.add([*chosen[2:], *changed], encoder, source=f"source {step % 3}")
        if step % 2:
            number = register.columns.number(int(np.flatnonzero(register.columns.alive)[step]))
            register.remove([number])
            assert register.columns.find(number) is None
        made = make_columns(Database.open(register.folder / "designs.sqlite"))
        kept = load_columns(register.folder)
        assert kept is not None
        assert same_columns(kept, made)
        for place, alive in enumerate(made.alive):
            if alive:
                assert register.columns.find(register.columns.number(place)) == place
    assert register.verify() == []


def test_columns_tell_what_filters_ask_for(register: Register, encoder: fakes.FakeEncoder) -> None:
    sheets = [fakes.sheet(fakes.drawing(1))]
    told = {"published": "2021-03-04", "filed": "2019-05-06", "applicants": ("Ann", "Bob")}
    register.add([fakes.design("b", sheets, **told)], encoder, source="grants")
    register.add([fakes.design("a", sheets, (), applicants=("Bob",))], encoder, source="more")
    columns = register.columns
    assert [columns.number(place) for place in (0, 1)] == ["b", "a"]
    assert (columns.find("a"), columns.find("b"), columns.find("c")) == (1, 0, None)
    assert columns.published.tolist() == [20210304, 0]
    assert columns.filed.tolist() == [20190506, 0]
    assert [columns.sources[place] for place in columns.source] == ["grants", "more"]
    assert [columns.paths[node] for node in columns.node] == [("07", "07-03"), ()]
    names = [columns.applicants[place] for place in columns.applicant_of]
    assert (names, columns.applicant_starts.tolist()) == (["Ann", "Bob", "Bob"], [0, 2, 3])
    sha256 = register.figures([0])[0].sheet_sha256
    assert int(columns.sheet_of[0]).to_bytes(8, "little") == bytes.fromhex(sha256[:16])
    assert register.rows_of_sheet(sha256).tolist() == [0, 1]


def test_a_row_that_changed_is_not_read(copied: Path) -> None:
    damage(copied, "vectors-0.f32", -5)
    with Register.open(copied) as register:
        assert np.array_equal(register.read_rows([3, 1]), register.vectors[[3, 1]])
        with pytest.raises(RegisterError, match="rows 35 to 35"):
            register.read_rows([35])
        with pytest.raises(RegisterError, match="damaged"):
            register.check_batches_of(0, 36)


def test_a_value_of_another_kind_than_was_written_is_damage(copied: Path) -> None:
    connection = sqlite3.connect(copied / "designs.sqlite")
    connection.execute("PRAGMA ignore_check_constraints = ON")
    connection.execute("UPDATE batches SET rows = 'many', crc = x'00'")
    connection.execute("UPDATE nodes SET parent = 'none'")
    connection.commit()
    connection.close()
    assert faults_of(copied)
    (copied / "columns.bin").unlink()
    with pytest.raises(RegisterError, match="damaged"), Register.open(copied) as register:
        register.columns.find("D0001")


def test_what_was_read_of_a_design_is_forgotten_when_the_register_is_seen_anew(
    copied: Path,
) -> None:
    with Register.open(copied) as reader, Register.open(copied) as writer:
        number = reader.columns.number(0)
        before = reader.design(number)
        assert reader.design(number) == before
        writer.remove([number])
        assert reader.design(number) == before  # its snapshot is older
        reader.refresh()
        with pytest.raises(RegisterError, match="no design"):
            reader.design(number)
