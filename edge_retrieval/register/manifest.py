"""`register.json`: what makes a folder a register. Written once, last of all.

Schema 3 is that of a register whose vectors are the first numbers of the embeddings: a program that
does not know of such would read them wrong. All others stay of schema 2, which more programs read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from edge_retrieval.bundle import Bundle
from edge_retrieval.bundle_files import pipe_in
from edge_retrieval.errors import RegisterError
from edge_retrieval.provenance import now, sha256_of, versions
from edge_retrieval.register.files import replace_whole
from edge_retrieval.register.state import AGAIN

SCHEMA, SCHEMA_WHOLE = 3, 2
MANIFEST = "register.json"


class Manifest(NamedTuple):
    """What register.json says."""

    levels: tuple[str, ...]
    fingerprint: str
    dim: int
    made_from: dict[str, Any] | None = None


def write_manifest(
    folder: Path,
    bundle: Bundle,
    levels: Sequence[str],
    made_from: Mapping[str, Any] | None = None,
) -> None:
    """Write register.json, down to the disk, all or nothing."""
    files = [path for path in sorted((folder / "bundle").rglob("*")) if path.is_file()]
    manifest: dict[str, Any] = {
        "schema": SCHEMA_WHOLE if bundle.cut_of is None else SCHEMA,
        "levels": list(levels),
        "bundle": {"name": bundle.name, "fingerprint": bundle.fingerprint, "dim": bundle.dim},
        "files": {path.relative_to(folder).as_posix(): sha256_of(path) for path in files},
        "created": now(),
        "versions": versions(),
    }
    if made_from is not None:
        manifest["made_from"] = dict(made_from)
    manifest["check"] = _check(manifest)
    part = folder / f"{MANIFEST}.part"
    part.write_text(_text(manifest), encoding="utf-8")
    replace_whole(part, folder / MANIFEST)


def is_register(folder: Path) -> bool:
    """Say whether a folder is a register, sound or damaged."""
    return (folder / MANIFEST).exists()


def read_manifest(folder: Path) -> Manifest:
    """Read register.json, doubting it; `RegisterError` if the folder is no register."""
    path = folder / MANIFEST
    if pipe := pipe_in(folder):
        raise RegisterError(f"{pipe}: a pipe or a device, no file", hint=AGAIN)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        reason = "a file, not a folder" if folder.exists() else "no such folder"
        reason = f"no {MANIFEST} in it" if folder.is_dir() else reason
        raise RegisterError(
            f"{folder}: not a register: {reason}",
            hint=f"make one: edge-ret index DESIGNS -o {folder}",
        ) from error
    except OSError as error:
        raise RegisterError(
            f"{path}: cannot be read: {error.strerror}", hint="check the permissions of the folder"
        ) from error
    except (ValueError, RecursionError) as error:
        raise RegisterError(f"{path}: not JSON: {error}", hint=AGAIN) from error
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise RegisterError(
            f"{path}: schema {schema} is newer than this version can read ({SCHEMA})",
            hint="pip install --upgrade edge-retrieval",
        )
    if not isinstance(manifest, dict) or manifest.get("check") != _check(manifest):
        raise RegisterError(f"{path}: damaged, or changed by hand", hint=AGAIN)
    match manifest:
        case {"levels": [*levels], "bundle": {"fingerprint": str(fingerprint), "dim": int(dim)}}:
            if levels and all(isinstance(level, str) for level in levels):
                made_from = manifest.get("made_from")
                known = made_from if isinstance(made_from, dict) else None
                return Manifest(tuple(levels), fingerprint, dim, known)
    raise RegisterError(f"{path}: tells no levels, or no bundle", hint=AGAIN)


def damages_of_manifest(folder: Path) -> Iterator[str]:
    """Yield what is wrong with register.json and the files that it names, byte for byte."""
    text = (folder / MANIFEST).read_text(encoding="utf-8")
    manifest = json.loads(text)
    if text != _text(manifest):
        yield f"{folder / MANIFEST}: damaged, or changed by hand"
    files = manifest.get("files", {})  # schema 1 named none
    if not isinstance(files, dict):
        yield f"{folder / MANIFEST}: damaged: it names no files"
        return
    for name, sha256 in files.items():
        path = folder / name
        try:
            sound = path.is_file() and sha256_of(path) == sha256
        except OSError:  # a name too long, or no permission
            sound = False
        if not sound:
            yield f"{path}: damaged, or missing"


def _text(manifest: Mapping[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False)


def _check(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of everything else in the manifest."""
    rest = {key: value for key, value in manifest.items() if key != "check"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
