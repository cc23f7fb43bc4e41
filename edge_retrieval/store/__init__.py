"""Search in a store that scales out: Milvus finds candidates, the register decides.

`push` fills a collection from a register and brings it up to date; `open_store` gives what
`search` takes as its `store`. The register stays the source of truth: a store only names designs
that may be near, and each of them is scored in full from the register's vectors, in float64, as
every other search is. So scores are equal to the last bit; what may differ is who is found, and
how often that happens is measured (`overlap_with`) and said beside every answer.

    address     "milvus:FILE.db" (milvus-lite, in this process), "milvus:http://host:19530"; a
                collection's name may follow after "#"
    connecting  to that address, and to nothing else
    collection  what is asked of a store, by calls of pymilvus
    rows        what a collection holds of each figure, and the key that names all of it
    filling     from a register to a collection
    holding     whether it is up to date
    expressions what the store itself leaves out under a filter
    finding     a collection as an `index.Index`
    planning    when it is asked, and when the register itself is
    keeping     what a store has of ours
    sharing     by the threads of a server
    measuring   how many of the ten nearest designs it finds
"""

from __future__ import annotations

from edge_retrieval.store.address import Address, read_address
from edge_retrieval.store.filling import Pushed, push
from edge_retrieval.store.holding import holds, require_held
from edge_retrieval.store.keeping import Kept, drop, kept_in, stamp_to_drop
from edge_retrieval.store.measuring import Overlap, keep_overlap, overlap_with
from edge_retrieval.store.planning import FoundInStore, open_store
from edge_retrieval.store.sharing import SharedStore

__all__ = [
    "Address",
    "FoundInStore",
    "Kept",
    "Overlap",
    "Pushed",
    "SharedStore",
    "drop",
    "holds",
    "keep_overlap",
    "kept_in",
    "open_store",
    "overlap_with",
    "push",
    "read_address",
    "require_held",
    "stamp_to_drop",
]
