"""The record of a search: what was searched with and in, how, and what was found; as JSON.

    kind, schema    what this file is
    created         when, UTC
    versions, host  of the software, and the processor
    register        name, snapshot, contents (the same after a compaction), designs, figures; and
                    made_from, where its vectors were not made from sheets
    encoder         name, fingerprint, precision, dim, backend
    search          k, filters, exclude_self, exact: what was asked for; and, where a store found
                    the candidates, `store`: its collection, server, index and measured overlap
    results         as `data.to_json` tells them; each with `design` (where a registered design was
                    the query) or `files`: name, sha256, whole, chosen, figures, and the drawing
                    itself in base64, or null where it was to stay out
    flags, notes    what a person marked and wrote
    sha256          of all the rest as canonical JSON: a changed record is found

A record needs no server and no account: `replay` searches again and tells what is the same.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_retrieval.calibration import digest_of
from edge_retrieval.errors import LIES, RecordError
from edge_retrieval.evidence.data import to_json
from edge_retrieval.filters import Filters
from edge_retrieval.provenance import cpu_model, now, versions
from edge_retrieval.register import Register
from edge_retrieval.search import SearchResult

KIND = "edge-retrieval search record"
SCHEMA = 1
TRAINING = ("torch", "timm", "onnx", "nncf")  # never part of a search


@dataclass(frozen=True)
class Asked:
    """What was asked for.

    Attributes:
        k: Designs to find.
        filters: Which designs to compare.
        exclude_self: Figures of the very same files were left out.
        exact: No graph was allowed to choose.
        backend: What ran the encoder; "": what its bundle is made for.
        store: What found the candidates, as `store.FoundInStore.facts` tells; None: the register.
    """

    k: int = 10
    filters: Filters = field(default_factory=Filters)
    exclude_self: bool = False
    exact: bool = False
    backend: str = ""
    store: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Flag:
    """What a person marked.

    Attributes:
        relevant: Marked as relevant.
        note: What was written beside it.
    """

    relevant: bool = True
    note: str = ""


def make_record(
    results: Sequence[SearchResult],
    *,
    register: Register,
    asked: Asked,
    drawings: Mapping[str, bytes] | None = None,
    flags: Mapping[str, Flag] | None = None,
    notes: str = "",
) -> dict[str, Any]:
    """Return the record of a search as plain data.

    Args:
        results: From `search` on `register`.
        register: Where was searched.
        asked: How.
        drawings: The files that were searched with, by the SHA-256 of their bytes; one that is
            missing has only its hash in the record, and is asked for when it is replayed.
        flags: What was marked, by the design's number.
        notes: What was written.
    """
    told = to_json(results, register=register)["results"]
    for one, result in zip(told, results, strict=True):
        one["design"] = result.query.design or None
        one["files"] = [] if result.query.design else _files(result, drawings or {})
        for hit in one["hits"]:
            del hit["where"]  # a record is for others: the folders of this machine are not
    bundle = register.bundle
    record = {
        "kind": KIND,
        "schema": SCHEMA,
        "created": now(),
        "versions": {name: text for name, text in versions().items() if name not in TRAINING},
        "host": cpu_model(),
        "register": {
            "name": register.name,
            "snapshot": register.snapshot,
            "contents": register.contents,
            "designs": register.designs_count,
            "figures": register.figures_count,
            **({"made_from": made_from} if (made_from := register.made_from) else {}),
        },
        "encoder": {
            "name": bundle.name,
            "fingerprint": bundle.fingerprint,
            "precision": bundle.precision,
            "dim": bundle.dim,
            "backend": asked.backend or bundle.format,
        },
        "search": {
            "k": asked.k,
            "filters": {
                name: list(value) if isinstance(value, list | tuple) else value
                for name, value in asked.filters._asdict().items()
            },
            "exclude_self": asked.exclude_self,
            "exact": asked.exact,
            **({"store": dict(asked.store)} if asked.store is not None else {}),
        },
        "results": told,
        "flags": {
            number: {"relevant": flag.relevant, "note": flag.note}
            for number, flag in (flags or {}).items()
        },
        "notes": notes,
    }
    plain = json.loads(json.dumps(record))
    return {**plain, "sha256": digest_of(plain)}


def _files(result: SearchResult, drawings: Mapping[str, bytes]) -> list[dict[str, Any]]:
    files = []
    for file in result.query.sources:
        data = drawings.get(file.sha256)
        files.append(
            {
                "name": file.name,
                "sha256": file.sha256,
                "whole": file.whole,
                "figures": file.figures,
                "chosen": list(file.chosen),
                "drawing": base64.b64encode(data).decode("ascii") if data is not None else None,
            }
        )
    return files


def record_text(record: Mapping[str, Any]) -> str:
    """Return a record as the text of its file."""
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"


def read_record(data: bytes, *, where: str) -> dict[str, Any]:
    """Read the file of a record, doubting it.

    Args:
        data: Its bytes.
        where: Where it is, for messages.

    Raises:
        RecordError: It is none, of a newer schema, or was changed since it was made.
    """
    try:
        record = json.loads(data)
        kind, schema = record["kind"], record["schema"]
    except LIES as error:
        raise _broken(where, "it is no record of a search") from error
    if kind != KIND:
        raise _broken(where, "it is no record of a search")
    if schema != SCHEMA:
        raise RecordError(
            f"{where}: schema {schema!r}, this version reads {SCHEMA}",
            hint="pip install --upgrade edge-retrieval",
        )
    if digest_of(record) != record.get("sha256"):
        raise _broken(where, "it was changed since it was made")
    return dict(record)


def _broken(where: str, why: str) -> RecordError:
    return RecordError(f"{where}: {why}", hint="take the file as edge-ret search --record wrote it")
