"""train(): drawings in, a run folder out. The loop stands here, top to bottom.

A run folder holds:
    config.toml         the settings                      provenance.json   versions, host, inputs
    metrics.csv         one row an epoch                  problems.json     what could not be read
    last.safetensors    the newest weights                best.safetensors  the best by validation
    state.pt            all that `resume` needs           cache/            the cut drawings
"""

from __future__ import annotations

import contextlib
import csv
import ctypes
import hashlib
import json
import math
import queue
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from distill.augment import augment
from distill.config import TrainConfig
from distill.data import Drawings, Scheme, load_drawings, normalised
from distill.losses import hierarchical_loss
from distill.model import Student, TorchEncoder, make_student
from distill.sampler import BatchShape, RowNumbers, epoch_batches
from edge_retrieval.errors import ConfigError, SourceError
from edge_retrieval.metrics import leave_one_out
from edge_retrieval.progress import Track, silent
from edge_retrieval.provenance import available_cores, host, now, versions
from edge_retrieval.sources import Problem

AHEAD = 6  # steps made in advance


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    Attributes:
        folder: The run folder.
        epochs: Done in all.
        steps: Done in all.
        best_map: Best held-out mAP at design level, mean over the schemes (one figure left out,
            gallery: all other held-out figures of its scheme); NaN if nothing could be held out.
        figures_per_second: Of the training loop, validation apart; 0 if nothing was left to do.
        problems: What could not be read, and was left out.
    """

    folder: Path
    epochs: int
    steps: int
    best_map: float
    figures_per_second: float
    problems: tuple[Problem, ...]


@contextlib.contextmanager
def _tiny_numbers_are_zero() -> Generator[None, None, None]:
    """Flush denormals: vanishing gradients would be computed many times slower.

    It is a mode of the processor, so whoever trains within a program gets it back as it was.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@_tiny_numbers_are_zero()
