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
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.errors import BundleError, ConfigError
from edge_retrieval.golden import (
    Fitted,
    Golden,
    check_golden,
    pack,
    read_fitted,
    read_golden,
)
from edge_retrieval.provenance import sha256_of
from edge_retrieval.staging import staged

BUNDLE_SCHEMA = 2
DEFAULT_BUNDLE = "small"
MANIFEST, GOLDEN, CARD = "bundle.json", "golden.npz", "CARD.md"
PRECISIONS = ("fp32", "fp16", "int8")
FORMATS = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}
"""Each format's model files; the first is what a runtime is given, its suffix tells the format."""

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
_EXPORT_AGAIN = "copy the bundle again, or make it anew: edge-ret export"


class FileRecord(NamedTuple):
    """What bundle.json says of one file."""

    sha256: str
    bytes: int


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
        return _parse(folder, _read_manifest(folder))

    def verify(self) -> None:
        """Hold the size and SHA-256 of every file against its record; raises `BundleError`."""
        for name, record in self.files.items():
            _verify(self.folder / name, record)

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
        return read_golden(self.folder / GOLDEN, self.dim)

    def fitted(self) -> Fitted | None:
        """Read the drawings with known scaling; None in a bundle of schema 1."""
        return read_fitted(self.folder / GOLDEN, self.preprocessing.size)

    def copy_to(self, folder: Path) -> Bundle:
        """Copy the bundle, and nothing else that is in its folder, to a new folder: all or nothing.

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
        card: Markdown for people.
        overwrite: Replace a bundle that is there.

    Raises:
        BundleError: The folder cannot be written, or the parts do not fit each other.
    """
    golden = Golden(golden_images, golden_embeddings)
    dim = golden_embeddings.shape[1] if golden_embeddings.ndim == 2 else 0
    check_golden(golden, dim, where=folder)
    kind = _format_of(model)
    replaces: set[str] | None = None
    if overwrite and folder.exists():
        replaces = {MANIFEST, *_read_manifest(folder).get("files", {})}
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
        text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
        (stage / MANIFEST).write_text(text + "\n", encoding="utf-8")
        _parse(stage, manifest)
    return Bundle.open(folder)


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


def fingerprint_of(
    kind: str, files: Mapping[str, FileRecord], dim: int, preprocessing: Preprocessing
) -> str:
    """Hash what decides the vectors, and nothing else: no name, no card, no provenance.

    Args:
        kind: The format, a name in `FORMATS`.
        files: Records of the model's files and golden.npz.
        dim: D of the embeddings.
        preprocessing: How a drawing becomes the network's input.
    """
    hashes = [files[name].sha256 for name in FORMATS[kind]]
    identity = {
        "model": hashes[0] if len(hashes) == 1 else hashes,
        "golden": files[GOLDEN].sha256,
        "dim": dim,
        "preprocessing": preprocessing.to_json(),
    }
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _format_of(model: Path) -> str:
    """Tell the format by the file's suffix, as it must have it."""
    for kind, (first, *_) in FORMATS.items():
        if model.suffix == Path(first).suffix:
            return kind
    raise BundleError(
        f"{model}: neither an .onnx nor an .xml file", hint="give the network that was exported"
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        reason = f"no {MANIFEST} in it" if folder.is_dir() else "no such folder"
        raise BundleError(
            f"{folder}: not an encoder bundle: {reason}",
            hint=f"name the folder that holds {MANIFEST}",
        ) from error
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read: {error.strerror}", hint="check the permissions of the folder"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not JSON: {error}", hint=_EXPORT_AGAIN) from error
    if not isinstance(manifest, dict):
        raise BundleError(f"{path}: not a JSON object", hint=_EXPORT_AGAIN)
    return manifest


def _parse(folder: Path, manifest: Mapping[str, Any]) -> Bundle:
    """Turn the content of bundle.json into a `Bundle`, doubting every value."""
    where = folder / MANIFEST
    if _check_schema(manifest.get("schema"), where) == 1:
        manifest = {**manifest, "format": "onnx"}
    for key, kinds in _KEYS.items():
        if not isinstance(value := manifest.get(key), kinds) or isinstance(value, bool):
            problem = "has the wrong kind of value" if key in manifest else "is missing"
            raise BundleError(f"{where}: {key!r} {problem}", hint=_EXPORT_AGAIN)
    files = {name: _parse_record(name, record, where) for name, record in manifest["files"].items()}
    kind = manifest["format"]
    if kind not in FORMATS:
        raise BundleError(
            f"{where}: no such format: {kind!r}", hint="pip install --upgrade edge-retrieval"
        )
    if missing := {*FORMATS[kind], GOLDEN} - files.keys():
        raise BundleError(f"{where}: names no {min(missing)}", hint=_EXPORT_AGAIN)
    dim, tolerance = manifest["dim"], manifest["golden_tolerance"]
    if manifest["precision"] not in PRECISIONS or dim < 1 or not -1.0 <= tolerance <= 1.0:
        raise BundleError(
            f"{where}: no such encoder: precision {manifest['precision']!r}, dim {dim}, "
            f"golden_tolerance {tolerance}",
            hint=_EXPORT_AGAIN,
        )
    try:
        preprocessing = Preprocessing.from_json(manifest["preprocessing"])
    except ConfigError as error:
        raise BundleError(f"{where}: preprocessing: {error}", hint=error.hint) from error
    fingerprint = fingerprint_of(kind, files, dim, preprocessing)
    if fingerprint != manifest["fingerprint"]:
        raise BundleError(
            f"{where}: changed since the bundle was made: its fingerprint does not fit",
            hint=_EXPORT_AGAIN,
        )
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
    )


def _check_schema(schema: object, where: Path) -> int:
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise BundleError(f"{where}: 'schema' is missing or no number", hint=_EXPORT_AGAIN)
    if schema > BUNDLE_SCHEMA:
        raise BundleError(
            f"{where}: schema {schema} is newer than this version can read ({BUNDLE_SCHEMA})",
            hint="pip install --upgrade edge-retrieval",
        )
    return schema


def _parse_record(name: str, record: object, where: Path) -> FileRecord:
    # A name is a plain name: a bundle from elsewhere must not point outside its folder.
    if not name or name in (".", "..", MANIFEST) or any(c in name for c in "/\\:\0"):
        raise BundleError(f"{where}: no plain file name: {name!r}", hint=_EXPORT_AGAIN)
    match record:
        case {"sha256": str(sha256), "bytes": int(size)}:
            return FileRecord(sha256, size)
    raise BundleError(f"{where}: no sha256 and bytes for {name}", hint=_EXPORT_AGAIN)


def _verify(path: Path, record: FileRecord) -> None:
    """Hold one file against its record; the size first, since that costs nothing."""
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path}: missing, or no plain file", hint=_EXPORT_AGAIN)
    if (size := path.stat().st_size) != record.bytes:
        raise BundleError(
            f"{path}: {size} bytes where bundle.json says {record.bytes}", hint=_EXPORT_AGAIN
        )
    try:
        found = sha256_of(path)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    if found != record.sha256:
        raise BundleError(
            f"{path}: damaged: its SHA-256 is not the one in bundle.json", hint=_EXPORT_AGAIN
        )


@contextlib.contextmanager
def _writing(folder: Path, *, replaces: Set[str] | None) -> Iterator[Path]:
    """Fill a bundle's folder beside its place; see `staged`. Errors become `BundleError`."""
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
