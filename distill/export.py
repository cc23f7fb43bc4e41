"""A trained network to bundles that `edge_retrieval` runs: FP32, and INT8 of it."""

from __future__ import annotations

import json
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from distill.config import TrainConfig
from distill.cut_drawings import CutDrawings
from distill.model import TorchEncoder, load_student
from distill.quantize import Agreement, Recipe, agreement, choose_calibration, quantize_int8
from edge_retrieval.arrays import Embeddings
from edge_retrieval.bundle import Bundle, save_bundle
from edge_retrieval.drawing import Preprocessing, fit_batch
from edge_retrieval.encoder import INPUT, OUTPUT, golden_check, load_encoder
from edge_retrieval.errors import BundleError, ConfigError
from edge_retrieval.progress import Track, silent
from edge_retrieval.provenance import now, sha256_of, versions

PARITY_BATCHES = (1, 2, 5)
MOST_ERROR = 1e-4
ROUNDING = {"fp32": 1e-3, "int8": 0.02}
"""How much the least golden cosine may fall on another machine: another order of additions, another
rounding. Where INT8 saturates it falls by 0.1 or more."""


@dataclass(frozen=True)
class ExportResult:
    """What an export gave.

    Attributes:
        bundles: FP32, then INT8 if it was asked for.
        parity: Largest absolute difference between torch and the FP32 ONNX file.
        agreement: Of INT8 with FP32, on figures that neither trained nor calibrated; None
            without INT8.
    """

    bundles: tuple[Bundle, ...]
    parity: float
    agreement: Agreement | None


def export_run(
    run: Path,
    out: Path,
    *,
    int8: bool,
    name: str,
    recipe: Recipe | None = None,
    track: Track = silent,
) -> ExportResult:
    """Turn the best checkpoint of a run into the bundles OUT/NAME-fp32 and OUT/NAME-int8.

    Bundles of these names that are there already are replaced.

    Args:
        run: What `train` wrote, its cache of cut drawings included.
        out: The folder to write into.
        int8: Quantize as well.
        name: A plain file name.
        recipe: How to quantize; None: the default.
        track: Shows progress.

    Raises:
        ConfigError: Not a run folder, nothing to calibrate with, or no such name.
        BundleError: The network cannot be exported or quantized, or `out` cannot be written.
    """
    if not name or Path(name).name != name:
        raise ConfigError(f"no name for a folder: {name!r}", hint="give a name without / in it")
    recipe = recipe or Recipe()
    student, config = load_student(run)
    cut = CutDrawings.read(run, config)
    rows = choose_calibration(cut.classes[cut.training], recipe) if int8 else None
    golden = cut.golden()
    embeddings = TorchEncoder(student, cut.preprocessing).embed(
        fit_batch(list(golden), cut.preprocessing)
    )
    parts = _Parts(name, cut.preprocessing, cut.levels, golden, embeddings, _history(run, config))
    steps = iter(track(("fp32", "int8") if int8 else ("fp32",), "Exporting"))
    with tempfile.TemporaryDirectory() as folder:
        drafts = Path(folder)
        model = drafts / f"{next(steps)}.onnx"
        parity = export_fp32(
            student, size=config.size, channels=config.channels, dim=config.dim, path=model
        )
        fp32 = parts.publish(out, "fp32", model, drafts, {"parity": parity})
        if rows is None:
            list(steps)  # lets the bar end
            return ExportResult((fp32,), parity, None)
        quantized = drafts / f"{next(steps)}.onnx"
        quantize_int8(model, quantized, cut.images(cut.training[rows]), recipe)
        draft = parts.save(drafts / "int8", "int8", quantized, -1.0, {})
        shown = cut.images(cut.to_compare(without=rows))
        compared = agreement(load_encoder(fp32), load_encoder(draft), shown)
        facts = {
            "parity": parity,
            "recipe": recipe.to_json(),
            "calibration_figures": len(rows),
            "agreement": compared.to_json(),
        }
        bundle = parts.publish(out, "int8", quantized, drafts, facts)
        list(steps)
    return ExportResult((fp32, bundle), parity, compared)


