"""A recorded search done again: the same ranks and scores, or what has changed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_retrieval.encoder import Encoder
from edge_retrieval.errors import LIES, ConfigError, EdgeRetrievalError, RecordError
from edge_retrieval.evidence.data import to_json
from edge_retrieval.filters import Filters
from edge_retrieval.plan import Planner
from edge_retrieval.provenance import versions
from edge_retrieval.query import (
    Query,
    choose_figures,
    query_from_bytes,
    query_of_design,
    together,
)
from edge_retrieval.register import Register
from edge_retrieval.search import search

CLOSE = 0.001
"""Scores of one design that differ by less may come of another processor or runtime."""

EQUAL = 5e-7
"""Scores are kept to the sixth decimal."""

SHOWN = 12
"""So many designs that changed are told of one search."""


@dataclass(frozen=True)
class Replay:
    """What came of searching again.

    Attributes:
        same: The same designs in the same order, no score further off than `CLOSE`.
        identical: And every score equal to its sixth decimal.
        largest: Largest difference between two scores of one design.
        changes: What is not as it was, a sentence each; () where nothing is.
        notes: What is different and changed nothing: versions, the processor, a compaction.
        hits: How many hits were compared.
        both: How many of them were found again.
    """

    same: bool
    identical: bool
    largest: float
    changes: tuple[str, ...]
    notes: tuple[str, ...]
    hits: int
    both: int = 0

    @property
    def statement(self) -> str:
        """Say it in one line."""
        hits = f"{self.hits:,} hit{'s' * (self.hits != 1)}"
        if self.identical:
            return f"identical: {hits}, the same designs, ranks and scores"
        if self.same:
            far = f"{self.largest:.6f}"
            return f"same: {hits}, the same designs and ranks; scores differ by at most {far}"
        told = f"changed: {len(self.changes)} difference{'s' * (len(self.changes) != 1)}"
        if not self.both:
            return told
        far = "unchanged" if self.largest < EQUAL else f"at most {self.largest:.6f} apart"
        return f"{told}; scores of the {self.both:,} hits found both times: {far}"


def replay(
    record: Mapping[str, Any],
    register: Register,
    encoder: Encoder,
    *,
    drawings: Mapping[str, bytes] | None = None,
    store: Planner | None = None,
) -> Replay:
    """Search again as it was recorded, and compare.

    Args:
        record: From `read_record`.
        register: Where to search; not opened by what the record names, so a copy will do.
        encoder: Of the register's bundle.
        drawings: Files that the record does not hold itself, by the SHA-256 of their bytes.
        store: Finds the candidates; None: the register is searched, whatever found them then.

    Raises:
        RecordError: A drawing is needed that is not given, or the record makes no sense.
    """
    try:
        then = str(record["encoder"]["fingerprint"])
        if then != register.bundle.fingerprint:
            told = (
                f"the register's encoder is another one: {register.bundle.name} "
                f"({register.bundle.fingerprint[:12]}), when recorded {record['encoder']['name']} "
                f"({then[:12]}); nothing was searched, for its scores mean something else"
            )
            return Replay(False, False, 0.0, (told,), (), 0)
        return _replayed(record, register, encoder, drawings or {}, store)
    except EdgeRetrievalError:
        raise
    except LIES as error:
        raise RecordError(
            f"the record makes no sense: {error}",
            hint="take the file as edge-ret search --record wrote it",
        ) from error


def _replayed(
    record: Mapping[str, Any],
    register: Register,
    encoder: Encoder,
    drawings: Mapping[str, bytes],
    store: Planner | None,
) -> Replay:
    asked = record["search"]
    changes, notes = _surroundings(record, register)
    if store is None and any(then.get("store") for then in record["results"]):
        then = f"the store {asked['store']['collection']} found the candidates"
        notes.append(f"the register is searched; when recorded {then}; scores are its own")
    largest, hits, both, same = 0.0, 0, 0, True
    for then in record["results"]:
        try:
            query, embeddings = _query(then, register, drawings)
            [result] = search(
                register,
                [query],
                encoder,
                embeddings=None if embeddings is None else [embeddings],
                k=asked["k"],
                filters=Filters(**asked["filters"]),
                exclude_self=asked["exclude_self"],
                exact=asked["exact"],
                store=store,
            )
        except RecordError:
            raise
        except EdgeRetrievalError as error:  # a class, a design that is not there any more
            same = False
            changes.append(f"{then['query']}: cannot be searched as recorded: {error}")
            continue
        [now] = to_json([result], register=register)["results"]
        if then.get("store") and store is None:
            now["exact"] = then["exact"]  # a note tells
        own, far = compare(then, now, register)
        changes += own
        same = same and not own and far <= CLOSE
        largest, hits = max(largest, far), hits + len(then["hits"])
        both += len({hit["design"] for hit in then["hits"]} & {h["design"] for h in now["hits"]})
    if largest > CLOSE:
        changes.append(f"scores differ by up to {largest:.6f}")
    identical = same and largest < EQUAL
    return Replay(same, identical, largest, tuple(changes), tuple(notes), hits, both)


def _surroundings(record: Mapping[str, Any], register: Register) -> tuple[list[str], list[str]]:
    """Tell what changed around the search: the register; and what should make no difference."""
    then, notes, changes = record["register"], [], []
    if then["contents"] == register.contents:
        if then["snapshot"] != register.snapshot:
            notes.append(
                f"the register is snapshot {register.snapshot}, {then['snapshot']} when recorded; "
                "it holds the very same designs, drawings and vectors"
            )
    else:
        counts = "; ".join(
            f"{now:,} {what} now, {then[what]:,} when recorded"
            for what, now in (
                ("designs", register.designs_count),
                ("figures", register.figures_count),
            )
        )
        changes.append(f"the register holds something else: {counts}")
    for name, version in record["versions"].items():
        now = versions().get(name, "not installed")
        if now != version:
            notes.append(f"{name} is {now}, {version} when recorded")
    return changes, notes


def _query(
    then: Mapping[str, Any], register: Register, drawings: Mapping[str, bytes]
) -> tuple[Query, Any]:
    """Return the recorded query, and its embeddings where the register has them."""
    if then["design"]:
        return query_of_design(register, then["design"])
    queries = []
    for file in then["files"]:
        name, sha256 = str(file["name"]), str(file["sha256"])
        data = drawings.get(sha256)
        if data is None and file["drawing"] is not None:
            data = base64.b64decode(file["drawing"])
        if data is None:
            raise RecordError(
                f"the record does not hold the drawing {name}",
                hint=f"give it: edge-ret replay RECORD --drawing FILE (SHA-256 {sha256[:16]}...)",
            )
        if hashlib.sha256(data).hexdigest() != sha256:
            raise RecordError(
                f"{name} is not the drawing that was searched with",
                hint=f"its SHA-256 was {sha256[:16]}...",
            )
        query = query_from_bytes(data, name, cut=not file["whole"])
        if not file["chosen"] and len(query.figures) != file["figures"]:
            raise ConfigError(
                f"{name} is cut into {len(query.figures)} figures now,"
                f" {file['figures']} when recorded",
                hint="use the version of edge-retrieval that the record names",
            )
        queries.append(choose_figures(query, file["chosen"]) if file["chosen"] else query)
    return together(queries, then["query"] if len(queries) > 1 else None), None


def compare(
    then: Mapping[str, Any], now: Mapping[str, Any], register: Register
) -> tuple[list[str], float]:
    """Tell how the hits of one search differ.

    Args:
        then, now: As `to_json` tells a result.
        register: Where was searched now.

    Returns:
        A sentence for each change, and the largest difference between two scores of one design.
    """
    changes = []
    for what in ("compared_designs", "compared_figures"):
        if then[what] != now[what]:
            name = what.replace("compared_", "")
            changes.append(f"{now[what]:,} {name} were compared, {then[what]:,} when recorded")
    if then["exact"] != now["exact"]:
        words = {True: "exactly", False: "approximately"}
        changes.append(f"searched {words[now['exact']]}, {words[then['exact']]} when recorded")
    old = {hit["design"]: hit for hit in then["hits"]}
    new = {hit["design"]: hit for hit in now["hits"]}
    moved = [_gone(hit, register) for number, hit in old.items() if number not in new]
    moved += [_come(hit, then) for number, hit in new.items() if number not in old]
    both = [number for number in old if number in new]
    if both != [number for number in new if number in old]:  # else they only made room
        for number in both:
            ranks = new[number]["rank"], old[number]["rank"]
            if ranks[0] != ranks[1]:
                told = f"{number} has rank {ranks[0]}, {ranks[1]} when recorded"
                moved.append((ranks[1], told))
    sentences = [sentence for _, sentence in sorted(moved)]
    changes += sentences[:SHOWN]
    if len(sentences) > SHOWN:
        changes.append(f"and {len(sentences) - SHOWN} more designs")
    far = [abs(old[number]["score"] - new[number]["score"]) for number in both]
    return changes, max(far, default=0.0)


def _gone(hit: Mapping[str, Any], register: Register) -> tuple[int, str]:
    here = register.columns.find(hit["design"]) is not None
    why = "is not among the first any more" if here else "is no longer in the register"
    return hit["rank"], f"{hit['design']}, rank {hit['rank']} when recorded, {why}"


def _come(hit: Mapping[str, Any], then: Mapping[str, Any]) -> tuple[int, str]:
    """Tell of a design that was not found then; an exact search would have found it."""
    worst = min((old["score"] for old in then["hits"]), default=-1.0)
    full = len(then["hits"]) < then["compared_designs"]
    would = then["exact"] and (hit["score"] > worst + CLOSE or not full)
    why = (
        "was not found when recorded: it was added or changed since"
        if would
        else f"was not among the first {len(then['hits'])} when recorded"
    )
    return hit["rank"], f"{hit['design']}, rank {hit['rank']} with {hit['score']:.3f}, {why}"
