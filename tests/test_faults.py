"""Full disks, lost permissions and signals at every step that changes a file: nothing is lost.

`benchmarks/faults.py` does it with whole commands, and with memory, clocks and company.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks import fault_layer
from edge_retrieval import cli
from edge_retrieval.bundle import Bundle
from edge_retrieval.cli.talk import write_text
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import ConfigError, EdgeRetrievalError, RegisterError
from edge_retrieval.index import pass_file
from edge_retrieval.index.coding import Coding
from edge_retrieval.limits import Limits, read_within, within
from edge_retrieval.register import Register, adding
from edge_retrieval.register.repairing import faults_of, repair
from edge_retrieval.sources.design import Design
from edge_retrieval.staging import staged, write_whole
from tests import fakes

pytestmark = pytest.mark.skipif(os.name == "nt", reason="no signal for one process")

FULL, DENIED = {"error": "ENOSPC"}, {"error": "EACCES", "once": True}
BEFORE, AFTER = {"signal": "SIGINT"}, {"signal": "SIGINT", "after": True}


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Let SIGINT be what it is in a shell, whoever runs the tests."""
    was = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, was)


def at_every_step(
    source: Path,
    place: Path,
    do: Callable[[Path], object],
    *faults: dict[str, Any],
    errors: type[Exception] | tuple[type[Exception], ...] = OSError,
    in_turn: int = 0,
) -> Iterator[tuple[Path, str, bool]]:
    """Copy a folder and work in the copy, over and over: each time another step has the fault.

    Args:
        source: The folder.
        place: Where the copies are.
        do: The work.
        faults: What happens.
        errors: What the work may raise then.
        in_turn: So many of the faults happen at each step, the next ones at the next; 0: all.

    Yields:
        The copy, which step had the fault, and whether the work ended well all the same.
    """
    shutil.copytree(source, place)
    with fault_layer.laid({"root": str(place)}) as layer:
        do(place)
    shutil.rmtree(place)
    steps = list(layer.steps)
    assert steps
    for at, step in enumerate(steps):
        turn = range(at * in_turn, (at + 1) * in_turn) if in_turn else range(len(faults))
        for fault in (faults[number % len(faults)] for number in turn):
            shutil.copytree(source, place)
            good = False
            try:
                with fault_layer.laid({"root": str(place), "at": at, **fault}):
                    do(place)
                good = True
            except KeyboardInterrupt:
                assert "signal" in fault
            except errors:
                assert "signal" not in fault
            assert good is False or "signal" not in fault, f"{step}: the signal was swallowed"
            yield place, f"{at} {step} {fault}", good
            shutil.rmtree(place)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_that_is_replaced_is_the_old_one_or_the_new_one_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    (source / "mine").mkdir(parents=True)
    for name in ("old", "kept", "also kept"):
        (source / "mine" / name).write_text(name)

    def replaced(place: Path) -> None:
        with staged(place / "mine", replaces=("old",)) as stage:
            (stage / "new").write_text("new")

    seen = set()
    faults = (FULL, {**FULL, "once": True}, DENIED, BEFORE, AFTER)
    for place, step, good in at_every_step(source, tmp_path / "place", replaced, *faults):
        there = tuple(names(place / "mine"))
        assert there in (("also kept", "kept", "new"), ("also kept", "kept", "old")), step
        assert "new" in there or not good, step
        # What cannot be removed because of the very fault is left; of all else nothing is.
        assert names(place) == ["mine"] or "EACCES" in step, step
        seen.add((there[2], good))
    assert seen >= {("old", False), ("new", True)}


def test_a_file_that_is_replaced_is_the_old_one_or_the_new_one_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "page.html").write_text("<!doctype old")
    for write in (
        lambda place: write_text(place / "page.html", "<!doctype new"),
        lambda place: write_whole(place / "page.html", b"<!doctype new"),
    ):
        for place, step, good in at_every_step(
            source, tmp_path / "place", write, FULL, DENIED, BEFORE, AFTER,
            errors=(OSError, ConfigError),
        ):  # fmt: skip
            assert names(place) == ["page.html"], step
            assert (place / "page.html").read_text() in ("<!doctype old", "<!doctype new"), step
            assert not good or "new" in (place / "page.html").read_text(), step


def test_a_full_disk_is_told_with_what_helps(tmp_path: Path) -> None:
    with (
        fault_layer.laid({"root": str(tmp_path), "at": 0, **FULL}),
        pytest.raises(ConfigError, match="No space left on device") as caught,
    ):
        write_text(tmp_path / "page.html", "<!doctype html>")
    assert caught.value.hint == "make room"


def test_a_first_pass_that_is_interrupted_leaves_nothing(tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "source").mkdir()
    numbers = np.ones(3)
    coding = Coding(np.ones((4, 3)), numbers, numbers, 0.1, 0.1)

    def written(place: Path) -> None:
        pass_file.write_pass(
            place / "pass", coding, np.zeros((5, 4), np.uint8), vectors="v", compared=1.0
        )

    for place, step, _ in at_every_step(
        tmp_path / "source", tmp_path / "place", written, BEFORE, AFTER, FULL, errors=RegisterError
    ):
        assert names(place) in ([], ["pass"]), step


