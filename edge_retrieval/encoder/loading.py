"""A bundle made to run: on its format's own runtime, or on the one that is named."""

from __future__ import annotations

from edge_retrieval.bundle import Bundle
from edge_retrieval.encoder.runtimes import BACKENDS, RUNTIMES, Encoder, OnnxEncoder
from edge_retrieval.errors import ConfigError

AUTO = "auto"


def load_encoder(
    bundle: Bundle,
    *,
    dim: int | None = None,
    backend: str | None = None,
    threads: int | None = None,
    keep: bool = False,
) -> Encoder:
    """Make a bundle run.

    Args:
        bundle: An opened bundle, or a cut of one.
        dim: Use so many of the first numbers of an embedding, as `bundle.cut(dim)` does; None: as
            many as `bundle.dim` says.
        backend: A name in `BACKENDS`; None: the runtime that the bundle's format is made for;
            "auto": what `choose_backend` says, which may differ from machine to machine.
        threads: 1 or more; None: the cores of this process, at most 4.
        keep: Keep the network in the cache as onnxruntime optimised it for this processor, and
            load it from there the next time: the same vectors, sooner.

    Raises:
        BundleError: The backend cannot run the file.
        ConfigError: No such backend, one that does not read the format, `threads` below 1, or a
            `dim` that the bundle was not trained for.
        MissingExtraError: The backend is not installed.
    """
    wanted, bundle = bundle if dim is None else bundle.cut(dim), bundle.whole
    if backend == AUTO:
        from edge_retrieval.encoder.choosing import choose_backend

        backend = choose_backend(bundle, threads=threads).backend
    backend = backend or bundle.format
    if backend not in BACKENDS:
        raise ConfigError(
            f"no backend {backend!r}", hint=f"choose from {', '.join((*BACKENDS, AUTO))}"
        )
    if bundle.format not in BACKENDS[backend].formats:
        raise ConfigError(
            f"{bundle.folder}: its format is {bundle.format}, which {RUNTIMES[backend]} cannot run",
            hint="leave out --backend, or take the bundle in the format onnx",
        )
    encoder: Encoder
    if keep and backend == "onnx":
        encoder = OnnxEncoder(bundle, threads=threads, keep=True)
    else:
        encoder = BACKENDS[backend](bundle, threads=threads)
    if wanted.cut_of is None:
        return encoder
    from edge_retrieval.encoder.prefix import PrefixEncoder

    return PrefixEncoder(encoder, wanted)
