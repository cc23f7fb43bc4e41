"""A searchable collection of designs on disk: one folder, which can be copied and works there.

SQLite (`designs.sqlite`) is the one source of truth with transactions, and `vectors.f32` beside it
is append-only: a row of it exists only once the transaction that names it has committed, so a kill
at any moment loses nothing committed and leaves at most a tail that the next writer cuts off.
Every record and every committed batch of vectors carries a checksum, the register pins the
fingerprint of the bundle that made its vectors and carries a copy of it, and whatever makes a
search faster (`graph.*`) is a cache that can be rebuilt. One writer at a time holds `writer.lock`;
readers see the rows that were committed when they opened, and nothing else.

    register.json    schema, levels, bundle's name, fingerprint and dim; immutable, written last
    designs.sqlite   user_version 1, tables: designs, nodes (the label tree), sheets (by SHA-256),
                     figures (one per row of vectors), pictures (small PNG of each figure),
                     batches (first row, rows, SHA-256 of those vectors), problems
    vectors.f32      (N, D) float32, little-endian, no header; row r is figure r
    bundle/          the encoder's bundle, as `Bundle.open` reads it

SQLite keeps a rollback journal, not a write-ahead log: with a log, a register on a read-only card
could not be opened without side files. The price: a reader waits while a batch is being committed,
a matter of milliseconds.
"""

from edge_retrieval.register.folder import Register
from edge_retrieval.register.manifest import is_register
from edge_retrieval.register.records import AddResult, DesignRecord, FigureRecord

__all__ = ["AddResult", "DesignRecord", "FigureRecord", "Register", "is_register"]
