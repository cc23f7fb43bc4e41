"""The loop: it learns, it resumes to the same weights, it refuses what makes no sense."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill import batches as batches_module
from distill import train as module
from distill.batches import epoch_steps
from distill.config import TrainConfig
from distill.data import load_drawings
from distill.model import load_student, make_student
from distill.objective import Objective
from distill.train import train, validate
from edge_retrieval.errors import ConfigError, SourceError

T = TypeVar("T")
TINY = TrainConfig(
    backbone="test_efficientnet", size=32, dim=16, epochs=3, classes=3, subclasses=2, designs=3,
    figures=2, threads=1, held_out=0.3, lr=4e-3, seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(source: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(TINY, [source], out, cache=cache)
    return out


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_folder_holds_what_the_next_step_needs(run: Path) -> None:
    assert TrainConfig.load(run / "config.toml") == TINY
    said = json.loads((run / "provenance.json").read_text())
    assert said["versions"]["torch"] and said["training"] and said["held_out"]
    assert [row["epoch"] for row in rows_of(run)] == ["1", "2", "3"]
    assert all(0 <= float(row["mAP"]) <= 1 for row in rows_of(run))
    for checkpoint in ("best", "last"):
        student, config = load_student(run, checkpoint=checkpoint)
        assert not student.training and config == TINY
    assert not list(run.glob(".*"))


def test_training_finds_designs_better_than_an_untrained_network(
    source: Path, cache: Path, tmp_path: Path
) -> None:
    config = TrainConfig(**{**vars(TINY), "steps": 80, "validate_every": 50})
    result = train(config, [source], tmp_path / "run", cache=cache)
    drawings = load_drawings([source], config, cache=cache)
    _, held_out = drawings.split(config.held_out, config.seed)
    untrained = validate(make_student(config), drawings, held_out)["mAP"]
    assert result.steps == 80
    assert result.best_map > untrained + 0.05


class Stopped(Exception):
    """Stands for Ctrl-C."""


class StopIn:
    """A `Track` that breaks off in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def __call__(
        self, items: Iterable[T], description: str, total: int | None = None
    ) -> Iterable[T]:
        for number, item in enumerate(items):
            if description.startswith(f"Epoch {self.epoch}/") and number == 1:
                raise Stopped
            yield item


@pytest.mark.parametrize("stop_in", [1, 3])
def test_a_run_that_was_stopped_resumes_to_the_same_weights(
    source: Path, cache: Path, run: Path, tmp_path: Path, stop_in: int
) -> None:
    out = tmp_path / "stopped"
    with pytest.raises(Stopped):
        train(TINY, [source], out, cache=cache, track=StopIn(stop_in))
    result = train(TINY, [source], out, cache=cache, resume=True)
    assert result.epochs == TINY.epochs
    for checkpoint in ("last", "best"):
        whole = load_file(run / f"{checkpoint}.safetensors")
        resumed = load_file(out / f"{checkpoint}.safetensors")
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    columns = ("epoch", "step", "loss", "mAP")
    strip = [[row[name] for name in columns] for row in rows_of(out)]
    assert strip == [[row[name] for name in columns] for row in rows_of(run)]


def test_a_finished_run_resumes_to_itself(source: Path, cache: Path, run: Path) -> None:
    before = (run / "last.safetensors").read_bytes()
    result = train(TINY, [source], run, cache=cache, resume=True)
    assert result.epochs == 3 and result.best_map > 0
    assert (run / "last.safetensors").read_bytes() == before


def test_a_begun_folder_is_not_overwritten(source: Path, cache: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match="run already"):
        train(TINY, [source], run, cache=cache)
    other = TrainConfig(**{**vars(TINY), "lr": 1.0})
    with pytest.raises(ConfigError, match="other settings"):
        train(other, [source], run, cache=cache, resume=True)


def test_a_run_does_not_go_on_with_other_drawings(
    source: Path, cache: Path, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="other drawings"):
        train(TINY, [next(source.iterdir())], run, cache=cache, resume=True)


def test_a_damaged_state_is_one_clear_error(source: Path, cache: Path, tmp_path: Path) -> None:
    TINY.save(tmp_path / "config.toml")
    (tmp_path / "state.pt").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"state\.pt"):
        train(TINY, [source], tmp_path, cache=cache, resume=True)


def test_steps_end_a_training_and_its_schedule(source: Path, cache: Path, tmp_path: Path) -> None:
    config = TrainConfig(**{**vars(TINY), "steps": 3, "held_out": 0.0})
    result = train(config, [source], tmp_path / "run", cache=cache)
    assert result.steps == 3
    assert np.isnan(result.best_map)
    assert (tmp_path / "run" / "best.safetensors").is_file()


def test_a_tree_deeper_than_the_mass_is_refused(source: Path, cache: Path, tmp_path: Path) -> None:
    config = TrainConfig(**{**vars(TINY), "mass": (0.3, 0.7)})
    with pytest.raises(ConfigError, match="levels"):
        train(config, [source], tmp_path / "run", cache=cache)


def test_an_error_while_making_batches_reaches_the_caller(
    source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no memory, say")

    monkeypatch.setattr(batches_module, "augment", broken)
    with pytest.raises(RuntimeError, match="no memory"):
        train(TINY, [source], tmp_path / "run", cache=cache)


class Diverges(Objective):
    """From its 14th call on, the loss is no number."""

    def forward(self, embeddings: torch.Tensor, *rest: Any) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        loss = super().forward(embeddings, *rest)
        return loss * torch.nan if self.calls >= 14 else loss


def test_a_loss_that_is_no_number_stops_the_training_and_keeps_the_last_good_checkpoint(
    source: Path, cache: Path, tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "Objective", Diverges)
    per_epoch = int(rows_of(run)[0]["step"])
    config = TrainConfig(**{**vars(TINY), "epochs": 30})
    epoch, batch = divmod(13, per_epoch)
    with pytest.raises(ConfigError, match="the loss is nan at step 14") as said:
        train(config, [source], tmp_path / "run", cache=cache)
    assert f"epoch {epoch + 1}, batch {batch + 1} of {per_epoch}" in str(said.value)
    assert f"is of step {epoch * per_epoch}" in str(said.value)
    weights = load_file(tmp_path / "run" / "last.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    assert len(rows_of(tmp_path / "run")) == epoch


def test_a_source_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        train(TINY, [tmp_path / "nowhere"], tmp_path / "run")


def test_training_leaves_the_processor_as_it_was(run: Path) -> None:
    assert run.is_dir()
    smallest = np.finfo(np.float32).smallest_subnormal
    assert (torch.tensor([float(smallest)]) * 1.0).item() > 0


def test_each_step_takes_a_batch_of_every_source_and_the_epoch_sees_every_design(
    source: Path, cache: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for kind in range(2):
        (other / f"kind{kind}").mkdir(parents=True)
        (other / f"kind{kind}" / "sort").symlink_to(source / f"kind{kind}" / f"sort{kind}")
    drawings = load_drawings([source, other], TINY, cache=cache)
    schemes, _ = drawings.split(0.0, seed=0)
    assert len(schemes) == 2
    steps = epoch_steps(TINY, schemes, epoch=0, done=0)
    for number, scheme in enumerate(schemes):
        batches = [step[number] for step in steps]
        assert all(len(batch) > 0 for batch in batches)
        seen = {tuple(code) for batch in batches for code in scheme.codes[batch]}
        assert seen == {tuple(code) for code in scheme.codes}
