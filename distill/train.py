"""train(): drawings in, a run folder out. The loop stands here, top to bottom.

What a run folder holds is listed in `distill.run_folder`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from distill import leaks, run_folder
from distill.batches import Batch, Batches, epoch_steps, prepared
from distill.config import TrainConfig
from distill.curves import draw_curves
from distill.data import Drawings, Scheme, load_drawings
from distill.facts import beginning, left_out, run_facts
from distill.gallery import worst_queries, write_gallery
from distill.model import Student, TorchEncoder, load_student, make_student
from distill.objective import Labels, Objective
from distill.parallel import World, average_gradients, gather, joined, synchronise_norms
from distill.processor import (
    keep_freed_memory,
    memory_suffices,
    random_state,
    set_random_state,
    tiny_numbers_are_zero,
)
from distill.teacher import open_teacher, teacher_embeddings
from distill.variants import Variants, make_variants
from distill.weights import has_folded_norms, unfold_norms
from edge_retrieval.errors import ConfigError, SourceError
from edge_retrieval.metrics import leave_one_out
from edge_retrieval.progress import Track, silent
from edge_retrieval.sources import Problem
from edge_retrieval.split import Split

NORM_FIGURES = 512
"""Drawings that folded batch norms are estimated on."""

WORST = 24
"""Queries on the page of the worst."""

CURVES_EVERY = 60.0
"""Seconds between drawings of the curves while a training runs."""


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    Attributes:
        folder: The run folder.
        epochs: Done in all.
        steps: Done in all.
        best_h_ap: Best held-out H-AP, mean over the schemes (one figure left out, gallery: all
            other held-out figures of its scheme); NaN if nothing could be held out.
        best_map: Held-out mAP at design level of those same weights.
        best_epoch: After which they were saved; 0: none was validated.
        figures_per_second: Of the training loop, validation apart; 0 if nothing was left to do.
        stopped_early: Whether `patience` ran out.
        problems: What could not be read, and was left out.
    """

    folder: Path
    epochs: int
    steps: int
    best_h_ap: float
    best_map: float
    best_epoch: int
    figures_per_second: float
    stopped_early: bool
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class _Progress:
    """How far a run is.

    Attributes:
        epoch: Whole epochs done.
        step: Steps of those.
        batch: Steps of the epoch that has begun.
        loss: Sum of their losses.
        best_h_ap: The best validation so far; NaN: none.
        best_map: Of that same validation.
        best_epoch: After which it was.
        stale: Validations since.
    """

    epoch: int = 0
    step: int = 0
    batch: int = 0
    loss: float = 0.0
    best_h_ap: float = math.nan
    best_map: float = math.nan
    best_epoch: int = 0
    stale: int = 0


