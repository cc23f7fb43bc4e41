"""Measurements of one search: every stage, every run, nothing invented."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_retrieval.bench import bench
from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.errors import EvaluationError, RegisterError
from edge_retrieval.register import Register
from edge_retrieval.sample import sample_folder, sample_query, sample_register


@pytest.fixture(scope="module")
def register(tmp_path_factory: pytest.TempPathFactory) -> Register:
    """The sample register, in a cache of its own."""
    patch = pytest.MonkeyPatch()
    patch.setenv("EDGE_RET_CACHE", str(tmp_path_factory.mktemp("cache")))
    made = sample_register(Bundle.open(default_bundle_path()))
    patch.undo()
    return made


def test_the_stages_of_a_search_add_up_to_its_whole(register: Register) -> None:
    report = bench(register, [sample_query()], runs=5)
    stages = [report[f"latency.{name}"].samples for name in ("decode", "fit", "embed", "search")]
    for parts, total in zip(
        zip(*stages, strict=True), report["latency.total"].samples, strict=True
    ):
        assert sum(parts) == pytest.approx(total, rel=0.01, abs=1e-4)
        assert min(parts) > 0
    assert report["memory.peak"].samples[0] > 10e6
    assert report.settings["designs"] == register.designs_count


def test_a_bench_without_drawings_or_runs_is_refused(register: Register) -> None:
    with pytest.raises(EvaluationError):
        bench(register, [])
    with pytest.raises(EvaluationError):
        bench(register, [sample_query()], runs=0)


def test_the_sample_is_small_whole_and_made_only_once(
    register: Register, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    size = sum(f.stat().st_size for f in sample_folder().rglob("*") if f.is_file())
    assert size < 2_000_000
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path))
    bundle = Bundle.open(default_bundle_path())
    first = sample_register(bundle)
    again = sample_register(bundle)
    assert first.folder == again.folder
    assert first.designs_count == register.designs_count
    assert [entry.name for entry in tmp_path.iterdir()] == [first.folder.name]


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(RegisterError, match="cache") as caught:
        sample_register(Bundle.open(default_bundle_path()))
    assert "EDGE_RET_CACHE" in caught.value.hint


def test_a_damaged_sample_register_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EDGE_RET_CACHE", str(tmp_path))
    bundle = Bundle.open(default_bundle_path())
    folder = sample_register(bundle).folder
    (folder / "register.json").write_text("{}")
    assert sample_register(bundle).designs_count > 0
