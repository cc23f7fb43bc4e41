"""Several processes give what one gives: gathered rows, shared batch norms, whole trainings.

`torchrun` starts this very file: see its end.
"""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import distributed, nn
from torch.nn.functional import normalize

from distill import parallel
from distill import train as training
from distill.batches import Batches, epoch_steps
from distill.config import TrainConfig
from distill.data import load_drawings
from distill.losses import hierarchical_loss
from distill.parallel import World, average_gradients, gather, joined, synchronise_norms
from distill.processor import random_state, set_random_state
from distill.train import train
from edge_retrieval.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHARED = TrainConfig(
    backbone="test_efficientnet", size=32, dim=16, steps=4, classes=3, subclasses=2, designs=3,
    figures=2, threads=1, held_out=0.3, lr=4e-3, seed=3, loss="hierarchical+arcface", ema=0.5,
)  # fmt: skip


def parts(folder: Path) -> None:
    """Write the loss, gradients and norms of a step of eleven rows that the processes share."""
    with joined() as world:
        torch.manual_seed(0)
        images = torch.randn(11, 3, 4, 4, dtype=torch.float64)
        codes = torch.arange(11)[:, None] // torch.tensor([[6, 3, 2]])
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
            nn.BatchNorm1d(32, affine=False), nn.Linear(32, 6), nn.BatchNorm1d(6),
        ).double()  # fmt: skip
        synchronise_norms(net, world)
        shares = [torch.arange(11)[rank :: world.size] for rank in range(world.size)]
        rows = gather(normalize(net(images[shares[world.rank]])), [len(share) for share in shares])
        loss = hierarchical_loss(rows, codes[torch.cat(shares)], mass=(0.1, 0.2, 0.7))
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(net.parameters(), world)
        found = {"loss": loss.detach(), **dict(net.named_buffers())}
        found |= {name: one.grad for name, one in net.named_parameters() if one.grad is not None}
        torch.save(found, folder / f"{world.size}-{world.rank}.pt")


def trains(folder: Path, source: Path) -> None:
    train(SHARED, [source], folder / "shared", cache=folder / "cache")


def differs(folder: Path) -> None:
    """Let the processes have other settings, and write what each says."""
    try:
        with joined() as world:
            world.agree(7, "seeds", hint="give one")
            world.agree(world.rank, "settings", hint="give the same")
    except ConfigError as error:
        (folder / f"differs-{world.rank}").write_text(str(error))


def stops(folder: Path) -> None:
    """Let the leading process stop, and write what each says."""
    try:
        with joined() as world:
            if world.leads:
                raise ConfigError("the disk is full", hint="make room")
            world.wait()
    except ConfigError as error:
        (folder / f"stops-{world.rank}").write_text(str(error))


def is_killed(folder: Path, source: Path) -> None:
    """Train with a run folder and a cache for each process; kill one in its third step, once."""
    rank, marker = os.environ["RANK"], folder / "killed"
    average, calls = training.average_gradients, []

    def averaging(*given: Any) -> None:
        calls.append(1)
        if rank == "1" and len(calls) == 3 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        average(*given)

    training.average_gradients = averaging
    train(SHARED.with_settings(["save_every=1"]), [source], folder / rank)


def launched(*words: object, agents: int = 1, processes: int = 2) -> None:
    """Start this file by some agents of `torchrun`, as many machines would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", f"--nnodes={agents}",
        f"--nproc-per-node={processes}", "--rdzv-backend=c10d", "--rdzv-id=tests",
        f"--rdzv-endpoint=127.0.0.1:{port}", "--max-restarts=3", "--monitor-interval=0.1",
        __file__, *map(str, words),
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True)
        for _ in range(agents)
    ]
    try:
        told = [agent.communicate(timeout=300) for agent in started]
    finally:
        for agent in started:
            agent.terminate()  # else it would wait for the others
    assert not any(agent.returncode for agent in started), told


@pytest.fixture(scope="module")
def shared(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes have done all that this file asks of two."""
    folder = tmp_path_factory.mktemp("shared")
    launched("together", folder, source)
    return folder


def test_two_processes_give_the_loss_the_gradient_and_the_norms_of_one(
    shared: Path, tmp_path: Path
) -> None:
    with torch.random.fork_rng([]):
        parts(tmp_path)
    alone = torch.load(tmp_path / "1-0.pt", weights_only=True)
    for rank in (0, 1):  # 11 rows: 6 and 5, so the shares differ in size too
        found = torch.load(shared / f"2-{rank}.pt", weights_only=True)
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-6, msg=name)


