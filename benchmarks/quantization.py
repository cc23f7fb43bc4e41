"""What does INT8 cost and buy, for every backbone that has a recipe, on both runtimes?

    python benchmarks/quantization.py path/to/uspto-multiview --run runs/resnet18 --run runs/... \\
        --bundles bundles/

RUN is what `edge-ret train` wrote, its cache included; each is exported with `--int8 --qat` unless
its bundles are there already. Then every bundle on every runtime embeds real multi-view design
patents that neither trained nor calibrated anything, and so do the INT8 networks that onnxruntime
and NNCF make by default: mean average precision, its drop from FP32, overlap@10 of the neighbours,
seconds at one and two threads (all of a backbone in turn in one process), drawings a second in
batches of 16, bytes, and peak memory of a process that does only this. Writes
benchmarks/results/quantization.json with every sample; backbones that are there already are kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from figures import RESULTS, read_figures, unit
from onnxruntime.quantization import CalibrationDataReader, quantize_static

from distill.config import TrainConfig
from distill.cut_drawings import CutDrawings
from distill.export import ExportSettings, export_run
from distill.finalists import runtimes_of
from distill.model import TorchEncoder, load_student, make_student, preprocessing_of
from distill.nncf_tool import import_nncf
from distill.quantize import Recipe, choose_calibration
from distill.trials import Limits
from edge_retrieval.arrays import Codes, Embeddings, Images, Pixels
from edge_retrieval.bundle import Bundle, save_bundle
from edge_retrieval.drawing import fit_batch
from edge_retrieval.encoder import (
    INPUT,
    Encoder,
    embed_figures,
    golden_check,
    load_encoder,
    openvino_core,
)
from edge_retrieval.index import FlatIndex
from edge_retrieval.metrics import leave_one_out, overlap_at_k
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json
from edge_retrieval.speed import compare_speed
from edge_retrieval.taxonomy import LOCARNO_LEVELS, Taxonomy

ROUNDS = {1: 60, 16: 10}
"""Batch -> interleaved rounds."""

MEASURES = {
    "patent mAP": ("design", "inclusive"),
    "subclass mAP": ("subclass", "inclusive"),
    "subclass mAP, exclusive": ("subclass", "exclusive"),
}

CHILD = """
import sys
from pathlib import Path
import numpy as np
from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder import load_encoder
bundle = Bundle.open(Path(sys.argv[1]))
encoder = load_encoder(bundle, backend=sys.argv[2], threads=1)
side, channels = bundle.preprocessing.size, bundle.preprocessing.channels
for _ in range(20):
    encoder.embed(np.ones((1, channels, side, side), np.float32))
[peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
print(int(peak.split()[1]) * 1024)  # not ru_maxrss: that begins with what the parent held
"""
"""A process that loads a bundle, embeds 20 drawings one at a time, and tells its peak memory."""


def exported(run: Path, folder: Path, budget: float) -> list[Bundle]:
    """Export a run unless it is there; return its bundles, FP32 ONNX first."""
    name = run.name
    if not (folder / f"{name}-fp32" / "bundle.json").is_file():
        settings = ExportSettings(
            formats=("onnx", "openvino"), int8=True, qat=True, limits=Limits(budget=budget)
        )
        result = export_run(run, folder, settings, name=name, tell=lambda line: print("  " + line))
        for format, why in result.refused.items():
            print(f"  no INT8 {format}: {why}")
    found = [f"{name}-fp32", f"{name}-int8", f"{name}-fp32-openvino", f"{name}-int8-openvino"]
    return [Bundle.open(folder / one) for one in found if (folder / one).is_dir()]


def rivals(run: Path, plain: Bundle, folder: Path) -> dict[str, Bundle]:
    """What the tools give by default, calibrated on the same drawings as ours."""
    import openvino

    folder.mkdir(parents=True, exist_ok=True)
    _, config = load_student(run)
    cut = CutDrawings.read(run, config)
    rows = choose_calibration(cut.classes[cut.training], Recipe())
    images = cut.images(cut.training[rows])
    made: dict[str, Path] = {}
    made["onnxruntime's defaults"] = folder / "ort.onnx"
    quantize_static(plain.model, made["onnxruntime's defaults"], _Reader(images))
    nncf = import_nncf()
    made["NNCF's defaults"] = folder / "nncf.xml"
    core = openvino_core()
    core.set_property({"ENABLE_MMAP": False})
    dataset = nncf.Dataset([image[None] for image in images])
    openvino.save_model(
        nncf.quantize(core.read_model(plain.model), dataset), made["NNCF's defaults"]
    )
    golden = plain.golden()
    return {
        name: save_bundle(
            folder / model.stem,
            name=name,
            precision="int8",
            model=model,
            preprocessing=plain.preprocessing,
            levels=plain.levels,
            golden_images=golden.images,
            golden_embeddings=golden.embeddings,
            golden_tolerance=-1.0,
            provenance={"export": {"candidate": name}},
            overwrite=True,
        )
        for name, model in made.items()
    }


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Drawings one at a time."""

    def __init__(self, images: Images) -> None:
        self._left = iter(images)

    def get_next(self) -> dict[str, Images] | None:
        """Give the next drawing, or None."""
        image = next(self._left, None)
        return None if image is None else {INPUT: image[None]}


def scores(embeddings: Embeddings, codes: Codes) -> dict[str, float]:
    """Each figure searches all the others: the mean average precisions of `MEASURES`."""
    found = {
        (s.level, s.relevance): s.values for s in leave_one_out(embeddings, codes, LOCARNO_LEVELS)
    }
    return {name: found[place]["mAP"] for name, place in MEASURES.items()}


def neighbours(embeddings: Embeddings) -> np.ndarray:
    """The ten rows nearest to each, itself apart: (N, 10)."""
    rows, _ = FlatIndex(embeddings).search(embeddings, 11)
    return rows[:, 1:]


def untrained(config: TrainConfig, masters: list[Pixels], codes: Codes) -> list[float]:
    """Patent mAP of the same network with random weights, three seeds."""
    found = []
    for seed in (0, 1, 2):
        student = make_student(replace(config, weights="none", seed=seed)).eval()
        encoder = TorchEncoder(student, preprocessing_of(config))
        found.append(scores(embed_figures(encoder, masters), codes)["patent mAP"])
    return found


def timed(
    encoders: dict[str, tuple[Bundle, str]], masters: list[Pixels], threads: int
) -> dict[int, dict[str, tuple[float, ...]]]:
    """Seconds a call of each, in turn: batch -> name -> samples."""
    loaded: dict[str, Encoder] = {
        name: load_encoder(bundle, backend=backend, threads=threads)
        for name, (bundle, backend) in encoders.items()
    }
    first = next(iter(encoders.values()))[0]
    images = fit_batch(masters[:64], first.preprocessing)
    return {
        batch: compare_speed(loaded, images, batch=batch, rounds=rounds)
        for batch, rounds in ROUNDS.items()
    }


def peak_memory(bundle: Bundle, backend: str) -> int:
    """Bytes resident at most in a process that embeds with this bundle."""
    words = [sys.executable, "-c", CHILD, str(bundle.folder), backend]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout)


