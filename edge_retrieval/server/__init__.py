"""The page of `edge-ret serve` and its JSON API: a register, for people, on this machine.

    browser -> uvicorn -> Guard (host, site, token, headers) -> route -> Pool -> HeldRegister

The event loop receives bodies and sends answers. What computes goes through a bounded queue to
threads, each with a register of its own; where the queue is full the answer is 503, at once.
Drawings are in memory only: nothing that is sent is written to disk. No path of a client's is ever
opened: ids are looked up, rows are numbers, and the page's files are read before the first request.

    settings   the limits         bodies     what is received    pool      threads, their queue
    answers    what is sent       guard      who may ask         held      register that follows
    routes     the table          handlers   what each does      work      what the library is asked
    schemas    the shapes         checking   held against them   openapi   the documentation
    receiving  file -> drawing    drawings   those kept          exporting what is taken home
    app        Starlette          running    uvicorn             remembering  an encoder's memory
"""

from __future__ import annotations

from edge_retrieval.server.app import create_app
from edge_retrieval.server.settings import ServeSettings

__all__ = ["ServeSettings", "create_app"]
