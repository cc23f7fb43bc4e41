"""What do the losses make of features that are there already?

Question: a linear projection with batch norm, as our students end in, trained to convergence on the
features of a frozen ImageNet network, all else being equal: how good is each loss, on real
multi-view design patents and on designs held out of the training sources? Training takes seconds,
so all losses, several networks, masses and temperatures are asked, three seeds each, and no loss
can be blamed for having had too few steps.

    python benchmarks/heads.py path/to/uspto-multiview --train made/ --train path/to/uspto-2007 \\
        --weights path/to/weights/mobilenetv1_050_imagenet.fp16.pt

Writes benchmarks/results/heads.json; `python benchmarks/render.py` makes the tables.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import normalize
from training_runs import MEASURES

from distill.batches import epoch_steps
from distill.config import LOSSES, TrainConfig
from distill.data import Drawings, Scheme, load_drawings
from distill.model import make_features
from distill.objective import Labels, Objective
from edge_retrieval.metrics import leave_one_out
from edge_retrieval.progress import silent
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json

RESULTS = Path(__file__).parent / "results"
MASSES = ((0.02, 0.08, 0.9), (0.1, 0.2, 0.7), (0.2, 0.4, 0.4))
TEMPERATURES = (0.05, 0.1, 0.2)
DROPOUT = 0.2


class Data(NamedTuple):
    """Features of the training sources and of the test, and their trees."""

    plain: Tensor  # (N, F) of the training sources
    mirrored: Tensor  # (N, F)
    test: Tensor  # (M, F)
    training: Sequence[Scheme]
    held_out: Sequence[Scheme]
    tested: Scheme


def features(config: TrainConfig, drawings: Drawings, file: Path, *, mirror: bool) -> Tensor:
    """Return ``(N, F)`` of a frozen network, computed once."""
    if file.is_file():
        return torch.from_numpy(np.load(file, allow_pickle=False))
    network = make_features(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parts: list[NDArray[np.float32]] = []
    with torch.inference_mode():
        for start in range(0, len(drawings), 64):
            images = drawings.images(np.arange(start, min(start + 64, len(drawings))))
            shown = np.ascontiguousarray(images[..., ::-1] if mirror else images)
            parts.append(network(torch.from_numpy(shown)).numpy())
    np.save(file, np.concatenate(parts))
    return torch.from_numpy(np.concatenate(parts))


def load(weights: Path, size: int, train: Sequence[Path], test: Path, folder: Path) -> Data:
    """Cut, split and embed everything."""
    name = weights.name.split("_")
    config = TrainConfig(
        backbone=f"{name[0]}_100",
        backbone_args=f'channel_multiplier = {int(name[1]) / 100}, pad_type = "same"',
        weights=str(weights),
        size=size,
        channels=3,
    )
    drawings = load_drawings(train, config, cache=folder / "cache", track=silent)
    tested = load_drawings([test], config, cache=folder / "cache", track=silent)
    stem = f"{weights.name.split('.')[0]}-{size}"
    plain, mirrored, own = (
        features(config, which, folder / f"{stem}-{side}.npy", mirror=side == "mirrored")
        for which, side in ((drawings, "plain"), (drawings, "mirrored"), (tested, "test"))
    )
    training, held_out = drawings.split(0.2, 0)
    rows = np.concatenate([scheme.rows for scheme in training])
    mean, deviation = plain[rows].mean(0), plain[rows].std(0) + 1e-6
    plain, mirrored, own = ((part - mean) / deviation for part in (plain, mirrored, own))
    numbered = [scheme.renumbered() for scheme in training]
    return Data(plain, mirrored, own, numbered, held_out, tested.schemes[0])


def trained(data: Data, config: TrainConfig) -> nn.Module:
    """Train a projection; equal settings give equal weights."""
    torch.manual_seed(config.seed)
    head = nn.Sequential(
        nn.Dropout(DROPOUT),
        nn.Linear(data.plain.shape[1], config.dim, bias=False),
        nn.BatchNorm1d(config.dim),
    )
    objective = Objective(
        config,
        depths=[len(scheme.levels) for scheme in data.training],
        designs=[len(np.unique(scheme.codes[:, -1])) for scheme in data.training],
    )
    optimizer = torch.optim.AdamW(
        [*head.parameters(), *objective.parameters()], lr=config.lr, weight_decay=0.05
    )
    rng = np.random.default_rng(config.seed)
    done, epoch = 0, 0
    while done < config.steps:
        for step in epoch_steps(config, data.training, epoch=epoch, done=done):
            pairs = list(zip(data.training, step, strict=True))
            rows = torch.from_numpy(np.concatenate([scheme.rows[own] for scheme, own in pairs]))
            codes = np.concatenate([scheme.codes[own] for scheme, own in pairs]).astype(np.int64)
            scheme_of = np.repeat(np.arange(len(pairs)), [len(own) for _, own in pairs])
            flip = torch.from_numpy(rng.random(len(rows)) < 0.5)
            shown = torch.where(flip[:, None], data.mirrored[rows], data.plain[rows])
            for group in optimizer.param_groups:
                group["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * done / config.steps))
            labels = Labels(torch.from_numpy(codes), torch.from_numpy(scheme_of))
            optimizer.zero_grad(set_to_none=True)
            objective(normalize(head(shown)), labels).backward()
            optimizer.step()
            done += 1
        epoch += 1
    return head.eval()


def scores(rows: Tensor, scheme: Scheme) -> dict[str, float]:
    """Return every measure of one set of figures."""
    found = {
        (s.level, s.relevance): s.values
        for s in leave_one_out(normalize(rows).numpy(), scheme.codes, scheme.levels)
    }
    return {
        name: found[level, kind][measure]
        for name, (level, kind, measure) in MEASURES.items()
        if measure in found[level, kind]
    }


def measured(data: Data, head: nn.Module) -> dict[str, dict[str, float]]:
    """Score a projection on the test and on what was held out."""
    with torch.inference_mode():
        found = {"test": scores(head(data.test), data.tested)}
        for scheme in data.held_out:
            found[scheme.name] = scores(head(data.plain[scheme.rows]), scheme)
    return found


def main() -> None:
    """Train and score every combination, then save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("test", type=Path, help="source to test on (uspto-multiview)")
    parser.add_argument("--train", type=Path, action="append", required=True, help="a source")
    parser.add_argument("--weights", type=Path, action="append", required=True, help="MobileNets")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--runs", type=Path, default=Path("runs/heads"))
    args = parser.parse_args()

    args.runs.mkdir(parents=True, exist_ok=True)
    base = TrainConfig(steps=args.steps, lr=1e-3, classes=6, subclasses=2, designs=3, figures=3)
    rows: list[dict[str, Any]] = []
    for number, weights in enumerate(args.weights):
        data = load(weights, args.size, args.train, args.test, args.runs)
        name = weights.name.split("_imagenet")[0]
        asked = [(loss, replace(base, loss=loss)) for loss in LOSSES]
        if number == 0:  # masses and temperatures on the first network alone
            asked += [
                (f"infonce, temperature {heat}", replace(base, loss="infonce", temperature=heat))
                for heat in TEMPERATURES
                if heat != base.temperature
            ]
            asked += [
                (
                    f"hierarchical, mass {', '.join(map(str, mass))}, temperature {heat}",
                    replace(base, mass=mass, temperature=heat),
                )
                for mass in MASSES
                for heat in TEMPERATURES
                if (mass, heat) != (base.mass, base.temperature)
            ]
        with torch.inference_mode():
            plain = {"test": scores(data.test, data.tested)}
            plain |= {s.name: scores(data.plain[s.rows], s) for s in data.held_out}
        rows.append({"backbone": name, "loss": "(no training)", "seed": 0, **plain})
        for loss, config in asked:
            for seed in range(args.seeds):
                head = trained(data, replace(config, seed=seed))
                rows.append({"backbone": name, "loss": loss, "seed": seed, **measured(data, head)})
            own = [row["test"] for row in rows if (row["backbone"], row["loss"]) == (name, loss)]
            print(f"{name} {loss}: H-AP {np.mean([one['H-AP'] for one in own]):.4f}", flush=True)
    save_json(
        RESULTS / "heads.json",
        {
            "question": "the losses on linear heads of frozen networks, to convergence",
            "size": args.size,
            "steps": args.steps,
            "seeds": args.seeds,
            "train": [path.name for path in args.train],
            "test": args.test.name,
            "held_out": [scheme.name for scheme in data.held_out],
            "convention": "leave one figure out; AP over the whole ranking; cosine",
            "rows": rows,
            "host": host(),
            "versions": versions(),
            "created": now(),
        },
    )


if __name__ == "__main__":
    main()
