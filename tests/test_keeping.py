"""`edge-ret register ...`: what it says, what it leaves, how it exits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edge_retrieval.cli import keeping, talk
from edge_retrieval.register import Register
from tests import fakes
from tests.calling import Run, calling


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Call `edge-ret register ARGS` in a folder with the register `mine`: 8 designs, 24 figures."""
    monkeypatch.chdir(tmp_path)
    bundle = fakes.tiny_bundle(tmp_path / "bundle")
    for name, count in (("mine", 8), ("other", 10)):
        with Register.create(tmp_path / name, bundle) as register:
            register.add(fakes.designs(count), fakes.FakeEncoder(bundle.fingerprint))

    return calling(monkeypatch, capsys, "register")


def test_info_tells_what_is_there_and_what_it_takes(run: Run) -> None:
    facts = json.loads(run("info", "mine", "--json").out)
    assert (facts["designs"], facts["figures"], facts["dead rows"]) == (8, 24, 0)
    assert facts["bytes"]["vectors-0.f32"] == 24 * 64 * 4
    assert len(facts["snapshot"]) == 16
    assert "vectors-0.f32" in run("info", "mine").out


def test_info_tells_sources_classes_days_and_applicants_of_what_is_not_removed(run: Run) -> None:
    sheets = [fakes.sheet(fakes.drawing(90))]
    told = {"published": "2021-03-04", "applicants": ("Ann", "Bob")}
    with Register.open(Path("mine")) as register:
        encoder = fakes.FakeEncoder(register.bundle.fingerprint)
        one = fakes.design("Q1", sheets, ("06", "06-01"), **told)
        other = fakes.design("Q2", sheets, (), applicants=("Bob",), filed="2019-12-31")
        gone = fakes.design("Q3", sheets, ("31", "31-00"), applicants=("Eve",), filed="2019-01-01")
        register.add([one, other, gone], encoder, source="grants")
        register.remove(["Q3"])
    facts = json.loads(run("info", "mine", "--json").out)
    assert facts["sources"] == {"": 8, "grants": 2}
    assert facts["unclassified"] == 1
    assert facts["classes"] == {"class": 3, "subclass": 4}
    assert facts["published"] == {"first": "2021-03-01", "last": "2021-03-08", "undated": 1}
    assert facts["filed"] == {"first": "2019-12-31", "last": "2019-12-31", "undated": 9}
    assert facts["applicants"] == 2
    shown = run("info", "mine").out
    for line in ("source grants 2 designs", "source unnamed 8 designs", "applicants 2"):
        assert line in " ".join(shown.split())
    assert "2021-03-01 to 2021-03-08, 1 undated" in shown
    assert " 0.0 MB" not in shown and " kB" in shown


def test_what_an_open_database_needs_is_no_size_of_a_register(run: Run) -> None:
    with Register.open(Path("mine")) as reader:
        reader.design("D0001")  # holds a snapshot, and so the log
        run("remove", "mine", "D0000")
        assert Path("mine/designs.sqlite-wal").stat().st_size > 0
        sizes = json.loads(run("info", "mine", "--json").out)["bytes"]
        log = sizes["designs.sqlite-wal"] + sizes["designs.sqlite-shm"]
        before = run("compact", "mine").out.split(" before")[0].split(": ")[1]
        assert before == talk.weight(sum(sizes.values()) - log)
    Path("mine/designs.sqlite-wal").write_bytes(b"")
    Path("mine/designs.sqlite-shm").write_bytes(bytes(32768))
    assert not [name for name in keeping.sizes_of(Path("mine")) if "-" in name[-4:]]


def test_removed_designs_are_told_and_compacting_gives_back_their_bytes(run: Run) -> None:
    done = run("remove", "mine", "D0001", "D0002")
    assert done.code == 0
    assert "2 designs removed" in done.out
    assert "now 6 designs, 18 figures" in done.out
    assert json.loads(run("info", "mine", "--json").out)["dead rows"] == 6
    done = run("compact", "mine")
    assert done.code == 0
    assert "now 6 designs, 18 figures" in done.out
    facts = json.loads(run("info", "mine", "--json").out)
    assert (facts["dead rows"], facts["bytes"]["vectors-1.f32"]) == (0, 18 * 64 * 4)
    assert run("verify", "mine").out == "mine: good, 6 designs\n"


def test_a_number_that_is_not_there_is_one_line_and_a_hint(run: Run) -> None:
    done = run("remove", "mine", "D0001", "D00O2")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines() == ["error: mine: no design 'D00O2'", "hint: near it: D0002"]
    assert "8 designs" in run("verify", "mine").out


def test_merged_registers_are_told_one_by_one(run: Run) -> None:
    shutil.copytree("mine", "third")
    done = run("merge", "mine", "other", "third")
    assert done.code == 0
    assert "other: 2 designs, 6 figures added; 24 sheets there already" in done.out
    assert "third: 0 designs, 0 figures added; 24 sheets there already" in done.out
    assert "now 10 designs, 30 figures" in done.out


def test_verify_names_what_is_damaged_and_repair_mends_it(run: Run) -> None:
    path = Path("mine/pictures-0.bin")
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    done = run("verify", "mine")
    assert done.code == 1
    assert "pictures-0.bin" in done.err
    assert "verify --repair mine" in done.err.splitlines()[-1]
    told = json.loads(run("verify", "mine", "--json").out)
    assert len(told["faults"]) == len(told["left"]) == 1
    done = run("verify", "mine", "--repair")
    assert done.code == 0
    assert "repaired: design D0007 was dropped" in done.err
    assert done.out == "mine: good, 7 designs\n"
    assert json.loads(run("verify", "mine", "--json").out)["faults"] == []


def test_many_faults_are_shown_in_part_and_all_of_them_as_json(run: Run) -> None:
    path = Path("mine/pictures-0.bin")
    path.write_bytes(path.read_bytes()[:40])
    done = run("verify", "mine")
    assert len(done.err.splitlines()) == 20 + 1 + 2
    assert "... and 4 more like these" in done.err
    assert len(json.loads(run("verify", "mine", "--json").out)["faults"]) == 24


def test_mending_is_proposed_only_where_it_can_help(run: Run) -> None:
    Path("mine/pictures-0.bin").unlink()
    for words in (("verify", "mine"), ("verify", "mine", "--repair"), ("info", "mine")):
        done = run(*words)
        assert done.code == 1
        assert (
            done.err.splitlines()[-1] == "hint: copy the register again, or index the designs anew"
        )
    path = Path("other/vectors-0.f32")
    path.write_bytes(path.read_bytes()[:-300])
    for words in (("verify", "other"), ("info", "other")):
        hint = run(*words).err.splitlines()[-1]
        assert hint.startswith("hint: run: edge-ret register verify --repair other; or copy")
    assert run("verify", "other", "--repair").code == 0


def test_a_register_that_is_none_is_told(run: Run) -> None:
    for words in (("verify", "bundle"), ("compact", "nowhere"), ("merge", "mine", "nowhere")):
        done = run(*words)
        assert done.code == 1
        assert "not a register" in done.err


def test_a_design_may_be_removed_by_its_number_as_people_write_it(run: Run) -> None:
    done = run("remove", "mine", "d1", "D0001")
    assert done.code == 0, done.err
    assert "mine: 1 design removed: D0001" in done.out
