"""The command that brings a register to another encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edge_retrieval.cli.talk import (
    BackendOption,
    DimOption,
    JsonFlag,
    bar,
    chosen_backend,
    count,
    one_line,
    print_json,
    say,
)


def reembed(
    register_path: Annotated[Path, typer.Argument(metavar="REGISTER")],
    bundle: Annotated[Path, typer.Option("--bundle", help="The other encoder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new register.")],
    dim: DimOption = None,
    backend: BackendOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a register of the same designs for another encoder, without their drawings.

    Figures are embedded anew from the small pictures that REGISTER keeps, which is only read. Where
    the drawings are at hand, index them anew: an encoder sees a little more in them. What was
    stopped midway goes on when the same command is given again.

    Example: edge-ret register reembed my-register --bundle bundles/mine-int8 -o new-register
    """
    from edge_retrieval.cli.caching import make_caches
    from edge_retrieval.reembedding import reembed as run
    from edge_retrieval.register import Register

    try:
        done = run(
            register_path,
            out,
            bundle=bundle,
            dim=dim,
            track=bar,
            choose_backend=lambda encoding: chosen_backend(encoding, backend),
        )
    except KeyboardInterrupt:
        say(one_line(f"stopped; the same again goes on in {out}.work"))
        raise
    with Register.open(out) as register:
        make_caches(register)
        designs, figures = register.designs_count, register.figures_count
        summary = {
            "register": str(out),
            "designs": designs,
            "figures": figures,
            "embedded": done.figures,
            "earlier": done.earlier,
            "bundle": register.bundle.name,
            "fingerprint": register.bundle.fingerprint,
            "made_from": register.made_from,
            "note": done.note,
        }
    if done.note:
        say(f"note: {done.note}")
    if as_json:
        print_json(summary)
        return
    before = f", {count(done.earlier, 'figure')} before it was stopped" if done.earlier else ""
    print(
        one_line(
            f"{out}: {count(done.figures, 'figure')} embedded by {summary['bundle']} from the"
            f" pictures of {register_path}{before}"
        )
    )
    print(f"now {count(designs, 'design')}, {count(figures, 'figure')}")
    say(one_line(f"next: edge-ret search drawing.png --register {out}"))
