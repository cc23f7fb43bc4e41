"""Ways to make a network INT8, in the order in which they have won, and where they are built."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.nncf_tool import NncfRecipe, nncf_onnx, nncf_openvino
from distill.onnx_file import read_onnx, runner, to_openvino
from distill.quantize import PRODUCTS, Recipe, quantize_int8
from distill.ranges import Histograms
from distill.sensitivity import embedded, loss, rank_layers, some
from edge_retrieval.arrays import Images
from edge_retrieval.bundle import FORMATS
from edge_retrieval.errors import BundleError, ConfigError

CHAIN = (*PRODUCTS, "Relu", "Clip", "Add", "MaxPool", "GlobalAveragePool")
"""Products and what commonly stands between two of them: rounded once, not before and after."""
STEPS = (1, 2, 4, 8, 16)
CLEARLY = 0.05  # a step back to float must take off this share of the loss

TRANSFORMERS = ("vit", "deit", "beit", "eva", "swin", "xcit", "cait", "tiny_vit", "test_vit")
GATED = ("mobilenetv3", "lcnet", "efficientnet", "tf_efficient", "mnasnet", "ghostnet", "hardcore")

ORDER = {
    ("onnx", "plain"): (
        "8 bits, least error",
        "8 bits",
        "8 bits, products",
        "7 bits",
        "7 bits, least error",
        "8 bits, min-max",
        "8 bits, signed",
        "NNCF, products",
    ),
    ("onnx", "gated"): (
        "8 bits, per tensor",
        "7 bits",
        "8 bits",
        "8 bits, least error",
        "8 bits, products",
        "7 bits, least error",
        "8 bits, signed",
        "NNCF, products, 7 bits",
    ),
    ("onnx", "transformer"): (
        "8 bits, attention in float, least error",
        "8 bits, attention in float",
        "7 bits, attention in float",
        "8 bits",
        "8 bits, entropy",
        "8 bits, signed",
        "NNCF, products",
    ),
    ("openvino", "plain"): (
        "8 bits, least error",
        "8 bits",
        "7 bits",
        "7 bits, least error",
        "NNCF, products",
        "NNCF, products, 7 bits",
        "NNCF",
    ),
    ("openvino", "gated"): (
        "8 bits",
        "7 bits, per tensor",
        "8 bits, least error",
        "7 bits",
        "8 bits, min-max",
        "8 bits, pooled in float",
        "NNCF, products",
        "NNCF, 7 bits",
    ),
    ("openvino", "transformer"): (
        "8 bits, attention in float, least error",
        "8 bits, attention in float",
        "7 bits, attention in float",
        "8 bits",
        "NNCF, products",
        "NNCF",
        "NNCF, 7 bits",
    ),
}
"""Names of `_ways` for each format and family, the likeliest to win first: the most neighbours of
FP32 on networks of ours, trained and measured; of equals the faster. 7 bits before 8 only where
they are as near: they do not saturate on processors without VNNI."""


@dataclass(frozen=True)
class Candidate:
    """One way to make a network INT8.

    Attributes:
        name: Unique within a format; the same way has the same name in every export.
        format: "onnx" or "openvino": what is written.
        tool: "onnxruntime" or "nncf".
        recipe: The choices.
    """

    name: str
    format: str
    tool: str
    recipe: Recipe | NncfRecipe

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as JSON can hold it."""
        return {"name": self.name, "tool": self.tool, "recipe": self.recipe.to_json()}


class Workshop:
    """Builds the candidates of one network; what they share is computed once.

    Attributes:
        fp32: The FP32 ONNX file.
        images: ``(N, C, H, W)`` float32 drawings that calibrate.
    """

    def __init__(self, fp32: Path, images: Images, folder: Path) -> None:
        """Take the network, the drawings to calibrate with, and a folder to write into."""
        self.fp32, self.images, self._folder = fp32, images, folder
        self._histograms = Histograms(fp32, images)
        self._model: Any = None

    def build(self, candidate: Candidate) -> Path:
        """Write a candidate, and return its model.onnx or model.xml, alone in a folder.

        Raises:
            BundleError: The tool cannot, and why, in one line.
            ConfigError: Too few drawings to calibrate with.
            MissingExtraError: The tool is not installed.
        """
        name = re.sub(r"[^a-z0-9]+", "-", candidate.name.lower())
        folder = self._folder / f"{candidate.format}-{name}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise BundleError(
                f"{folder}: cannot be written: {error.strerror}", hint="free space, or set TMPDIR"
            ) from error
        model = folder / ("model.onnx" if candidate.format == "onnx" else "model.xml")
        if isinstance(candidate.recipe, NncfRecipe):
            self._build_with_nncf(candidate.recipe, model)
        elif candidate.format == "onnx":
            self._quantize(candidate.recipe, model)
        else:
            draft = folder / "model.onnx"
            self._quantize(candidate.recipe, draft)
            to_openvino(draft, model)
            draft.unlink()
        return model

    def _quantize(self, recipe: Recipe, target: Path) -> None:
        quantize_int8(self.fp32, target, self.images, recipe, histograms=self._histograms)

    def _build_with_nncf(self, recipe: NncfRecipe, target: Path) -> None:
        if target.suffix == ".onnx":
            nncf_onnx(self.fp32, target, self.images, recipe)
            return
        if self._model is None:
            self._model = read_onnx(self.fp32)
        nncf_openvino(self.fp32, target, self.images, recipe, model=self._model.clone())

    def rank(self, recipe: Recipe) -> list[str]:
        """Return the names of the layers that a recipe quantizes, the most harmful first."""
        ranked = rank_layers(self.fp32, recipe, self.images, self._histograms)
        return [name for name, _ in ranked]


