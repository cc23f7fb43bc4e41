"""A source of designs made into a register, or added to one."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import MissingExtraError, RegisterError, SourceError
from edge_retrieval.preparing import prepare
from edge_retrieval.progress import Track, silent
from edge_retrieval.provenance import available_cores
from edge_retrieval.register import AddResult, Register, is_register
from edge_retrieval.register.cutters import SheetCutters
from edge_retrieval.sources import Design, Problem, expected_designs, open_source

Spread = Callable[[Bundle, str], contextlib.AbstractContextManager[SheetCutters]]
"""Gives, for a bundle and a backend, who cuts and embeds sheets: workers elsewhere."""

LOOK_AHEAD = 32
"""Designs that are read before a register is made: their labels tell how deep its taxonomy is."""


class NothingReadError(SourceError):
    """A source of which no design could be read.

    Attributes:
        result: What could not be read, and why.
    """

    def __init__(self, message: str, *, hint: str, result: AddResult) -> None:
        super().__init__(message, hint=hint)
        self.result = result


@dataclass(frozen=True)
class Counted:
    """Designs, and about how many they are; 0: unknown."""

    items: Iterable[Design | Problem]
    count: int

    def __iter__(self) -> Iterator[Design | Problem]:
        return iter(self.items)

    def __length_hint__(self) -> int:
        return self.count


def index(
    source: Path | str,
    register: Path | str,
    *,
    bundle: Path | str | None = None,
    kind: str = "auto",
    dim: int | None = None,
    backend: str | None = None,
    jobs: int | None = None,
    track: Track = silent,
    choose_backend: Callable[[Bundle], str | None] | None = None,
    slower: Callable[[RegisterError | MissingExtraError], None] | None = None,
    spread: Spread | None = None,
) -> AddResult:
    """Read designs from a source, embed their figures, keep them in a register.

    Indexing the same designs again adds nothing; what could not be read is told, and costs nothing
    else. What is stopped midway keeps all that was committed, and the same again adds the rest.

    Args:
        source: USPTO grants, DeepPatent2, a folder tree or a metadata table; see `sources`.
        register: Its folder; made if it is not there.
        bundle: The encoder; None: that of the register, else the one that ships.
        kind: "auto", "uspto", "deeppatent2", "folder" or "table".
        dim: Keep so many of the first numbers of an embedding; None: all, or as the register does.
        backend: "onnx", "openvino" or "auto"; None: what the bundle is made for.
        jobs: Processes that cut sheets; None: as many as cores.
        track: Shows progress.
        choose_backend: Chooses it once the bundle is open, instead of `backend`.
        slower: Told why a cache that makes searching faster could not be made; the register is
            whole without.
        spread: Has sheets cut and embedded by others: a `scale.Spreading`. The register becomes
            the same.

    Returns:
        What was added, and what could not be read.

    Raises:
        SourceError: The source cannot be read, or holds no designs.
        NothingReadError: None of them could be read; a register is then not made.
        RegisterError: It cannot be written, or is not one.
        BundleError: The bundle is broken.
        ConfigError: The encoder was not trained for so many numbers.
    """
    source, folder = Path(source), Path(register)
    designs = open_source(source, kind=kind)
    # An unreadable source ends here, before anything is made.
    first = list(itertools.islice(designs, LOOK_AHEAD))
    if not first:
        raise SourceError(f"{source} holds no designs", hint="see --source for the kinds it can be")
    total = len(first) if len(first) < LOOK_AHEAD else expected_designs(source, kind=kind)
    is_new = not is_register(folder)
    if is_new:
        encoding = _bundle(bundle)
        encoding = encoding if dim is None else encoding.cut(dim)
        made = Register.create(folder, encoding, levels_of(first))
    else:
        made = Register.open(folder)
        encoding = cut_like(made, _bundle(bundle) if bundle else made.bundle, dim)
    try:
        backend = choose_backend(encoding) if choose_backend else backend
        with contextlib.ExitStack() as stack:
            encoder = load_encoder(encoding, backend=backend)
            spreading = spread and stack.enter_context(spread(encoding, encoder.backend))
            result = made.add(
                Counted(itertools.chain(first, designs), total or 0),
                encoder,
                track=track,
                source=source.resolve().name,
                jobs=jobs or available_cores(),
                cutters=spreading,
            )
        _make_caches(made, track, slower)
        if is_new and made.designs_count == 0:
            many = len(result.problems) + len(result.notes)
            raise NothingReadError(
                f"no design of {source} could be read ({many} problem{'s' * (many != 1)})",
                hint="check the files that are named, or choose the kind with --source",
                result=result,
            )
    except BaseException:
        if is_new:
            made.discard_if_empty()
        raise
    finally:
        made.close()
    return result


def _bundle(named: Path | str | None) -> Bundle:
    return Bundle.open(default_bundle_path() if named is None else Path(named))


def _make_caches(
    register: Register,
    track: Track,
    slower: Callable[[RegisterError | MissingExtraError], None] | None,
) -> None:
    """Make what makes searching faster; if that fails, tell it: the register is whole without."""
    try:
        prepare(register, track=track)  # does nothing while all are compared fast enough
    except (RegisterError, MissingExtraError) as error:
        if slower is not None:
            slower(error)


def cut_like(register: Register, bundle: Bundle, dim: int | None) -> Bundle:
    """Return a bundle cut as was asked for, else as the register's is, if it can be."""
    if dim is not None:
        return bundle.cut(dim)
    own = register.bundle.dim
    return bundle.cut(own) if own in bundle.whole.prefixes else bundle.whole


def levels_of(items: Iterable[Design | Problem]) -> tuple[str, ...]:
    """Name the levels of a new register after the depth of the first designs with labels."""
    depths = (len(item.labels) for item in items if isinstance(item, Design) and item.labels)
    depth = next(depths, 2)
    return (*("class", "subclass", *(f"level {n}" for n in range(3, depth + 1)))[:depth], "design")
