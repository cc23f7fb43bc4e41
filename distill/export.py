"""A trained network to bundles that `edge_retrieval` runs: FP32, and INT8 of it."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.config import TrainConfig
from distill.cut_drawings import CutDrawings
from distill.model import TorchEncoder, load_student
from distill.onnx_file import export_fp32
from distill.quantize import Agreement, Recipe, agreement, choose_calibration, quantize_int8
from edge_retrieval.arrays import Embeddings
from edge_retrieval.bundle import Bundle, save_bundle
from edge_retrieval.drawing import Preprocessing, fit_batch
from edge_retrieval.encoder import golden_check, load_encoder
from edge_retrieval.errors import ConfigError
from edge_retrieval.progress import Track, silent
from edge_retrieval.provenance import now, sha256_of, versions

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
