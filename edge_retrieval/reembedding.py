"""A register brought to another encoder, without its drawings: from the pictures that it keeps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from edge_retrieval.bundle import Bundle
from edge_retrieval.drawing import Preprocessing
from edge_retrieval.drawing.fit import inner_side
from edge_retrieval.drawing.ready import PICTURE_SIDE
from edge_retrieval.encoder import load_encoder
from edge_retrieval.errors import ConfigError, RegisterError
from edge_retrieval.progress import Track, silent
from edge_retrieval.register import Register, is_register
from edge_retrieval.register.making import make_folder
from edge_retrieval.register.renewing import origin_of


class Reembedded(NamedTuple):
    """What was done.

    Attributes:
        figures: Embedded now.
        earlier: Embedded by an earlier call that was stopped.
        note: What is worth knowing of the vectors; "" if nothing is.
    """

    figures: int
    earlier: int
    note: str


def reembed(
    register: Path | str,
    out: Path | str,
    *,
    bundle: Path | str,
    dim: int | None = None,
    backend: str | None = None,
    track: Track = silent,
    choose_backend: Callable[[Bundle], str | None] | None = None,
) -> Reembedded:
    """Make a register of the same designs for another encoder, from the pictures that one keeps.

    The old register is only read. The new one appears whole or not at all: until then it is
    OUT.work, from which the same call goes on if it was stopped.

    Args:
        register: The folder of the old one.
        out: That of the new one; must not exist, or be empty.
        bundle: The other encoder.
        dim: Keep so many of the first numbers of an embedding; None: all.
        backend: "onnx", "openvino" or "auto"; None: what the bundle is made for.
        track: Shows progress.
        choose_backend: Chooses it once the bundle is open, instead of `backend`.

    Raises:
        RegisterError: The old one is damaged, or holds nothing; there is something in the place of
            the new one; the disk is full.
        BundleError: The bundle is broken.
        ConfigError: The bundle is that of the register already, or has not so many numbers.
    """
    folder, target = Path(register), Path(out)
    encoding = Bundle.open(Path(bundle))
    encoding = encoding if dim is None else encoding.cut(dim)
    with Register.open(folder) as old:
        _require_other(old, encoding)
        _require_free(target)
        with _begun(old, target, encoding) as new:
            earlier = new.figures_count
            backend = choose_backend(encoding) if choose_backend else backend
            result = new.embed_from(old, load_encoder(encoding, backend=backend), track=track)
            work = new.folder
        _put(work, target)
    return Reembedded(result.figures_added, earlier, _note(encoding.preprocessing))


def _require_other(old: Register, bundle: Bundle) -> None:
    if bundle.whole.fingerprint == old.bundle.whole.fingerprint:
        raise ConfigError(
            f"{old.folder}: is of the encoder {bundle.name} already",
            hint="name another with --bundle; fewer numbers of the same one: index the drawings"
            " anew with --dim",
        )
    if not old.designs_count:
        raise RegisterError(
            f"{old.folder}: holds no design", hint="index designs into a new register"
        )


def _require_free(target: Path) -> None:
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise RegisterError(
            f"{target}: exists already",
            hint="choose another folder with -o; the old register is never written over",
        )


def _begun(old: Register, target: Path, bundle: Bundle) -> Register:
    """Return the unfinished register, made now or by an earlier call."""
    work = Path(f"{target.absolute()}.work")
    origin = origin_of(old)
    if not is_register(work):
        make_folder(work, bundle, old.levels, origin)
    new = Register.open(work)
    if new.made_from != origin or new.bundle.fingerprint != bundle.fingerprint:
        new.close()
        raise RegisterError(
            f"{work}: was begun for another state of the register, or another bundle",
            hint="remove that folder, then give the same command again",
        )
    return new


def _put(work: Path, target: Path) -> None:
    try:
        with contextlib.suppress(FileNotFoundError):
            target.rmdir()  # an empty one: not everywhere does a rename replace it
        work.rename(target)
    except OSError as error:
        raise RegisterError(
            f"{target}: {error.strerror}; the register is whole in {work}",
            hint="rename that folder yourself",
        ) from error


def _note(preprocessing: Preprocessing) -> str:
    side = inner_side(preprocessing)
    if side <= PICTURE_SIDE:
        return ""
    return (
        f"this encoder looks at figures of {side} pixels, and a register keeps {PICTURE_SIDE}: they"
        " were enlarged"
    )
