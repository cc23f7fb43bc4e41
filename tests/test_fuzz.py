"""No file brings a reader down: it answers, refuses with a hint, or yields a problem.

The readers, their small seeds and the ways to spoil them are those of `benchmarks/fuzz.py`, which
feeds them a hundred thousand inputs; here are a few of each, the same ones every time.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_retrieval import plan
from edge_retrieval.errors import EdgeRetrievalError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
DRAWINGS = ("tiff", "png", "jpeg", "webp", "bmp", "gif", "pdf")
SOURCES = ("zip", "tar", "tar.gz", "uspto", "deeppatent2", "table", "parquet", "folder")
TEXTS = ("report", "split", "recipe", "record", "watch.json")
BUNDLES = ("bundle.json", "golden.npz", "model.onnx", "calibration")
REGISTERS = (
    "register.json", "head.json", "designs.sqlite", "columns.bin", "vectors-0.f32",
    "pictures-0.bin", "pass.u8", "graph.hnsw", "graph.hnsw.json",
)  # fmt: skip
EXTRA = {"pdf", "parquet", "recipe", "graph.hnsw", "graph.hnsw.json"}
"""Read where an optional library is installed."""
KINDS = (*DRAWINGS, *SOURCES, *TEXTS, *BUNDLES, *REGISTERS)
NAMES = itertools.count()


@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    """The readers' module, where caches pay in registers as small as ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        for name, value in (("PASS_FROM", 1), ("GRAPH_FROM", 1), ("BYTE_LOADED", 0.0)):
            patch.setattr(plan, name, value)
        yield import_module("fuzz_readers")


@pytest.fixture(scope="module")
def readers(fuzz: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    found: dict[str, Any] = fuzz.Readers(tmp_path_factory.mktemp("readers")).all
    return found


def feed(reader: Any, data: bytes, folder: Path) -> bool:
    """Let a reader read; say whether it answered, and did not refuse."""
    here = folder / str(next(NAMES))
    here.mkdir()
    try:
        reader.read(data, here)
    except EdgeRetrievalError as error:
        assert str(error) and error.hint
        return False
    finally:
        shutil.rmtree(here)
    return True


def test_every_reader_is_fed(readers: dict[str, Any]) -> None:
    assert set(KINDS) - EXTRA <= readers.keys() <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(number=st.integers(100, 1 << 30))
def test_a_spoilt_file_is_read_or_refused_with_a_hint(
    kind: str, number: int, readers: dict[str, Any], tmp_path: Path
) -> None:
    if kind not in readers:
        pytest.skip("an optional library is missing")
    feed(readers[kind], readers[kind].input_of(2, number), tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_spoilt_is_read(kind: str, readers: dict[str, Any], tmp_path: Path) -> None:
    if kind not in readers:
        pytest.skip("an optional library is missing")
    # A page that has two boxes, of which one may hold no ink, or several pages: refused rightly.
    answers = [feed(readers[kind], seed, tmp_path) for seed in readers[kind].seeds]
    assert any(answers)


def test_an_input_is_the_same_whenever_it_is_made(readers: dict[str, Any]) -> None:
    kinds = ("tiff", "zip", "tar.gz", "designs.sqlite", "folder")
    once = [readers[kind].input_of(1, number) for kind in kinds for number in range(100, 110)]
    again = [readers[kind].input_of(1, number) for kind in kinds for number in range(100, 110)]
    other = [readers[kind].input_of(2, number) for kind in kinds for number in range(100, 110)]
    assert once == again
    assert once != other


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process")
def test_what_brings_a_reader_down_is_found(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = import_module("fuzz")
    monkeypatch.setattr(run, "SECONDS", 0.05)

    def spinning(data: bytes, folder: Path) -> None:
        while True:
            pass

    def reading(data: bytes, folder: Path) -> None:
        raise {b"m": MemoryError, b"e": IndexError}[data]

    def answer(read: Any, data: bytes) -> str:
        reader = fuzz.Reader("a", [data], lambda data, rng: data, read)
        outcome: str = run.read_one(reader, data, tmp_path)[0]
        return outcome

    assert answer(lambda data, folder: None, b"x") == "read"
    assert answer(spinning, b"x") == "hang"
    assert answer(reading, b"m") == "memory"
    assert answer(reading, b"e") == "exception"


def test_mutators_that_know_a_format_keep_the_rest_of_it_right(fuzz: ModuleType) -> None:
    spoil, folders = import_module("fuzz_mutators"), import_module("fuzz_folders")
    told = {"a": [1, 2], "sha256": ""}
    for seed in range(50):
        made = spoil.tree(folders.by_digest)(json.dumps(told).encode(), random.Random(seed))
        again = json.loads(made)
        if isinstance(again, dict):
            assert again["sha256"] == folders.digest_of(again)