def refine(workshop: Workshop, candidate: Candidate) -> Candidate | None:
    """Put the layers that hurt most back to float, twice as many each time, while that helps.

    It stops when two steps in a row do not.

    Drawings that calibrate show what helps: none that is held out is looked at.

    Args:
        workshop: Of the network.
        candidate: One that can be built.

    Returns:
        The candidate with those layers in float; None if that does not make it clearly better.

    Raises:
        BundleError: The candidate cannot be built.
    """
    recipe = candidate.recipe
    watched = some(workshop.images)
    reference = embedded(runner(workshop.fp32), watched)
    ranked = workshop.rank(_to_rank(recipe))
    least = loss(workshop.build(candidate), reference, watched)
    best, misses = None, 0
    for count in STEPS:
        worst = tuple(ranked[:count])
        if len(worst) < count:
            break
        tried = replace(
            candidate,
            name=f"{candidate.name}, {count} more in float",
            recipe=replace(recipe, float_nodes=(*recipe.float_nodes, *worst)),
        )
        found = loss(workshop.build(tried), reference, watched)
        if found <= (1.0 - CLEARLY) * least:
            best, least, misses = tried, found, 0
        elif misses:
            break
        else:  # the next step may help where this one only broke a chain of layers in 8 bits
            misses += 1
    return best


def _to_rank(recipe: Recipe | NncfRecipe) -> Recipe:
    """Return the recipe with which layers are ranked: onnxruntime's, whichever tool quantizes."""
    if isinstance(recipe, Recipe):
        return recipe
    return Recipe(
        reduce_range=recipe.overflow_fix,
        float_outputs=PRODUCTS,
        float_ends=recipe.float_ends,
        float_nodes=recipe.float_nodes,
    )


def candidates(format: str, *, backbone: str, won: Sequence[str] = ()) -> list[Candidate]:
    """Return the ways to try, the likeliest to win first.

    Args:
        format: "onnx" or "openvino".
        backbone: timm's name.
        won: Names that won in earlier exports: they come first, in this order.

    Raises:
        ConfigError: No such format.
    """
    if format not in FORMATS:
        raise ConfigError(f"no format {format!r}", hint=f"choose from {', '.join(FORMATS)}")
    family = _family(backbone)
    ways = _ways(format, family == "transformer")
    found = [
        Candidate(name, format, "nncf" if name.startswith("NNCF") else "onnxruntime", ways[name])
        for name in ORDER[format, family]
    ]
    place = {name: number for number, name in enumerate(won)}
    return sorted(found, key=lambda one: place.get(one.name, len(place)))  # stable


def _family(backbone: str) -> str:
    """Return what a network of timm's is like, by its name."""
    if backbone.startswith(TRANSFORMERS):
        return "transformer"
    return "gated" if backbone.startswith(GATED) or "efficientnet" in backbone else "plain"


def _ways(format: str, transformer: bool) -> dict[str, Recipe | NncfRecipe]:
    """Return all ways to a format, by name."""
    nncf = NncfRecipe(transformer=transformer)
    products = replace(nncf, products_only=True, float_ends=True)
    if format == "openvino":  # rounds what a layer takes, and wants all the rest in float
        eight = Recipe(reduce_range=False, float_outputs=PRODUCTS, float_bias=True)
    elif transformer:
        eight = Recipe(reduce_range=False, float_outputs=("Gemm", "MatMul"))
    else:  # onnxruntime computes a convolution in 8 bits only if its result is rounded as well
        eight = Recipe(reduce_range=False, operators=CHAIN)
    seven = replace(eight, reduce_range=True)
    return {
        "8 bits": eight,
        "7 bits": seven,
        "8 bits, least error": replace(eight, calibration="error"),
        "7 bits, least error": replace(seven, calibration="error"),
        "8 bits, entropy": replace(eight, calibration="entropy"),
        "8 bits, min-max": replace(eight, calibration="min-max"),
        "8 bits, products": replace(eight, operators=PRODUCTS),
        "8 bits, per tensor": replace(eight, per_channel=False),
        "7 bits, per tensor": replace(seven, per_channel=False),
        "8 bits, pooled in float": replace(eight, float_pooled=True),
        "8 bits, attention in float": replace(eight, attention=False),
        "7 bits, attention in float": replace(seven, attention=False),
        "8 bits, attention in float, least error": replace(
            eight, attention=False, calibration="error"
        ),
        "8 bits, signed": replace(eight, activations="s8"),
        "NNCF": replace(nncf, overflow_fix=False),
        "NNCF, 7 bits": nncf,
        "NNCF, products": replace(products, overflow_fix=False),
        "NNCF, products, 7 bits": products,
    }
