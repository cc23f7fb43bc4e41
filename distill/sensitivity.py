"""Which layers hurt most in INT8: each alone is quantized, and the embeddings are watched."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from distill.onnx_file import Run, runner
from distill.quantize import PRODUCTS, Recipe, quantize_int8
from distill.ranges import Histograms
from edge_retrieval.arrays import Embeddings, Images

DRAWINGS = 64
BATCH = 16


def embedded(run: Run, images: Images) -> Embeddings:
    """Return ``(N, D)`` of ``(N, C, H, W)``, a few drawings at a time."""
    pieces = [run(images[i : i + BATCH]) for i in range(0, len(images), BATCH)]
    return np.concatenate(pieces)


def loss(model: Path, reference: Embeddings, images: Images) -> float:
    """Return mean (1 - cosine) between the embeddings of a file and the reference.

    Args:
        model: An .onnx file, run by onnxruntime, or an .xml file, run by OpenVINO.
        reference: ``(N, D)`` of FP32.
        images: ``(N, C, H, W)``, the same drawings.
    """
    found = embedded(runner(model), images)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(reference, axis=1)
    cosine = (found * reference).sum(axis=1) / np.maximum(lengths, 1e-12)  # (N,)
    return float(1.0 - cosine.mean())


def some(images: Images) -> Images:
    """Return `DRAWINGS` of them, spread over all."""
    rows = np.unique(np.linspace(0, len(images) - 1, DRAWINGS).astype(np.int64))
    return np.ascontiguousarray(images[rows])


def rank_layers(
    fp32: Path, recipe: Recipe, images: Images, histograms: Histograms
) -> list[tuple[str, float]]:
    """Rank the products that a recipe quantizes by what each alone does to the embeddings.

    Args:
        fp32: ONNX file.
        recipe: How to quantize.
        images: ``(N, C, H, W)`` that calibrate; `DRAWINGS` of them are watched.
        histograms: Of `fp32` on `images`.

    Returns:
        (Name of the node, mean 1 - cosine), the worst first.
    """
    names = [node.name for node in onnx.load(fp32).graph.node if node.op_type in PRODUCTS]
    if recipe.float_ends:
        names = names[1:-1]
    names = [name for name in names if name not in recipe.float_nodes]
    watched = some(images)
    reference = embedded(runner(fp32), watched)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder) / "one.onnx"
        for name in names:
            rest = tuple(other for other in names if other != name)
            alone = replace(recipe, operators=PRODUCTS, float_nodes=(*recipe.float_nodes, *rest))
            quantize_int8(fp32, draft, images, alone, histograms=histograms)
            found.append((name, loss(draft, reference, watched)))
    return sorted(found, key=lambda one: -one[1])
