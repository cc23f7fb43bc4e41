"""One collection of a store: all that is asked of it, by calls of pymilvus."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from edge_retrieval.arrays import Embeddings
from edge_retrieval.store import rows as kept
from edge_retrieval.store.address import Address
from edge_retrieval.store.connecting import ANSWERING, LOOKING, connect, disconnect, translated

STAMP = "edge_ret"
"""The property of a collection that tells what it was filled from."""

WORKING, LOOKED = 1_800.0, 0.5
"""Seconds to wait for an index over everything, and between two looks at how far it is."""

MOST = 16_384
"""Milvus gives no more rows than this in one answer."""

PAGE = 8_000
"""Keys asked for at once, about: they are hashes, so a range of them holds its share."""

PARTITIONS = 64
"""Parts of a collection: Locarno has 32 classes, and a hash spreads them."""

INDEXES = {"hnsw": "HNSW", "flat": "FLAT"}
GRAPH = {"M": 16, "efConstruction": 200}
EF, EF_FILTERED, MOST_EF = 128, 512, 32_768
"""At least so many candidates are kept while the graph is followed; more where most of what is met
is filtered out. Milvus takes no more than the last."""


class Found(NamedTuple):
    """What the store named for one query, best first.

    Attributes:
        designs: The design of each figure.
        scores: Inner products in float32, as the store has them.
    """

    designs: list[str]
    scores: list[float]


class Collection:
    """One collection of a store, connected.

    Args:
        address: Where it is.
        making: Make a file that is not there.

    Attributes:
        address: Where it is.
        server: "Milvus 2.5.3", "milvus-lite 3.2.2".

    Raises:
        MissingExtraError: pymilvus, or for a file milvus-lite, is not installed.
        StoreError: It cannot be reached or opened, or is too old.
    """

    def __init__(self, address: Address, *, making: bool = False) -> None:
        self.address = address
        self._client, self.server = connect(address, making=making)
        self._name = address.collection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection, and of the file."""
        disconnect(self.address, self._client)

    def exists(self) -> bool:
        """Tell whether the store has it."""
        with self._told("looked up"):
            return bool(self._client.has_collection(self._name, timeout=LOOKING))

    def names(self) -> list[str]:
        """Return the names of all collections of the store, those of other programs, too."""
        with self._told("listed"):
            return list(self._client.list_collections(timeout=LOOKING))

    def drop(self) -> None:
        """Remove it, with all that is in it."""
        with self._told("removed"):
            self._client.drop_collection(self._name, timeout=WORKING)

    def stamp(self, name: str = "") -> dict[str, Any] | None:
        """Return what it was filled from; None: another program made it.

        Args:
            name: Of another collection of the store.
        """
        with self._told("described"):
            told = self._client.describe_collection(name or self._name, timeout=LOOKING)
        try:
            stamp = json.loads(dict(told.get("properties") or {})[STAMP])
        except (LookupError, ValueError, TypeError):
            return None
        return stamp if isinstance(stamp, dict) and "schema" in stamp else None

    def put_stamp(self, stamp: Mapping[str, Any]) -> None:
        """Write down what it was filled from."""
        # Twice: a Milvus 2.3 that is killed comes back with the properties before the last ones.
        with self._told("marked"):
            for _ in range(2):
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
        """Let all that was added be on disk and indexed.

        Until it is, Milvus searches by an index for the meantime, which finds less under a filter.
        """
        with self._told("flushed"):
            self._client.flush(self._name, timeout=WORKING)
        ends = time.monotonic() + WORKING
        while self._pending() and time.monotonic() < ends:
            time.sleep(LOOKED)

    def _pending(self) -> int:
        """Return how many figures are not in the index yet."""
        with self._told("indexed"):
            [name] = self._client.list_indexes(self._name, field_name="vector")
            told = self._client.describe_index(self._name, name, timeout=ANSWERING)
        return int(told.get("pending_index_rows") or 0)

    def count(self, expression: str = "") -> int:
        """Return how many figures it holds now, all or those that meet an expression."""
        with self._told("counted"):
            [told] = self._client.query(
                self._name, filter=expression, output_fields=["count(*)"],
                consistency_level="Strong", timeout=ANSWERING,
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
        """Add figures that are not there.

        Not an upsert: Milvus 2.3.5 puts what is upserted into a part of the collection where no
        filter by class looks for it (milvus-io/milvus#30607). And not tried again: a call that
        seemed to fail may have been heard.
        """
        with self._told("filled"):
            self._client.insert(self._name, list(entities), timeout=WORKING, retry_times=0)

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
        least = EF_FILTERED if expression else EF
        with self._told("searched"):
            told = self._client.search(
                self._name, data=list(queries), anns_field="vector", limit=limit,
                filter=expression, output_fields=["design"], timeout=ANSWERING,
                search_params={
                    "metric_type": "IP", "params": {"ef": min(MOST_EF, max(least, 2 * limit))}
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
        with translated(f"{self.address}: the collection cannot be {done}"):
            yield
