"""What a search loads before it answers. Modules are counted: milliseconds are the machine's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
QUERY = ROOT / "edge_retrieval" / "data" / "sample" / "query.png"

PROBE = """
import contextlib, io, json, sys
from edge_retrieval.cli import main
sys.argv = ["edge-ret", *sys.argv[1:]]
answer = io.StringIO()
with contextlib.redirect_stdout(answer):
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
json.loads(answer.getvalue())
print(json.dumps(sorted(sys.modules)))
"""

NOT_FOR_A_SEARCH = {
    "rich",  # tables and bars
    "pydantic",  # typer takes it from 0.29 on
    "openvino", "hnswlib", "torch", "distill",
    "importlib.metadata", "email", "socket",  # what asking for versions loads
    "zipfile", "tarfile", "xml", "csv",  # readers of sources
    "concurrent.futures.process", "multiprocessing", "asyncio",
    "edge_retrieval.speed", "edge_retrieval.bench", "edge_retrieval.doctor",
    "edge_retrieval.report", "edge_retrieval.cli.benching",
    "edge_retrieval.cli.exporting", "edge_retrieval.cli.making",
}  # fmt: skip

BUDGET = {"edge_retrieval": 68, "all": 375}
"""Modules. Each of ours costs about a millisecond of a laptop, five of a Raspberry Pi."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    cache = tmp_path_factory.mktemp("cache")
    home = {**os.environ, "PYTHONPATH": str(ROOT), "EDGE_RET_CACHE": str(cache)}
    home.pop("EDGE_RET_REGISTER", None)
    named: list[str] = []
    for _ in range(2):  # the first makes the sample's register, the second searches in it
        result = subprocess.run(
            [sys.executable, "-c", PROBE, "search", str(QUERY), "--json", *named],
            capture_output=True, text=True, cwd=cache, env=home, timeout=300, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        [sample] = cache.glob("sample-*")
        named = ["--register", str(sample)]
    return set(json.loads(result.stdout))


def test_a_search_loads_nothing_that_it_does_not_need(loaded: set[str]) -> None:
    assert not loaded & NOT_FOR_A_SEARCH


def test_a_search_stays_within_its_budget_of_modules(loaded: set[str]) -> None:
    count = Counter(name.partition(".")[0] for name in loaded)
    assert count["edge_retrieval"] <= BUDGET["edge_retrieval"]
    assert len(loaded) <= BUDGET["all"], count.most_common(8)


def test_a_search_starts_no_threads_of_numpys_blas() -> None:
    """They cost, when numpy is loaded, as much as all of numpy."""
    code = """
import atexit, os, sys
atexit.register(lambda: print(os.environ.get("OPENBLAS_NUM_THREADS")))
sys.argv = ["edge-ret", "search", "--help"]
from edge_retrieval.cli import main
main()
"""
    home = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
        env={**home, "PYTHONPATH": str(ROOT)}, timeout=60, check=True,
    )  # fmt: skip
    assert result.stdout.splitlines()[-1] == "1"
