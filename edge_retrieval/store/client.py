"""The calls of pymilvus: to the one address that was named, and to nothing else.

pymilvus has no telemetry. To its server it tells the name of this machine beside its version, and
no proxy is asked for the way. A file is opened by milvus-lite in this process, which listens on a
free port of 127.0.0.1 for as long as the file is open.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.errors import MissingExtraError, StoreError
from edge_retrieval.store import rows as kept
from edge_retrieval.store.address import Address

if TYPE_CHECKING:
    from pymilvus import MilvusClient

OLDEST = (2, 3)
"""The oldest Milvus whose collections have all that is used: partition keys, arrays."""

STAMP = "edge_ret"
"""The property of a collection that tells what it was filled from."""

TOKEN = "EDGE_RET_STORE_TOKEN"
"""The environment's "user:password", or a token."""

CONNECTING, ANSWERING, WORKING = 5.0, 30.0, 1_800.0
"""Seconds to wait for a connection, for an answer, and for an index over everything."""

MOST = 16_384
"""Milvus gives no more rows than this in one answer."""

PAGE = 8_000
"""Keys asked for at once, about: they are hashes, so a range of them holds its share."""

PARTITIONS = 64
"""Parts of a collection: Locarno has 32 classes, and a hash spreads them."""

INDEXES = {"hnsw": "HNSW", "flat": "FLAT"}
GRAPH = {"M": 16, "efConstruction": 200}
EF, MOST_EF = 128, 32_768
"""At least so many candidates are kept while the graph is followed; Milvus takes no more."""

_in_use: Counter[Path] = Counter()
"""How many connections of this process a file of milvus-lite has."""


class Found(NamedTuple):
    """What the store named for one query, best first.

    Attributes:
        designs: The design of each figure.
        scores: Inner products in float32, as the store has them.
    """

    designs: list[str]
    scores: list[float]


class Collection:
    """One collection of a store; see `connect`.

    Attributes:
        address: Where it is.
        server: "Milvus 2.5.3", "milvus-lite 3.2.2".
    """

    def __init__(self, address: Address, client: MilvusClient, server: str) -> None:
        self.address = address
        self.server = server
        self._client = client
        self._name = address.collection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection, and of the file."""
        with contextlib.suppress(Exception):  # nothing is lost by it
            self._client.close()
        _release(self.address)

    def exists(self) -> bool:
        """Tell whether the store has it."""
        with self._told("looked up"):
            return bool(self._client.has_collection(self._name, timeout=ANSWERING))

    def stamp(self) -> dict[str, Any] | None:
        """Return what it was filled from; None: another program made it."""
        with self._told("described"):
            told = self._client.describe_collection(self._name, timeout=ANSWERING)
        try:
            stamp = json.loads(dict(told.get("properties") or {})[STAMP])
        except (LookupError, ValueError, TypeError):
            return None
        return stamp if isinstance(stamp, dict) and "schema" in stamp else None

    def put_stamp(self, stamp: Mapping[str, Any]) -> None:
        """Write down what it was filled from."""
        with self._told("marked"):
            self._client.alter_collection_properties(
                self._name, properties={STAMP: json.dumps(stamp)}, timeout=ANSWERING
            )

    def create(self, dim: int, index: str, stamp: Mapping[str, Any]) -> None:
        """Make it, empty.

        Args:
            dim: Numbers in a vector.
            index: Of `INDEXES`.
            stamp: What it will be filled from.
        """
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        schema.add_field("class", DataType.VARCHAR, max_length=kept.CLASS, is_partition_key=True)
        for name, most in (
            ("design", kept.DESIGN),
            ("path", kept.PATH),
            ("source", kept.SOURCE),
            ("sheet", kept.SHEET),
        ):
            schema.add_field(name, DataType.VARCHAR, max_length=most)
        for name in ("published", "filed", "date"):
            schema.add_field(name, DataType.INT64)
        schema.add_field(
            "applicants", DataType.ARRAY, element_type=DataType.VARCHAR,
            max_capacity=kept.APPLICANTS, max_length=kept.APPLICANT,
        )  # fmt: skip
        how = MilvusClient.prepare_index_params()
        how.add_index(
            "vector", index_type=INDEXES[index], metric_type="IP",
            params=GRAPH if index == "hnsw" else {},
        )  # fmt: skip
        with self._told("made"):
            self._client.create_collection(
                self._name, schema=schema, index_params=how, num_partitions=PARTITIONS,
                properties={STAMP: json.dumps(stamp)}, consistency_level="Bounded",
                timeout=WORKING,
            )  # fmt: skip

    def load(self) -> None:
        """See to it that it can be searched."""
        with self._told("loaded"):
            self._client.load_collection(self._name, timeout=WORKING)

    def settle(self) -> None:
        """Let all that was added be on disk and indexed."""
        with self._told("flushed"):
            self._client.flush(self._name, timeout=WORKING)

    def count(self) -> int:
        """Return how many figures it holds now."""
        with self._told("counted"):
            [told] = self._client.query(
                self._name, filter="", output_fields=["count(*)"], consistency_level="Strong",
                timeout=ANSWERING,
            )  # fmt: skip
        return int(told["count(*)"])

    def keys(self) -> NDArray[np.int64]:
        """Return the keys of all figures in it, ascending."""
        whole = 1 << 63
        pages = max(1, -(-self.count() // PAGE))
        bounds = [whole * page // pages for page in range(pages + 1)]
        found = [self._keys(start, stop) for start, stop in itertools.pairwise(bounds)]
        return np.unique(np.concatenate(found))

    def _keys(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the keys in [start, stop)."""
        with self._told("read"):
            told = self._client.query(
                self._name, filter=f"key >= {start} and key <= {stop - 1}", limit=MOST,
                output_fields=["key"], consistency_level="Strong", timeout=ANSWERING,
            )  # fmt: skip
        if len(told) < MOST:
            return np.array([one["key"] for one in told], np.int64)
        middle = (start + stop) // 2
        return np.concatenate([self._keys(start, middle), self._keys(middle, stop)])

    def add(self, entities: Sequence[Mapping[str, Any]]) -> None:
        """Add figures, or write them once more."""
        with self._told("filled"):
            self._client.upsert(self._name, list(entities), timeout=WORKING)

    def remove(self, keys: NDArray[np.int64]) -> None:
        """Remove figures."""
        with self._told("cleared"):
            self._client.delete(self._name, ids=keys.tolist(), timeout=WORKING)

    def search(self, queries: Embeddings, limit: int, expression: str) -> list[Found]:
        """Return the figures that the store takes for the nearest of each query (Q, D).

        Args:
            queries: What is searched with.
            limit: How many figures, at most `MOST`.
            expression: Of `expressions`; "": all.
        """
        with self._told("searched"):
            told = self._client.search(
                self._name, data=list(queries), anns_field="vector", limit=limit,
                filter=expression, output_fields=["design"], timeout=ANSWERING,
                search_params={
                    "metric_type": "IP", "params": {"ef": min(MOST_EF, max(EF, 2 * limit))}
                },
            )  # fmt: skip
            return [
                Found(
                    [one["entity"]["design"] for one in hits],
                    [float(one["distance"]) for one in hits],
                )
                for hits in told
            ]

    @contextlib.contextmanager
    def _told(self, done: str) -> Iterator[None]:
        """Turn what pymilvus raises into an error that a user can fix."""
        with _translated(f"{self.address}: the collection cannot be {done}"):
            yield