def train(
    config: TrainConfig,
    sources: Sequence[Path],
    out: Path,
    *,
    validation: Sequence[Path] = (),
    split: Split | None = None,
    resume: bool = False,
    cache: Path | None = None,
    track: Track = silent,
    tell: Callable[[str], None] = lambda _: None,
) -> TrainResult:
    """Train an encoder.

    Started by `torchrun`, the processes share every batch. The first one writes the files, and
    tells the others how far the run is: the run folder and `cache` may be on its disk alone.

    Args:
        config: Every choice that changes the weights.
        sources: Each is a label tree of its own, unless `config.one_scheme`; see `distill.data`.
        out: The run folder: new or empty, or with `resume` one that was begun.
        validation: Held-out sources; empty: designs of `sources` are held out.
        split: What it gives to another part than `train` is not trained on; of `validation` its
            validation part alone is used. None: everything is.
        resume: Go on after the last saved state; the result is that of an uninterrupted run. So it
            does in any case where `torchrun` starts it again.
        cache: Where cut drawings are kept; None: `out`/cache.
        track: Shows progress.
        tell: Takes lines for a person: what is trained on, what its labels cannot teach, and how
            each epoch went.

    Raises:
        ConfigError: Settings that do not fit the data or the run, a training that diverges, or a
            disk or a memory that is full.
        EvaluationError: Designs of `validation` are in `sources` too.
        SourceError: Nothing to train on.
    """
    cache = cache or out / "cache"
    with (
        joined() as world,
        tiny_numbers_are_zero(),
        memory_suffices(),
        torch.random.fork_rng(world.gpus),
    ):
        torch.manual_seed(config.seed)  # dropout, where a backbone has it
        torch.set_num_threads(config.threads or world.threads)
        keep_freed_memory()
        track = track if world.leads else silent
        run_folder.refuse_inside(out, (*sources, *validation))
        world.agree(asdict(config), "settings", hint="give all of them the same --config and --set")
        resume = resume or world.restarted()
        state = run_folder.begin(config, out, resume=resume) if world.leads else None

        drawings, training, held = _load(config, sources, validation, split, cache, track, world)
        targets: Tensor | None = None
        variants: Variants | None = None
        if config.teacher:
            targets, variants = _taught(config, sources, drawings, training, cache, track, world)
        facts = run_facts(sources, validation, drawings, training, *held)
        facts["left_out"] = left_out(split, drawings, held[0])
        world.agree(
            (facts["drawings"], facts["split"]),
            "drawings",
            hint="give all machines the same files and versions, the same --valid and --split",
        )
        student = _student(config, drawings, training, world.device)
        objective = Objective(
            config,
            depths=[len(scheme.levels) for scheme in training],
            designs=[len(np.unique(scheme.codes[:, -1])) for scheme in training],
            teacher_dim=None if targets is None else targets.shape[1],
            features=student.projection.in_features,
        ).to(world.device)
        if world.leads:  # only now: settings that do not suit make no run
            _write_start(config, out, facts, drawings, training)
            run_folder.write_split(split, out)
            for line in (*beginning(facts, config, world.device), *facts["left_out"]):
                tell(line)
        optimizer = torch.optim.AdamW(_groups(student, objective, config), lr=config.lr, fused=True)
        parts: dict[str, Any] = {"model": student, "objective": objective, "optimizer": optimizer}
        average = None
        if config.ema:
            decay = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
            average = AveragedModel(student, multi_avg_fn=decay, use_buffers=True)
            parts["average"] = average
        done = _Progress()
        if state is not None:
            done = _restored(state, parts, out)
        if world.size > 1:
            state = world.from_lead(_state(parts, done) if world.leads else None)
            done = _restored(state, parts, out)
        del state  # as large as all weights, and what the optimizer knows of them
        synchronise_norms(student, world)
        synchronise_norms(objective, world)

        seconds, figures, drawn = 0.0, 0, time.monotonic()
        while not _finished(config, done):
            steps = epoch_steps(config, training, epoch=done.epoch, done=done.step)
            batches = Batches(
                steps, training, drawings, config,
                epoch=done.epoch, first=done.batch, rank=world.rank, ranks=world.size,
                variants=variants,
            )  # fmt: skip
            student.train()
            began = time.perf_counter()
            with closing(prepared(batches, config.workers)) as ready:
                for batch in track(ready, _title(config, done), len(batches)):
                    rate = _learning_rate(config, done, len(steps))
                    for group in optimizer.param_groups:
                        group["lr"] = rate * group["share"]
                    optimizer.zero_grad(set_to_none=True)
                    loss = _backward(student, objective, batch, targets, config, world)
                    average_gradients((*student.parameters(), *objective.parameters()), world)
                    norm = torch.nn.utils.clip_grad_norm_(student.parameters(), config.clip)
                    _check_finite(loss, norm, done, len(steps), out)
                    optimizer.step()
                    if average is not None:
                        average.update_parameters(student)
                    figures += len(batch.rows)
                    done = replace(done, batch=done.batch + 1, loss=done.loss + float(loss))
                    saves = config.save_every and done.batch % config.save_every == 0
                    if saves and done.batch < len(steps) and world.leads:
                        _save_state(parts, done, out)
            taken = time.perf_counter() - began
            seconds += taken

            row = {
                "epoch": float(done.epoch + 1),
                "step": float(done.step + done.batch),
                "loss": done.loss / done.batch,
                "lr": rate,
                "figures_per_s": sum(len(r) for step in steps[batches.first :] for r in step)
                / taken,
            }
            done = replace(
                done, epoch=done.epoch + 1, step=done.step + done.batch, batch=0, loss=0.0
            )
            kept = student if average is None else average.module
            better = False
            if _finished(config, done) or done.epoch % config.validate_every == 0:
                scores = world.from_lead(validate(kept, *held) if world.leads else None)
                done, better = _compared(done, scores)
                row |= scores
            if world.leads:
                tell(_told(config, row, better=better and "H-AP" in row))
                run_folder.log(out / "metrics.csv", row)  # before the state: no row gets lost
                _save(parts, kept, done, out, better=better)
                if _finished(config, done) or time.monotonic() - drawn > CURVES_EVERY:
                    draw_curves(out / "metrics.csv", out / "curves.png")
                    drawn = time.monotonic()
        if world.leads and held[1]:
            _show_worst(held, out, world.device)
    return TrainResult(
        out, done.epoch, done.step, done.best_h_ap, done.best_map, done.best_epoch,
        figures / seconds if seconds else 0.0, _out_of_patience(config, done), drawings.problems,
    )  # fmt: skip


