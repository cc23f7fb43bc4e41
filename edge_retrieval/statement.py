"""Who made a bundle, of what: a statement beside it, which anybody can hold against the files.

    statement.json   an in-toto statement: the SHA-256 of bundle.json and of every file that it
                     names; who signs it off; recipe, hashes of inputs, versions

It is detached: bundle.json does not name it, and it fits the copy of the bundle in any register.
Whoever wants more than a name signs the file itself with a key of their own (ssh-keygen -Y sign).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_retrieval import __version__
from edge_retrieval.bundle import Bundle
from edge_retrieval.bundle_files import MANIFEST
from edge_retrieval.errors import BundleError, ConfigError
from edge_retrieval.provenance import now, sha256_of
from edge_retrieval.staging import write_whole

STATEMENT, SIGNATURE = "statement.json", "statement.json.sig"
TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:edge-retrieval:made:1"
NAMESPACE = "edge-retrieval"
"""What ssh-keygen is told a signature is for."""

SIGNED_OFF = (
    "I made this encoder, or had it made, of the inputs named here, which I may use for it, and"
    " give these files on as they are."
)
"""What a name under a statement says."""

ANEW = "if you trust the files as they are, state it anew: edge-ret attest; else copy them again"


@dataclass(frozen=True)
class Statement:
    """A statement as it was read.

    Attributes:
        path: Its file.
        sha256: Of that file: what a person may sign or write down.
        by: Who signs it off; "" where nobody does.
        at: When, ISO 8601.
        fingerprint: Of the bundle.
        files: Name -> SHA-256.
        signature: Whether a signature lies beside it; nothing here verifies that.
    """

    path: Path
    sha256: str
    by: str
    at: str
    fingerprint: str
    files: Mapping[str, str]
    signature: bool


def make_statement(bundle: Bundle, *, by: str = "", recipe: Path | None = None) -> dict[str, Any]:
    """Return what is to be said of a bundle, as JSON can hold it.

    Args:
        bundle: Opened, so verified.
        by: Who signs it off: "Name <address>"; "": nobody, it only lists.
        recipe: The file that it was made by.

    Raises:
        ConfigError: The recipe cannot be read, or the name is no single line.
    """
    if by != " ".join(by.split()) or not by.isprintable():
        raise ConfigError("a name is one line", hint='--by "Name <address>"')
    whole = bundle.whole
    digests = {MANIFEST: sha256_of(whole.folder / MANIFEST)}
    digests |= {name: record.sha256 for name, record in whole.files.items()}
    provenance = whole.provenance
    export, training = (_part(provenance, name) for name in ("export", "training"))
    return {
        "_type": TYPE,
        "subject": [{"name": n, "digest": {"sha256": d}} for n, d in sorted(digests.items())],
        "predicateType": PREDICATE,
        "predicate": {
            "by": by,
            "signed_off": SIGNED_OFF if by else "",
            "at": now(),
            "with": f"edge-retrieval {__version__}",
            "name": whole.name,
            "fingerprint": whole.fingerprint,
            "recipe": _recipe(recipe),
            "sources": training.get("sources", []),
            "inputs": dict(_hashes(provenance)),
            "versions": {
                "training": training.get("versions", {}),
                "export": export.get("versions", {}),
            },
        },
    }


def save_statement(bundle: Bundle, *, by: str = "", recipe: Path | None = None) -> Statement:
    """Write a statement beside a bundle, in the place of one that is there; return it.

    Raises:
        BundleError: It cannot be written.
        ConfigError: As `make_statement`.
    """
    path = bundle.whole.folder / STATEMENT
    told = make_statement(bundle, by=by, recipe=recipe)
    text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        write_whole(path, text.encode())
        path.with_name(SIGNATURE).unlink(missing_ok=True)  # of the one before
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="copy the bundle to a folder that you may write to, and state it there",
        ) from error
    return read_statement(path)


def read_statement(path: Path) -> Statement:
    """Read a statement, doubting every value.

    Raises:
        BundleError: There is none, or it is of another form.
    """
    hint = "copy the statement again, or make one: edge-ret attest"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path}: the statement cannot be read: {error.strerror}", hint=hint
        ) from error
    try:
        told = json.loads(data)
        match told:
            case {
                "_type": str(kind),
                "predicateType": str(predicate),
                "subject": list(subject),
                "predicate": {"by": str(by), "at": str(at), "fingerprint": str(fingerprint)},
            } if (kind, predicate) == (TYPE, PREDICATE):
                files = {str(one["name"]): str(one["digest"]["sha256"]) for one in subject}
            case _:
                raise ValueError("of another kind, or newer")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleError(f"{path}: no statement: {error}", hint=hint) from error
    return Statement(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        by=by,
        at=at,
        fingerprint=fingerprint,
        files=files,
        signature=path.with_name(path.name + ".sig").is_file(),
    )


def what_differs(bundle: Bundle, statement: Statement) -> str:
    """Say in what a bundle, opened, is not the one that is stated; "" where it is.

    bundle.json tells the hashes of the other files, so those are compared, and its own.
    """
    whole = bundle.whole
    found = {name: record.sha256 for name, record in whole.files.items()}
    found[MANIFEST] = sha256_of(whole.folder / MANIFEST)
    changed = [name for name in sorted(found) if statement.files.get(name) != found[name]]
    gone = sorted(statement.files.keys() - found.keys())
    if statement.fingerprint != whole.fingerprint:
        return f"it is of another encoder: fingerprint {statement.fingerprint[:12]}"
    if changed:
        return f"{', '.join(changed)}: not as it was stated"
    return f"{', '.join(gone)}: stated, and not here" if gone else ""


def _part(provenance: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = provenance.get(name)
    return found if isinstance(found, Mapping) else {}


def _recipe(path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    try:
        return {"name": path.name, "sha256": sha256_of(path)}
    except OSError as error:
        raise ConfigError(
            f"{path}: the recipe cannot be read: {error.strerror}", hint="check its path"
        ) from error


def _hashes(value: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield every SHA-256 in what provenance tells, with its place: ("training.split", ...)."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _hashes(inner, f"{where}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _hashes(inner, f"{where}[{number}]")
    elif isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        yield where, value
