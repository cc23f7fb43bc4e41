"""What is answered: data, bytes, or a refusal; each with its status and its headers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from edge_retrieval.errors import (
    BundleError,
    BundleMismatchError,
    EdgeRetrievalError,
    MissingExtraError,
    RegisterError,
    StoreError,
    StoreMismatchError,
)
from edge_retrieval.store.address import SCHEME, Address

JSON = "application/json"
STORE = "STORE"
"""What is said in the place of a store's address."""

KEEP = "private, max-age=31536000, immutable"
"""Of what never changes under its address."""


@dataclass(frozen=True)
class Answer:
    """One answer.

    Attributes:
        body: Its bytes.
        kind: Media type.
        status: HTTP's.
        headers: Beyond those that every answer has; one of the same name takes its place.
    """

    body: bytes
    kind: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A request that is not answered as it wishes.

    Args:
        status: HTTP's.
        error: What is wrong, in one line without a full stop.
        hint: What to do next, in one line.
        headers: To send with it.
    """

    def __init__(
        self, status: int, error: str, hint: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.hint = hint
        self.headers = headers or {}

    @property
    def answer(self) -> Answer:
        """As it is sent."""
        told = json_answer({"error": self.error, "hint": self.hint})
        return Answer(told.body, told.kind, self.status, self.headers)


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


def json_answer(value: Mapping[str, Any]) -> Answer:
    """Return data as it is sent."""
    return Answer(json.dumps(value, ensure_ascii=False, allow_nan=False).encode(errors="replace"))


def busy(seconds: int) -> Refused:
    """Tell a client to come again in so many seconds."""
    return Refused(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "too much is asked at once",
        f"ask again in {seconds} s; --workers and --queue of edge-ret serve allow more",
        {"retry-after": str(seconds)},
    )


def refusal_of(
    error: EdgeRetrievalError, folder: str, name: str, store: Address | None = None
) -> Refused:
    """Tell a user's error by HTTP, with the register's name where its path stands.

    Args:
        error: What was raised.
        folder: Path of the register, which is nobody's business.
        name: What it is called instead.
        store: Address of the store, which is nobody's business either.
    """
    status = HTTPStatus.BAD_REQUEST
    if isinstance(error, MissingExtraError):
        status = HTTPStatus.NOT_IMPLEMENTED
    elif isinstance(error, StoreMismatchError | BundleMismatchError):
        status = HTTPStatus.CONFLICT
    elif isinstance(error, StoreError):
        status = HTTPStatus.SERVICE_UNAVAILABLE  # with no Retry-After: nobody knows when
    elif isinstance(error, RegisterError | BundleError):
        status = HTTPStatus.INTERNAL_SERVER_ERROR
    told, hint = str(error), error.hint
    if store is not None:  # before the folder: a file may lie in it, or be called as it is
        told = told.replace(str(store), store.collection).replace(store.uri, STORE)
        if isinstance(error, StoreError) and error.__cause__ is not None:
            told = ": ".join(told.split(": ")[:2])  # what pymilvus says names hosts and ports
        shown = str(store._replace(uri=STORE)).removeprefix(SCHEME)
        hint = hint.replace(str(store), shown).replace(store.uri, STORE)
    return Refused(status, told.replace(folder, name), hint.replace(folder, name))
