"""On Windows there is no fcntl and the like: nothing here may need them.

What only POSIX systems have is taken away, and what only Windows has is stood in for, as far as a
Linux machine can: the lock of `msvcrt`, by a range of bytes of the system's own.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from edge_retrieval import staging
from edge_retrieval.errors import RegisterError
from edge_retrieval.register.files import writer_lock
from tests.test_layers import files_of, imports_of

ROOT = Path(__file__).parents[1]
POSIX_ONLY = {
    "fcntl", "grp", "nis", "ossaudiodev", "posix", "pty", "pwd", "resource", "spwd", "syslog",
    "termios", "tty",
}  # fmt: skip
POSIX_NAMES = {
    "os": {
        "chown", "chroot", "fchmod", "fork", "forkpty", "getegid", "geteuid", "getgid",
        "getloadavg", "getpgid", "getpriority", "getuid", "killpg", "lchown", "lockf", "mkfifo",
        "nice", "pread", "pwrite", "sched_getaffinity", "sched_setaffinity", "sendfile", "setsid",
        "statvfs", "sysconf", "uname", "wait", "waitpid", "wait4", "O_DIRECTORY", "O_NOFOLLOW",
    },
    "signal": {"SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "alarm", "setitimer"},
    "mmap": {"MADV_DONTNEED", "MAP_SHARED", "PROT_READ"},
    "socket": {"AF_UNIX"},
}  # fmt: skip
GUARDS = ("hasattr(", "os.name", "sys.platform", "AttributeError", "_exists(")
"""What says, in the function that uses such a name, that it may not be there."""

WITHOUT_PROC = {
    "edge_retrieval/bench/sensors.py:busy_seconds",  # has read /proc/stat before
}

# What the standard library needs itself on this system is loaded before it is taken away.
AS_ON_WINDOWS = f"""
import asyncio, getpass, multiprocessing, os, shutil, subprocess, sys, tarfile, tempfile, types
import concurrent.futures.process
import numpy  # asks for the version of Linux
lockf, LOCK, TEST, FREE = os.lockf, os.F_TLOCK, os.F_TEST, os.F_ULOCK
for name in {sorted(POSIX_ONLY)!r}:
    sys.modules[name] = None
for name in {sorted(POSIX_NAMES["os"])!r}:
    if hasattr(os, name) and name not in ("fork", "waitpid", "sendfile"):  # Python needs them
        delattr(os, name)
msvcrt = sys.modules["msvcrt"] = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK, msvcrt.LK_UNLCK = 2, 0
def locking(handle, how, length):
    lockf(handle, FREE if how == msvcrt.LK_UNLCK else LOCK, length)
msvcrt.locking = locking
"""


def as_on_windows(
    code: str, *args: str | Path, cwd: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run code where what Windows lacks is lacking."""
    return subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS + code, *map(str, args)],
        capture_output=True, text=True, cwd=cwd, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
    )  # fmt: skip


posix = pytest.mark.skipif(os.name != "posix", reason="here nothing has to be taken away")


@posix
def test_every_module_can_be_imported_without_what_only_posix_has(tmp_path: Path) -> None:
    code = """
import importlib, pkgutil, edge_retrieval
names = [m.name for m in pkgutil.walk_packages(edge_retrieval.__path__, "edge_retrieval.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
    done = as_on_windows(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


@posix
def test_without_them_designs_are_indexed_and_searched(tmp_path: Path) -> None:
    for number, shift in enumerate((0, 60)):
        image = Image.new("L", (300, 300), 255)
        ImageDraw.Draw(image).polygon([(40 + shift, 40), (260, 80), (200 - shift, 250)], outline=0)
        place = tmp_path / "designs" / "06" / "06-01" / f"D{number}"
        place.mkdir(parents=True)
        image.save(place / "1.png")
    code = "from edge_retrieval.cli import main\nmain()"
    cache = {"EDGE_RET_CACHE": str(tmp_path / "cache")}
    made = as_on_windows(code, "index", "designs", "-o", "mine", cwd=tmp_path, **cache)
    assert made.returncode == 0, made.stderr
    found = as_on_windows(
        code, "search", "designs/06/06-01/D1/1.png", "-r", "mine", "--json", cwd=tmp_path, **cache
    )
    assert found.returncode == 0, found.stderr
    assert '"design": "D1"' in found.stdout.partition('"rank": 2')[0]
    seen = as_on_windows(code, "register", "verify", "mine", cwd=tmp_path, **cache)
    assert seen.returncode == 0, seen.stderr


HOLD = """
from pathlib import Path
from edge_retrieval.register.files import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@posix
@pytest.mark.parametrize("how", ["killed", "ended"])
def test_the_lock_of_windows_keeps_others_out_and_ends_with_its_holder(
    how: str, tmp_path: Path
) -> None:
    path = tmp_path / "writer.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", AS_ON_WINDOWS + HOLD, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        try:
            assert holder.stdout.readline() == "held\n"
            refused = as_on_windows(HOLD, path, cwd=tmp_path)
            assert "another process is writing to this register" in refused.stderr
            if how == "ended":
                holder.stdin.close()
                assert holder.wait(60) == 0
        finally:
            holder.kill()
        holder.wait(60)
    taken = as_on_windows(HOLD, path, cwd=tmp_path)
    assert taken.stdout == "held\n", taken.stderr


