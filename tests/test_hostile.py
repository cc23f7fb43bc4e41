"""Registers as an adversary leaves them: caches of others, kills in the rarest moments, lies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_retrieval import plan as planning
from edge_retrieval.bundle import Bundle
from edge_retrieval.cli import caching, keeping
from edge_retrieval.errors import RegisterError
from edge_retrieval.filters import Filters
from edge_retrieval.index import PASS, FlatIndex
from edge_retrieval.index.building import build_pass
from edge_retrieval.index.pass_file import PAGE, PRELUDE
from edge_retrieval.preparing import prepare
from edge_retrieval.register import Register
from edge_retrieval.register.columns import COLUMNS
from edge_retrieval.register.repairing import faults_of, repair
from edge_retrieval.register.state import digest_of
from tests import fakes


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fakes.tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def encoder(bundle: Bundle) -> fakes.FakeEncoder:
    return fakes.FakeEncoder(bundle.fingerprint)


@pytest.fixture(scope="module")
def stocked(
    tmp_path_factory: pytest.TempPathFactory, bundle: Bundle, encoder: fakes.FakeEncoder
) -> Path:
    """A register of 6 designs with 3 figures each; look, do not touch."""
    folder = tmp_path_factory.mktemp("stocked") / "register"
    with Register.create(folder, bundle) as register:
        register.add(fakes.designs(6), encoder)
    return folder


@pytest.fixture
def copied(stocked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stocked, tmp_path / "copied"))


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def numbers_in(folder: Path) -> list[str]:
    with Register.open(folder) as register:
        columns = register.columns
        return [columns.number(at) for at in range(len(columns.alive)) if columns.alive[at]]


# The columns of another moment, or of another register


@pytest.fixture
def others(tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder) -> Iterator[Path]:
    """Columns of a register with more designs, with more figures, in more commits."""
    with Register.create(tmp_path / "other", bundle) as register:
        for design in fakes.designs(9)[::-1]:
            register.add([design], encoder)
    yield tmp_path / "other" / "columns.bin"


@pytest.mark.parametrize("damaged", [None, "designs.sqlite", "vectors-0.f32"])
def test_columns_of_another_register_cost_no_design(
    copied: Path, others: Path, damaged: str | None
) -> None:
    before = numbers_in(copied)
    shutil.copy(others, copied / "columns.bin")
    if damaged == "designs.sqlite":
        path = copied / damaged
        path.write_bytes(path.read_bytes().replace(b"Thing 5", b"Thang 5"))
    elif damaged:
        flip(copied / damaged, -1)
    assert any("columns.bin" in line for line in faults_of(copied))
    assert repair(copied)
    assert faults_of(copied) == []
    assert numbers_in(copied) == (before[:-1] if damaged else before)


def test_columns_newer_than_a_database_that_lost_commits_cost_no_design(
    copied: Path, tmp_path: Path, encoder: fakes.FakeEncoder
) -> None:
    before = numbers_in(copied)
    more = [
        fakes.design(
            i, [fakes.sheet(fakes.drawing(i, 9), f"{i}-9.png", where=f"{i}9")], fakes.CLASSES[0]
        )
        for i in range(6)
    ]
    torn = tmp_path / "torn"
    with Register.open(copied) as reader, Register.open(copied) as register:
        reader.design("D0000")  # its snapshot keeps the log
        register.add(more, encoder)
        shutil.copytree(copied, torn)
    flip(torn / "designs.sqlite-wal", 60)
    assert any("was committed" in line for line in faults_of(torn))
    repair(torn)
    assert faults_of(torn) == []
    assert numbers_in(torn) == before


# Kills

KILLS = """
import os, shutil, signal, sys, traceback
from pathlib import Path
from edge_retrieval.register import Register
from edge_retrieval.register.repairing import can_mend, faults_of, repair

source, work, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

def forked(do):
    child = os.fork()
    if child == 0:
        try:
            do()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child

