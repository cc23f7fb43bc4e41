"""Bundles of one run: what they share, how they are named, and how they are written."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.config import TrainConfig
from edge_retrieval.arrays import Embeddings
from edge_retrieval.bundle import FORMATS, PRECISIONS, Bundle, save_bundle
from edge_retrieval.bundle_files import format_of
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.encoder import golden_check, load_encoder
from edge_retrieval.errors import BundleError, ConfigError
from edge_retrieval.provenance import now, sha256_of, versions

ROUNDING = {"fp32": 1e-3, "fp16": 1e-3, "int8": 0.02}
"""How much the least golden cosine may fall on another machine: another order of additions, another
rounding. Where INT8 saturates it falls by 0.1 or more."""


@dataclass(frozen=True)
class Parts:
    """What the bundles of one run share.

    Attributes:
        name: The bundles' names begin so.
        preprocessing: Of the run.
        levels: Names of the taxonomy levels, coarse to fine.
        golden_images: ``(G, H, W)`` uint8.
        golden_embeddings: ``(G, D)``, of the FP32 network in torch.
        prefixes: So many of the first numbers were trained to stand alone.
        history: How the weights came to be.
    """

    name: str
    preprocessing: Preprocessing
    levels: tuple[str, ...]
    golden_images: NDArray[np.uint8]
    golden_embeddings: Embeddings
    prefixes: tuple[int, ...]
    history: Mapping[str, Any]

    def named(self, precision: str, format: str) -> str:
        """Return the name of a bundle; ONNX, the format of every device, goes without saying."""
        return f"{self.name}-{precision}" + ("" if format == "onnx" else f"-{format}")

    def draft(self, folder: Path, precision: str, model: Path) -> Bundle:
        """Write a bundle that is only measured: any golden cosine will do."""
        return self._save(folder, precision, model, -1.0, {})

    def publish(self, out: Path, draft: Bundle, facts: Mapping[str, Any]) -> Bundle:
        """Write a draft for good, with `facts` on its export.

        The golden cosine that it is held to from now on is that of this machine, less `ROUNDING`.
        """
        least = golden_check(draft, load_encoder(draft))
        tolerance = max(-1.0, least - ROUNDING[draft.precision])
        folder = out / self.named(draft.precision, draft.format)
        return self._save(folder, draft.precision, draft.model, tolerance, facts)

    def stale(
        self, out: Path, written: Sequence[Bundle], refused: Collection[str] = ()
    ) -> tuple[Path, ...]:
        """Return bundles of this name in `out` that no longer hold.

        Args:
            out: The folder.
            written: Bundles of now.
            refused: Formats whose INT8 the gate refused now; an older one is no better.

        Returns:
            Those of other weights, and INT8 of the formats that were refused.
        """
        found = []
        for precision, format in product(PRECISIONS, FORMATS):
            folder = out / self.named(precision, format)
            if any(bundle.folder == folder for bundle in written):
                continue
            try:
                weights = Bundle.read(folder).provenance.get("weights")
            except BundleError:
                continue  # none is there
            is_refused = precision == "int8" and format in refused
            if weights != self.history["weights"] or is_refused:
                found.append(folder)
        return tuple(found)

    def _save(
        self, folder: Path, precision: str, model: Path, tolerance: float, facts: Mapping[str, Any]
    ) -> Bundle:
        return save_bundle(
            folder,
            name=self.named(precision, format_of(model)),
            precision=precision,
            model=model,
            preprocessing=self.preprocessing,
            levels=self.levels,
            golden_images=self.golden_images,
            golden_embeddings=self.golden_embeddings,
            golden_tolerance=tolerance,
            prefixes=self.prefixes,
            provenance={
                **self.history,
                "export": {"created": now(), "versions": versions(), **facts},
            },
            overwrite=True,
        )


def history(run: Path, config: TrainConfig) -> dict[str, Any]:
    """Say how the weights of a run came to be.

    Raises:
        ConfigError: Its provenance cannot be read.
    """
    path = run / "provenance.json"
    try:
        training = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path}: cannot be read: {error}", hint="give a folder that edge-ret train wrote"
        ) from error
    return {
        # Files are named, not located: where they lay is nobody's business.
        "config": asdict(config)
        | {"weights": Path(config.weights).name, "teacher": Path(config.teacher).name},
        "training": training,
        "weights": sha256_of(run / "best.safetensors"),
    }


def make_folder(out: Path, names: Sequence[str]) -> None:
    """Make the folder for bundles now: not after minutes of work.

    Args:
        out: The folder.
        names: Of the bundles that may be written; what lies there under one of them is replaced.

    Raises:
        BundleError: It cannot be made or written into, or something else has such a name.
    """
    for name in names:
        folder = out / name
        if folder.exists() and not (folder / "bundle.json").is_file():
            raise BundleError(
                f"{folder} is there and is no bundle: it is not replaced",
                hint="choose another name with --name, or another folder with -o",
            )
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise BundleError(
            f"{out}: bundles cannot be written here: {error.strerror or error}",
            hint="name a folder that you may write to with -o",
        ) from error


def winners(out: Path) -> list[str]:
    """Return the candidates that won in the bundles of a folder, the latest first.

    They are tried first in the next export: what suited one network of a person's suits the next.
    """
    found: list[tuple[str, str]] = []
    refined = re.compile(r", \d+ more in float$")
    for path in out.glob("*/bundle.json"):
        try:
            made = json.loads(path.read_text(encoding="utf-8"))["provenance"]["export"]
            found.append((str(made["created"]), refined.sub("", str(made["candidate"]))))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another version's, or FP32: it says nothing of candidates
    return list(dict.fromkeys(name for _, name in sorted(found, reverse=True)))
