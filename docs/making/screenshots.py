"""Take the pictures of docs/desk.md: python docs/making/screenshots.py

Serves a register of drawings that ship, with invented applicants and dates, opens its page in a
browser, searches with two views of a lamp, and writes what is to be seen. It needs the extras `web`
and `dev` and a chromium or chrome.
"""

from __future__ import annotations

import csv
import io
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from edge_retrieval.bundle import Bundle, default_bundle_path
from edge_retrieval.drawing import cut_sheet, to_png
from edge_retrieval.encoder import load_encoder
from edge_retrieval.register import Register
from edge_retrieval.sample import sample_folder
from edge_retrieval.server.app import create_app
from edge_retrieval.sources import open_source

if TYPE_CHECKING:
    from playwright.sync_api import Page

OUT = Path(__file__).parents[1] / "pictures"
LAMP, ASKED = "MADE-2605-00001", ("perspective", "top")
"""The design that is searched for, and its views that are the query: the register lacks them."""
APPLICANTS = ("Nordwood Furniture Inc.", "Sitwell Ltd.", "Potters Guild", "Voyage SA", "Lumen AB")
WIDTH, HEIGHT = 1280, 860


def make_designs(folder: Path) -> list[Path]:
    """Write the register's source below a folder; return the drawings to search with."""
    shutil.copytree(sample_folder(), folder / "designs")
    with (folder / "designs" / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = list(dict.fromkeys(row["design"] for row in rows))
    queries, kept = [], []
    for row in rows:
        sheet = folder / "designs" / row["file_name"]
        if row["design"] == LAMP and row["view"] in ASKED:
            left, top, right, bottom = map(int, row["box"].split())
            [figure] = cut_sheet(
                _cropped(sheet, (left - 9, top - 9, right + 9, bottom + 9)), where=row["view"]
            )
            queries.append(folder / f"lamp, {row['view']}.png")
            queries[-1].write_bytes(to_png(figure.pixels))
            continue
        place = numbers.index(row["design"])
        row["applicant"] = APPLICANTS[place % len(APPLICANTS)]
        row["published"] = f"{2008 + place % 14}-{place % 12 + 1:02d}-{place % 28 + 1:02d}"
        kept.append(row)
    with (folder / "designs" / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(kept[0]))
        writer.writeheader()
        writer.writerows(kept)
    return queries


def _cropped(sheet: Path, box: tuple[int, int, int, int]) -> bytes:
    file = io.BytesIO()
    with Image.open(sheet) as image:
        image.convert("L").crop(box).save(file, "PNG")
    return file.getvalue()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the designs of a folder; give the address."""
    import uvicorn

    bundle = Bundle.open(default_bundle_path())
    with Register.create(folder / "register", bundle) as register:
        designs = list(open_source(folder / "designs", kind="table"))
        register.add(designs, load_encoder(bundle), source="designs")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(
            create_app(folder / "register"), log_level="warning", ws="none", http="h11"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(30)


def take(page: Page, name: str) -> Path:
    """Write what is to be seen, in 256 colours."""
    page.wait_for_timeout(400)  # pictures that are being decoded
    seen = Image.open(io.BytesIO(page.screenshot()))
    path = OUT / name
    seen.convert("RGB").quantize(256).save(path, "PNG", optimize=True)
    return path


def main() -> None:
    """Take all pictures."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    with tempfile.TemporaryDirectory() as made, sync_playwright() as playwright:
        queries = make_designs(Path(made))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with served(Path(made)) as address:
            context = browser.new_context(
                viewport={"width": WIDTH, "height": HEIGHT},
                color_scheme="light",
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(address)
            with page.expect_response("**/api/search"):
                page.set_input_files("#files", queries)
            page.locator("#answer[aria-busy='false']").wait_for()
            page.locator(f".hit:first-child[data-design='{LAMP}']").wait_for()
            page.wait_for_load_state("networkidle")
            taken = [take(page, "desk.png")]
            page.get_by_role("button", name=f"Compare {LAMP}").first.click()
            page.get_by_role("dialog", name="Compare").wait_for()
            taken.append(take(page, "compare.png"))
            page.keyboard.press("o")
            page.locator(".overlay-stage").wait_for()
            taken.append(take(page, "overlay.png"))
        browser.close()
    for path in taken:
        print(f"{path.name}: {path.stat().st_size / 1e3:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
