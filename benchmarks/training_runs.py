"""What the training benchmarks share: many short runs, each scored on drawings it never saw.

A run that is finished in its folder is not run again, so a benchmark can be stopped and gone on
with, on another machine too.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_retrieval.errors import SourceError
from edge_retrieval.metrics import leave_one_out

MEASURES = {
    "H-AP": ("all", "inclusive", "H-AP"),
    "patent mAP": ("design", "inclusive", "mAP"),
    "subclass mAP": ("subclass", "inclusive", "mAP"),
    "subclass mAP, exclusive": ("subclass", "exclusive", "mAP"),
    "class mAP": ("class", "inclusive", "mAP"),
    "class mAP, exclusive": ("class", "exclusive", "mAP"),
    "patent hit_rate@1": ("design", "inclusive", "hit_rate@1"),
}
"""Name in the results -> level, relevance, measure of `leave_one_out`."""


@dataclass(frozen=True)
class Run:
    """One training of a benchmark.

    Attributes:
        name: Of its folder.
        recipe: TOML of settings.
        settings: "name=value" over the recipe.
        facts: What the results say of it (loss, backbone, seed).
    """

    name: str
    recipe: Path
    settings: tuple[str, ...]
    facts: dict[str, Any]


def run_all(
    runs: Sequence[Run], sources: Sequence[Path], folder: Path, *, jobs: int, cache: Path
) -> None:
    """Train what is not finished yet, `jobs` at a time, each in a process of its own."""

    def one(run: Run) -> None:
        out = folder / run.name
        if (out / "finished").is_file():
            return
        began = time.monotonic()
        words = [sys.executable, __file__, str(out), str(run.recipe), str(cache)]
        if jobs > 1:  # each its share of the cores: threads that wait for each other cost much
            words.append(f"threads={max(1, (os.cpu_count() or 1) // jobs)}")
        words += [*run.settings, "--", *map(str, sources)]
        done = subprocess.run(words, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{run.name} failed:\n{done.stderr[-2000:]}")
        print(f"{run.name}: {time.monotonic() - began:.0f} s", flush=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, runs))


def score(out: Path, source: Path, cache: Path) -> dict[str, Any]:
    """Return the scores of a run's last weights on a source, and on its own held-out designs."""
    from distill.config import TrainConfig
    from distill.data import load_drawings
    from distill.model import TorchEncoder, load_student, preprocessing_of

    student, config = load_student(out, checkpoint="last")
    drawings = load_drawings(
        [source], TrainConfig(size=config.size, channels=config.channels), cache=cache
    )
    if len(drawings.schemes) != 1:
        raise SourceError(f"{source}: one label tree is needed", hint="name one source")
    scheme = drawings.schemes[0]
    encoder = TorchEncoder(student, preprocessing_of(config))
    embeddings = encoder.embed(drawings.images(scheme.rows))
    found = {
        (s.level, s.relevance): s for s in leave_one_out(embeddings, scheme.codes, scheme.levels)
    }
    with (out / "metrics.csv").open(newline="") as text:
        last = list(csv.DictReader(text))[-1]
    return {
        "test": {
            name: found[level, relevance].values[measure]
            for name, (level, relevance, measure) in MEASURES.items()
        },
        "gallery": found["design", "inclusive"].gallery,
        "held_out": {name: float(value) for name, value in last.items() if "AP" in name and value},
        "steps": int(float(last["step"])),
        "training loss": float(last["loss"]),
    }


def _train(words: Sequence[str]) -> None:
    """Train one run: folder, recipe, cache, settings, "--", sources."""
    import distill  # noqa: F401  # first: it says how torch's threads wait
    from distill.config import TrainConfig
    from distill.train import train

    out, recipe, cache, *rest = words
    settings, sources = rest[: rest.index("--")], rest[rest.index("--") + 1 :]
    config = TrainConfig.load(Path(recipe)).with_settings(settings)
    paths = [Path(source) for source in sources]
    train(config, paths, Path(out), resume=True, cache=Path(cache))
    (Path(out) / "finished").touch()


if __name__ == "__main__":
    _train(sys.argv[1:])
