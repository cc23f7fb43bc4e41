"""What the comparison with an emulated Raspberry Pi counts as agreement, and what it asks for."""

from __future__ import annotations

import csv
import zipfile
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
Found = list[tuple[str, float]]

ONE: Found = [("A", 0.9), ("B", 0.5), ("C", 0.4)]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return import_module("aarch64")


@pytest.mark.parametrize(
    ("other", "equal", "within", "largest"),
    [
        ([("A", 0.9), ("B", 0.5), ("C", 0.4)], 1, 1, 0.0),
        ([("A", 0.95), ("B", 0.5), ("C", 0.4)], 1, 1, 0.05),  # the ranks decide
        ([("B", 0.9), ("A", 0.5005), ("C", 0.4)], 0, 1, 0.0005),  # else the scores do
        ([("B", 0.9), ("A", 0.502), ("C", 0.4)], 0, 0, 0.002),
    ],
)
def test_searches_agree_by_their_order_or_else_by_their_scores(
    benchmark: ModuleType, other: Found, equal: int, within: int, largest: float
) -> None:
    told = benchmark.agreement([ONE], [other])
    assert (told["equal"], told["within"]) == (equal, within)
    assert told["largest_difference"] == pytest.approx(largest)
    assert len(told["differing"]) == 1 - equal


def test_half_of_the_drawings_are_of_designs_in_the_table(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "all" / "sheets").mkdir(parents=True)
    rows = [
        {"file_name": f"sheets/{design:03}-{sheet}.png", "design": f"{design:03}", "title": "x"}
        for design in range(200)
        for sheet in range(4)
    ]
    for row in rows:
        (tmp_path / "all" / row["file_name"]).write_bytes(b"")
    with (tmp_path / "all" / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    drawings = benchmark.choose(tmp_path / "all", tmp_path / "some")
    kept = {path.name for path in (tmp_path / "some" / "sheets").iterdir()}
    assert len(kept) == benchmark.FIGURES
    assert len({path.name for path in drawings.queries}) == benchmark.SEARCHES
    assert sum(path.name in kept for path in drawings.queries) == drawings.known == 25


def test_what_a_wheel_requires_is_told_without_its_extras(
    benchmark: ModuleType, tmp_path: Path
) -> None:
    metadata = (
        "Name: it\nRequires-Dist: numpy>=1\nRequires-Dist: hnswlib; platform_machine != 'aarch64'\n"
        "Requires-Dist: torch; extra == 'train'\n\nRequires what it says.\n"
    )
    with zipfile.ZipFile(tmp_path / "it.whl", "w") as archive:
        archive.writestr("it-1.dist-info/METADATA", metadata)
    assert benchmark.requirements(tmp_path / "it.whl") == [
        "numpy>=1",
        "hnswlib; platform_machine != 'aarch64'",
    ]
