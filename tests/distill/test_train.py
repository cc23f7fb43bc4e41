"""The loop: it learns, it resumes to the same weights, it refuses what makes no sense."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill import batches as batches_module
from distill import train as module
from distill.batches import Batch, Batches, epoch_steps, prepared
from distill.config import TrainConfig
from distill.data import load_drawings
from distill.model import load_student, make_student
from distill.objective import Objective
from distill.parallel import World
from distill.train import train, validate
from edge_retrieval.errors import ConfigError, EvaluationError, SourceError

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
ALONE = World(0, 1, torch.device("cpu"))
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


KILLED = """
import os, signal, sys
from pathlib import Path
from distill.config import TrainConfig
from distill.train import train

out, source, cache, step = sys.argv[1:]
left = int(step)

def killed(items, description, total=None):
    global left
    for item in items:
        if description.startswith("Epoch"):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        yield item

train(TrainConfig.load(Path(out + ".toml")), [Path(source)], Path(out), cache=Path(cache),
      track=killed)
"""


@pytest.mark.parametrize("save_every", [0, 1])
def test_a_run_that_was_killed_at_a_random_step_ends_with_the_same_metrics(
    source: Path, cache: Path, tmp_path: Path, save_every: int
) -> None:
    """Whole epochs are done again; with `save_every` a begun one goes on where it was saved."""
    config = replace(TINY, ema=0.8, loss="hierarchical+arcface", save_every=save_every)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    result = train(config, [source], whole, cache=cache)
    step = int(np.random.default_rng().integers(result.steps))
    config.save(tmp_path / "killed.toml")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(killed), str(source), str(cache), str(step)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    train(config, [source], killed, cache=cache, resume=True)
    for name in ("last", "best"):
        weights, resumed = (load_file(run / f"{name}.safetensors") for run in (whole, killed))
        assert all(torch.equal(weights[key], resumed[key]) for key in weights), f"step {step}"
    rows, again = rows_of(whole), rows_of(killed)
    for row in (*rows, *again):
        del row["figures_per_s"]
    assert again == rows, f"killed before step {step}"


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


@pytest.mark.parametrize("gone", ["rng", "model", "progress"])
def test_a_state_of_another_version_is_one_clear_error(
    source: Path, cache: Path, run: Path, tmp_path: Path, gone: str
) -> None:
    shutil.copytree(run, tmp_path / "run")
    file = tmp_path / "run" / "state.pt"
    state = torch.load(file, weights_only=True)
    state[gone] = {"another": torch.zeros(1)}
    torch.save(state, file)
    with pytest.raises(ConfigError, match="another version"):
        train(TINY, [source], tmp_path / "run", cache=cache, resume=True)


def test_a_run_that_is_killed_after_its_state_was_saved_has_that_epoch_in_its_metrics(
    source: Path, cache: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = module.run_folder.save_state

    def killed(state: Any, out: Path) -> None:
        real(state, out)
        raise Stopped

    monkeypatch.setattr(module.run_folder, "save_state", killed)
    with pytest.raises(Stopped):
        train(TINY, [source], tmp_path / "run", cache=cache)
    monkeypatch.undo()
    train(TINY, [source], tmp_path / "run", cache=cache, resume=True)
    assert [row["loss"] for row in rows_of(tmp_path / "run")] == [
        row["loss"] for row in rows_of(run)
    ]


def test_a_run_does_not_go_on_with_another_validation(
    source: Path, cache: Path, tmp_path: Path
) -> None:
    """Not even where the drawings are the same: the best so far would be of another gallery."""
    parts = {}
    for name, kinds in {"a": ("kind0", "kind1"), "b": ("kind2",)}.items():
        parts[name] = tmp_path / name
        parts[name].mkdir()
        for kind in kinds:
            (parts[name] / kind).symlink_to(source / kind)
    given: dict[str, Any] = {"sources": [parts["a"]], "out": tmp_path / "run", "cache": cache}
    with pytest.raises(Stopped):
        train(TINY, **given, validation=[parts["b"]], track=StopIn(1))
    with pytest.raises(ConfigError, match="held out"):
        train(TINY, **given, resume=True)


def test_a_run_folder_within_a_source_is_refused(source: Path) -> None:
    with pytest.raises(ConfigError, match="within the source"):
        train(TINY, [source], source / "kind0" / "run")
    assert not (source / "kind0" / "run").exists()


def test_damaged_provenance_is_one_clear_error(
    source: Path, cache: Path, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "provenance.json").write_text("{")
    with pytest.raises(ConfigError, match=r"provenance\.json is damaged"):
        train(TINY, [source], tmp_path / "run", cache=cache, resume=True)


@pytest.mark.parametrize("content", ["epoch;loss\n1;2\n", "epoch,loss\none,2\n", "epoch\n0,2\n"])
def test_metrics_that_somebody_changed_are_one_clear_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "metrics.csv").write_text(content)
    with pytest.raises(ConfigError, match=r"metrics\.csv"):
        module.run_folder.log(tmp_path / "metrics.csv", {"epoch": 1.0, "loss": 2.0})
    assert (tmp_path / "metrics.csv").read_text() == content


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
    assert not (tmp_path / "run" / "config.toml").exists()  # the corrected settings may go there


def test_an_error_while_making_batches_reaches_the_caller(
    source: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no memory, say")

    monkeypatch.setattr(batches_module, "augment", broken)
    with pytest.raises(RuntimeError, match="no memory"):
        train(TINY, [source], tmp_path / "run", cache=cache)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_a_batch_that_is_too_large_for_the_memory_is_one_clear_error(
    source: Path,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(batches_module, "augment", broken)
    with pytest.raises(ConfigError, match="memory") as said:
        train(TINY, [source], tmp_path / "run", cache=cache)
    assert "accumulate" in said.value.hint


@pytest.mark.parametrize(("generation", "has_it"), [((7, 5), False), ((8, 0), True)])
def test_bf16_is_for_gpus_that_do_not_emulate_it(
    monkeypatch: pytest.MonkeyPatch, generation: tuple[int, int], has_it: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: generation)
    assert module._uses_bf16(TINY, torch.device("cuda", 0)) is has_it
    assert not module._uses_bf16(TINY, torch.device("cpu"))
    assert module._uses_bf16(replace(TINY, precision="bf16"), torch.device("cpu"))


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


def test_a_full_disk_is_one_clear_error_and_the_run_goes_on_when_there_is_room(
    source: Path, cache: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = Path.write_bytes, 0

    def full(path: Path, content: Any) -> int:
        nonlocal calls
        calls += "safetensors" in path.name or "state" in path.name
        if calls == 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, content)

    out = tmp_path / "run"
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ConfigError, match="No space left") as said:
        train(TINY, [source], out, cache=cache)
    assert "--resume" in said.value.hint
    monkeypatch.undo()
    train(TINY, [source], out, cache=cache, resume=True)
    whole, resumed = (load_file(one / "last.safetensors") for one in (run, out))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_batch_in_parts_has_the_loss_and_the_gradient_of_the_whole() -> None:
    config = replace(TINY, backbone="test_vit", size=64)
    student = make_student(config).train()
    student.norm = torch.nn.Identity()  # statistics of a part are not those of the whole
    objective = Objective(config, depths=[3], designs=[6])
    codes = torch.arange(12)[:, None] // torch.tensor([[6, 4, 2]])
    batch = Batch(
        torch.randn(12, 1, 64, 64), torch.arange(12), codes, torch.zeros(12, dtype=torch.long),
        torch.tensor([12]),
    )  # fmt: skip
    found = []
    for parts in (1, 3, 5):
        student.zero_grad()
        own = replace(config, accumulate=parts)
        loss = module._backward(student, objective, batch, None, own, ALONE)
        found.append((loss, [p.grad.clone() for p in student.parameters() if p.grad is not None]))
    for loss, gradients in found[1:]:
        torch.testing.assert_close(loss, found[0][0])
        torch.testing.assert_close(gradients, found[0][1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("accumulate", [4, 1000])
def test_every_process_computes_a_batch_in_as_many_parts_of_two_figures_or_more(
    monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    """Batch norm waits for the other processes in each part, and has no variance of one figure."""
    config = replace(TINY, accumulate=accumulate)
    student = make_student(config).train()
    sizes: list[int] = []
    student.register_forward_pre_hook(lambda _, images: sizes.append(len(images[0])))
    monkeypatch.setattr(module, "gather", lambda rows, _: rows)
    calls = []
    for share in (7, 6):  # of one batch of 13
        codes = torch.zeros(share, 3, dtype=torch.long)
        batch = Batch(
            torch.randn(share, 1, 32, 32), torch.arange(share), codes, codes[:, 0],
            torch.tensor([7, 6]),
        )  # fmt: skip
        sizes.clear()
        module._backward(student, Objective(config, depths=[3], designs=[1]), batch, None, config,
                         ALONE)  # fmt: skip
        assert min(sizes) > 1
        calls.append(len(sizes))
    assert calls[0] == calls[1] > 2


def test_a_training_without_progress_stops_early(source: Path, cache: Path, tmp_path: Path) -> None:
    config = replace(TINY, epochs=20, lr=0.0, patience=2, mirror=0.0)
    result = train(config, [source], tmp_path / "run", cache=cache)
    assert result.stopped_early
    assert result.epochs < 20
    rows = rows_of(tmp_path / "run")
    best = max(float(row["H-AP"]) for row in rows)
    assert all(float(row["H-AP"]) < best + 1e-9 for row in rows[-2:])


def test_worker_processes_make_the_same_batches(source: Path, cache: Path) -> None:
    drawings = load_drawings([source], TINY, cache=cache)
    steps = epoch_steps(TINY, drawings.schemes, epoch=2, done=0)
    batches = Batches(steps, drawings.schemes, drawings, TINY, epoch=2, first=1)
    by_thread, by_processes = (list(prepared(batches, workers)) for workers in (0, 2))
    assert len(by_thread) == len(by_processes) == len(steps) - 1
    for one, other in zip(by_thread, by_processes, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_worker_processes_leave_torchs_random_numbers_alone(source: Path, cache: Path) -> None:
    """Else a resume within an epoch, which starts them once more, has other dropout after it."""
    drawings = load_drawings([source], TINY, cache=cache)
    steps = epoch_steps(TINY, drawings.schemes, epoch=0, done=0)[:1]
    before = torch.get_rng_state()
    assert len(list(prepared(Batches(steps, drawings.schemes, drawings, TINY, epoch=0), 1))) == 1
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_share_a_step_without_loss_or_change(source: Path, cache: Path) -> None:
    drawings = load_drawings([source], TINY, cache=cache)
    steps = epoch_steps(TINY, drawings.schemes, epoch=0, done=0)
    alone = Batches(steps, drawings.schemes, drawings, TINY, epoch=0)[0]
    images = [
        Batches(steps, drawings.schemes, drawings, TINY, epoch=0, rank=rank, ranks=3)[0]
        for rank in range(3)
    ]
    assert [len(part.images) for part in images] == images[0].counts.tolist()
    order = torch.cat([torch.arange(len(alone.rows))[rank::3] for rank in range(3)])
    assert torch.equal(torch.cat([part.images for part in images]), alone.images[order])
    assert all(torch.equal(part.rows, alone.rows[order]) for part in images)
    assert all(torch.equal(part.codes, alone.codes[order]) for part in images)


def test_a_validation_source_that_was_trained_on_is_refused(
    source: Path, cache: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "other"
    (copy / "kind0").mkdir(parents=True)
    (copy / "kind0" / "sort0").symlink_to(source / "kind0" / "sort0")
    with pytest.raises(EvaluationError) as said:
        train(TINY, [source], tmp_path / "run", validation=[copy], cache=cache)
    assert said.value.hint
    assert not (tmp_path / "run" / "config.toml").exists()


def test_a_validation_source_takes_the_place_of_held_out_designs(
    source: Path, cache: Path, tmp_path: Path
) -> None:
    parts = {}
    for name, kinds in {"a": ("kind0", "kind1"), "b": ("kind2",)}.items():
        parts[name] = tmp_path / name
        parts[name].mkdir()
        for kind in kinds:
            (parts[name] / kind).symlink_to(source / kind)
    config = replace(TINY, epochs=1)
    train(config, [parts["a"]], tmp_path / "run", validation=[parts["b"]], cache=cache)
    said = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert said["training"]["a"]["design"] == 24
    assert said["held_out"]["b"]["design"] == 12
    assert said["validation"] == ["b"]


def test_what_a_label_tree_cannot_teach_is_told_beforehand(
    source: Path, cache: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "odd"
    (odd / "kind0").mkdir(parents=True)
    (odd / "kind0" / "sort0").symlink_to(source / "kind0" / "sort0")
    (odd / "kind0" / "sort3").mkdir()
    (odd / "kind0" / "sort3" / "D30").symlink_to(source / "kind0" / "sort3" / "D30")
    told: list[str] = []
    config = replace(TINY, epochs=1, held_out=0.0)
    train(config, [odd], tmp_path / "run", cache=cache, tell=told.append)
    assert any("same class" in line for line in told)
    assert any("1 of 2 at level subclass have one design" in line for line in told)
    one = tmp_path / "one"
    (one / "a" / "b").mkdir(parents=True)
    (one / "a" / "b" / "D0").symlink_to(source / "kind0" / "sort0" / "D00")
    with pytest.raises(SourceError, match="one design"):
        train(config, [one], tmp_path / "other", cache=cache)


def test_a_run_leaves_pictures_of_how_it_went(run: Path) -> None:
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")
    page = (run / "worst.html").read_text(encoding="utf-8")
    assert "data:image/png" in page and "H-AP" in page
    assert (run / "seen.npz").is_file()
