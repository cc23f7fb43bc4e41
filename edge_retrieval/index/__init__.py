"""Which stored vectors are nearest to a query: three ways to the same scores.

`FlatIndex` compares all of them in float32. `first_pass.PassIndex` reads a first pass over them, a
twentieth to a quarter of their bytes, which tells for each row the most that its score can be; it
scores only rows that can still be among the best, and so answers exactly what `FlatIndex` does.
`graph.HnswIndex` follows a graph: fastest, nearly exact. Whatever finds the candidates, each is
scored in float64 and rounded once: a record of a search can be replayed to the last bit, whatever
the index, the size of its chunks, and the other queries of the batch.
"""

from __future__ import annotations

from edge_retrieval.index.exact import FlatIndex, Index
from edge_retrieval.index.stored import ArrayVectors, Vectors

__all__ = ["GRAPH", "PASS", "UNFINISHED", "ArrayVectors", "FlatIndex", "Index", "Vectors"]

PASS, GRAPH = "pass.u8", "graph.hnsw"
"""The files of a register that hold a first pass and a graph: caches."""

UNFINISHED = ".making"
"""How the names of such files end until they are whole. Whoever makes them has no lock: a writer
must not take them for what a kill has left."""
