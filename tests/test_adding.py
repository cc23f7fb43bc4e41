"""Indexing with several processes: the same register, one sheet lost at most, nothing left over."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import pytest

from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import ready
from edge_retrieval.errors import ConfigError, DrawingError
from edge_retrieval.register import Register, ahead, cutters
from edge_retrieval.register.ahead import Begin, End, Step, Taken, look_ahead
from edge_retrieval.register.cutters import Cutters
from edge_retrieval.sources.design import Design, Problem, Sheet
from tests import fakes


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fakes.tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def encoder(bundle: Bundle) -> fakes.FakeEncoder:
    return fakes.FakeEncoder(bundle.fingerprint)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Start processes for the second sheet already; the list of those that were started."""
    processes: list[subprocess.Popen[bytes]] = []
    start = cutters._started

    def noted() -> subprocess.Popen[bytes]:
        processes.append(start())
        return processes[-1]

    monkeypatch.setattr(cutters, "ENOUGH_SHEETS", 2)
    monkeypatch.setattr(cutters, "_started", noted)
    return processes


def made(
    folder: Path,
    bundle: Bundle,
    items: Sequence[Design | Problem],
    jobs: int,
    encoder: fakes.FakeEncoder,
) -> tuple[Register, dict[str, bytes]]:
    """Make a register; return it and the bytes of the files that hold what was added."""
    register = Register.create(folder, bundle)
    register.add(items, encoder, jobs=jobs, batch=5)
    kept = [*folder.glob("vectors-*"), *folder.glob("pictures-*")]
    assert len(kept) == 2
    return register, {path.name: path.read_bytes() for path in kept}


def mixed() -> list[Design | Problem]:
    """Designs with good sheets, broken ones, an empty one, two figures on one, and a problem."""
    items: list[Design | Problem] = list(fakes.designs(9))
    two = fakes.sheet(fakes.drawing(50, figures=2), "two.png", where="made/two.png")
    broken = fakes.sheet(b"\x89PNG no more", "broken.png", where="made/broken.png")
    empty = fakes.sheet(b"", "empty.png", where="made/empty.png")
    items.insert(3, fakes.design(50, [broken, two, empty]))
    items.insert(5, Problem("made/notes", "no drawing"))
    return items


@pytest.mark.parametrize("jobs", [2, 3])
def test_the_register_is_the_same_for_any_number_of_jobs(
    tmp_path: Path,
    bundle: Bundle,
    encoder: fakes.FakeEncoder,
    started: list[subprocess.Popen[bytes]],
    jobs: int,
) -> None:
    one, files_of_one = made(tmp_path / "one", bundle, mixed(), 1, encoder)
    assert not started
    many, files_of_many = made(tmp_path / "many", bundle, mixed(), jobs, encoder)
    assert len(started) == jobs
    assert one.snapshot == many.snapshot
    assert one.figures_count == 9 * 3 + 2
    places = [problem.where for problem in one.problems()]
    assert places == ["made/broken.png", "made/empty.png", "made/notes"]
    assert one.problems() == many.problems()
    assert files_of_one == files_of_many
    one.close()
    many.close()


