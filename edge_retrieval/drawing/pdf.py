"""PDF: pages rendered by pdfium, in a process of their own.

Nothing stops pdfium once it has begun: a page of 2 kB whose forms draw one another keeps it busy
for hours, and what brings it down brings its process down. So that is another one, started with the
first PDF: it is killed when a page takes too long, and ends with the process that asks.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

from PIL import Image

from edge_retrieval.errors import DrawingError, MissingExtraError
from edge_retrieval.limits import current, raising

PDF_DPI = 300
GRACE = 5
"""Seconds after which it ends itself, where nobody is left to kill it."""

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from edge_retrieval.drawing.pdf import serve; serve()"
)
_LOCK = threading.Lock()
"""Held by whoever speaks with the process."""


class _Renderer:
    """The process, and the file that it holds."""

    process: subprocess.Popen[bytes] | None = None
    owner = 0  # the process that started it: a fork of that one has its own
    holds: object = None


def pages_of(data: bytes, *, where: str) -> Iterator[Image.Image]:
    """Yield the pages of a PDF, mode "L", at 300 dpi or fewer.

    Args:
        data: Its bytes.
        where: Where a person finds it, for messages.

    Raises:
        DrawingError: It is none, damaged, has too many pages, or one takes too long.
        MissingExtraError: Without the extra 'pdf'.
    """
    if importlib.util.find_spec("pypdfium2") is None:
        raise MissingExtraError.of("reading PDF", "pdf")
    file = object()
    count = _asked({"open": True}, file, data, where)[0]["pages"]
    if count > current().pages:
        raise DrawingError(
            f"{where}: pages are {current().told('pages')}",
            hint=f"split the file into parts; {raising('pages')}",
        )
    for number in range(count):
        request = {"page": number, "most": current().pixels // 3}
        head, [grey] = _asked(request, file, data, f"{where} (page {number + 1})")
        yield Image.frombytes("L", head["size"], grey)


def _asked(request: dict[str, Any], file: object, data: bytes, where: str) -> Any:
    """Return what the process answers; it is given the file where it holds another one."""
    from edge_retrieval.drawing.ready import receive, send  # it reads drawings, and so PDFs

    late = threading.Event()
    with _LOCK:
        process = _running()
        assert process.stdin is not None
        assert process.stdout is not None

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(current().seconds, end)
        timer.daemon = True
        timer.start()
        try:
            parts = [] if _Renderer.holds is file else [data]
            send(process.stdin, {**request, "seconds": current().seconds}, parts)
            answer = receive(process.stdout)
        except (EOFError, OSError, ValueError):
            answer = None
        finally:
            timer.cancel()
        _Renderer.holds = file
        if answer is None:
            _ended(process)
    if answer is not None and "error" not in answer[0]:
        return answer
    if answer is not None:
        reason, hint = str(answer[0]["error"]), "open it in a viewer and save it anew"
        raise DrawingError(
            f"{where}: cannot be unpacked, truncated or damaged ({reason})", hint=hint
        )
    if late.is_set():
        reason = f"takes {current().told('seconds').replace(' (', ' seconds (')} to render"
        raise DrawingError(f"{where}: {reason}", hint=f"save it as an image; {raising('seconds')}")
    raise DrawingError(
        f"{where}: it brought down the process that rendered it", hint="save it as an image"
    )


def _running() -> subprocess.Popen[bytes]:
    process = _Renderer.process
    if process is None or _Renderer.owner != os.getpid() or process.poll() is not None:
        command = [sys.executable, "-c", _START, json.dumps(sys.path)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe)
        _Renderer.process, _Renderer.owner, _Renderer.holds = process, os.getpid(), None
        atexit.unregister(_ended)
        atexit.register(_ended, process)
    return process


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for end in (process.stdin, process.stdout):
        if end is not None:
            with contextlib.suppress(OSError):
                end.close()
    _Renderer.process = None


def serve() -> None:
    """Render on standard output what is asked on standard input, until that ends."""
    from edge_retrieval.drawing.ready import receive, send

    if hasattr(signal, "SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    document: Any = None
    while (message := receive(sys.stdin.buffer)) is not None:
        request, parts = message
        if hasattr(signal, "alarm"):
            signal.alarm(request["seconds"] + GRACE)
        try:
            if parts:
                document = _opened(bytes(parts[0]))
            if "page" not in request:
                send(sink, {"pages": len(document)})
            else:
                grey = _rendered(document[request["page"]], request["most"])
                send(sink, {"size": grey.size}, [grey.tobytes()])
        except Exception as error:  # of a damaged file the binding raises what it likes
            told = " ".join(str(error).split())[:120] or type(error).__name__
            send(sink, {"error": told})
        if hasattr(signal, "alarm"):
            signal.alarm(0)


def _opened(data: bytes) -> Any:
    import pypdfium2

    return pypdfium2.PdfDocument(data)


def _rendered(page: Any, most: int) -> Image.Image:
    width, height = page.get_size()  # points, 1/72 inch
    room = (most / max(width * height, 1.0)) ** 0.5
    bitmap = page.render(scale=min(PDF_DPI / 72, room), grayscale=True)
    grey: Image.Image = bitmap.to_pil().convert("L")
    return grey
