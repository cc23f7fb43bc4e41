"""Several processes give what one gives: gathered rows, shared batch norms, whole trainings."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill.config import TrainConfig
from distill.parallel import World, gather, joined, synchronise_norms
from distill.processor import random_state, set_random_state
from distill.train import train
from edge_retrieval.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHARED = TrainConfig(
    backbone="test_efficientnet", size=32, dim=16, steps=4, classes=3, subclasses=2, designs=3,
    figures=2, threads=1, held_out=0.3, lr=4e-3, seed=3, loss="hierarchical+arcface", ema=0.5,
)  # fmt: skip

PARTS = """
import sys
import torch
from torch import distributed, nn
from torch.nn.functional import normalize
from distill.losses import hierarchical_loss
from distill.parallel import average_gradients, gather, joined, synchronise_norms

with joined() as world:
    torch.manual_seed(0)
    images = torch.randn(11, 3, 4, 4, dtype=torch.float64)
    codes = torch.arange(11)[:, None] // torch.tensor([[6, 3, 2]])
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                        nn.BatchNorm1d(32, affine=False),
                        nn.Linear(32, 6), nn.BatchNorm1d(6)).double()
    synchronise_norms(net, world)
    mine = torch.arange(11)[world.rank :: world.size]
    order = torch.cat([torch.arange(11)[rank :: world.size] for rank in range(world.size)])
    counts = [len(torch.arange(11)[rank :: world.size]) for rank in range(world.size)]
    rows = gather(normalize(net(images[mine])), counts)
    loss = hierarchical_loss(rows, codes[order], mass=(0.1, 0.2, 0.7))
    loss.backward()
    average_gradients(net.parameters(), world)
    found = {"loss": loss.detach(), **{n: p.grad for n, p in net.named_parameters()},
             **{n: b for n, b in net.named_buffers()}}
    torch.save(found, f"{sys.argv[1]}/{world.size}-{world.rank}.pt")
"""


def run(script: str, folder: Path, *, processes: int) -> None:
    file = folder / "script.py"
    file.write_text(script, encoding="utf-8")
    launch = [sys.executable]
    if processes > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(file), str(folder)], env=environment, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr


def test_two_processes_give_the_loss_the_gradient_and_the_norms_of_one(tmp_path: Path) -> None:
    for processes in (1, 2):
        run(PARTS, tmp_path, processes=processes)
    alone = torch.load(tmp_path / "1-0.pt", weights_only=True)
    for rank in (0, 1):  # 11 rows: 6 and 5, so the shares differ in size too
        shared = torch.load(tmp_path / f"2-{rank}.pt", weights_only=True)
        assert shared.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(shared[name], value, rtol=1e-6, atol=1e-6, msg=name)


@pytest.fixture(scope="module")
def shared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes have trained, in `shared`."""
    folder = tmp_path_factory.mktemp("shared")
    SHARED.save(folder / "shared.toml")
    script = f"""
import sys
from pathlib import Path
from distill.config import TrainConfig
from distill.train import train

folder = Path(sys.argv[1])
train(TrainConfig.load(folder / "shared.toml"), [Path({str(source)!r})], folder / "shared",
      cache=folder / "cache")
"""
    run(script, folder, processes=2)
    return folder


def test_a_training_by_two_processes_is_that_of_one(
    source: Path, shared: Path, tmp_path: Path
) -> None:
    """Of the same batches: losses and weights agree but for the order of additions."""
    train(SHARED, [source], tmp_path / "alone", cache=shared / "cache")
    folders = (tmp_path / "alone", shared / "shared")
    rows = []
    for folder in folders:
        with (folder / "metrics.csv").open(newline="") as file:
            rows.append(list(csv.DictReader(file)))
    assert len(rows[0]) == len(rows[1]) > 0
    for one, two in zip(*rows, strict=True):
        assert float(two["loss"]) == pytest.approx(float(one["loss"]), rel=1e-4)
    weights = [load_file(folder / "last.safetensors") for folder in folders]
    moved = [
        float((weights[0][name] - weights[1][name]).float().abs().max()) for name in weights[0]
    ]
    assert np.quantile(moved, 0.9) < 5e-3


STOPPED = """
import sys
from pathlib import Path
from distill.parallel import joined
from edge_retrieval.errors import ConfigError

try:
    with joined() as world:
        if world.leads:
            raise ConfigError("the disk is full", hint="make room")
        world.wait()
except ConfigError as error:
    Path(sys.argv[1], str(world.rank)).write_text(str(error))
"""


def test_where_one_process_stops_the_others_say_so_in_one_line(tmp_path: Path) -> None:
    run(STOPPED, tmp_path, processes=2)
    assert (tmp_path / "0").read_text() == "the disk is full"
    assert (tmp_path / "1").read_text() == "another process of this training stopped"


def test_more_processes_than_gpus_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConfigError, match="no GPU"), joined():
        pass


def test_random_numbers_of_the_gpu_are_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda: torch.tensor([7]))
    given: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", given.append)
    before = random_state()
    first = torch.rand(3)
    set_random_state({**before, "model": None})
    assert torch.equal(torch.rand(3), first)
    assert given == [torch.tensor([7])]


def test_without_torchrun_a_process_is_alone() -> None:
    with joined() as world:
        assert (world.rank, world.size, world.leads) == (0, 1, True)
        rows = torch.randn(3, 2, requires_grad=True)
        assert gather(rows, [3]) is rows
        assert world.from_lead({"H-AP": 0.5}) == {"H-AP": 0.5}


def test_one_process_leaves_norms_as_they_are() -> None:
    norm = torch.nn.BatchNorm2d(2)
    synchronise_norms(norm, World(0, 1, torch.device("cpu")))
    assert "forward" not in vars(norm)


KILLED = """
import os, signal, sys
from pathlib import Path
import distill.train as training
from distill.config import TrainConfig

folder, name = Path(sys.argv[1]), sys.argv[2]
rank, marker = os.environ["RANK"], folder / f"{name}-killed"
average, calls = training.average_gradients, []

def averaging(*given):
    calls.append(1)
    if name == "killed" and rank == "1" and len(calls) == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return average(*given)

training.average_gradients = averaging
training.train(TrainConfig.load(folder / "shared.toml"), [Path(sys.argv[3])], folder / name,
               cache=folder / "cache", resume=True)
"""


def test_a_killed_process_is_started_again_and_the_training_ends_as_if_nothing_had_happened(
    source: Path, shared: Path, tmp_path: Path
) -> None:
    SHARED.with_settings(["save_every=1"]).save(tmp_path / "shared.toml")
    (tmp_path / "script.py").write_text(KILLED, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, "--max-restarts=3", tmp_path / "script.py", tmp_path, "killed", source],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert not done.returncode, done.stderr
    assert (tmp_path / "killed-killed").exists()
    losses = []
    for folder in (tmp_path / "killed", shared / "shared"):
        with (folder / "metrics.csv").open(newline="") as file:
            losses.append([row["loss"] for row in csv.DictReader(file)])
    assert losses[0] == losses[1]
    weights = [load_file(f / "last.safetensors") for f in (tmp_path / "killed", shared / "shared")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