@dataclass(frozen=True)
class _Parts:
    """What the bundles of one run share."""

    name: str
    preprocessing: Preprocessing
    levels: tuple[str, ...]
    golden_images: NDArray[np.uint8]
    golden_embeddings: Embeddings
    history: dict[str, Any]

    def save(
        self, folder: Path, precision: str, model: Path, tolerance: float, facts: dict[str, Any]
    ) -> Bundle:
        """Write one bundle, with `facts` on its export."""
        export = {"created": now(), "versions": versions(), **facts}
        return save_bundle(
            folder,
            name=f"{self.name}-{precision}",
            precision=precision,
            model=model,
            preprocessing=self.preprocessing,
            levels=self.levels,
            golden_images=self.golden_images,
            golden_embeddings=self.golden_embeddings,
            golden_tolerance=tolerance,
            provenance={**self.history, "export": export},
            overwrite=True,
        )

    def publish(
        self, out: Path, precision: str, model: Path, drafts: Path, facts: dict[str, Any]
    ) -> Bundle:
        """Measure how well the model meets its golden embeddings here, then write its bundle."""
        draft = self.save(drafts / "measured", precision, model, -1.0, {})
        least = golden_check(draft, load_encoder(draft))
        tolerance = max(-1.0, least - ROUNDING[precision])
        return self.save(out / f"{self.name}-{precision}", precision, model, tolerance, facts)


def _history(run: Path, config: TrainConfig) -> dict[str, Any]:
    """Say how the weights came to be."""
    path = run / "provenance.json"
    try:
        training = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be read: {error}", hint="give a folder that edge-ret train wrote"
        ) from error
    return {
        # A file of weights is named, not located: where it lay is nobody's business.
        "config": asdict(config) | {"weights": Path(config.weights).name},
        "training": training,
        "weights": sha256_of(run / "best.safetensors"),
    }


class _OfLengthOne(nn.Module):
    """A network whose rows have length 1, whether or not it makes them so itself."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Turn ``(N, C, H, W)`` into ``(N, D)`` rows of length 1."""
        return nn.functional.normalize(self.model(images), dim=-1)


def export_fp32(model: nn.Module, *, size: int, channels: int, dim: int, path: Path) -> float:
    """Write a network as one ONNX file, L2 norm inside, and prove that it computes the same.

    Args:
        model: ``(N, channels, size, size)`` float32 -> ``(N, dim)``. Left in eval mode.
        size: Side of the images in pixels.
        channels: Of the images.
        dim: Of the embeddings.
        path: The file to write; its folder exists.

    Returns:
        The largest absolute difference between torch and onnxruntime, over batches of 1, 2 and 5.

    Raises:
        BundleError: The network cannot be exported, or differs by more than `MOST_ERROR`.
    """
    network = _OfLengthOne(model).eval()
    example = torch.zeros(2, channels, size, size)  # 1 would be taken for a constant
    with warnings.catch_warnings():
        # torch's exporter uses what torch itself calls deprecated
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        try:
            torch.onnx.export(
                network,
                (example,),
                path,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("n")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except Exception as error:  # its errors share no base
            raise BundleError(
                f"torch cannot export {type(model).__name__}: {' '.join(str(error).split())[:250]}",
                hint="choose another architecture",
            ) from error
    _strip(path)
    worst = parity(network, path, size=size, channels=channels, dim=dim)
    if not worst <= MOST_ERROR:
        raise BundleError(
            f"{path}: differs from torch by {worst:.2g}, more than {MOST_ERROR:.0e}",
            hint="choose another architecture, or upgrade torch and onnxruntime",
        )
    return worst


def parity(network: nn.Module, path: Path, *, size: int, channels: int, dim: int) -> float:
    """Return the largest absolute difference between a network and its ONNX file, seed 0."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    worst = 0.0
    for count in PARITY_BATCHES:
        images = rng.uniform(-1.0, 1.0, (count, channels, size, size)).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(images)).numpy()
        [found] = session.run([OUTPUT], {INPUT: images})
        if found.shape != (count, dim):
            raise BundleError(
                f"{path}: gives {found.shape} for {count} drawings, not ({count}, {dim})",
                hint="give the dimension that the network has",
            )
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def _strip(path: Path) -> None:
    """Remove what the exporter notes of each node: source lines and the paths of this machine."""
    model = onnx.load(path)
    graph = model.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, graph, model):
        part.doc_string = ""
        del part.metadata_props[:]
    for tensor in graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    onnx.save(model, path)