def train(
    config: TrainConfig,
    sources: Sequence[Path],
    out: Path,
    *,
    resume: bool = False,
    cache: Path | None = None,
    track: Track = silent,
) -> TrainResult:
    """Train an encoder with the hierarchical multi-positive loss.

    Args:
        config: Every choice that changes the weights.
        sources: Each is a label tree of its own; see `distill.data`.
        out: The run folder: new or empty, or with `resume` one that was begun.
        resume: Go on after the last finished epoch; the result is that of an uninterrupted run.
        cache: Where cut drawings are kept; None: `out`/cache.
        track: Shows progress.

    Raises:
        ConfigError: Settings that do not fit the data or the run, or a training that diverges.
        SourceError: Nothing to train on.
    """
    state = _begin(config, out, resume)
    _keep_freed_memory()
    torch.set_num_threads(config.threads or available_cores())

    drawings = load_drawings(sources, config, cache=cache or out / "cache", track=track)
    training, held_out = drawings.split(config.held_out, config.seed)
    held_out = tuple(scheme for scheme in held_out if _has_pair(scheme))
    masses = [_mass(config, scheme) for scheme in training]
    _write_start(config, sources, drawings, training, held_out, out)

    student = make_student(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(_groups(student, config.weight_decay), lr=config.lr)
    done = _Progress()
    if state is not None:
        student.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done = _Progress(**state["progress"])
    seconds, figures = 0.0, 0
    while not _finished(config, done):
        batches = _epoch(config, training, done)
        losses: list[float] = []
        began = time.perf_counter()
        student.train()
        with closing(_prefetch(batches, training, drawings, config, done.epoch)) as prepared:
            for images, codes in track(prepared, _title(config, done), len(batches)):
                passed = _passed(config, done, len(losses), len(batches))
                for group in optimizer.param_groups:
                    group["lr"] = _learning_rate(config, passed)
                embeddings = student(images)  # (N, D)
                loss = _mean_loss(embeddings, codes, masses, config.temperature)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(student.parameters(), config.clip)
                optimizer.step()
                losses.append(_finite(loss, done.step + len(losses)))
        taken = time.perf_counter() - began
        made = sum(len(rows) for step in batches for rows in step)
        seconds, figures = seconds + taken, figures + made
        done = replace(done, epoch=done.epoch + 1, step=done.step + len(losses))

        row: dict[str, float] = {
            "epoch": done.epoch,
            "step": done.step,
            "loss": float(np.mean(losses)),
            "figures_per_s": made / taken,
        }
        better = False
        if _finished(config, done) or done.epoch % config.validate_every == 0:
            scores = validate(student, drawings, held_out)
            better = not scores or not scores["mAP"] <= done.best  # NaN: nothing to compare with
            done = replace(done, best=scores["mAP"] if scores and better else done.best)
            row |= scores
        _save(student, optimizer, done, out, better=better)
        _log(out / "metrics.csv", row)
    speed = figures / seconds if seconds else 0.0
    return TrainResult(out, done.epoch, done.step, done.best, speed, drawings.problems)


def validate(student: Student, drawings: Drawings, schemes: Sequence[Scheme]) -> dict[str, float]:
    """Let every held-out figure search the other held-out figures of its scheme.

    Returns:
        "mAP": at design level, the mean over the schemes; "mAP NAME LEVEL": of each scheme at each
        level, coarser ones exclusive of the query's own design. Empty if there are no schemes.
    """
    encoder = TorchEncoder(student, drawings.preprocessing)
    found: dict[str, float] = {}
    fine: list[float] = []
    for scheme in schemes:
        parts = np.array_split(scheme.rows, max(1, len(scheme.rows) // encoder.batch))
        embeddings = np.concatenate([encoder.embed(drawings.images(part)) for part in parts])
        for scores in leave_one_out(embeddings, scheme.codes, scheme.levels):
            finest = scores.level == scheme.levels[-1]
            if "mAP" in scores.values and (finest or scores.relevance == "exclusive"):
                found[f"mAP {scheme.name} {scores.level}"] = scores.values["mAP"]
                fine += [scores.values["mAP"]] * finest
    return {"mAP": float(np.mean(fine)), **found} if fine else {}


@dataclass(frozen=True)
class _Progress:
    """What is done: whole epochs, steps; and the best validation so far (NaN: none)."""

    epoch: int = 0
    step: int = 0
    best: float = math.nan


Step = tuple[RowNumbers, ...]
"""For each scheme a batch: figures within it."""


def _finished(config: TrainConfig, done: _Progress) -> bool:
    return done.step >= config.steps if config.steps else done.epoch >= config.epochs


def _passed(config: TrainConfig, done: _Progress, taken: int, of: int) -> float:
    """Return the share of the training that has passed, `taken` steps `of` this epoch with it."""
    if config.steps:
        return (done.step + taken) / config.steps
    return (done.epoch + taken / of) / config.epochs


def _title(config: TrainConfig, done: _Progress) -> str:
    return f"Epoch {done.epoch + 1}" + ("" if config.steps else f"/{config.epochs}")


def _epoch(config: TrainConfig, schemes: Sequence[Scheme], done: _Progress) -> list[Step]:
    """Return the steps of the next epoch: each takes one batch of every scheme.

    Drawings of all sources are normalised together in training as they are later in use; were a
    step all made drawings or all real ones, batch norm would learn two worlds and use their mean.
    The longest scheme sets the length; a shorter one goes round again, in another order.
    """
    shape = BatchShape(config.classes, config.subclasses, config.designs, config.figures)
    rounds = [
        epoch_batches(scheme.codes, shape, seed=config.seed + number, epoch=done.epoch)
        for number, scheme in enumerate(schemes)
    ]
    length = max(len(batches) for batches in rounds)
    for number, (scheme, batches) in enumerate(zip(schemes, rounds, strict=True)):
        seeds = np.random.default_rng([config.seed, done.epoch, 2, number])
        while len(batches) < length:
            again = int(seeds.integers(2**31))
            batches += epoch_batches(scheme.codes, shape, seed=again, epoch=done.epoch)
    steps: list[Step] = list(zip(*(batches[:length] for batches in rounds), strict=True))
    return steps[: config.steps - done.step] if config.steps else steps


Prepared = tuple[Tensor, list[Tensor]]
"""Images (N, C, S, S) of all schemes, one after the other; codes (n, L) of each."""


def _mean_loss(
    embeddings: Tensor, codes: Sequence[Tensor], masses: Sequence[Sequence[float]], heat: float
) -> Tensor:
    """Return the mean of the schemes' losses: what relates two schemes is unknown."""
    parts = torch.split(embeddings, [len(own) for own in codes])  # (n, D) of each
    losses = [
        hierarchical_loss(part, own, mass=mass, temperature=heat)
        for part, own, mass in zip(parts, codes, masses, strict=True)
    ]
    return torch.stack(losses).mean()


def _prefetch(
    steps: Sequence[Step],
    schemes: Sequence[Scheme],
    drawings: Drawings,
    config: TrainConfig,
    epoch: int,
) -> Generator[Prepared, None, None]:
    """Make steps in a thread, a few ahead of the loop. Each has a generator of its own."""
    ready: queue.Queue[Prepared | BaseException] = queue.Queue(AHEAD)
    stop = threading.Event()

    def put(item: Prepared | BaseException) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for place, picked in enumerate(steps):
                if stop.is_set():
                    return
                rng = np.random.default_rng([config.seed, epoch, 3, place])
                pairs = list(zip(schemes, picked, strict=True))
                rows = np.concatenate([scheme.rows[own] for scheme, own in pairs])
                squares = augment(drawings.masters[rows], config, rng)
                images = torch.from_numpy(normalised(squares, drawings.preprocessing))
                images = images.contiguous(memory_format=torch.channels_last)
                put((images, [torch.from_numpy(scheme.codes[own]) for scheme, own in pairs]))
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        for _ in steps:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()


def _learning_rate(config: TrainConfig, passed: float) -> float:
    """Rise in a line during the warm-up, then fall along half a cosine to 0."""
    if passed < config.warmup:
        return config.lr * (passed / config.warmup + 1e-3)
    left = (passed - config.warmup) / max(1 - config.warmup, 1e-9)
    return config.lr * 0.5 * (1 + math.cos(math.pi * left))


def _groups(student: Student, weight_decay: float) -> list[dict[str, Any]]:
    """Biases and normalisation do not decay: pulling a scale to 0 shrinks nothing useful."""
    matrices = [p for p in student.parameters() if p.ndim > 1]
    vectors = [p for p in student.parameters() if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def _finite(loss: Tensor, step: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ConfigError(
            f"the loss is {value} at step {step}: the training diverged",
            hint="lower lr, or raise temperature or warmup",
        )
    return value


def _mass(config: TrainConfig, scheme: Scheme) -> tuple[float, ...]:
    """Return the mass of each level of a scheme; a flatter tree takes the finest ones."""
    depth = len(scheme.levels)
    if depth > len(config.mass):
        raise ConfigError(
            f"{scheme.name} has {depth} levels, mass has {len(config.mass)} numbers",
            hint="give mass one number a level, coarse to fine, such as "
            f"{[round(1 / depth, 2)] * depth}",
        )
    return config.mass[-depth:]


def _has_pair(scheme: Scheme) -> bool:
    _, counts = np.unique(scheme.codes[:, -1], return_counts=True)
    return bool((counts > 1).any())


def _begin(config: TrainConfig, out: Path, resume: bool) -> dict[str, Any] | None:
    """Check the run folder; return the state to go on from."""
    begun = (out / "config.toml").is_file()
    if begun and not resume:
        raise ConfigError(
            f"{out} holds a run already", hint="choose another folder, or go on with --resume"
        )
    out.mkdir(parents=True, exist_ok=True)
    if not begun:
        return None
    if TrainConfig.load(out / "config.toml") != config:
        raise ConfigError(
            f"{out} was begun with other settings",
            hint=f"resume with --config {out / 'config.toml'}, or choose another folder",
        )
    try:
        state: dict[str, Any] = torch.load(out / "state.pt", weights_only=True)
    except FileNotFoundError:
        return None  # stopped before its first epoch ended
    except Exception as error:  # torch names no common base
        raise ConfigError(
            f"{out / 'state.pt'} is damaged: {error}", hint="train anew in another folder"
        ) from error
    return state


def _write_start(
    config: TrainConfig,
    sources: Sequence[Path],
    drawings: Drawings,
    training: Sequence[Scheme],
    held_out: Sequence[Scheme],
    out: Path,
) -> None:
    if not training:
        raise SourceError("no design is left to train on", hint="lower held_out, or add designs")
    said: dict[str, Any] = {
        "created": now(),
        "versions": versions(),
        "host": host(),
        "sources": [path.name for path in sources],
        "training": {s.name: _counts(s) for s in training},
        "held_out": {s.name: _counts(s) for s in held_out},
        "drawings": hashlib.sha256(drawings.fitted.tobytes()).hexdigest(),
        "problems": len(drawings.problems),
    }
    _check_same_drawings(out / "provenance.json", said["drawings"])
    config.save(out / "config.toml")
    (out / "provenance.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    problems = [{"where": p.where, "reason": p.reason} for p in drawings.problems]
    (out / "problems.json").write_text(json.dumps(problems, indent=1) + "\n", encoding="utf-8")


def _check_same_drawings(file: Path, drawings: object) -> None:
    if file.is_file() and json.loads(file.read_text(encoding="utf-8"))["drawings"] != drawings:
        raise ConfigError(
            f"{file.parent} was begun with other drawings",
            hint="give the sources it was begun with, unchanged, or choose another folder",
        )


def _counts(scheme: Scheme) -> dict[str, int]:
    levels = {n: len(np.unique(c)) for n, c in zip(scheme.levels, scheme.codes.T, strict=True)}
    return {**levels, "figures": len(scheme.rows)}


def _save(
    student: Student, optimizer: torch.optim.Optimizer, done: _Progress, out: Path, *, better: bool
) -> None:
    """Write the checkpoints, each whole or not at all; `state.pt` last: it is what counts."""
    weights = {name: tensor.contiguous() for name, tensor in student.state_dict().items()}
    _replace(out / "last.safetensors", lambda file: save_file(weights, file))
    if better:
        _replace(out / "best.safetensors", lambda file: save_file(weights, file))
    state = {
        "model": student.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": asdict(done),
    }
    _replace(out / "state.pt", lambda file: torch.save(state, file))


def _replace(file: Path, write: Callable[[Path], None]) -> None:
    partial = file.with_name(f".{file.name}.partial")
    write(partial)
    partial.replace(file)


def _log(file: Path, row: dict[str, float]) -> None:
    """Append one epoch; rows of epochs that are done again after a stop are dropped."""
    rows: list[dict[str, Any]] = []
    if file.is_file():
        with file.open(newline="", encoding="utf-8") as text:
            rows = [old for old in csv.DictReader(text) if int(old["epoch"]) < row["epoch"]]
    rows.append({name: f"{value:.6g}" for name, value in row.items()})
    names = list(dict.fromkeys(name for one in rows for name in one))
    with file.open("w", newline="", encoding="utf-8") as text:
        writer = csv.DictWriter(text, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _keep_freed_memory() -> None:
    """Let glibc keep large freed blocks: else each step's activations are mapped and zeroed anew,
    which costs a third of the time of a small network. Elsewhere nothing is done.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        m_trim_threshold, m_mmap_threshold = -1, -3
        mallopt(m_mmap_threshold, 1 << 30)
        mallopt(m_trim_threshold, (1 << 31) - 1)