def losses(run: Path) -> list[str]:
    with (run / "metrics.csv").open(newline="") as file:
        return [row["loss"] for row in csv.DictReader(file)]


def test_a_training_by_two_processes_is_that_of_one(
    source: Path, shared: Path, tmp_path: Path
) -> None:
    """Of the same batches: losses and weights agree but for the order of additions."""
    train(SHARED, [source], tmp_path / "alone", cache=shared / "cache")
    folders = (tmp_path / "alone", shared / "shared")
    one, two = (list(map(float, losses(folder))) for folder in folders)
    assert len(one) > 0
    assert two == pytest.approx(one, rel=1e-4)
    weights = [load_file(folder / "last.safetensors") for folder in folders]
    moved = [
        float((weights[0][name] - weights[1][name]).float().abs().max()) for name in weights[0]
    ]
    assert np.quantile(moved, 0.9) < 5e-3


def test_where_one_process_stops_the_others_say_so_in_one_line(shared: Path) -> None:
    assert (shared / "stops-0").read_text() == "the disk is full"
    assert (shared / "stops-1").read_text() == "another process of this training stopped"


def test_all_processes_say_that_one_has_other_settings(shared: Path) -> None:
    for rank in (0, 1):
        told = (shared / f"differs-{rank}").read_text()
        assert told == "process 2 of 2 has other settings than the first"


def test_a_process_of_one_of_two_machines_is_killed_and_the_training_ends_as_if_nothing_had_been(
    source: Path, shared: Path, tmp_path: Path
) -> None:
    """The machines have no disk in common: what the second one goes on from it is told."""
    launched("killed", tmp_path, source, agents=2, processes=1)
    assert (tmp_path / "killed").exists()
    assert losses(tmp_path / "0") == losses(shared / "shared")
    weights = [load_file(f / "last.safetensors") for f in (tmp_path / "0", shared / "shared")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["cache"]


def test_a_process_meets_none_of_an_earlier_time_whoever_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = distributed.HashStore()
    monkeypatch.setattr(parallel, "_store", lambda: store)
    with ThreadPoolExecutor(3) as pool:
        for time, order in enumerate(((0, 1, 2), (2, 1, 0), (1, 0, 2))):
            met = {rank: pool.submit(parallel._fresh_store, rank, 3) for rank in order}
            for rank, store_of in met.items():
                assert not store_of.result(30).check(["left"])
                store_of.result().set(f"{rank} was here", str(time))
            for store_of in met.values():
                assert [store_of.result().get(f"{r} was here") for r in order] == [
                    str(time).encode()
                ] * 3
            met[0].result().set("left", "by an earlier time")


def test_a_first_process_that_cannot_be_reached_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "CONNECTING", timedelta(seconds=0.2))
    for name, value in {
        "RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "9",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"cannot be reached at 127\.0\.0\.1:9"), joined():
        pass


def test_files_are_made_by_one_process_of_each_machine_and_by_the_leading_one_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = {}
    for rank, local in ((0, 0), (1, 1), (2, 0), (3, 1)):
        waits: list[int] = []
        monkeypatch.setenv("LOCAL_RANK", str(local))
        monkeypatch.setattr(World, "wait", lambda _, waits=waits: waits.append(1))
        turns[rank] = World(rank, 4, torch.device("cpu")).in_turn(lambda waits=waits: len(waits))
        assert len(waits) == 3
    assert turns == {0: 0, 1: 2, 2: 1, 3: 2}


def test_a_process_reads_no_drawing_of_another_ones_share(
    source: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawings = load_drawings([source], SHARED, cache=shared / "cache")
    steps = epoch_steps(SHARED, drawings.schemes, epoch=0, done=0)
    read: list[int] = []
    stack = type(drawings.masters)
    whole = stack.__getitem__
    monkeypatch.setattr(
        stack, "__getitem__", lambda self, rows: [read.extend(rows), whole(self, rows)][1]
    )
    for number, step in enumerate(steps):
        wanted = sorted(np.concatenate([drawings.schemes[0].rows[own] for own in step]).tolist())
        everything: list[int] = []
        for rank in range(3):
            read.clear()
            batches = Batches(
                steps, drawings.schemes, drawings, SHARED, epoch=0, rank=rank, ranks=3
            )
            assert len(read) == 0
            assert len(batches[number].images) == len(read) <= -(-len(wanted) // 3)
            everything += read
        assert sorted(everything) == wanted


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, folder, source = sys.argv[1], *map(Path, sys.argv[2:])
    if what == "killed":
        is_killed(folder, source)
    else:
        parts(folder)
        trains(folder, source)
        differs(folder)
        stops(folder)