@posix
def test_a_disk_that_knows_no_locks_is_called_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import fcntl

    def flock(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(RegisterError, match="cannot be locked") as told,
        writer_lock(tmp_path / "writer.lock"),
    ):
        pass
    assert "disk of this machine" in told.value.hint


@posix
def test_a_folder_is_staged_where_only_handles_that_write_can_be_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows answers EBADF to a sync of what was opened to be read."""
    import errno
    import fcntl
    import stat

    synced = []

    def fsync(handle: int) -> None:
        is_file = stat.S_ISREG(os.fstat(handle).st_mode)
        if is_file and fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        synced.append(is_file)

    monkeypatch.setattr(os, "fsync", fsync)
    with staging.staged(tmp_path / "whole") as stage:
        (stage / "file").write_bytes(b"content")
    assert (tmp_path / "whole" / "file").read_bytes() == b"content"
    assert True in synced


def functions_of(path: Path) -> list[tuple[str, ast.AST, str]]:
    """Return (name, node, source) of a file's functions, and of what is outside of them."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    found = [
        (node.name, node, ast.unparse(node))
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    inside = {id(node) for _, function, _ in found for node in ast.walk(function)}
    rest = ast.Module([node for node in tree.body if id(node) not in inside], [])
    return [*found, ("", rest, ast.unparse(rest))]


def test_what_only_posix_has_is_asked_for_before_it_is_used() -> None:
    unguarded = []
    for package in ("edge_retrieval", "distill"):
        for path in files_of(package):
            where = path.relative_to(ROOT).as_posix()
            for name, node, source in functions_of(path):
                for used in ast.walk(node):
                    match used:
                        case ast.Attribute(value=ast.Name(id=module), attr=attribute):
                            if attribute not in POSIX_NAMES.get(module, ()):
                                continue
                            guarded = any(guard in source for guard in GUARDS)
                            if not guarded and f"{where}:{name}" not in WITHOUT_PROC:
                                unguarded.append(f"{where}:{used.lineno} {module}.{attribute}")
    assert not unguarded, "\n".join(unguarded)


def test_no_module_loads_what_only_posix_has_when_it_is_imported() -> None:
    wrong = [
        str(found)
        for package in ("edge_retrieval", "distill")
        for path in files_of(package)
        for found in imports_of(path)
        if found.runs_at_import and found.of(POSIX_ONLY)
    ]
    assert not wrong, "\n".join(wrong)


def test_text_is_read_and_written_in_one_encoding_wherever_it_is() -> None:
    """The usual encoding of Windows is not UTF-8."""
    wrong = []
    for package in ("edge_retrieval", "distill"):
        for path in files_of(package):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Attribute(attr="read_text" | "write_text" as name)):
                        named = {keyword.arg for keyword in node.keywords}
                        in_place = len(node.args) > (name == "write_text")
                        own = ast.unparse(node.func) == "talk.write_text"
                        if "encoding" not in named and not in_place and not own:
                            wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {name}")
    assert not wrong, "\n".join(wrong)


def test_where_no_links_can_be_made_nothing_depends_on_one() -> None:
    """Windows lets few people make links, and many disks know none."""
    wrong = []
    for package in ("edge_retrieval", "distill"):
        for path in files_of(package):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            tried = {
                id(inner)
                for node in ast.walk(tree)
                if isinstance(node, ast.Try)
                and any("OSError" in ast.unparse(handler.type or node) for handler in node.handlers)
                for inner in ast.walk(node)
            }
            for node in ast.walk(tree):
                named = isinstance(node, ast.Attribute) and node.attr in (
                    "symlink_to", "hardlink_to", "symlink", "link"
                )  # fmt: skip
                if named and id(node) not in tried:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)
