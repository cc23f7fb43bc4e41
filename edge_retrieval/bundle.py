"""A trained encoder on disk: one folder, one network in one format, all that is needed to trust it.

    bundle.json   schema, name, precision, format, dim, preprocessing, levels, provenance,
                  fingerprint, size and SHA-256 of every other file
    model.onnx    format "onnx": runs on onnxruntime and on OpenVINO
    model.xml     format "openvino", with model.bin beside it: OpenVINO alone runs it
    golden.npz    drawings with the embeddings that the FP32 network in torch made of them, and
                  drawings with their scaling: tells whether this machine computes the same
    CARD.md       optional: what the model is good for, for people

The network takes "images" (N, C, H, W) float32 and gives "embeddings" (N, D) float32, rows of
length 1. Files that bundle.json does not name are none of our business: they are neither read nor
deleted. Schema 1, which opens for ever, knew no "format": it was always "onnx".

Two keys of bundle.json are optional, and no program that does not know them reads anything wrong:
"prefixes", how many of the first numbers stand for the drawing, too, and "calibration", what the
scores mean; see `calibration`.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.bundle_files import (
    BUNDLE_SCHEMA,
    CARD,
    EXPORT_AGAIN,
    FORMATS,
    GOLDEN,
    MANIFEST,
    PRECISIONS,
    FileRecord,
    check_schema,
    fingerprint_at,
    fingerprint_of,
    format_of,
    manifest_text,
    parse_prefixes,
    parse_record,
    read_manifest,
    refuse_external_data,
    verify_file,
    what_changed,
)
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.errors import BundleError, ConfigError
from edge_retrieval.provenance import sha256_of

if TYPE_CHECKING:
    from edge_retrieval.calibration import Calibration
    from edge_retrieval.golden import Fitted, Golden

__all__ = [
    "BUNDLE_SCHEMA",
    "FORMATS",
    "PRECISIONS",
    "Bundle",
    "FileRecord",
    "default_bundle_path",
    "save_bundle",
    "save_calibration",
]

DEFAULT_BUNDLE = "small"
_KEYS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "precision": str,
    "format": str,
    "dim": int,
    "preprocessing": dict,
    "levels": list,
    "files": dict,
    "golden_tolerance": (int, float),
    "fingerprint": str,
    "provenance": dict,
}


@dataclass(frozen=True)
class Bundle:
    """A trained encoder on disk, opened and verified.

    Attributes:
        folder: Where it is.
        name: For people; not part of the fingerprint.
        precision: "fp32", "fp16" (weights only) or "int8".
        format: "onnx" or "openvino"; also the name of the runtime that it is made for.
        dim: D, numbers in an embedding.
        preprocessing: How a drawing becomes the network's input.
        levels: Names of the taxonomy levels that it was trained on, coarse to fine.
        files: Name -> size and SHA-256 of every file but bundle.json.
        provenance: How it was made: configuration, versions, sources, seeds.
        golden_tolerance: Least cosine to the golden embeddings that a right machine reaches.
        fingerprint: SHA-256 of what decides the vectors; what a register pins.
        prefixes: Numbers below D, ascending: so many of the first numbers of an embedding, made of
            length 1 again, stand for the drawing too; it was trained so.
        calibration: What its scores mean; None: nobody has measured it.
        cut_of: The bundle that this one is a cut of, by `cut`; None: it is whole.
    """

    folder: Path
    name: str
    precision: str
    format: str
    dim: int
    preprocessing: Preprocessing
    levels: tuple[str, ...]
    files: Mapping[str, FileRecord]
    provenance: Mapping[str, Any]
    golden_tolerance: float
    fingerprint: str
    prefixes: tuple[int, ...] = ()
    calibration: Calibration | None = None
    cut_of: Bundle | None = None

    @classmethod
    def open(cls, folder: Path) -> Bundle:
        """Read a bundle and verify the size and SHA-256 of every file that it names.

        Raises:
            BundleError: Not a bundle, broken, changed since it was made, or of a newer schema.
        """
        bundle = cls.read(folder)
        bundle.verify()
        return bundle

    @classmethod
    def read(cls, folder: Path) -> Bundle:
        """Read and doubt bundle.json alone: the files that it names are not looked at.

        Raises:
            BundleError: Not a bundle, changed since it was made, or of a newer schema.
        """
        return _parse(folder, read_manifest(folder))

    def verify(self) -> None:
        """Hold the size and SHA-256 of every file against its record; raises `BundleError`."""
        for name, record in self.files.items():
            verify_file(self.folder / name, record)
        if self.format == "onnx":
            refuse_external_data(self.model)

    @property
    def whole(self) -> Bundle:
        """The bundle with all numbers of its embeddings."""
        return self.cut_of or self

    def cut(self, dim: int) -> Bundle:
        """Return the same bundle, of whose embeddings only the first numbers are used.

        Its `dim` and its `fingerprint` are others: vectors of two lengths must not meet.

        Args:
            dim: D, or one of `prefixes`.

        Raises:
            ConfigError: It was not trained for so many numbers.
        """
        whole = self.whole
        if dim == whole.dim:
            return whole
        if dim not in whole.prefixes:
            raise ConfigError(
                f"{self.name}: not trained for the first {dim} numbers of its embeddings",
                hint=f"choose from {', '.join(map(str, (*whole.prefixes, whole.dim)))}"
                if whole.prefixes
                else f"it gives {whole.dim} and no less; shorter ones are trained: edge-ret train"
                " --set prefixes=32,64,128",
            )
        return replace(
            whole, dim=dim, fingerprint=fingerprint_at(whole.fingerprint, dim), cut_of=whole
        )

    @property
    def model(self) -> Path:
        """The file that a runtime is given: model.onnx, or model.xml with model.bin beside it."""
        return self.folder / FORMATS[self.format][0]

    @property
    def model_bytes(self) -> int:
        """Size of the model's files together."""
        return sum(self.files[name].bytes for name in FORMATS[self.format])

    def golden(self) -> Golden:
        """Read the golden drawings and their embeddings; `BundleError` if they make no sense."""
        from edge_retrieval.golden import read_golden

        return read_golden(self.folder / GOLDEN, self.whole.dim)

    def fitted(self) -> Fitted | None:
        """Read the drawings with known scaling; None in a bundle of schema 1."""
        from edge_retrieval.golden import read_fitted

        return read_fitted(self.folder / GOLDEN, self.preprocessing.size)

    def copy_to(self, folder: Path) -> Bundle:
        """Copy the bundle, and nothing else that is in its folder, to a new folder: all or nothing.

        The copy is whole, also where this is a cut.

        Raises:
            BundleError: `folder` exists, cannot be written, or the copy differs.
        """
        with _writing(folder, replaces=None) as stage:
            for name in (MANIFEST, *self.files):
                shutil.copyfile(self.folder / name, stage / name)
        return Bundle.open(folder)


