"""A searchable collection of designs on disk: one folder, which can be copied and works there.

SQLite (`designs.sqlite`) is the one source of truth with transactions; vectors and pictures beside
it are append-only files, of which a byte counts only once the transaction that names it has
committed: a kill at any moment loses nothing committed and leaves at most a tail, which the next
writer cuts off. Every record, vector, picture and cache carries a checksum that is compared before
it is believed, and each commit that changes what can be found gives the register another snapshot,
chained to the one before. One writer at a time holds `writer.lock`; a reader holds one transaction,
so that it sees one snapshot, never waits for the writer and never makes it wait.

    register.json    schema, levels, bundle's name, fingerprint and dim (of its cut, where only the
                     first numbers are kept), SHA-256 of the bundle's files; immutable, written last
    designs.sqlite   in WAL mode, user_version 2, tables: state (generation, epoch, snapshot),
                     designs, nodes (the label tree), sheets (by SHA-256), figures (one per row of
                     vectors; the place of its picture), batches (rows committed together), problems
    vectors-E.f32    (N, D) float32, little-endian, no header; row r is figure r. E is the epoch,
                     raised by a compaction, which gives every row another number
    pictures-E.bin   small PNGs of the figures, one after the other
    columns.bin      a cache: what filters and groups need, as arrays; see `columns`
    pass.* graph.*   caches that make a search faster; see `index`
    head.json        what was committed last, and the checksum of the database at rest: a log that
                     lost commits is found, and so is a flipped byte where SQLite keeps no record
    bundle/          the encoder's bundle, as `Bundle.open` reads it

A removed design is dead at once and stays until `compact`, which also sorts the rows by class, so
that a class is one slice. A register of schema 1 is read as it is, and brought up to date by its
next writer. On a folder that cannot be written nothing is: a register at rest needs no side files.
"""

from edge_retrieval.register.folder import Register
from edge_retrieval.register.manifest import is_register
from edge_retrieval.register.records import AddResult, DesignRecord, FigureRecord

__all__ = ["AddResult", "DesignRecord", "FigureRecord", "Register", "is_register"]
