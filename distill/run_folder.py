"""A run folder: begun, resumed, written so that a stop at any moment leaves it whole.

config.toml         the settings                      provenance.json   versions, host, inputs
metrics.csv         one row an epoch                  problems.json     what could not be read
last.safetensors    the newest weights                best.safetensors  the best by validation
state.pt            all that a resume needs           cache/            the cut drawings
curves.png          metrics.csv drawn                 worst.html        the worst queries
seen.npz            small signatures of what was trained on, so that a test can be refused
split.toml          the split that it was begun with, if there was one
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from distill.config import TrainConfig
from edge_retrieval.errors import ConfigError
from edge_retrieval.split import Split, read_split
from edge_retrieval.staging import write_whole

SPLIT = "split.toml"


@contextlib.contextmanager
def writing(file: Path) -> Generator[None, None, None]:
    """Say in one line that a file of the run cannot be written; what was written before stays."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ConfigError(
            f"{file} cannot be written: {error.strerror or error}",
            hint="make room on the disk, then go on with --resume"
            if full
            else "choose another folder with -o",
        ) from error


def keep_array(array: NDArray[Any], file: Path) -> None:
    """Write a cache file whole or not at all; trainings beside this one may write it too."""
    partial = file.with_suffix(f".{os.getpid()}.tmp")
    with writing(file):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as out:
                np.save(out, array)
            partial.replace(file)
        except OSError:
            partial.unlink(missing_ok=True)
            raise


def write_bytes(file: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with writing(file):
        write_whole(file, content)


def write_json(file: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    write_bytes(file, (json.dumps(value, indent=1) + "\n").encode())


def refuse_inside(out: Path, sources: Sequence[Path]) -> None:
    """Refuse a run folder within a source: its pictures would be read as drawings.

    Raises:
        ConfigError: It lies there.
    """
    for source in sources:
        if out.resolve().is_relative_to(source.resolve()):
            raise ConfigError(
                f"{out} lies within the source {source}",
                hint="choose a folder outside: what a run writes would be read as drawings",
            )


def begin(config: TrainConfig, out: Path, *, resume: bool) -> dict[str, Any] | None:
    """Check a run folder and make it if need be; return the state to go on from.

    Raises:
        ConfigError: It holds another run, or a damaged one, or cannot be made.
    """
    begun = (out / "config.toml").is_file()
    if begun and not resume:
        raise ConfigError(
            f"{out} holds a run already", hint="choose another folder, or go on with --resume"
        )
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    if not begun:
        return None
    before = TrainConfig.load(out / "config.toml")
    if before != config:
        names = [name for name, value in asdict(before).items() if value != getattr(config, name)]
        raise ConfigError(
            f"{out} was begun with other settings: {', '.join(names)}",
            hint=f"resume with --config {out / 'config.toml'}, or choose another folder",
        )
    try:
        state: dict[str, Any] = torch.load(out / "state.pt", weights_only=True, map_location="cpu")
    except FileNotFoundError:
        return None  # stopped before its first state was saved
    except Exception as error:  # torch names no common base
        raise ConfigError(
            f"{out / 'state.pt'} is damaged: {error}", hint="train anew in another folder"
        ) from error
    return state


def write_start(config: TrainConfig, out: Path, facts: Mapping[str, Any]) -> None:
    """Write settings and provenance; refuse to go on with other drawings than it began with.

    Raises:
        ConfigError: That, or a damaged `provenance.json`, or a file cannot be written.
    """
    file = out / "provenance.json"
    if file.is_file():
        before = _provenance(file)
        for key, what in {"drawings": "drawings", "split": "drawings held out"}.items():
            if before.get(key, facts[key]) != facts[key]:  # an older version wrote no split
                raise ConfigError(
                    f"{out} was begun with other {what}",
                    hint="give --data and --valid as it was begun, unchanged, or choose another"
                    " folder",
                )
    partial = out / ".config.toml.partial"
    with writing(out / "config.toml"):
        config.save(partial)
        partial.replace(out / "config.toml")
    write_json(file, facts)


def _provenance(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("no object")
    except ValueError as error:
        raise ConfigError(f"{file} is damaged: {error}", hint="train anew") from error
    return found


def write_split(split: Split | None, out: Path) -> None:
    """Keep the split beside the run: an export must leave out the same designs."""
    if split is not None:
        write_bytes(out / SPLIT, split.text.encode())


def read_own_split(out: Path) -> Split | None:
    """Return the split that a run was begun with, if there was one.

    Raises:
        ConfigError: It is damaged.
    """
    return read_split(out / SPLIT) if (out / SPLIT).is_file() else None


def save_weights(weights: Mapping[str, Tensor], file: Path) -> None:
    """Write a checkpoint."""
    write_bytes(file, safetensors_bytes({n: t.detach().contiguous() for n, t in weights.items()}))


def save_state(state: Mapping[str, Any], out: Path) -> None:
    """Write all that a resume needs: the last file of a checkpoint, and the one that counts."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_bytes(out / "state.pt", buffer.getvalue())


def log(file: Path, row: Mapping[str, float]) -> None:
    """Append one epoch; rows of epochs that are done again after a stop are dropped.

    Raises:
        ConfigError: What is there was changed by hand, or it cannot be written.
    """
    rows: list[dict[str, Any]] = []
    if file.is_file():
        try:
            with file.open(newline="", encoding="utf-8") as text:
                rows = [old for old in csv.DictReader(text) if int(old["epoch"]) < row["epoch"]]
            if any(None in old for old in rows):
                raise ValueError("a row has more cells than columns")
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ConfigError(
                f"{file} is no longer what training wrote: {error}",
                hint="move it away, then go on with --resume",
            ) from error
    rows.append({name: f"{value:.6g}" for name, value in row.items()})
    names = list(dict.fromkeys(name for one in rows for name in one))
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(file, buffer.getvalue().encode())