def validate(student: Any, drawings: Drawings, schemes: Sequence[Scheme]) -> dict[str, float]:
    """Let every held-out figure search the other held-out figures of its scheme.

    Returns:
        "H-AP" and "mAP" (at design level): means over the schemes; "mAP NAME LEVEL": of each scheme
        at each level, coarser ones exclusive of the query's own design. Empty without schemes.
    """
    found: dict[str, float] = {}
    means: dict[str, list[float]] = {"H-AP": [], "mAP": []}
    for scheme in schemes:
        embeddings = _embed(student, drawings, scheme)
        for scores in leave_one_out(embeddings, scheme.codes, scheme.levels):
            finest = scores.level == scheme.levels[-1]
            if "mAP" in scores.values and (finest or scores.relevance == "exclusive"):
                found[f"mAP {scheme.name} {scores.level}"] = scores.values["mAP"]
                means["mAP"] += [scores.values["mAP"]] * finest
            if "H-AP" in scores.values:
                means["H-AP"].append(scores.values["H-AP"])
    if not means["mAP"]:
        return {}
    return {name: float(np.mean(values)) for name, values in means.items()} | found


def _embed(student: Any, drawings: Drawings, scheme: Scheme) -> Any:
    encoder = TorchEncoder(student, drawings.preprocessing)
    parts = np.array_split(scheme.rows, max(1, len(scheme.rows) // encoder.batch))
    return np.concatenate([encoder.embed(drawings.images(part)) for part in parts])


Held = tuple[Drawings, tuple[Scheme, ...]]


def _load(
    config: TrainConfig,
    sources: Sequence[Path],
    validation: Sequence[Path],
    split: Split | None,
    cache: Path,
    track: Track,
    world: World,
) -> tuple[Drawings, tuple[Scheme, ...], Held]:
    """Cut and split the drawings. The leading process cuts; the others find them in the cache, if
    they see it, and else cut as well.
    """
    labelled = not config.teacher
    trains, validates = (None, None) if split is None else split.sides()

    def load() -> tuple[Drawings, Drawings]:
        drawings = load_drawings(
            sources, config, cache=cache, track=track, labelled=labelled, keep=trains
        )
        if not validation:
            return drawings, drawings
        return drawings, load_drawings(validation, config, cache=cache, track=track, keep=validates)

    drawings, others = world.in_turn(load)
    if validation:
        training, held = drawings.schemes, others.schemes
        leaks.refuse_leaks(*_signed(drawings, training), *_signed(others, held))
    else:
        training, held = drawings.split(config.held_out, config.seed)
    if not training:
        raise SourceError("no design is left to train on", hint="lower held_out, or add designs")
    numbered = tuple(scheme.renumbered() for scheme in training)
    return drawings, numbered, (others, tuple(scheme for scheme in held if _has_pair(scheme)))


def _signed(drawings: Drawings, schemes: Sequence[Scheme]) -> tuple[Any, list[str]]:
    """Return signatures and design numbers of the figures of some schemes."""
    rows = np.sort(np.concatenate([scheme.rows for scheme in schemes]))
    return drawings.signatures[rows], [drawings.designs[row] for row in rows]


def _taught(
    config: TrainConfig,
    sources: Sequence[Path],
    drawings: Drawings,
    training: Sequence[Scheme],
    cache: Path,
    track: Track,
    world: World,
) -> tuple[Tensor, Variants | None]:
    """Return what the teacher says of all drawings and of the variants behind them, and those.

    The leading process asks it; the others find the answers in the cache, if they see it.
    """
    teacher = open_teacher(config.teacher)

    def ask() -> tuple[Any, Variants | None]:
        found = teacher_embeddings(teacher, sources, drawings, config, cache=cache, track=track)
        if not config.variants:
            return found, None
        return found, make_variants(
            teacher, sources, drawings, training, config, cache=cache, track=track
        )

    found, variants = world.in_turn(ask)
    if variants is None:
        return torch.from_numpy(found), None
    return torch.from_numpy(np.concatenate([found, variants.targets])), variants


def _student(
    config: TrainConfig, drawings: Drawings, training: Sequence[Scheme], device: torch.device
) -> Student:
    """Make the network; estimate its batch norms where its weights came without them."""
    student: Student = make_student(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    student = student.to(device)
    if has_folded_norms(student.backbone):
        rows = np.concatenate([scheme.rows for scheme in training])
        rng = np.random.default_rng([config.seed, 4])
        chosen = np.sort(rng.choice(rows, min(NORM_FIGURES, len(rows)), replace=False))
        parts = np.array_split(chosen, max(1, len(chosen) // 64))
        unfold_norms(
            student.backbone,
            (torch.from_numpy(drawings.images(part)).to(device) for part in parts),
        )
    return student


def _backward(
    student: Student,
    objective: Objective,
    batch: Batch,
    targets: Tensor | None,
    config: TrainConfig,
    world: World,
) -> Tensor:
    """Compute the loss of a whole batch and add its gradient; return the loss.

    With `accumulate` above 1 only the embeddings of the whole batch are in memory at once: they are
    computed without gradient, the loss gives each its gradient, and each part is computed once more
    to carry it on. Unlike adding up the losses of the parts, this keeps all pairs.

    Source:
        Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
        arXiv:2101.06983.
    """
    device = world.device
    images = batch.images.to(device, non_blocking=True)
    labels = Labels(batch.codes.to(device), batch.scheme.to(device))
    wanted = None if targets is None else targets[batch.rows].to(device)
    counts: list[int] = batch.counts.tolist()
    # As many parts in every process, for batch norm waits for the others; of two figures or more.
    parts = images.tensor_split(min(config.accumulate, max(1, min(counts) // 2)))
    with torch.autocast(device.type, torch.bfloat16, enabled=_uses_bf16(config, device)):
        if config.cells:
            embeddings, maps = student.with_maps(images)
            loss: Tensor = objective(gather(embeddings, counts), labels, wanted)
            own = len(batch.cells)
            if own:
                cells = batch.cells.to(device)
                # A mean over all processes, each of which has a share of the variants.
                share = own * world.size / config.variant_batch
                loss = loss + share * objective.cell_loss([one[-own:] for one in maps], cells)
        elif len(parts) == 1:
            loss = objective(gather(student(images), counts), labels, wanted)
        else:
            dice = random_state()
            with torch.no_grad():
                whole = torch.cat([student(part) for part in parts])
            whole.requires_grad_()
            loss = objective(gather(whole, counts), labels, wanted)
    loss.backward()  # type: ignore[no-untyped-call]
    if len(parts) > 1:
        assert whole.grad is not None
        set_random_state(dice)  # the same dropout
        gradients = torch.split(whole.grad, [len(part) for part in parts])
        for part, gradient in zip(parts, gradients, strict=True):
            with torch.autocast(device.type, torch.bfloat16, enabled=_uses_bf16(config, device)):
                embeddings = student(part)
            embeddings.backward(gradient.to(embeddings.dtype))
    return loss.detach()


def _uses_bf16(config: TrainConfig, device: torch.device) -> bool:
    """On a processor bf16 must be asked for: it halves the time of plain convolutions where there
    is AMX, and is slower than fp32 for depthwise ones and wherever there is none.

    GPUs before 8.0 emulate it, which torch calls supported too.
    """
    if config.precision == "auto":
        return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return config.precision == "bf16"


def _finished(config: TrainConfig, done: _Progress) -> bool:
    if _out_of_patience(config, done):
        return True
    return done.step >= config.steps if config.steps else done.epoch >= config.epochs


def _out_of_patience(config: TrainConfig, done: _Progress) -> bool:
    return bool(config.patience) and done.stale >= config.patience


def _compared(done: _Progress, scores: dict[str, float]) -> tuple[_Progress, bool]:
    """Hold a validation against the best so far; return the progress and whether it is better."""
    if not scores:  # nothing is held out: the newest weights are the best known
        return done, True
    if scores["H-AP"] <= done.best_h_ap:  # False for NaN: nothing to compare with
        return replace(done, stale=done.stale + 1), False
    h_ap, own = scores["H-AP"], scores["mAP"]
    return replace(done, best_h_ap=h_ap, best_map=own, best_epoch=done.epoch, stale=0), True


def _told(config: TrainConfig, row: dict[str, float], *, better: bool) -> str:
    """Say in one line how an epoch went."""
    of = "" if config.steps else f"/{config.epochs}"
    text = f"epoch {row['epoch']:.0f}{of}, step {row['step']:.0f}"
    text += f"/{config.steps}: " if config.steps else ": "
    text += f"loss {row['loss']:.3f}"
    if "H-AP" in row:
        text += f", H-AP {row['H-AP']:.3f}, mAP {row['mAP']:.3f}" + (", best" if better else "")
    return text


def _title(config: TrainConfig, done: _Progress) -> str:
    return f"Epoch {done.epoch + 1}" + ("" if config.steps else f"/{config.epochs}")


def _learning_rate(config: TrainConfig, done: _Progress, of: int) -> float:
    """Rise in a line during the warm-up, then fall along half a cosine to 0."""
    if config.steps:
        passed = (done.step + done.batch) / config.steps
    else:
        passed = (done.epoch + done.batch / of) / config.epochs
    if passed < config.warmup:
        return config.lr * (passed / config.warmup + 1e-3)
    left = (passed - config.warmup) / max(1 - config.warmup, 1e-9)
    return config.lr * 0.5 * (1 + math.cos(math.pi * left))


def _groups(student: Student, objective: Objective, config: TrainConfig) -> list[dict[str, Any]]:
    """Biases and normalisation do not decay: pulling a scale to 0 shrinks nothing useful."""
    backbone = list(student.backbone.parameters())
    known = {id(parameter) for parameter in backbone}
    head = [p for p in (*student.parameters(), *objective.parameters()) if id(p) not in known]
    groups = []
    for parameters, share in ((backbone, config.backbone_lr), (head, 1.0)):
        for is_matrix in (True, False):
            chosen = [p for p in parameters if (p.ndim > 1) == is_matrix]
            decay = config.weight_decay if is_matrix else 0.0
            groups.append({"params": chosen, "weight_decay": decay, "share": share})
    return [group for group in groups if group["params"]]


def _check_finite(loss: Tensor, norm: Tensor, done: _Progress, of: int, out: Path) -> None:
    """Stop before weights are spoilt; the checkpoints on disk are of earlier steps, and good."""
    value = float(loss)
    if math.isfinite(value) and math.isfinite(float(norm)):
        return
    what = f"the loss is {value}" if not math.isfinite(value) else "the gradient is not finite"
    kept = out / "last.safetensors"
    raise ConfigError(
        f"{what} at step {done.step + done.batch + 1} (epoch {done.epoch + 1}, batch"
        f" {done.batch + 1} of {of}): the training diverged"
        + (f"; {kept} is of step {done.step}" if done.epoch else ""),
        hint="lower lr, or raise temperature or warmup",
    )


def _has_pair(scheme: Scheme) -> bool:
    _, counts = np.unique(scheme.codes[:, -1], return_counts=True)
    return bool((counts > 1).any())


def _write_start(
    config: TrainConfig,
    out: Path,
    facts: dict[str, Any],
    drawings: Drawings,
    training: Sequence[Scheme],
) -> None:
    run_folder.write_start(config, out, facts)
    problems = [{"where": p.where, "reason": p.reason} for p in drawings.problems]
    run_folder.write_json(out / "problems.json", problems)
    with run_folder.writing(out / "seen.npz"):
        leaks.save_seen(out / "seen.npz", *_signed(drawings, training))


def _state(parts: dict[str, Any], done: _Progress) -> dict[str, Any]:
    said = {name: part.state_dict() for name, part in parts.items()}
    return {**said, **random_state(), "progress": asdict(done)}


def _restored(state: Mapping[str, Any], parts: Mapping[str, Any], out: Path) -> _Progress:
    """Put all parts where a saved state was; return how far that is."""
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        set_random_state(state)
        return _Progress(**state["progress"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"{out / 'state.pt'} is of another version, or damaged: {' '.join(str(error).split())}",
            hint="train anew in another folder, or with the versions in provenance.json",
        ) from error


def _save_state(parts: dict[str, Any], done: _Progress, out: Path) -> None:
    run_folder.save_state(_state(parts, done), out)


def _save(parts: dict[str, Any], kept: Any, done: _Progress, out: Path, *, better: bool) -> None:
    """Write the checkpoints, each whole or not at all; `state.pt` last: it is what counts."""
    weights = kept.state_dict()
    run_folder.save_weights(weights, out / "last.safetensors")
    if better:
        run_folder.save_weights(weights, out / "best.safetensors")
    _save_state(parts, done, out)


def _show_worst(held: Held, out: Path, device: torch.device) -> None:
    """Write a page of the held-out queries that the best weights answer worst."""
    drawings, schemes = held
    student = load_student(out)[0].to(device)
    queries = []
    facts = {"run": out.name}
    for scheme in schemes:
        embeddings = _embed(student, drawings, scheme)
        queries += worst_queries(
            embeddings,
            scheme.codes,
            drawings.fitted.only(scheme.rows),
            [drawings.designs[row] for row in scheme.rows],
            scheme.levels,
            count=max(1, WORST // len(schemes)),
        )
        for scores in leave_one_out(embeddings, scheme.codes, scheme.levels):
            for name in ("mAP", "H-AP"):
                if name in scores.values and scores.level in (scheme.levels[-1], "all"):
                    facts[f"{name}, {scheme.name}"] = f"{scores.values[name]:.3f}"
        facts[f"gallery, {scheme.name}"] = f"{len(scheme.rows)} figures, one left out"
    write_gallery(queries, out / "worst.html", title="The worst held-out queries", facts=facts)
