"""A last step after training: the projection, fitted in closed form on real designs.

Gradients see a few hundred real designs in small batches; the discriminant of `distill.ensemble`
sees all of them at once. The backbone stays as it was trained; projection and batch norm become
the map to the directions in which figures of one design differ least and designs most, the surest
first, so that the first numbers of an embedding are the best ones. It may be fitted at a larger
input than the network was trained at.

Source of the latter:
    Touvron et al., Fixing the train-test resolution discrepancy, arXiv:1906.06423.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from distill import run_folder
from distill.config import TrainConfig
from distill.cutting import cut_source
from distill.data import Drawings, load_drawings
from distill.ensemble import discriminant, with_mirrored
from distill.model import Student, load_student, preprocessing_of
from edge_retrieval.errors import ConfigError
from edge_retrieval.progress import Track, silent
from edge_retrieval.split import Split

BATCH = 32
KEPT = ("seen.npz", "split.toml", "metrics.csv", "problems.json")
"""What a refitted run says of the training that it came from."""


def refit(
    run: Path,
    sources: Sequence[Path],
    out: Path,
    *,
    shrinkage: float,
    size: int | None = None,
    trained: Sequence[Path] = (),
    validation: Sequence[Path] = (),
    split: Split | None = None,
    cache: Path,
    track: Track = silent,
) -> Path:
    """Write a run whose projection is fitted anew on labelled drawings; return its folder.

    Args:
        run: What `train` wrote; its last weights are taken.
        sources: Real drawings whose designs are known; each is a scheme of its own. They must be
            among those that `run` was trained on, so that what it says it has seen stays true.
        out: A new or empty folder.
        shrinkage: Of the within-design scatter, 0 to 1.
        size: Side of the input from now on, pixels; None: that of the training. A network that
            pools over places takes any, and a larger one shows finer lines.
        trained: All that `run` was trained on, in its order. At another size they and `validation`
            are cut anew: an export calibrates and judges on them.
        validation: What `run` was validated with.
        split: Designs of its parts other than "train" are left out.
        cache: Where cut drawings are kept.
        track: Shows progress.

    Raises:
        ConfigError: No design has two figures, there are fewer figures than numbers in an
            embedding, or another size without all that `run` was trained on.
    """
    student, config = load_student(run, checkpoint="last")
    said = json.loads((run / "provenance.json").read_text(encoding="utf-8"))
    if size is not None and size != config.size:
        config = replace(config, size=size)
        said["cut"] = _cut(said, config, trained, validation, cache=cache, track=track)
    drawings = load_drawings(
        sources,
        config,
        cache=cache,
        track=track,
        labelled=False,
        keep=None if split is None else split.trains,
    )
    features = _features(student, drawings, track)
    schemes = [with_mirrored(scheme, len(drawings)) for scheme in drawings.schemes]
    found = discriminant(features, schemes, dim=config.dim, shrinkage=shrinkage)
    directions = found["directions"]
    if directions.shape[1] != config.dim:
        raise ConfigError(
            f"the drawings have {directions.shape[1]} directions, an embedding {config.dim}",
            hint="give more drawings, or train with a smaller dim",
        )
    _set_projection(student, directions / found["scale"][:, None], found["shift"])
    out.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        if (run / name).is_file():
            shutil.copy2(run / name, out / name)
    config.save(out / "config.toml")
    said["refitted"] = {"shrinkage": shrinkage, "size": config.size, "figures": len(drawings)}
    run_folder.write_json(out / "provenance.json", said)
    for name in ("last", "best"):
        run_folder.save_weights(student.state_dict(), out / f"{name}.safetensors")
    return out


def _cut(
    said: Mapping[str, Any],
    config: TrainConfig,
    trained: Sequence[Path],
    validation: Sequence[Path],
    *,
    cache: Path,
    track: Track,
) -> dict[str, list[str]]:
    """Cut all that a run was trained on and validated with at its new size; return the digests."""
    given = {"sources": trained, "validation": validation}
    for kind, paths in given.items():
        if [path.name for path in paths] != said[kind]:
            raise ConfigError(
                f"at another size the {kind} of the run are cut anew: {', '.join(said[kind])}",
                hint="give all of them, in that order",
            )
    preprocessing = preprocessing_of(config)
    return {
        kind: [cut_source(path, preprocessing, cache, track).digest for path in paths]
        for kind, paths in given.items()
    }


def _features(student: Student, drawings: Drawings, track: Track) -> NDArray[np.float32]:
    """Return ``(2N, F)``: of all drawings as they are, then of all mirrored."""
    parts: tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]] = ([], [])
    starts = range(0, len(drawings), BATCH)
    for start in track(starts, "Features to refit on", len(starts)):
        shown = torch.from_numpy(
            drawings.images(np.arange(start, min(start + BATCH, len(drawings))))
        )
        with torch.inference_mode():
            for part, side in zip(parts, (shown, shown.flip(-1)), strict=True):
                part.append(student.backbone(side).numpy())
    return np.concatenate([*parts[0], *parts[1]])


def _set_projection(
    student: Student, weights: NDArray[np.float64], shift: NDArray[np.float64]
) -> None:
    """Let projection and batch norm be ``(features - shift) @ weights``."""
    norm = student.norm
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        student.projection.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights.T)))
        norm.running_mean.copy_(torch.from_numpy(shift @ weights))
        norm.running_var.fill_(1.0 - norm.eps)
        norm.weight.fill_(1.0)
        norm.bias.zero_()