def measured(
    bundles: list[Bundle], masters: list[Pixels], codes: Codes, before: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Measure every bundle of one backbone on every runtime; the first is the reference.

    Where `before` has rows of the same backbone, their seconds are kept.
    """
    encoders = {
        f"{bundle.name} on {backend}": (bundle, backend)
        for bundle in bundles
        for backend in runtimes_of(bundle.format)
    }
    seconds = {f"{row['bundle']} on {row['backend']}": row["seconds"] for row in before}
    if not before:
        times = {threads: timed(encoders, masters, threads) for threads in (1, 2)}
        seconds = {
            name: {
                f"batch {batch}, {threads} thread(s)": times[threads][batch][name]
                for threads in times
                for batch in ROUNDS
            }
            for name in encoders
        }
    rows: list[dict[str, Any]] = []
    exact: Embeddings | None = None
    for name, (bundle, backend) in encoders.items():
        encoder = load_encoder(bundle, backend=backend)
        # NNCF's defaults round the length of rows away from 1: cosine is what they are to be given.
        embeddings = unit(embed_figures(encoder, masters))
        exact = embeddings if exact is None else exact
        own = scores(embeddings, codes)
        cosine = (embeddings * exact).sum(axis=1)
        base = rows[0]["scores"] if rows else own
        row = {
            "bundle": bundle.name,
            "precision": bundle.precision,
            "format": bundle.format,
            "backend": backend,
            "candidate": bundle.provenance["export"].get("candidate"),
            "rival": None if "-" in bundle.name else bundle.name,
            "qat": bool(bundle.provenance["export"].get("qat")),
            "bytes": bundle.model_bytes,
            "scores": own,
            "drop": {key: base[key] - own[key] for key in own},
            "overlap@10": float(overlap_at_k(neighbours(embeddings), neighbours(exact), 10).mean()),
            "cosine": {"mean": float(cosine.mean()), "p1": float(np.percentile(cosine, 1))},
            "golden_cosine": golden_check(bundle, encoder),
            "seconds": seconds[name],
            "peak_memory": peak_memory(bundle, backend),
        }
        rows.append(row)
        print(
            f"  {name}: patent mAP {own['patent mAP']:.3f}, overlap@10 {row['overlap@10']:.3f},"
            f" {bundle.model_bytes / 1e6:.2f} MB, {row['peak_memory'] / 1e6:.0f} MB resident",
            flush=True,
        )
    return rows


def main() -> None:
    """Export and measure every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("source", type=Path, help="folder with metadata.csv")
    parser.add_argument("--run", type=Path, action="append", required=True)
    parser.add_argument("--bundles", type=Path, default=Path("bundles"))
    parser.add_argument("--budget", type=float, default=300.0, help="seconds an export")
    parser.add_argument(
        "--keep-seconds", action="store_true", help="measure all but the speed of what is there"
    )
    args = parser.parse_args()
    masters, paths, _ = read_figures(args.source)
    codes = Taxonomy.of(paths, LOCARNO_LEVELS).encode(paths)
    file = RESULTS / "quantization.json"
    before = json.loads(file.read_text("utf-8"))["networks"] if file.is_file() else []
    networks = {network["backbone"]: network for network in before}
    for run in args.run:
        print(run.name, flush=True)
        config = TrainConfig.load(run / "config.toml")
        bundles = exported(run, args.bundles, args.budget)
        others = rivals(run, bundles[0], args.bundles / f"{run.name}-rivals")
        known = args.keep_seconds and config.backbone in networks
        kept = networks[config.backbone]["rows"] if known else []
        networks[config.backbone] = {
            "backbone": config.backbone,
            "size": config.size,
            "untrained patent mAP": untrained(config, masters, codes),
            "rows": measured([*bundles, *others.values()], masters, codes, kept),
        }
        save_json(
            file,
            {
                "question": "what INT8 costs and buys",
                "source": args.source.name,
                "figures": len(masters),
                "networks": list(networks.values()),
                "host": host(),
                "versions": versions(),
                "created": now(),
            },
        )


if __name__ == "__main__":
    main()