def save_bundle(
    folder: Path,
    *,
    name: str,
    precision: str,
    model: Path,
    preprocessing: Preprocessing,
    levels: Sequence[str],
    golden_images: NDArray[np.uint8],
    golden_embeddings: Embeddings,
    golden_tolerance: float,
    provenance: Mapping[str, Any],
    prefixes: Sequence[int] = (),
    card: str | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle: it appears whole or not at all.

    Args:
        folder: Where; must not exist unless `overwrite`, and then must be a bundle. Files in it
            that the old bundle does not name are kept.
        name: For people.
        precision: "fp32", "fp16" or "int8".
        model: The network, copied: an .onnx file, or an .xml file with its .bin beside it.
        preprocessing: What the network was trained with.
        levels: Names of the taxonomy levels, coarse to fine.
        golden_images: ``(G, H, W)`` uint8 figures, 0 ink, 255 paper.
        golden_embeddings: ``(G, D)`` float32 that the FP32 network in torch made of them.
        golden_tolerance: Least cosine to them that a right machine reaches with this model.
        provenance: How it was made; anything that JSON can hold.
        prefixes: So many of the first numbers of an embedding it was trained to stand alone; D
            among them says nothing.
        card: Markdown for people.
        overwrite: Replace a bundle that is there.

    Raises:
        BundleError: The folder cannot be written, or the parts do not fit each other.
    """
    from edge_retrieval.golden import Golden, check_golden, pack

    golden = Golden(golden_images, golden_embeddings)
    dim = golden_embeddings.shape[1] if golden_embeddings.ndim == 2 else 0
    check_golden(golden, dim, where=folder)
    kind = format_of(model)
    replaces: set[str] | None = None
    if overwrite and folder.exists():
        named = read_manifest(folder).get("files")
        replaces = {MANIFEST, *(named if isinstance(named, dict) else ())}
    manifest: dict[str, Any] = {
        "schema": BUNDLE_SCHEMA,
        "name": name,
        "precision": precision,
        "format": kind,
        "dim": dim,
        "preprocessing": preprocessing.to_json(),
        "levels": list(levels),
        "golden_tolerance": float(golden_tolerance),
        "provenance": dict(provenance),
    }
    if shorter := sorted({*prefixes} - {dim}):
        manifest["prefixes"] = shorter
    with _writing(folder, replaces=replaces) as stage:
        for target in FORMATS[kind]:
            shutil.copyfile(model.with_suffix(Path(target).suffix), stage / target)
        (stage / GOLDEN).write_bytes(pack(golden, preprocessing))
        if card is not None:
            (stage / CARD).write_text(card, encoding="utf-8")
        files = {
            p.name: FileRecord(sha256_of(p), p.stat().st_size) for p in sorted(stage.iterdir())
        }
        manifest["files"] = {key: record._asdict() for key, record in files.items()}
        manifest["fingerprint"] = fingerprint_of(kind, files, dim, preprocessing)
        (stage / MANIFEST).write_text(manifest_text(manifest), encoding="utf-8")
        _parse(stage, manifest)
    return Bundle.open(folder)


def save_calibration(folder: Path, calibration: Calibration) -> Bundle:
    """Write into a bundle what its scores mean; what it held of that before is replaced.

    Raises:
        BundleError: Not a bundle, not the one that was measured, or it cannot be written.
    """
    from edge_retrieval.staging import write_whole

    bundle = Bundle.open(folder)
    manifest = read_manifest(folder) | {"calibration": calibration.to_json()}
    _parse(folder, manifest)
    try:
        write_whole(folder / MANIFEST, manifest_text(manifest).encode())
    except OSError as error:
        raise BundleError(
            f"{folder / MANIFEST}: cannot be written: {error.strerror or error}",
            hint="copy the bundle to a folder that you may write to, and measure that",
        ) from error
    return replace(bundle, calibration=calibration)


def default_bundle_path() -> Path:
    """Return the folder of the bundle that ships: in the wheel, or in the checkout around it.

    Raises:
        BundleError: There is none.
    """
    package = Path(__file__).parent
    for models in (package / "models", package.parent / "models"):
        if (models / DEFAULT_BUNDLE / MANIFEST).is_file():
            return models / DEFAULT_BUNDLE
    raise BundleError(
        f"this installation holds no encoder bundle {DEFAULT_BUNDLE!r}",
        hint="install edge-retrieval again, or name a bundle with --bundle",
    )


def _parse(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    """Turn the content of bundle.json into a `Bundle`, doubting every value."""
    where = folder / MANIFEST
    if check_schema(manifest.get("schema"), where) == 1:
        manifest = {**manifest, "format": "onnx"}
    for key, kinds in _KEYS.items():
        if not isinstance(value := manifest.get(key), kinds) or isinstance(value, bool):
            problem = "has the wrong kind of value" if key in manifest else "is missing"
            raise BundleError(f"{where}: {key!r} {problem}", hint=EXPORT_AGAIN)
    files = {name: parse_record(name, record, where) for name, record in manifest["files"].items()}
    kind = manifest["format"]
    if kind not in FORMATS:
        raise BundleError(
            f"{where}: no such format: {kind!r}", hint="pip install --upgrade edge-retrieval"
        )
    if missing := {*FORMATS[kind], GOLDEN} - files.keys():
        raise BundleError(f"{where}: names no {min(missing)}", hint=EXPORT_AGAIN)
    dim, tolerance = manifest["dim"], manifest["golden_tolerance"]
    if manifest["precision"] not in PRECISIONS or dim < 1 or not -1.0 <= tolerance <= 1.0:
        raise BundleError(
            f"{where}: no such encoder: precision {manifest['precision']!r}, dim {dim}, "
            f"golden_tolerance {tolerance}",
            hint=EXPORT_AGAIN,
        )
    try:
        preprocessing = Preprocessing.from_json(manifest["preprocessing"])
    except ConfigError as error:
        raise BundleError(f"{where}: preprocessing: {error}", hint=error.hint) from error
    except OverflowError as error:
        raise BundleError(f"{where}: preprocessing: {error}", hint=EXPORT_AGAIN) from error
    fingerprint = fingerprint_of(kind, files, dim, preprocessing)
    if fingerprint != manifest["fingerprint"]:
        raise BundleError(
            f"{where}: changed since the bundle was made: "
            + what_changed(kind, files, dim, preprocessing, manifest["fingerprint"]),
            hint=EXPORT_AGAIN,
        )
    prefixes = parse_prefixes(manifest.get("prefixes", []), dim, where)
    return Bundle(
        folder=folder,
        name=manifest["name"],
        precision=manifest["precision"],
        format=kind,
        dim=dim,
        preprocessing=preprocessing,
        levels=tuple(str(level) for level in manifest["levels"]),
        files=files,
        provenance=manifest["provenance"],
        golden_tolerance=float(tolerance),
        fingerprint=fingerprint,
        prefixes=prefixes,
        calibration=_calibration(manifest, fingerprint, where),
    )


def _calibration(manifest: Mapping[str, Any], fingerprint: str, where: Path) -> Calibration | None:
    """Read what the scores mean, if the manifest tells; `BundleError` if that makes no sense."""
    if "calibration" not in manifest:
        return None
    from edge_retrieval.calibration import Calibration

    hint = "measure it again: edge-ret calibrate; or copy the bundle again"
    try:
        found = Calibration.from_json(manifest["calibration"])
    except ValueError as error:
        raise BundleError(f"{where}: calibration: {error}", hint=hint) from error
    if found.fingerprint != fingerprint:
        raise BundleError(f"{where}: calibration: measured on another encoder", hint=hint)
    return found


@contextlib.contextmanager
def _writing(folder: Path, *, replaces: Set[str] | None) -> Iterator[Path]:
    """Fill a bundle's folder beside its place; see `staged`. Errors become `BundleError`."""
    from edge_retrieval.staging import staged

    if folder.exists() and replaces is None:
        raise BundleError(f"{folder}: exists already", hint="name another folder, or overwrite it")
    try:
        with staged(folder, replaces=replaces or ()) as stage:
            yield stage
    except OSError as error:
        raise BundleError(
            f"{folder}: cannot be written: {error.strerror or error}",
            hint="name a folder that you may write to, on a disk with space",
        ) from error