@lru_cache(maxsize=1)
def designs() -> list[Design]:
    return fakes.designs(11, views=1)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a register of eight designs, one of them removed, and another register."""
    folder = tmp_path_factory.mktemp("base")
    bundle = fakes.tiny_bundle(tmp_path_factory.mktemp("bundle") / "bundle")
    for name, places in (("mine", range(8)), ("other", range(8, 11))):
        with Register.create(folder / name, bundle) as register:
            some = [designs()[number] for number in places]
            register.add(some, fakes.FakeEncoder(bundle.fingerprint))
            if name == "mine":
                register.remove(["D0003"])
    return folder


def added(place: Path) -> None:
    with Register.open(place / "mine") as register:
        encoder = fakes.FakeEncoder(register.bundle.fingerprint)
        register.add(designs()[4:], encoder)


def removed(place: Path) -> None:
    with Register.open(place / "mine") as register:
        gone = [number for number in ("D0001", "D0002") if numbers(register) >= {number}]
        register.remove(gone)


def compacted(place: Path) -> None:
    with Register.open(place / "mine") as register:
        register.compact()


def merged(place: Path) -> None:
    with Register.open(place / "mine") as register, Register.open(place / "other") as other:
        register.merge_from(other)


def numbers(register: Register) -> set[str]:
    columns = register.columns
    return {columns.number(place) for place in columns.by_number if columns.alive[place]}


@pytest.mark.parametrize("work", [added, removed, compacted, merged])
def test_no_fault_at_any_step_loses_a_design_and_the_same_again_completes_the_work(
    work: Callable[[Path], None], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adding, "COMMIT_FIGURES", 4)
    undisturbed = Path(shutil.copytree(base, tmp_path / "undisturbed"))
    work(undisturbed)
    with Register.open(base / "mine") as register:
        before = numbers(register)
    with Register.open(undisturbed / "mine") as register:
        after, contents = numbers(register), register.contents
    for place, step, good in at_every_step(
        base, tmp_path / "place", work, FULL, AFTER, DENIED, BEFORE,
        errors=EdgeRetrievalError, in_turn=2 if work is compacted else 1,
    ):  # fmt: skip
        assert faults_of(place / "mine") == [], step
        with Register.open(place / "mine") as register:
            assert numbers(register) >= before & after, step
            assert numbers(register) <= before | after, step
            assert numbers(register) == after or not good, step
            if work is removed:
                assert numbers(register) in (before, after), step
        work(place)
        with Register.open(place / "mine") as register:
            assert register.contents == contents, step
            assert register.verify() == [], step
        epochs = [name for name in names(place / "mine") if name.startswith("vectors-")]
        assert len(epochs) == 1, step
        assert not list((place / "mine").glob("*.part")), step


def test_no_fault_at_any_step_of_a_repair_loses_what_is_sound(base: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(base, tmp_path / "source"))
    pictures = source / "mine" / "pictures-0.bin"
    pictures.write_bytes(bytes([pictures.read_bytes()[0] ^ 1]) + pictures.read_bytes()[1:])
    for place, step, good in at_every_step(
        source, tmp_path / "place", lambda place: repair(place / "mine"),
        AFTER, FULL, BEFORE, errors=EdgeRetrievalError, in_turn=1,
    ):  # fmt: skip
        assert not list((place / "mine").glob("designs.sqlite.part*")), step
        if not good:
            repair(place / "mine")
        with Register.open(place / "mine") as register:
            assert numbers(register) == {f"D{n:04d}" for n in (1, 2, 4, 5, 6, 7)}, step
            assert register.verify() == [], step
        assert not list((place / "mine").glob("designs.sqlite.*")), step


def test_an_empty_folder_is_a_register_or_empty_whatever_happens(
    base: Path, tmp_path: Path
) -> None:
    (tmp_path / "source" / "card").mkdir(parents=True)
    with Register.open(base / "mine") as register:
        bundle = register.bundle

        def made(place: Path) -> None:
            Register.create(place / "card", bundle).close()

        for place, step, good in at_every_step(
            tmp_path / "source", tmp_path / "place", made, FULL, AFTER, DENIED, BEFORE,
            errors=EdgeRetrievalError, in_turn=1,
        ):  # fmt: skip
            assert names(place) == ["card"], step
            if not (place / "card" / "register.json").exists():
                assert not good, step
                assert names(place / "card") == [] or "EACCES" in step, step
                shutil.rmtree(place / "card")
                made(place)
            assert faults_of(place / "card") == [], step


def test_the_log_does_not_grow_while_a_reader_refreshes_between_two_writers(
    base: Path, tmp_path: Path
) -> None:
    place = Path(shutil.copytree(base, tmp_path / "place"))
    log = place / "mine" / "designs.sqlite-wal"
    sizes = []
    with Register.open(place / "mine") as reader, Register.open(place / "mine") as writer:
        encoder = fakes.FakeEncoder(writer.bundle.fingerprint)
        for number in range(12):
            writer.add([designs()[8 + number % 3]], encoder)
            writer.remove([designs()[8 + number % 3].number])
            reader.refresh()
            assert reader.generation == writer.generation
            assert reader.verify() == []
            sizes.append(log.stat().st_size)
    assert max(sizes) < 3 * sizes[0]  # it is begun anew, however often it is written
    with Register.open(place / "mine") as register:
        assert register.verify() == []


def test_a_network_that_is_kept_is_kept_whole_and_an_interrupt_leaves_no_part_of_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path / "place" / "cache"))
    (tmp_path / "source").mkdir()
    bundle = Bundle.open(base / "mine" / "bundle")
    for place, step, _ in at_every_step(
        tmp_path / "source", tmp_path / "place",
        lambda place: load_encoder(bundle, threads=1, keep=True), FULL, BEFORE, AFTER, in_turn=2,
    ):  # fmt: skip
        left = [path.name for path in place.rglob("*.part*")]
        assert left == [], step


def test_a_signal_that_ends_is_an_interrupt_with_its_own_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cleaned = []

    def running(number: int) -> Callable[[], None]:
        def run() -> None:
            try:
                os.kill(os.getpid(), number)
                time.sleep(0)
            finally:
                os.kill(os.getpid(), number)  # a second one does not disturb the cleaning up
                cleaned.append(number)

        return run

    for number, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        monkeypatch.setattr("edge_retrieval.cli.commands.run", running(number))
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert stop.value.code == code
        assert signal.getsignal(number) == signal.SIG_DFL
    assert cleaned == [signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_not_lost_where_python_ignores_what_is_raised(
    number: int, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Falling:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)
            time.sleep(0)

    def run() -> None:
        Falling()
        threading.Event().wait(60)

    monkeypatch.setattr("edge_retrieval.cli.commands.run", run)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == code
    assert capsys.readouterr().err == ""


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "edge_retrieval.cli.commands.run", lambda: os.kill(os.getpid(), signal.SIGHUP)
    )
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        cli.main()
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("numpy.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
    ],
)
def test_memory_that_ends_is_told_with_what_helps(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ends(only: str) -> None:
        raise error

    monkeypatch.setattr("edge_retrieval.cli.commands.application", ends)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "error: there is not enough memory for this"
    assert told[1].startswith("hint: close other programs; index with --jobs 1")


def test_an_error_of_another_kind_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(only: str) -> None:
        raise RuntimeError("our own mistake")

    monkeypatch.setattr("edge_retrieval.cli.commands.application", ends)
    with pytest.raises(RuntimeError, match="our own mistake"):
        cli.main()


def test_a_small_file_takes_no_more_memory_than_a_piece() -> None:
    asked = []

    class Asked(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size or 0)
            return super().read(size)

    with within(Limits(mb=2)):
        assert read_within(Asked(b"drawing")) == b"drawing"
        assert len(read_within(Asked(bytes(5 << 20)))) == (2 << 20) + 1
    assert max(asked) <= 1 << 20


def command(place: Path, *words: str, told: dict[str, Any] | None = None) -> subprocess.Popen[str]:
    """Start `edge-ret` in a folder, behind the layer."""
    (place / "tmp").mkdir(exist_ok=True)
    layer = json.dumps({"root": str(place), **(told or {})})
    own = {"EDGE_RET_CACHE": str(place / "cache"), "TMPDIR": str(place / "tmp")}
    return subprocess.Popen(
        [sys.executable, fault_layer.__file__, layer, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place, env=os.environ | own,
    )  # fmt: skip


def test_a_bench_that_is_told_to_end_leaves_nothing_behind(base: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(base, tmp_path / "place"))
    (place / "query.png").write_bytes(fakes.drawing(1, side=48))
    words = ("bench", "query.png", "-r", "mine", "--only", "search_cost", "-o", "bench.json")
    with command(place, *words) as process:
        while not list(place.glob("tmp/edge-ret-bench-*/*")):
            assert process.poll() is None, process.communicate()
            select_nothing()
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "Traceback" not in err
    assert names(place / "tmp") == []
    assert not (place / "bench.json").exists()


def select_nothing() -> None:
    """Let others run."""
    os.sched_yield() if hasattr(os, "sched_yield") else None


def test_a_server_that_is_told_to_end_does_so_quietly(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    place = Path(shutil.copytree(base, tmp_path / "place"))
    with command(place, "serve", "-r", "mine", "--port", "0") as process:
        assert process.stdout is not None
        assert "serving 7 designs" in process.stdout.readline()
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, "")
    assert err.splitlines() == ["          Ctrl-C ends it"]


def test_a_command_whose_disk_is_full_says_so_in_two_lines_and_leaves_nothing(
    base: Path, tmp_path: Path
) -> None:
    place = Path(shutil.copytree(base, tmp_path / "place"))
    there = names(place / "mine")
    told = {"at": 4, **FULL}
    with command(place, "register", "remove", "mine", "D0001", told=told) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert [line.partition(" ")[0] for line in err.splitlines()] == ["error:", "hint:"]
    assert "make room on the disk" in err
    with Register.open(place / "mine") as register:
        assert "D0001" in numbers(register)
        assert register.verify() == []
    assert names(place / "mine") == there