def connect(address: Address, *, making: bool = False) -> Collection:
    """Connect to a store.

    Args:
        address: Where.
        making: Make a file that is not there.

    Raises:
        MissingExtraError: pymilvus, or for a file milvus-lite, is not installed.
        StoreError: It cannot be reached or opened, or is too old.
    """
    _require(address)
    from pymilvus import MilvusClient

    for name in ("pymilvus", "milvus_lite"):  # what they log they raise, too
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if (file := address.file) is not None:
        if not making and not file.exists():
            raise StoreError(
                f"{file} is not there", hint=f"fill it: edge-ret store push REGISTER --to {address}"
            )
        if file.exists() and not file.is_dir():
            raise StoreError(f"{file} is no store of milvus-lite", hint="name another file")
        if not file.absolute().parent.is_dir():
            raise StoreError(
                f"{file} cannot be made", hint=f"make the folder {file.absolute().parent} first"
            )
    doing = f"{address}: the store cannot be {'opened' if file else 'reached'}"
    hint = (
        "one process at a time has it: let the other one end"
        if file
        else "check that it runs, its address and port, and $" + TOKEN
    )
    _take(address)
    try:
        with _translated(doing, hint):
            client = MilvusClient(
                address.uri,
                token=os.environ.get(TOKEN, ""),
                timeout=CONNECTING,
                grpc_options={"grpc.enable_http_proxy": 0},
            )
            version = str(client.get_server_version(timeout=ANSWERING))
        require_version(address, version)
    except BaseException:
        _release(address)
        raise
    return Collection(address, client, server_named(version))


def server_named(version: str) -> str:
    """Say which server it is: "v2.5.3" is "Milvus 2.5.3"."""
    if version.startswith("milvus_lite"):
        return version.replace("milvus_lite-", "milvus-lite ")
    return f"Milvus {version.removeprefix('v')}"


def require_version(address: Address, version: str) -> None:
    """Refuse a server that is too old; one whose version is no number is tried."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise StoreError(
            f"{address}: the store is {server_named(version)}, and {oldest} is the oldest that will"
            " do",
            hint="bring the server up to date",
        )


def _require(address: Address) -> None:
    """Load what the address needs."""
    try:
        import pymilvus  # noqa: F401

        if address.file is not None:
            import milvus_lite  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in ("pymilvus", "milvus_lite"):
            raise
        raise MissingExtraError.of("searching in a store", "scale") from error


def _take(address: Address) -> None:
    """Note that a file of milvus-lite is in use."""
    if address.file is not None:
        _in_use[address.file.absolute()] += 1


def _release(address: Address) -> None:
    """Let go of a file of milvus-lite, if nobody uses it: pymilvus keeps it until the process ends.

    All of a process share what serves a file.
    """
    if address.file is None:
        return
    path = address.file.absolute()
    _in_use[path] -= 1
    if not _in_use[path]:
        del _in_use[path]
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(address.uri)


@contextlib.contextmanager
def _translated(doing: str, hint: str = "see that the store runs well") -> Iterator[None]:
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError) as error:
        why = " ".join(str(getattr(error, "message", "") or error).split())
        raise StoreError(f"{doing}: {why}"[:400], hint=hint) from error
