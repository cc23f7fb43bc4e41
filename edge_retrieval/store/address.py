"""Where a store is: "milvus:designs.db", "milvus:http://host:19530#grants"."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import NamedTuple

from edge_retrieval.errors import ConfigError

SCHEME = "milvus:"
COLLECTION = "edge_ret"
"""The collection's name, where none is given."""

FORMS = "write milvus:FILE.db, milvus:http://HOST:19530 or milvus:https://HOST, and #NAME behind it"


class Address(NamedTuple):
    """A collection in a store.

    Attributes:
        uri: What pymilvus connects to: a file that ends in ".db", or an HTTP address.
        collection: The collection's name.
    """

    uri: str
    collection: str

    @property
    def file(self) -> Path | None:
        """The file of milvus-lite; None: a server."""
        return None if "://" in self.uri else Path(self.uri)

    @property
    def is_local(self) -> bool:
        """Whether what is sent there stays on this machine."""
        host = re.match(r"https?://(\[[^]]*\]|[^:/]*)", self.uri)
        if host is None:
            return True
        name = host[1].strip("[]").casefold()
        try:
            return name == "localhost" or ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        name = "" if self.collection == COLLECTION else f"#{self.collection}"
        return f"{SCHEME}{self.uri}{name}"


def read_address(text: str, name: str | None = None) -> Address:
    """Read where a store is.

    Args:
        text: "milvus:FILE.db" or "milvus:http://host:19530", perhaps with "#collection".
        name: The collection; None: what stands in `text`, else `COLLECTION`.

    Raises:
        ConfigError: It is neither, or names a user: a password must not end in a shell's history.
    """
    if not text.startswith(SCHEME):
        raise ConfigError(f"{text!r} is no store", hint=FORMS)
    uri, _, behind = text.removeprefix(SCHEME).partition("#")
    collection = name or behind or COLLECTION
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,200}", collection):
        raise ConfigError(
            f"no name of a collection: {collection!r}",
            hint="letters, digits and _, and no digit first",
        )
    if "://" not in uri:
        if not uri.endswith(".db"):
            raise ConfigError(f"{text!r} is no store", hint=FORMS)
        return Address(uri, collection)
    if re.match(r"https?://[^/]*@", uri):
        raise ConfigError(
            "a store's address holds no user and no password",
            hint="leave them out; put USER:PASSWORD, or a token, into $EDGE_RET_STORE_TOKEN",
        )
    if not re.fullmatch(r"https?://(?:[\w.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?/?", uri):
        raise ConfigError(f"{text!r} is no store", hint=FORMS)
    return Address(uri.rstrip("/"), collection)
