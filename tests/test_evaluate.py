"""A source is cut, embedded and scored; what is left out or cannot be read is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from edge_retrieval.drawing import cut_sheet
from edge_retrieval.encoder import embed_figures
from edge_retrieval.errors import EvaluationError, SourceError
from edge_retrieval.evaluate import embed_source, evaluate_source
from edge_retrieval.metrics import by_design, leave_one_out
from tests import fakes

ROWS = (
    ("a1.png", "A", "06-01", ""),
    ("a2.png", "A", "06-01", ""),
    ("a0.png", "A", "06-01", "front"),
    ("b1.png", "B", "06-02", ""),
    ("b2.png", "B", "06-02", ""),
    ("c1.png", "C", "", ""),
    ("c2.png", "C", "", ""),
    ("blank.png", "B", "06-02", ""),
    ("broken.png", "B", "06-02", ""),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A table of three designs of two drawings; a front page, an empty and a broken sheet."""
    rng = np.random.default_rng(0)
    for name, *_ in ROWS:
        image = Image.new("L", (200, 200), 255)
        corners = [(float(x), float(y)) for x, y in rng.integers(10, 190, (6, 2))]
        if name != "blank.png":
            ImageDraw.Draw(image).line(corners, fill=0, width=4)
        image.save(tmp_path / name)
    (tmp_path / "broken.png").write_bytes(b"no image")
    lines = ["file_name,design,locarno,role", *(",".join(row) for row in ROWS)]
    (tmp_path / "metadata.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path


def test_a_source_scores_as_its_figures_do(source: Path) -> None:
    found = evaluate_source(source, fakes.FakeEncoder("f"))
    figures = [
        figure
        for name in ("a1", "a2", "b1", "b2", "c1", "c2")
        for figure in cut_sheet((source / f"{name}.png").read_bytes(), where=name)
    ]
    embeddings = embed_figures(fakes.FakeEncoder("f"), figures)
    codes = np.array([[0, 0, 0]] * 2 + [[0, 1, 1]] * 2 + [[-1, -1, 2]] * 2, np.int32)
    levels = ("class", "subclass", "design")
    assert found.tables == {
        "figures": tuple(leave_one_out(embeddings, codes, levels)),
        "designs": tuple(by_design(embeddings, codes, levels)),
    }


def test_what_is_left_out_without_labels_or_broken_is_counted(source: Path) -> None:
    found = evaluate_source(source, fakes.FakeEncoder("f"))
    assert found.counts == {
        "designs": 3,
        "figures": 6,
        "unlabelled": 1,
        "front_pages": 1,
        "other_parts": 0,
    }
    reasons = {problem.where.rpartition("/")[2]: problem.reason for problem in found.problems}
    assert "no ink" in reasons["blank.png"]
    assert "broken.png" in reasons
    assert found.to_json()["counts"]["front_pages"] == 1


def test_the_batch_does_not_change_the_embeddings(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = embed_source(source, fakes.FakeEncoder("f"))
    monkeypatch.setattr("edge_retrieval.evaluate.BATCH", 1)
    assert np.array_equal(embed_source(source, fakes.FakeEncoder("f")).embeddings, whole.embeddings)
    assert whole.designs == ("A", "A", "B", "B", "C", "C")


def test_what_cannot_be_measured_is_one_clear_error(source: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="not finite"):
        evaluate_source(source, fakes.BrokenEncoder("f"))
    with pytest.raises(SourceError):
        evaluate_source(tmp_path / "missing", fakes.FakeEncoder("f"))
    (tmp_path / "one").mkdir()
    (source / "a1.png").rename(tmp_path / "one" / "a1.png")
    with pytest.raises(EvaluationError, match="1 figures cannot search"):
        evaluate_source(tmp_path / "one", fakes.FakeEncoder("f"))
