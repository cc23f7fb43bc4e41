"""Indexing with many processes, on this machine or on others: they cut and embed, one writes.

    with_workers = Spreading("dask", work=Path("work"), scheduler="tcp://10.0.0.1:8786")
    index("grants", "my-register", spread=with_workers)

The one who asks reads the source and puts its sheets into shards: files in a work folder that every
worker sees. A worker turns a shard into another file there. The one who asks commits what it finds
in those files, in the source's order, as always: the register is the one that a single machine
makes. Engines carry nothing but names of shards; what counts is the file, not what an engine says.
"""

from __future__ import annotations

from edge_retrieval.scale.engines import ENGINES, Engine, ProcessEngine
from edge_retrieval.scale.spread import Spread
from edge_retrieval.scale.spreading import SHARD, Spreading

__all__ = ["ENGINES", "SHARD", "Engine", "ProcessEngine", "Spread", "Spreading"]
