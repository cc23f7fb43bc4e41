"""A connection to the one address that was named, and to nothing else.

pymilvus has no telemetry. To its server it tells the name of this machine beside its version, and
no proxy is asked for the way. A file is opened by milvus-lite in this process, which listens on a
free port of 127.0.0.1 for as long as the file is open.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edge_retrieval.errors import MissingExtraError, StoreError
from edge_retrieval.store.address import Address

if TYPE_CHECKING:
    from pymilvus import MilvusClient

OLDEST = (2, 3)
"""The oldest Milvus whose collections have all that is used: partition keys, arrays."""

TOKEN = "EDGE_RET_STORE_TOKEN"
"""The environment's "user:password", or a token."""

CONNECTING, LOOKING, ANSWERING = 5.0, 10.0, 30.0
"""Seconds to wait for a connection, for what is known of a collection, and for an answer."""

QUIET = {"grpc.enable_http_proxy": 0, "grpc.keepalive_permit_without_calls": 0}
"""No proxy; and nothing is sent where nothing is asked: milvus-lite's server takes it for abuse."""

_alone = threading.Lock()
"""Held by a thread that opens a file of milvus-lite or lets go of it."""

_in_use: Counter[Path] = Counter()
"""How many connections of this process a file of milvus-lite has."""


def connect(address: Address, *, making: bool = False) -> tuple[MilvusClient, str]:
    """Return a client of a store, to be given to `disconnect`, and the server's name.

    Args:
        address: Where.
        making: Make a file that is not there.

    Raises:
        MissingExtraError: pymilvus, or for a file milvus-lite, is not installed.
        StoreError: It cannot be reached or opened, or is too old.
    """
    _require(address)
    from pymilvus import MilvusClient

    for name in ("pymilvus", "milvus_lite"):  # what they log they raise, too
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    if (file := address.file) is not None:
        if not making and not file.exists():
            raise StoreError(
                f"{file} is not there", hint=f"fill it: edge-ret store push REGISTER --to {address}"
            )
        if file.exists() and not file.is_dir():
            raise StoreError(f"{file} is no store of milvus-lite", hint="name another file")
        if not file.absolute().parent.is_dir():
            raise StoreError(
                f"{file} cannot be made", hint=f"make the folder {file.absolute().parent} first"
            )
    doing = f"{address}: the store cannot be {'opened' if file else 'reached'}"
    hint = (
        "one process at a time has it: let the other one end"
        if file
        else "check that it runs, its address and port, and $EDGE_RET_STORE_TOKEN"
    )
    with _alone if file is not None else contextlib.nullcontext():
        _take(address)
        try:
            with translated(doing, hint):
                client = MilvusClient(
                    address.uri,
                    token=os.environ.get(TOKEN, ""),
                    timeout=CONNECTING,
                    grpc_options=QUIET,
                )
                version = str(client.get_server_version(timeout=ANSWERING))
            require_version(address, version)
        except BaseException:
            _release(address)
            raise
    return client, server_named(version)


def disconnect(address: Address, client: MilvusClient) -> None:
    """Let go of a connection, and of the file."""
    with contextlib.suppress(Exception):  # nothing is lost by it
        client.close()
    with _alone:
        _release(address)


def server_named(version: str) -> str:
    """Say which server it is: "v2.5.3" is "Milvus 2.5.3"."""
    if version.startswith("milvus_lite"):
        return version.replace("milvus_lite-", "milvus-lite ")
    return f"Milvus {version.removeprefix('v')}"


def require_version(address: Address, version: str) -> None:
    """Refuse a server that is too old; one whose version is no number is tried."""
    found = re.match(r"v?(\d+)\.(\d+)", version)
    if found and (int(found[1]), int(found[2])) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise StoreError(
            f"{address}: the store is {server_named(version)}, and {oldest} is the oldest that will"
            " do",
            hint="bring the server up to date",
        )


def _require(address: Address) -> None:
    """Load what the address needs."""
    try:
        import pymilvus  # noqa: F401

        if address.file is not None:
            import milvus_lite  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in ("pymilvus", "milvus_lite"):
            raise
        raise MissingExtraError.of("reaching a store", "scale") from error


def _take(address: Address) -> None:
    """Note that a file of milvus-lite is in use."""
    if address.file is not None:
        _in_use[address.file.absolute()] += 1


def _release(address: Address) -> None:
    """Let go of a file of milvus-lite, if nobody uses it: pymilvus keeps it until the process ends.

    All of a process share what serves a file.
    """
    if address.file is None:
        return
    path = address.file.absolute()
    _in_use[path] -= 1
    if not _in_use[path]:
        del _in_use[path]
        from milvus_lite.server_manager import server_manager_instance

        server_manager_instance.release_server(address.uri)


@contextlib.contextmanager
def translated(doing: str, hint: str = "see that the store runs well") -> Iterator[None]:
    """Turn what pymilvus raises into an error that a user can fix.

    Args:
        doing: What is wrong then.
        hint: What to do.
    """
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError) as error:
        why = " ".join(str(getattr(error, "message", "") or error).split())
        raise StoreError(f"{doing}: {why}"[:400], hint=hint) from error
