"""Which quantization keeps the neighbours of a trained network?

    python benchmarks/recipes.py path/to/run path/to/small-fp32

RUN is what `edge-ret train` wrote, its cache included; the bundle is its FP32 export. Each recipe
is calibrated on the same training drawings and compared with FP32 on the same held-out drawings.
One network, one calibration seed: read large differences only. Writes
benchmarks/results/recipes.json.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
from baselines import RESULTS

from distill.cut_drawings import CutDrawings
from distill.model import load_student
from distill.quantize import Recipe, choose_calibration, quantize_int8
from edge_retrieval.arrays import Embeddings, Images
from edge_retrieval.bundle import Bundle
from edge_retrieval.index import FlatIndex
from edge_retrieval.metrics import overlap_at_k
from edge_retrieval.provenance import host, now, versions
from edge_retrieval.report import save_json

RECIPES = {
    "percentile 99.99, products, float ends": Recipe(),
    "min-max, products, float ends": Recipe(calibration="min-max"),
    "entropy, products, float ends": Recipe(calibration="entropy"),
    "percentile 99.99, products": Recipe(float_ends=False),
    "percentile 99.99, everything": Recipe(float_ends=False, operators=()),
    "min-max, everything": Recipe(calibration="min-max", float_ends=False, operators=()),
    "entropy, everything": Recipe(calibration="entropy", float_ends=False, operators=()),
}
"""Products are Conv, Gemm and MatMul; float ends leave the first and the last of them in float."""


def embed(model: Path, images: Images) -> Embeddings:
    """Run an ONNX file that is no bundle yet: (N, C, H, W) to (N, D)."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    parts = [
        session.run(None, {"images": images[i : i + 32]})[0] for i in range(0, len(images), 32)
    ]
    return np.concatenate(parts)


def neighbours(embeddings: Embeddings) -> np.ndarray:
    """The ten rows nearest to each, itself apart: (N, 10)."""
    rows, _ = FlatIndex(embeddings).search(embeddings, 11)
    return rows[:, 1:]


def main() -> None:
    """Quantize by every recipe and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("run", type=Path)
    parser.add_argument("fp32", type=Path)
    args = parser.parse_args()
    _, config = load_student(args.run)
    cut = CutDrawings.read(args.run, config)
    model = Bundle.open(args.fp32).model
    calibrating = cut.training[choose_calibration(cut.classes[cut.training], Recipe())]
    shown = cut.images(cut.to_compare(without=np.array([], np.int64)))
    exact = embed(model, shown)
    rows = []
    for name, recipe in RECIPES.items():
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "int8.onnx"
            quantize_int8(model, target, cut.images(calibrating), recipe)
            found, size = embed(target, shown), target.stat().st_size
        cosine = (found * exact).sum(axis=1)
        overlap = overlap_at_k(neighbours(found), neighbours(exact), 10)
        rows.append(
            {
                "recipe": name,
                "settings": recipe.to_json(),
                "bytes": size,
                "cosine": [round(float(c), 6) for c in cosine],
                "overlap@10": [round(float(o), 3) for o in overlap],
            }
        )
        print(f"{name:40} cosine {cosine.mean():.4f} overlap@10 {overlap.mean():.3f}", flush=True)
    save_json(
        RESULTS / "recipes.json",
        {
            "question": "which quantization keeps the neighbours",
            "calibrated_on": len(calibrating),
            "compared_on": len(shown),
            "rows": rows,
            "host": host(),
            "versions": versions(),
            "created": now(),
        },
    )


if __name__ == "__main__":
    main()
