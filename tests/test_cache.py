"""Where the cache is kept: never where somebody else may write, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edge_retrieval import cache
from edge_retrieval.sample import sample_query

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "tests" / "pinned" / "register-3"


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process whose home cannot be written; the folder of its temporary files."""
    for name in ("EDGE_RET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    nowhere = tmp_path / "no folder"
    nowhere.write_bytes(b"")  # even root makes no folder in a file
    monkeypatch.setenv("HOME", str(nowhere))
    monkeypatch.setenv("USERPROFILE", str(nowhere))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    cache._fresh_folder.cache_clear()
    return temporary


def test_the_cache_is_where_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path / "said"))
    assert cache.cache_folder() == tmp_path / "said"


def test_without_a_home_it_is_a_folder_of_ones_own(homeless: Path) -> None:
    folder = cache.cache_folder()
    assert folder.parent == homeless
    assert folder == cache.cache_folder()
    if os.name == "posix":
        assert folder.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.name != "posix", reason="temporary files are each user's own on Windows")
@pytest.mark.parametrize("how", ["a link", "open to all", "somebody else's"])
def test_a_folder_that_another_user_prepared_is_not_taken(
    how: str, homeless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = homeless / f"edge-retrieval-{os.getuid()}"
    if how == "a link":
        (tmp_path / "theirs").mkdir()
        expected.symlink_to(tmp_path / "theirs")
    else:
        expected.mkdir()
        expected.chmod(0o777 if how == "open to all" else 0o755)
    if how == "somebody else's":
        mine = os.getuid()
        seen: list[int] = []  # the name is asked first, then the owner is compared
        monkeypatch.setattr(os, "getuid", lambda: seen.append(1) or mine + (len(seen) > 1))
    folder = cache.cache_folder()
    assert folder != expected
    assert folder.is_dir()
    assert folder == cache._fresh_folder()  # the same for all of this process


NOTHING = """
import sys, tempfile
from pathlib import Path
def none_usable():
    raise FileNotFoundError(2, "no usable folder")
tempfile._get_default_tempdir = none_usable
from edge_retrieval import cache, cli
cache.LAST_RESORT = Path(sys.argv.pop(1))
sys.argv[0] = "edge-ret"
cli.main()
"""


def with_nothing_to_write_to(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Call `edge-ret ARGS` where neither a home nor temporary files can be written."""
    nowhere = folder / "no folder"
    nowhere.write_bytes(b"")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EDGE_RET", "XDG"))}
    return subprocess.run(
        [sys.executable, "-c", NOTHING, str(nowhere), *args],
        capture_output=True, text=True, cwd=folder, timeout=120, check=False,
        env={**kept, "HOME": str(nowhere), "USERPROFILE": str(nowhere), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_where_nothing_can_be_written_a_search_of_the_sample_says_so(tmp_path: Path) -> None:
    done = with_nothing_to_write_to(tmp_path, "search", "--json", "-k", "3")
    assert done.returncode == 1
    assert done.stdout == ""
    error, hint = done.stderr.strip().splitlines()[-2:]
    assert error.startswith("error: ")
    assert "sample" in error
    assert hint.startswith("hint: set EDGE_RET_CACHE")
    assert "Traceback" not in done.stderr


def test_where_nothing_can_be_written_a_register_is_searched_all_the_same(tmp_path: Path) -> None:
    done = with_nothing_to_write_to(
        tmp_path, "search", str(sample_query()), "-r", str(PINNED), "--json", "-k", "1"
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["results"][0]["hits"]) == 1
