"""Does the training loop keep up with a bare loop over tensors in memory?

Question: images a second of `distill.train.train` (batches planned, read from the mapped cache,
augmented, learned from, AdamW, logged) against zero_grad, forward, loss, backward over fixed
tensors: same network, batch size, threads and modes of the processor; in turn, in one process.

    python benchmarks/throughput.py path/to/source --rounds 8

Writes benchmarks/results/throughput.json; `python benchmarks/render.py` makes the table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import distill  # noqa: F401  # before torch: it says how torch's threads wait

# isort: split
import numpy as np
import torch

from distill.batches import Batches, epoch_steps
from distill.config import TrainConfig
from distill.data import load_drawings
from distill.losses import hierarchical_loss
from distill.model import make_student
from distill.processor import keep_freed_memory, tiny_numbers_are_zero
from distill.train import train
from edge_retrieval.provenance import available_cores, host, now, versions
from edge_retrieval.report import save_json

RESULTS = Path(__file__).parent / "results"
KEPT = 4
"""Batches that the bare loop goes round."""


def main() -> None:
    """Measure both in turn and save every round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="labelled designs")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30, help="steps a round")
    parser.add_argument("--set", action="append", default=[], help="name=value")
    parser.add_argument("--cache", type=Path, help="where cut drawings are kept")
    args = parser.parse_args()

    config = TrainConfig(held_out=0.0, steps=args.steps).with_settings(args.set)
    with tempfile.TemporaryDirectory() as folder, tiny_numbers_are_zero():
        cache = args.cache or Path(folder) / "cache"
        keep_freed_memory()
        torch.set_num_threads(config.threads or available_cores())
        drawings = load_drawings([args.source], config, cache=cache)
        schemes, _ = drawings.split(0.0, 0)
        steps = epoch_steps(config, schemes, epoch=0, done=0)
        batches = Batches(steps, schemes, drawings, config, epoch=0)
        kept = [batches[number] for number in range(min(KEPT, len(batches)))]
        rows = []
        for number in range(args.rounds):
            speeds = {}
            names = ["bare", "train"][:: 1 if number % 2 else -1]
            for name in names:
                if name == "bare":
                    speeds[name] = bare(config, kept)
                else:
                    out = Path(folder) / f"run{number}"
                    result = train(config, [args.source], out, cache=cache)
                    speeds[name] = result.figures_per_second
            rows.append({**speeds, "ratio": speeds["train"] / speeds["bare"]})
            print(f"bare {speeds['bare']:.0f}/s, train {speeds['train']:.0f}/s", flush=True)
    save_json(
        RESULTS / "throughput.json",
        {
            "question": "images a second of the training loop over those of a bare loop",
            "backbone": config.backbone,
            "size": config.size,
            "batch": int(np.mean([len(batch.rows) for batch in kept])),
            "steps": args.steps,
            "threads": torch.get_num_threads(),
            "rows": rows,
            "host": host(),
            "versions": versions(),
            "created": now(),
        },
    )
    print(f"median ratio {np.median([row['ratio'] for row in rows]):.3f}")


def bare(config: TrainConfig, kept: list) -> float:  # type: ignore[type-arg]
    """Return images a second of forward and backward alone."""
    student = make_student(config).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    figures = 0
    began = time.perf_counter()
    for number in range(config.steps):
        batch = kept[number % len(kept)]
        student.zero_grad(set_to_none=True)
        loss = hierarchical_loss(
            student(batch.images), batch.codes, mass=config.mass, temperature=config.temperature
        )
        loss.backward()  # type: ignore[no-untyped-call]
        figures += len(batch.images)
    return figures / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
