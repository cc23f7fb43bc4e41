"""A register held open with its encoder: for programs that search more than once.

from edge_retrieval import Filters, Session

with Session("my-register") as session:
    chairs = Filters(classes=["06-01"], before="2021-03-04")
    for result in session.search(["front.png", "side.png"], k=5, filters=chairs):
        print(result.statement, [hit.design.number for hit in result.hits])

What takes the time of a first search (the network, checksums, the first pass) is paid once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import ConfigError, DrawingError
from edge_retrieval.filters import Filters
from edge_retrieval.register import Register
from edge_retrieval.search import Query, SearchResult, query_from_bytes, search
from edge_retrieval.search import together as views_of_one

if TYPE_CHECKING:
    from edge_retrieval.store import FoundInStore

Drawing: TypeAlias = Query | Path | str | bytes
"""What can be searched with: a path, the bytes of an image file, or what was read before."""


class Session:
    """A register and its encoder, loaded once. One thread at a time.

    Attributes:
        register: The register; it shows what was committed when it was opened or last refreshed.
        encoder: That of the register's bundle.
    """

    def __init__(
        self,
        register: Path | str,
        *,
        backend: str | None = None,
        threads: int | None = None,
        store: str | None = None,
    ) -> None:
        """Open a register and load its encoder.

        Args:
            register: Its folder.
            backend: "onnx", "openvino" or "auto"; None: what the register's bundle is made for.
            threads: That embed; None: the cores of this process, at most 4.
            store: What finds the candidates, filled by `edge-ret store push`:
                "milvus:http://host:19530"; None: the register.

        Raises:
            RegisterError: Not a register, broken, or of a newer schema.
            BundleError: Its bundle is broken, or cannot be run here.
            ConfigError: No such backend or store, or `threads` below 1.
            StoreError: The store cannot be reached, or does not hold what the register does.
        """
        self.register = Register.open(Path(register))
        self._store: FoundInStore | None = None
        try:
            self.encoder = load_encoder(
                self.register.bundle, backend=backend, threads=threads, keep=True
            )
            if store is not None:
                from edge_retrieval.store import open_store, read_address

                self._store = open_store(read_address(store), self.register)
        except BaseException:
            self.register.close()
            raise

    def search(
        self,
        drawings: Sequence[Drawing],
        *,
        k: int = 10,
        filters: Filters | None = None,
        cut: bool = True,
        exclude_self: bool = False,
        exact: bool = False,
        together: bool = False,
    ) -> list[SearchResult]:
        """Rank the designs by how much they look like each drawing; see `search.search`.

        Args:
            drawings: What to search with; all are embedded together.
            k: How many designs to return; all there are, if there are fewer.
            filters: Which designs to compare; None: all.
            cut: Whether to cut each drawing into its figures; else the whole of it is one.
            exclude_self: Leave out the figures that come from the same file as the drawing.
            exact: Let no graph choose whom to compare, however large the register.
            together: The drawings are views of one product: one answer for all.

        Returns:
            An answer for each drawing, in their order.

        Raises:
            DrawingError: A drawing cannot be read, or nothing is drawn on it.
            ConfigError: One drawing instead of a list; see also `search.search`.
        """
        if isinstance(drawings, str | bytes | Path | Query):
            raise ConfigError("one drawing where a list is wanted", hint="write [drawing]")
        queries = [_query(drawing, cut) for drawing in drawings]
        if together:
            queries = [views_of_one(queries)]
        return search(
            self.register,
            queries,
            self.encoder,
            k=k,
            filters=filters,
            exclude_self=exclude_self,
            exact=exact,
            store=self._store,
        )

    def __repr__(self) -> str:
        return f"Session({self.register!r})"

    def refresh(self) -> None:
        """See what has been added and removed since."""
        self.register.refresh()

    def close(self) -> None:
        """Let go of the register."""
        if self._store is not None:
            self._store.close()
        self.register.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def search_drawings(
    register: Path | str,
    drawings: Sequence[Drawing],
    *,
    k: int = 10,
    filters: Filters | None = None,
) -> SearchResult:
    """Rank the designs of a register by how much they look like a product, once.

    Who searches more than once holds a `Session` open, which is much faster.

    Args:
        register: Its folder.
        drawings: Views of one product: paths, or the bytes of image files.
        k: How many designs to return.
        filters: Which designs to compare; None: all.

    Raises:
        As `Session` and `Session.search`.
    """
    # Not closed: a notebook asks the answer for the drawings of the hits when it shows it.
    session = Session(register)
    return session.search(drawings, k=k, filters=filters, together=True)[0]


def _query(drawing: Drawing, cut: bool) -> Query:
    if isinstance(drawing, Query):
        return drawing
    if isinstance(drawing, bytes):
        return query_from_bytes(drawing, "drawing", cut=cut)
    try:
        data = Path(drawing).read_bytes()
    except OSError as error:
        raise DrawingError(
            f"{drawing} cannot be read: {error.strerror}", hint="check the path of the drawing"
        ) from error
    return query_from_bytes(data, str(drawing), cut=cut)
