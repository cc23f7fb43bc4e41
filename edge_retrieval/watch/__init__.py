"""Which of the new designs come close to one of a portfolio, and which of that was not told yet.

`arriving` reads the new designs, `comparing` holds each against all of the portfolio, `threshold`
says what is close, `telling` makes plain data of it, and `kept` remembers what was told.
"""

from edge_retrieval.watch.arriving import Arrived, from_register, from_source
from edge_retrieval.watch.comparing import Close, Watched, watch
from edge_retrieval.watch.kept import Kept, read_kept, require_writable, write_kept
from edge_retrieval.watch.telling import report_of
from edge_retrieval.watch.threshold import Threshold, parse_share

__all__ = [
    "Arrived",
    "Close",
    "Kept",
    "Threshold",
    "Watched",
    "from_register",
    "from_source",
    "parse_share",
    "read_kept",
    "report_of",
    "require_writable",
    "watch",
    "write_kept",
]
