"""The files of a bundle: their names and records, the manifest as it is read, the fingerprint."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from edge_retrieval.drawing import Preprocessing
from edge_retrieval.errors import BundleError
from edge_retrieval.provenance import sha256_of

BUNDLE_SCHEMA = 2
MANIFEST, GOLDEN, CARD = "bundle.json", "golden.npz", "CARD.md"
PRECISIONS = ("fp32", "fp16", "int8")
FORMATS = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}
"""Each format's model files; the first is what a runtime is given, its suffix tells the format."""

EXPORT_AGAIN = "copy the bundle again, or make it anew: edge-ret export"


class FileRecord(NamedTuple):
    """What bundle.json says of one file."""

    sha256: str
    bytes: int


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read bundle.json as it stands; `BundleError` if there is none or it is no JSON object."""
    path = folder / MANIFEST
    if pipe := pipe_in(folder):
        raise BundleError(f"{pipe}: a pipe or a device, no file", hint=EXPORT_AGAIN)
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
        raise BundleError(f"{path}: not JSON: {error}", hint=EXPORT_AGAIN) from error
    if not isinstance(manifest, dict):
        raise BundleError(f"{path}: not a JSON object", hint=EXPORT_AGAIN)
    return manifest


def pipe_in(folder: Path) -> Path | None:
    """Return what in a folder is neither file nor folder: to open it may wait for ever."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.is_file() and not entry.is_dir() and Path(entry.path).exists():
                    return Path(entry.path)
    except OSError:
        return None  # told by whoever reads it
    return None


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """Return bundle.json as it is written: for people, too, so a list of numbers is one line."""
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False)
    # Within a string JSON has no line break: this meets lists alone.
    return re.sub(r"\[\n[-+\d.eE,\s]+\]", lambda found: " ".join(found[0].split()), text) + "\n"


def format_of(model: Path) -> str:
    """Tell the format by the file's suffix, as it must have it."""
    for kind, (first, *_) in FORMATS.items():
        if model.suffix == Path(first).suffix:
            return kind
    raise BundleError(
        f"{model}: neither an .onnx nor an .xml file", hint="give the network that was exported"
    )


def check_schema(schema: object, where: Path) -> int:
    """Return a schema that this version reads; `BundleError` for any other."""
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise BundleError(f"{where}: 'schema' is missing or no number", hint=EXPORT_AGAIN)
    if schema > BUNDLE_SCHEMA:
        raise BundleError(
            f"{where}: schema {schema} is newer than this version can read ({BUNDLE_SCHEMA})",
            hint="pip install --upgrade edge-retrieval",
        )
    return schema


def parse_record(name: str, record: object, where: Path) -> FileRecord:
    """Return one record of the manifest; `BundleError` if it, or the file's name, is none."""
    # A name is a plain name: a bundle from elsewhere must not point outside its folder.
    if not 0 < len(name) < 256 or name in (".", "..", MANIFEST) or any(c in name for c in "/\\:\0"):
        raise BundleError(f"{where}: no plain file name: {name!r}", hint=EXPORT_AGAIN)
    match record:
        case {"sha256": str(sha256), "bytes": int(size)}:
            return FileRecord(sha256, size)
    raise BundleError(f"{where}: no sha256 and bytes for {name}", hint=EXPORT_AGAIN)


def verify_file(path: Path, record: FileRecord) -> None:
    """Hold one file against its record; the size first, since that costs nothing."""
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{path}: missing, or no plain file", hint=EXPORT_AGAIN)
    if (size := path.stat().st_size) != record.bytes:
        raise BundleError(
            f"{path}: {size} bytes where bundle.json says {record.bytes}", hint=EXPORT_AGAIN
        )
    try:
        found = sha256_of(path)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read: {error.strerror}", hint="check its permissions"
        ) from error
    if found != record.sha256:
        raise BundleError(
            f"{path}: damaged: its SHA-256 is not the one in bundle.json", hint=EXPORT_AGAIN
        )


def refuse_external_data(path: Path) -> None:
    """Refuse an ONNX file that takes weights from other files: no hash of ours stands for those.

    Each such weight carries an entry with the key "location": bytes 0a 08, then the word.
    """
    if b"\n\x08location" in path.read_bytes():
        raise BundleError(
            f"{path}: takes weights from other files, which nothing verifies", hint=EXPORT_AGAIN
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


def fingerprint_at(fingerprint: str, dim: int) -> str:
    """Return the fingerprint of embeddings that were cut after their first `dim` numbers."""
    return hashlib.sha256(f"{fingerprint} first {dim}".encode()).hexdigest()


def parse_prefixes(value: object, dim: int, where: Path) -> tuple[int, ...]:
    """Return the prefixes that a manifest names, ascending; `BundleError` if they make no sense."""
    if isinstance(value, list) and all(type(one) is int and 2 <= one < dim for one in value):
        return tuple(sorted(set(value)))
    raise BundleError(f"{where}: 'prefixes' must be numbers from 2 to {dim - 1}", hint=EXPORT_AGAIN)


def what_changed(
    kind: str,
    files: Mapping[str, FileRecord],
    dim: int,
    preprocessing: Preprocessing,
    fingerprint: str,
) -> str:
    """Say what keeps the fingerprint from fitting: one setting, if its default would make it fit.

    Args:
        kind: The format, a name in `FORMATS`.
        files: Records of the files.
        dim: D of the embeddings.
        preprocessing: As it stands in the manifest.
        fingerprint: That of the manifest.
    """
    plain = Preprocessing()
    for field in fields(plain):
        usual = getattr(plain, field.name)
        other = replace(preprocessing, **{field.name: usual})
        if fingerprint_of(kind, files, dim, other) == fingerprint:
            found = getattr(preprocessing, field.name)
            return f"preprocessing {field.name} is {found}, and was {usual}"
    return "its fingerprint fits neither preprocessing, dim nor the hashes of the files"