def ended(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def reads(folder, tell):
    register = Register.open(folder)
    os.write(tell, b"!")
    signal.pause()

def works(folder, last):
    seen = 0
    def heard(event, args):
        nonlocal seen
        if event == "open":
            writes = args[2] & (os.O_WRONLY | os.O_RDWR)
        else:
            writes = event in ("os.rename", "os.remove", "sqlite3.connect")
        if writes and str(folder) in str(args[0]):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(heard)
    if what == "repair":
        repair(folder)
    else:
        with Register.open(folder) as register:
            register.remove([register.columns.number(0)])

def checks(folder):
    with Register.open(folder) as register:
        figures = register.figures_count
    print(figures, end=" ")
    if what == "repair":
        repair(folder)
    else:
        with Register.open(folder) as register:
            register.remove([register.columns.number(len(register.columns.alive) - 1)])
    with Register.open(folder) as register:
        print(register.figures_count, flush=True)
    assert faults_of(folder) == []
    left = {path.name for path in folder.iterdir()}
    assert not {"vectors.f32", "designs.sqlite.new", "designs.sqlite.ready"} & left, left
    assert can_mend(folder)

for last in range(1, 99):
    folder = work / str(last)
    shutil.copytree(source, folder)
    hears, tells = os.pipe()
    reader = forked(lambda: reads(folder, tells))
    os.read(hears, 1)
    code = ended(forked(lambda: works(folder, last)))
    os.kill(reader, signal.SIGKILL)
    ended(reader)
    assert code in (0, -signal.SIGKILL), code
    if code == 0:
        break
    assert ended(forked(lambda: checks(folder))) == 0, last
"""


def killed_everywhere(source: Path, work: Path, what: str) -> list[list[int]]:
    """Kill some work before each thing that it does to files.

    Returns:
        How many figures there are then, and after the same again, for each moment.
    """
    command = [sys.executable, "-c", KILLS, str(source), str(work), what]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return [[int(count) for count in line.split()] for line in ended.stdout.splitlines()]


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_repair_that_is_killed_loses_nothing_that_was_committed(
    copied: Path, tmp_path: Path, encoder: fakes.FakeEncoder
) -> None:
    source = tmp_path / "source"
    with Register.open(copied) as reader, Register.open(copied) as register:
        reader.design("D0000")  # its snapshot keeps the log
        register.add(fakes.designs(8)[6:], encoder)
        shutil.copytree(copied, source)
    flip(source / "pictures-0.bin", 100)
    found = killed_everywhere(source, tmp_path, "repair")
    assert len(found) > 10
    assert {before for before, _ in found} == {24, 21}  # all, or what the repair has kept
    assert {after for _, after in found} == {21}


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_an_upgrade_that_is_killed_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    found = killed_everywhere(fakes.PINNED / "register-1", tmp_path, "upgrade")
    assert len(found) > 10
    assert {before for before, _ in found} == {4, 2}  # before and after it removed a design


# Files that lie, their checksums right


def lie_in_columns(folder: Path, lie: Callable[[dict[str, Any]], object]) -> None:
    path = folder / COLUMNS
    data = path.read_bytes()
    length = int(np.frombuffer(data, "<u4", 1, 8)[0])
    header = json.loads(data[16 : 16 + length])
    told = lie(header)
    text = told if isinstance(told, bytes) else json.dumps(header).encode()
    text += b" " * (-(len(text) + 16) % 64)
    start = data[:8] + np.array([len(text), zlib.crc32(text)], "<u4").tobytes()
    path.write_bytes(start + text + data[16 + length :])


@pytest.mark.parametrize(
    "lie",
    [
        lambda header: header["sections"][0].__setitem__(1, 10**12),
        lambda header: header["sections"][0].__setitem__(1, -1),
        lambda header: header["sections"][0].__setitem__(1, 3),
        lambda header: header["sections"][0].__setitem__(1, "many"),
        lambda header: header["sections"][0].__setitem__(2, -64),
        lambda header: header["sections"][0].__setitem__(0, "unknown"),
        lambda header: header["sections"][5].__setitem__(0, "by_number"),
        lambda header: header["sections"].pop(0),
        lambda header: header.pop("state"),
        lambda header: header.__setitem__("state", [1, 0, None]),
        lambda header: header.__setitem__("state", 5),
        lambda header: header.__setitem__("bytes", "all"),
        lambda header: header.pop("paths"),
        lambda header: header.__setitem__("paths", [1, 2]),
        lambda header: header.__setitem__("paths", [[], ["26"]]),
        lambda header: header["counts"].__setitem__("sources", 9),
        lambda header: b"[1, 2]",
        lambda header: b"{{",
        lambda header: b"[" * 90_000,
    ],
)
def test_columns_that_lie_are_as_none(
    copied: Path, lie: Callable[[dict[str, Any]], object]
) -> None:
    before = numbers_in(copied)
    lie_in_columns(copied, lie)
    lying = (copied / COLUMNS).read_bytes()
    assert any(COLUMNS in line for line in faults_of(copied))
    assert numbers_in(copied) == before
    (copied / COLUMNS).write_bytes(lying)
    assert repair(copied) == [f"{COLUMNS} was damaged: made anew"]
    assert faults_of(copied) == []
    assert numbers_in(copied) == before


@pytest.mark.parametrize(
    "told", ["null", "[]", "5", "[" * 90_000, "{}", '{"generation": "x", "snapshot": []}']
)
def test_a_head_that_lies_is_as_none(copied: Path, told: str) -> None:
    before = numbers_in(copied)
    (copied / "head.json").write_text(told)
    assert numbers_in(copied) == before
    assert any("head.json" in line for line in faults_of(copied))
    assert repair(copied) == ["head.json was damaged: made anew"]
    assert faults_of(copied) == []


@pytest.mark.parametrize(
    "lie",
    [
        {"width": 1},
        {"width": 10**9},
        {"dim": 10**9},
        {"rows": -5},
        {"rows": 18.0},
        {"rows": 10**12, "width": 0},
        {"error": "long"},
        {"error": None},
        {"rest": float("nan")},
        {"rest": -1.0},
        {"error": float("inf")},
        {"compared": float("nan")},
        {"compared": "few"},
        {"vectors": None},
        {"vectors": ""},
        None,
    ],
)
def test_a_pass_that_lies_is_as_none(
    copied: Path, lie: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "PASS_FROM", 10)
    with Register.open(copied) as register:
        path = copied / PASS
        assert build_pass(path, register.vectors, of=planning.named(register, 18))
        vectors = np.array(register.vectors[:2])
        before = FlatIndex(register.vectors).search(vectors, 5)
    data = path.read_bytes()
    magic, schema, size, _ = PRELUDE.unpack(data[: PRELUDE.size])
    head = data[PRELUDE.size : PRELUDE.size + size]
    (length,) = struct.unpack_from("<I", head)
    facts = None if lie is None else json.loads(head[4 : 4 + length]) | lie
    text = json.dumps(facts).encode()
    new = struct.pack("<I", len(text)) + text + head[4 + length :]
    lying = PRELUDE.pack(magic, schema, len(new), zlib.crc32(new)) + new
    path.write_bytes(
        lying + bytes(-len(lying) % PAGE) + data[-(-(PRELUDE.size + size) // PAGE) * PAGE :]
    )
    with Register.open(copied) as register:
        plan = planning.plan(register, Filters().choose(register.columns, where=copied))
        assert isinstance(plan.searcher, FlatIndex)
        found = plan.searcher.search(vectors, 5)
        assert all(np.array_equal(one, other) for one, other in zip(found, before, strict=True))
    if lie != {"vectors": ""}:
        assert any(PASS in line for line in faults_of(copied))
        assert repair(copied)
        assert faults_of(copied) == []


def test_a_picture_longer_than_all_files_is_damage(copied: Path) -> None:
    with contextlib.closing(sqlite3.connect(copied / "designs.sqlite")) as database:
        sql = "SELECT * FROM figures WHERE row = 0"
        record = list(database.execute(sql).fetchone()[:-1])
        record[12] = 1 << 62
        sql = "UPDATE figures SET picture_bytes = ?, digest = ? WHERE row = 0"
        database.execute(sql, (record[12], digest_of(*record)))
        database.commit()
    with Register.open(copied) as register:
        with pytest.raises(RegisterError, match="the picture of row 0"):
            register.picture(0)
        assert any("the picture of row 0" in line for line in register.verify())
    assert any("D0000" in line for line in repair(copied))
    assert faults_of(copied) == []


# Two at work


@pytest.mark.parametrize("change", ["remove", "compact"])
def test_a_second_writer_leaves_alone_what_another_is_making(
    copied: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(planning, "PASS_FROM", 10)
    force = os.fsync

    def forced(handle: int) -> None:
        force(handle)
        monkeypatch.setattr(os, "fsync", force)
        with Register.open(copied) as other:  # while the pass is being written
            other.remove(["D0005"]) if change == "remove" else other.compact()

    with Register.open(copied) as register:
        monkeypatch.setattr(os, "fsync", forced)
        assert prepare(register) == [PASS]
    assert faults_of(copied) == []
    assert len(numbers_in(copied)) == 6 - (change == "remove")


def test_an_unfinished_cache_that_a_kill_has_left_is_removed_after_an_hour(copied: Path) -> None:
    for name, age in (("pass.u8.1.making", 3_700), ("graph.hnsw.2.making", 60)):
        (copied / name).write_bytes(b"half")
        os.utime(copied / name, times=(time.time() - age,) * 2)
    with Register.open(copied) as register:
        register.remove(["D0005"])
    assert not (copied / "pass.u8.1.making").exists()
    assert (copied / "graph.hnsw.2.making").exists()


def test_a_command_whose_caches_cannot_be_made_has_done_its_work(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(register: Register, **_: object) -> None:
        raise RegisterError("pass.u8: No space left on device", hint="make room")

    monkeypatch.setattr(caching, "prepare", full)
    keeping.compact(copied)
    said = capsys.readouterr()
    assert "now 6 designs, 18 figures" in said.out
    assert "note: searching is slower" in said.err
