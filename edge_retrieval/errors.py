"""The errors that a user can fix. Anything else that is raised is our own bug.

    EdgeRetrievalError
    ├── ConfigError            a setting that does not exist or makes no sense
    ├── MissingExtraError      an optional dependency is not installed
    ├── TaxonomyError          a label path or a class code that cannot be read
    ├── SourceError            a collection of designs that cannot be read at all
    ├── DrawingError           one drawing that cannot be read: not an image, truncated, empty
    ├── BundleError            an encoder bundle that is broken, or not one
    ├── RegisterError          a register that is broken, locked, or not one
    │   └── BundleMismatchError    vectors of one encoder meet another
    ├── StoreError             a store that cannot be reached or searched
    │   └── StoreMismatchError     it does not hold what the register does
    ├── ClusterError           workers that cannot be reached, or do not see what they need
    ├── RecordError            a record of a search that is broken, changed, or cannot be replayed
    └── EvaluationError        a measurement that the data does not allow

Each says what, where, and (as `hint`) what to do next. They are raised deep and printed once, in
`cli.main`.
"""

from __future__ import annotations

import errno


class EdgeRetrievalError(Exception):
    """An error that a user can fix.

    Args:
        message: What is wrong and where, in one line without a full stop.
        hint: What to do next, in one line: a command, or the name of a setting.
    """

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


LIES = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)
"""What reading a file raises that is of another form than was written, its checksum right."""


class ConfigError(EdgeRetrievalError):
    """A setting that does not exist or makes no sense."""


MORE_MEMORY = (
    "close other programs; index with --jobs 1, search with fewer drawings at once: 512 MB are"
    " enough for that"
)
"""What to do where memory ends."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, of whatever library, says that no memory is left."""
    said = ("Cannot allocate memory", "failed to map segment", "bad_alloc", "start new thread")
    short = getattr(error, "errno", None) == errno.ENOMEM
    return short or isinstance(error, MemoryError) or any(words in str(error) for words in said)


class MissingExtraError(EdgeRetrievalError):
    """An optional dependency is not installed."""

    @classmethod
    def of(cls, doing: str, extra: str) -> MissingExtraError:
        """Say which extra `doing` ("training") needs."""
        return cls(
            f"{doing} needs the optional '{extra}' dependencies",
            hint=f"pip install 'edge-retrieval[{extra}]'",
        )


class TaxonomyError(EdgeRetrievalError):
    """A label path or a class code that cannot be read."""


class SourceError(EdgeRetrievalError):
    """A collection of designs that cannot be read at all."""


class DrawingError(EdgeRetrievalError):
    """One drawing that cannot be read."""


class BundleError(EdgeRetrievalError):
    """An encoder bundle that is broken, or a folder that is not one."""


class RegisterError(EdgeRetrievalError):
    """A register that is broken, locked, or a folder that is not one."""


class BundleMismatchError(RegisterError):
    """Vectors of one encoder meet those of another."""


class StoreError(EdgeRetrievalError):
    """A store that cannot be reached or searched."""


class StoreMismatchError(StoreError):
    """A store that does not hold what the register does."""


class ClusterError(EdgeRetrievalError):
    """Workers of a cluster that cannot be reached, or do not see what they need."""


class RecordError(EdgeRetrievalError):
    """A record of a search that is broken, was changed, or cannot be replayed."""


class EvaluationError(EdgeRetrievalError):
    """A measurement that the data does not allow."""
