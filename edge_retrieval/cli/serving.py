"""The command that serves a register to a browser."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edge_retrieval.cli.talk import (
    RegisterOption,
    StoreOption,
    answer,
    find_register,
    one_line,
    say,
)


def serve(
    register_path: RegisterOption = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Where to listen; 0: any that is free.")
    ] = 8577,
    host: Annotated[
        str,
        typer.Option("--host", help="Address to listen on; others than this machine need a token."),
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="EDGE_RET_TOKEN",
            show_envvar=False,
            help="What a client must show. Default: none here, one is made where others can ask;"
            " $EDGE_RET_TOKEN tells it, too.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", min=0, help="Threads that search. Default: the cores, at most 2."
        ),
    ] = 0,
    queue: Annotated[
        int | None,
        typer.Option("--queue", min=0, help="Searches that may wait; more are told to come again."),
    ] = None,
    store: StoreOption = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a page to search a register with drawings, and its JSON API, until Ctrl-C.

    Only this machine can reach it; drawings stay in memory.

    Examples: edge-ret serve --open; edge-ret serve -r grants --store milvus:http://localhost:19530
    """
    # A worker a core: the threads of numpy's BLAS would only be in one another's way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import secrets

    from edge_retrieval.cache import register_name
    from edge_retrieval.server.running import serve as run
    from edge_retrieval.server.settings import ServeSettings, is_loopback

    made = "" if token or is_loopback(host) else secrets.token_urlsafe(24)
    settings = ServeSettings(
        host=host, port=port, token=token or made, workers=workers, store=store or ""
    )
    if queue is not None:
        settings = replace(settings, queue=queue)
    register = find_register(register_path)
    folder = Path(register.folder)
    about = f"{register.designs_count:,} designs of {one_line(register_name(folder))}"
    register.close()

    def ready(address: str) -> None:
        shown = f"{address}?token={made}" if made else address
        answer(f"serving {about}: {shown}")
        if settings.token and not made:
            say(f"          open it once with your token: {address}?token=...")
        if store is not None:
            say(f"          candidates come from {one_line(store)}")
        say("          Ctrl-C ends it")
        if open_page:
            import threading
            import webbrowser

            page = f"{address}?token={settings.token}" if settings.token else address
            # Aside: one that runs in the terminal would not come back.
            threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()

    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        # uvicorn knows how to end after SIGTERM alone.
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    run(folder, settings, ready=ready)
