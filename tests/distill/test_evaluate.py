"""A run is measured on a source, and not on what it was trained on."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from distill.config import TrainConfig
from distill.data import load_drawings
from distill.evaluate import evaluate_run
from distill.leaks import save_seen
from distill.model import TorchEncoder, load_student, make_student, preprocessing_of
from edge_retrieval import cli
from edge_retrieval.errors import ConfigError, EvaluationError, SourceError
from edge_retrieval.metrics import leave_one_out

CONFIG = TrainConfig(backbone="test_efficientnet", size=32, dim=8)


def draw_source(root: Path, seed: int, designs: int = 8) -> Path:
    """class/design/figure.png: two drawings a design, that no other seed draws."""
    rng = np.random.default_rng(seed)
    for number in range(designs):
        folder = root / f"kind{number % 2}" / f"S{seed}-{number}"
        folder.mkdir(parents=True)
        for view in range(2):
            image = Image.new("L", (140, 120), 255)
            corners = [(float(x), float(y)) for x, y in rng.integers(5, 115, (7, 2))]
            ImageDraw.Draw(image).line(corners, fill=0, width=3)
            image.save(folder / f"{view}.png")
    return root


@pytest.fixture(scope="module")
def trained_on(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_source(tmp_path_factory.mktemp("trained"), 1)


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_source(tmp_path_factory.mktemp("others"), 2)


@pytest.fixture(scope="module")
def run(trained_on: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder as the trainer leaves it, with weights that nobody trained."""
    folder = tmp_path_factory.mktemp("run")
    CONFIG.save(folder / "config.toml")
    save_file(make_student(CONFIG).state_dict(), folder / "best.safetensors")
    other = TrainConfig(backbone=CONFIG.backbone, size=32, dim=8, seed=1)
    save_file(make_student(other).state_dict(), folder / "last.safetensors")
    drawings = load_drawings([trained_on], CONFIG, cache=tmp_path_factory.mktemp("cache"))
    save_seen(folder / "seen.npz", drawings.signatures, drawings.designs)
    return folder


def test_a_run_scores_what_its_network_gives(run: Path, others: Path, tmp_path: Path) -> None:
    found = evaluate_run(run, others)
    drawings = load_drawings([others], CONFIG, cache=tmp_path)
    student, config = load_student(run)
    encoder = TorchEncoder(student, preprocessing_of(config))
    embeddings = encoder.embed(drawings.images(np.arange(len(drawings))))
    [scheme] = drawings.schemes
    expected = leave_one_out(embeddings, scheme.codes, scheme.levels)
    assert [scores.level for scores in found.scores.figures] == [s.level for s in expected]
    for scores, wanted in zip(found.scores.figures, expected, strict=True):
        assert scores.values == pytest.approx(wanted.values, abs=1e-6)
    assert found.leaks == () and found.fingerprint == encoder.fingerprint
    last = evaluate_run(run, others, checkpoint="last")
    assert last.fingerprint != found.fingerprint
    assert found.scores.counts == {
        "designs": 8,
        "figures": 16,
        "unlabelled": 0,
        "front_pages": 0,
        "other_parts": 0,
    }


def test_what_was_trained_on_does_not_measure_unless_it_is_asked_for(
    run: Path, trained_on: Path
) -> None:
    with pytest.raises(EvaluationError, match="8 designs of the test were trained on") as caught:
        evaluate_run(run, trained_on)
    assert "--allow-leak" in caught.value.hint
    found = evaluate_run(run, trained_on, allow_leak=True)
    assert {leak.tested for leak in found.leaks} == {f"S1-{number}" for number in range(8)}
    assert found.scores.figures


def test_a_copied_figure_under_another_number_is_found(
    run: Path, trained_on: Path, others: Path, tmp_path: Path
) -> None:
    source = tmp_path / "mixed"
    shutil.copytree(others, source)
    shutil.copy(trained_on / "kind1" / "S1-3" / "0.png", source / "kind0" / "S2-2" / "copy.png")
    with pytest.raises(EvaluationError, match=r"1 design .*: S2-2 is almost S1-3"):
        evaluate_run(run, source)


def test_a_run_that_does_not_say_what_it_saw_is_one_clear_error(
    run: Path, others: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "seen.npz").unlink()
    with pytest.raises(ConfigError, match=r"seen\.npz"):
        evaluate_run(folder, others)
    (folder / "last.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"last\.safetensors"):
        evaluate_run(folder, others, checkpoint="last")
    with pytest.raises(SourceError):
        evaluate_run(run, tmp_path / "missing")


def test_the_command_line_refuses_a_leak_and_says_when_it_is_allowed(
    run: Path,
    trained_on: Path,
    others: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["edge-ret", "eval", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return (code, *capsys.readouterr())

    code, out, err = call(run, "--data", others, "--checkpoint", "last", "--json")
    said = json.loads(out)
    assert code == 0 and said["checkpoint"] == "last" and said["leaks"] == []
    assert said["counts"]["figures"] == 16
    code, out, err = call(run, "--data", trained_on)
    assert (code, out) == (1, "") and "hint:" in err and "--allow-leak" in err
    code, out, err = call(run, "--data", trained_on, "--allow-leak")
    assert code == 0 and "mAP" in out
    assert "leak: 8 designs" in err
    assert call(run)[0] == call(run, "--data", others, "--checkpoint", "worst")[0] == 2
    assert call(run, "--data", others, "--threads", "2")[0] == 2
