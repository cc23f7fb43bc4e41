"""The sample that ships with the package, so that a first search needs nothing else.

The wheel carries sheets of made drawings, not a register: the register is made from them on first
use with the bundle at hand, in the user's cache, so it can never disagree with the encoder.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from importlib import resources
from pathlib import Path

from edge_retrieval.bundle import Bundle
from edge_retrieval.cache import cache_folder
from edge_retrieval.drawing import CUT_VERSION
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import EdgeRetrievalError, RegisterError
from edge_retrieval.progress import Track, silent
from edge_retrieval.provenance import sha256_of
from edge_retrieval.register import Register
from edge_retrieval.sources import open_source

ELSEWHERE = "set EDGE_RET_CACHE to a folder that you may write to, on a disk with space"


def sample_folder() -> Path:
    """Return the folder of made sheets with its `metadata.csv`, as shipped."""
    return Path(str(resources.files("edge_retrieval") / "data" / "sample"))


def sample_query() -> Path:
    """Return a drawing to search with: a view of a sample design that the sample leaves out."""
    return sample_folder() / "query.png"


def sample_register(bundle: Bundle, *, track: Track = silent) -> Register:
    """Open the sample register, making it first if this bundle has none in the cache yet.

    Args:
        bundle: The encoder to make it with; its fingerprint, what it tells of its scores, and the
            version of the cut are part of the folder's name.
        track: Shows the sheets as they are indexed.

    Raises:
        RegisterError: The cache cannot be written.
    """
    sheets = sha256_of(sample_folder() / "metadata.csv")
    name = f"sample-{bundle.fingerprint[:12]}-{sheets[:8]}-{CUT_VERSION}"
    if bundle.calibration is not None:
        name += f"-{bundle.calibration.sha256[:8]}"
    folder = cache_folder() / name
    if folder.is_dir():
        try:
            return Register.open(folder)
        except EdgeRetrievalError:
            shutil.rmtree(folder, ignore_errors=True)  # a cache: made again, never repaired
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix="building-", dir=folder.parent))
    except OSError as error:
        raise RegisterError(
            f"{folder.parent}: the sample cannot be kept there: {error.strerror}", hint=ELSEWHERE
        ) from error
    try:
        register = Register.create(building / "register", bundle)
        designs = [item for item in open_source(sample_folder(), kind="table")]
        tracked = track(designs, "Indexing the sample", len(designs))
        register.add(tracked, load_encoder(bundle))
        register.close()
        with contextlib.suppress(OSError):  # another process was first: its sample is as good
            (building / "register").rename(folder)
    except EdgeRetrievalError as error:
        raise RegisterError(
            f"the sample cannot be made in {folder.parent}: {error}", hint=ELSEWHERE
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Register.open(folder)