def test_no_process_is_left_in_the_end_nor_after_an_error(
    tmp_path: Path,
    bundle: Bundle,
    encoder: fakes.FakeEncoder,
    started: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register, _ = made(tmp_path / "r", bundle, fakes.designs(6), 2, encoder)

    def interrupted(images: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(encoder, "embed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        register.add(fakes.designs(30)[6:], encoder, jobs=2)
    assert register.designs_count == 6
    register.close()
    assert len(started) == 4
    assert all(process.poll() is not None for process in started)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("cutter")]


@pytest.mark.parametrize("way", ["killed", "ended"])
def test_a_process_that_dies_costs_one_sheet(
    tmp_path: Path,
    bundle: Bundle,
    encoder: fakes.FakeEncoder,
    started: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    def deadly(
        source: IO[bytes], sink: IO[bytes], task: ready.SheetTask
    ) -> list[ready.ReadyFigure]:
        if task.where.endswith("3-1.png"):
            [process] = [process for process in started if process.stdin is sink]
            if way == "killed":
                process.kill()
            else:
                sink.write(b"\xff\xff")  # half a message, then nothing
                sink.close()
                process.wait()
        return ready.ask(source, sink, task)

    monkeypatch.setattr(cutters, "ask", deadly)
    register = Register.create(tmp_path / "r", bundle)
    result = register.add(fakes.designs(12), encoder, jobs=2)
    [problem] = result.problems
    assert problem.where == "made/3-1.png"
    assert problem.reason.startswith("the process that cut it ended")
    assert ("SIGKILL" in problem.reason) == (way == "killed" and sys.platform != "win32")
    assert result.figures_added == 12 * 3 - 1
    assert len(started) == 3
    monkeypatch.setattr(cutters, "ask", ready.ask)
    again = register.add(fakes.designs(12), encoder, jobs=2)
    assert (again.figures_added, again.unchanged) == (1, 35)
    assert register.problems() == []
    register.close()


def test_where_no_process_can_be_started_sheets_are_cut_all_the_same(
    tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutters, "ENOUGH_SHEETS", 2)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    register, _ = made(tmp_path / "r", bundle, fakes.designs(4), 2, encoder)
    assert register.figures_count == 12
    register.close()


def test_a_process_that_cuts_loads_neither_engine_nor_command_line() -> None:
    code = (
        "import json, sys; import edge_retrieval.drawing.ready; print(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"onnxruntime", "torch", "openvino", "typer", "rich", "hnswlib"}


def test_an_error_of_ours_in_a_process_is_raised_with_its_traceback(
    started: list[subprocess.Popen[bytes]],
) -> None:
    with Cutters(fakes.PREPROCESSING, 2) as pool:
        good = pool.submit(ready.SheetTask(fakes.drawing(1), "made/1.png"))
        wrong = ready.SheetTask(fakes.drawing(1), "made/2.png", boxes=())
        strange = pool.submit(replace(wrong, boxes=((1, 2),)))  # type: ignore[arg-type]
        assert len(good.result()) == 1
        with pytest.raises(RuntimeError, match="Traceback"):
            strange.result()
    assert len(started) >= 1


def test_fewer_than_one_job_is_refused(
    tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder
) -> None:
    with Register.create(tmp_path / "r", bundle) as register, pytest.raises(ConfigError):
        register.add([], encoder, jobs=0)


def steps_of(sizes: Sequence[int]) -> Iterator[Step]:
    yield Begin(fakes.design(1, []))
    for size in sizes:
        yield Taken(fakes.sheet(b""), bytes(size), "", None)
    yield End()


@pytest.mark.parametrize("sheets", [1, 3])
@pytest.mark.parametrize(
    "sizes", [[1] * 20, [90] * 20, [500, 1, 1, 500, 1, 99, 2, 98, 1], [40, 40, 40, 700, 1, 1], []]
)
def test_no_more_is_held_than_so_many_sheets_and_bytes(sheets: int, sizes: list[int]) -> None:
    taken: list[int] = []
    done: list[int] = []
    most = 0

    def noted() -> Iterator[Step]:
        nonlocal most
        for step in steps_of(sizes):
            if isinstance(step, Taken):
                assert len(taken) - len(done) < sheets
                assert sum(taken) - sum(done) < 100  # so that one more of any size may come
                taken.append(len(step.data))
                most = max(most, len(taken) - len(done))
            yield step

    for step in look_ahead(noted(), sheets=sheets, size=100):
        if isinstance(step, Taken):
            done.append(len(step.data))
    assert done == taken == sizes
    assert most <= sheets


@pytest.mark.parametrize("designs", [1, 3])
def test_so_many_designs_are_held_where_that_is_asked_for(designs: int) -> None:
    begun: list[int] = []
    ended = 0

    def noted() -> Iterator[Step]:
        for number in range(8):
            begun.append(number)
            assert len(begun) - ended <= designs
            yield from steps_of([1 << 16] * 60)

    for step in look_ahead(noted(), designs=designs):
        ended += isinstance(step, End)
    assert (len(begun), ended) == (8, 8)


def test_sheets_are_read_only_so_far_ahead_of_what_is_committed(
    tmp_path: Path,
    bundle: Bundle,
    encoder: fakes.FakeEncoder,
    started: list[subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = furthest = 0

    def watched(design: Design) -> Design:
        return replace(design, sheets=tuple(map(counting, design.sheets)))

    def counting(sheet: Sheet) -> Sheet:
        def counted() -> bytes:
            nonlocal read, furthest
            read += 1
            furthest = max(furthest, read - encoder.embedded)
            return sheet.read()

        return replace(sheet, read=counted)

    register = Register.create(tmp_path / "r", bundle)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(look_ahead.__kwdefaults__, "sheets", 6)
        register.add(map(watched, fakes.designs(20)), encoder, jobs=2, batch=4)
    assert register.figures_count == 60
    assert furthest <= 6 + 4 + 1
    assert ahead.SHEETS_AHEAD >= cutters.ENOUGH_SHEETS  # else processes would never be started
    register.close()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_file_under_another_name_is_copied_and_not_embedded_again(
    tmp_path: Path,
    bundle: Bundle,
    encoder: fakes.FakeEncoder,
    started: list[subprocess.Popen[bytes]],
    jobs: int,
) -> None:
    """In another run, and in the same one; committed or not yet."""
    first = fakes.designs(30)
    renamed = [replace(design, number=f"other {design.number}") for design in first]
    register = Register.create(tmp_path / "r", bundle)
    result = register.add([*first[:15], *renamed[:15]], encoder, jobs=jobs, batch=4)
    assert (encoder.embedded, result.sheets_copied, result.figures_added) == (45, 45, 90)
    result = register.add([*first[15:], *renamed[10:]], encoder, jobs=jobs)
    assert (encoder.embedded, result.sheets_copied) == (90, 45)
    assert result.unchanged == 15
    by_design: dict[str, list[tuple[bytes, bytes, object]]] = {}
    for record in register.figures(range(register.figures_count)):
        vector = register.vectors[record.row].tobytes()
        copied = (vector, register.picture(record.row), (record.box, record.sheet_sha256))
        by_design.setdefault(record.design, []).append(copied)
    assert len(by_design) == 60
    for design in first:
        assert by_design[design.number] == by_design[f"other {design.number}"]
    assert register.verify() == []
    register.close()


def test_a_sheet_that_a_source_cuts_otherwise_is_not_copied(
    tmp_path: Path, bundle: Bundle, encoder: fakes.FakeEncoder
) -> None:
    data = fakes.drawing(1, figures=2)
    cut = fakes.design(1, [fakes.sheet(data)])
    single = fakes.design(2, [fakes.sheet(data, single=True)])
    one, two = fakes.boxes(2)
    boxed = fakes.design(3, [fakes.sheet(data, boxes=(two,))])
    same = fakes.design(4, [fakes.sheet(data, boxes=(one, two))])
    register = Register.create(tmp_path / "r", bundle)
    copied = [register.add([item], encoder).sheets_copied for item in (cut, single, boxed, same)]
    assert copied == [0, 0, 0, 1]
    assert register.figures_count == 2 + 1 + 1 + 2
    register.close()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_broken_file_is_told_under_each_of_its_names(
    tmp_path: Path,
    bundle: Bundle,
    encoder: fakes.FakeEncoder,
    started: list[subprocess.Popen[bytes]],
    jobs: int,
) -> None:
    broken = [
        fakes.design(i, [fakes.sheet(b"\x89PNG broken", where=f"made/{i}.png")]) for i in range(3)
    ]
    register = Register.create(tmp_path / "r", bundle)
    result = register.add([*broken, *fakes.designs(6)[3:]], encoder, jobs=jobs)
    assert [problem.where for problem in result.problems] == [f"made/{i}.png" for i in range(3)]
    assert result.figures_added == 9
    register.close()


def test_what_memory_does_not_suffice_for_is_a_problem_of_its_sheet(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(ready, "cut_sheet", full)
    with pytest.raises(DrawingError, match=r"made/1\.png: too little memory"):
        ready.make_ready(ready.SheetTask(b"x", "made/1.png"), fakes.PREPROCESSING)
