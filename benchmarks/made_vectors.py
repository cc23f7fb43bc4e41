"""Made embeddings of any number: those of `edge-ret bench`, so that both measure the same."""

from __future__ import annotations

from edge_retrieval.bench.made import VIEWS, MadeVectors

__all__ = ["VIEWS", "MadeVectors"]
