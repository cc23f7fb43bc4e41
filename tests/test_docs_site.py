"""What the pages of docs show runs, as it stands, on the files that they tell how to make.

A block that is not run has a comment before it, `<!-- parsed, not run: why -->`: its commands are
then held against the command line itself. Which blocks those are is asserted here.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer

from edge_retrieval import cli
from edge_retrieval.cli.commands import application

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md"))}
MAKES_ITS_OWN = ("own-data.md",)
"""Pages that make all that they use, in an empty folder: the others use what these make."""

NOT_RUN: dict[str, list[str]] = {
    "desk.md": [
        *["it serves until Ctrl-C"] * 2,
        "it needs another machine",
        "it needs a store",
    ],
    "errors.md": ["they need torch"],
    "formats.md": ["it takes three minutes"],
    "models.md": [
        "it takes three minutes",
        "it takes 80 minutes and data that do not ship",
        "a hundred designs that it was not trained on are needed",
    ],
    "raspberry-pi.md": [
        "it installs packages",
        "it fetches packages",
        "it installs packages",
        "it takes two machines",
        "each takes three minutes",
        "it needs a Pi",
    ],
    "supply-chain.md": ["it needs a key of yours"],
    # Run, too, by benchmarks/setups.py, on three machines of a kind.
    "scale.md": [
        "it needs a store",
        "it needs a store",
        "it takes several processes",
        *["a cluster is needed"] * 3,
        "it needs a store",
        "it takes several machines",
    ],
    "train.md": [
        "it is a download of many gigabytes",
        "it takes hours",
        "there is no run yet",
        "there is no run yet",
        "it takes several processes",
        "it takes several machines",
        "it takes several machines",
        "it takes minutes",
    ],
    "watch.md": ["cron runs it"],
}
"""Why blocks of a page are parsed and not run, in their order."""

PICTURE_BYTES, SCREENSHOT_BYTES = 150_000, 250_000
LANGUAGES = {"python", "bash", "console", "text", "toml", "json"}


@dataclass(frozen=True)
class Block:
    """A piece of code of a page, and why it is not run; "" if it is."""

    page: str
    line: int
    language: str
    text: str
    not_run: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    pattern = re.compile(
        r"^(?:<!-- parsed, not run: (?P<why>[^>]+) -->\n+)?"
        r"```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
        flags=re.S | re.M,
    )
    found = []
    for match in pattern.finditer(PAGES[page]):
        line = PAGES[page].count("\n", 0, match.start("text")) + 1
        language, text, why = match["language"], match["text"], match["why"] or ""
        found.append(Block(page, line, language, text, why))
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]


# The command line, called in this process: a process for each would take minutes.


def call(words: list[str], stdin: bytes | None = None) -> tuple[int, str, str]:
    """Call `edge-ret` here; return the exit code, stdout, and both streams as a terminal shows."""
    both, out = io.StringIO(), io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        stdout = _Tee(out, both)
        patch.setattr(sys, "argv", ["edge-ret", *words])
        patch.setattr(sys, "stdout", stdout)
        patch.setattr(sys, "stderr", both)
        if stdin is not None:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        stdout.flush()
    return code, out.getvalue().decode(), both.getvalue()


class _Tee(io.TextIOWrapper):
    """A stdout in UTF-8 whose text is seen among that of stderr, too."""

    def __init__(self, out: io.BytesIO, both: io.StringIO) -> None:
        super().__init__(out, encoding="utf-8", write_through=True)
        self._both = both

    def write(self, text: str) -> int:
        self._both.write(text)
        return super().write(text)


def run_line(line: str) -> tuple[int, str]:
    """Run a line of a shell block that calls `edge-ret`; return the exit code and what is shown."""
    line, _, pipe = line.partition(" | ")
    words = shlex.split(line, comments=True)
    assert words[0] == "edge-ret", f"{line}: only edge-ret is run; say why this is not"
    stdin, target = None, None
    while len(words) > 2 and words[-2] in ("<", ">"):
        if words[-2] == "<":
            stdin = Path(words[-1]).read_bytes()
        else:
            target = Path(words[-1])
        words = words[:-2]
    code, out, shown = call(expanded(words[1:]), stdin)
    if target is not None:
        target.write_text(out, encoding="utf-8")
    if pipe:
        assert pipe.startswith("jq "), f"{line}: only jq stands behind a pipe here"
        json.loads(out)
    return code, shown


def expanded(words: list[str]) -> list[str]:
    """Do what a shell does with `views/*.png`."""
    told = []
    for word in words:
        told += sorted(map(str, Path().glob(word))) if "*" in word else [word]
    return told


def shell_lines(block: Block) -> list[tuple[str, list[str]]]:
    """Return each command of a block with the lines that are shown below it."""
    if block.language == "bash":
        lines = [line.strip() for line in block.text.splitlines()]
        return [(line, []) for line in lines if line and not line.startswith("#")]
    told: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            told.append((line[2:], []))
        else:
            told[-1][1].append(line)
    return told


def plain(line: str) -> str:
    """Return a line without what differs from one processor to another, and without rules."""
    line = re.sub(r"[─━]+", " ", line)
    line = re.sub(r"\d+\.\d+", "#", line)
    line = re.sub(r"< 1 in [\d,]+|1 in [\d,]+", "1 in #", line)
    return " ".join(line.split())


def require_shown(wanted: list[str], shown: str, where: str) -> None:
    """Require every line, in its order; `...` stands for anything."""
    lines = iter([plain(line) for line in shown.splitlines()])
    for line in filter(None, map(plain, wanted)):
        pattern = ".*".join(map(re.escape, line.split("...")))
        assert any(re.fullmatch(pattern, other) for other in lines), (
            f"{where}: not shown: {line}\nbut:\n{shown}"
        )


def run_block(block: Block) -> None:
    """Run a block as a reader would."""
    if block.language == "python":
        exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
        return
    for line, wanted in shell_lines(block):
        if re.match(r"(pip|python3? -m pip|make) ", line):
            continue  # held against pyproject.toml and the Makefile below
        code, shown = run_line(line)
        require_shown(wanted, shown, f"{block}: {line}")
        fails = any(one.startswith(("error: ", "changed: ")) for one in wanted)
        skips = any(one.startswith("skipped: ") for one in wanted)
        assert code == (1 if fails else 3 if skips else 0), f"{block}: {line}: {code}\n{shown}"


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Work in a folder, on one core: to start processes would take longer than the work."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    before = Path.cwd()
    os.chdir(folder)
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.chdir(before)
        if cores:
            os.sched_setaffinity(0, cores)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The files that docs/own-data.md makes, and the registers of two of its sources."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_RET_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("EDGE_RET_REGISTER", raising=False)
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        folder = tmp_path_factory.mktemp("files")
        with working_in(folder):
            for block in blocks("own-data.md"):
                if block.language == "python":
                    run_block(block)
            for source, register in (("grants", "my-register"), ("drawings", "my-portfolio")):
                code, _, shown = call(["index", f"{source}/", "-o", register])
                assert code == 0, shown
            shutil.copytree(ROOT / "models" / "small", "bundles/mine-int8")
        yield folder


RUN = [page for page in PAGES if any(not b.not_run and b.language != "text" for b in blocks(page))]


@pytest.mark.parametrize("page", RUN)
def test_what_a_page_shows_runs(page: str, files: Path, tmp_path: Path) -> None:
    if page not in MAKES_ITS_OWN:
        shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    with working_in(tmp_path):
        for block in blocks(page):
            if not block.not_run and block.language in ("python", "bash", "console"):
                run_block(block)


def test_every_block_says_its_language() -> None:
    assert {block.language for block in BLOCKS} <= LANGUAGES


def test_what_is_not_run_is_known_and_says_why() -> None:
    told = {page: [b.not_run for b in blocks(page) if b.not_run] for page in PAGES}
    assert {page: why for page, why in told.items() if why} == NOT_RUN
    assert sum(text.count("parsed, not run") for text in PAGES.values()) == sum(
        map(len, told.values())
    )


PARSED = [
    (str(block), line)
    for block in BLOCKS
    if block.language in ("bash", "console")
    for line, _ in shell_lines(block)
    if "edge-ret " in line or "edge_retrieval.cli" in line
]


def resolved(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words call, and what is left of them."""
    command: Any = typer.main.get_command(application())
    while words:
        below = getattr(command, "commands", None) or getattr(command, "also", {})
        if words[0] not in below:
            break
        command, words = below[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize(("where", "line"), PARSED)
def test_the_command_line_understands_every_command(where: str, line: str) -> None:
    line = re.split(r" edge_retrieval\.cli |(?:^| )edge-ret ", line, maxsplit=1)[1]
    words = shlex.split(re.split(r" [|<>&] | && ", line)[0], comments=True)
    command, rest = resolved(words)
    assert not getattr(command, "commands", None), f"{where}: no such command"
    with command.make_context("edge-ret", list(rest)) as context:  # refuses what it does not know
        told = command.get_help(context)
    for word in rest:
        if re.match(r"--?[a-z]", word) and len(word) > 2:
            assert word.split("=")[0] in told, f"{where}: the help does not mention {word}"


def test_every_extra_that_is_installed_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = set()
    for text in PAGES.values():
        for extras in re.findall(r"pip install [^\n`]*\[([a-z0-9,]+)\]", text):
            named |= set(extras.split(","))
    extras = project["optional-dependencies"].keys()
    assert named <= extras
    assert extras - {"dev", "bench"} <= named, "say on a page what an extra is for"


def test_every_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for block in BLOCKS:
        assert set(re.findall(r"^(?:\$ )?make ([a-z-]+)", block.text, flags=re.M)) <= targets


# Formats


def listed(heading: str) -> set[str]:
    """Return what the first columns of the tables below a heading of docs/formats.md name."""
    section = PAGES["formats.md"].partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| ([^|]*) \|", section, flags=re.M)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_the_page_of_formats_names_every_key_that_is_written(files: Path, tmp_path: Path) -> None:
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    with working_in(tmp_path):
        asked = ["search", "front.png", "side.png", "-r", "my-register", "--json"]
        code, out, shown = call([*asked, "--record", "record.json"])
        assert code == 0, shown
        code, _, shown = call(["watch", "week-48/", "--against", "my-portfolio", "-o", "w"])
        assert code == 0, shown
        told = json.loads(out)
        record = json.loads(Path("record.json").read_text(encoding="utf-8"))
        watched = json.loads(Path("w/watch.json").read_text(encoding="utf-8"))
        manifest = json.loads(Path("bundles/mine-int8/bundle.json").read_text(encoding="utf-8"))
    [result] = told["results"]
    assert set(told) | set(result) | set(result["hits"][0]) == listed("Results as JSON")
    assert set(record) == listed("Records")
    assert set(watched) == listed("watch.json")
    assert {"schema", "files", "fingerprint"} <= set(manifest)


def test_the_keys_of_the_desk_are_those_of_its_page() -> None:
    script = ROOT / "edge_retrieval" / "server" / "web" / "keys.js"
    rows = re.findall(r'^  \["([^"]+)", "([^"]+)"\],$', script.read_text("utf-8"), flags=re.M)
    there = re.split(r"[ ,;]+", " ".join(" ".join(row) for row in rows))
    section = PAGES["desk.md"].partition("## By keyboard")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| ([^|]*) \|", section, flags=re.M)[1:]
    keys = [key for cell in cells for key in re.findall(r"`(\S+)`", cell)]
    assert len(keys) >= 12
    assert not [key for key in keys if key not in there]


# Links


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as the site makes them."""
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)
    found = set(re.findall(r"\{ ?#([\w-]+) ?\}", outside))
    for heading in re.findall(r"^#{1,6} (.+)$", outside, flags=re.M):
        kept = re.sub(r"[^\w\s-]", "", re.sub(r"\{.*\}$", "", heading)).strip().lower()
        found.add(re.sub(r"[-\s]+", "-", kept))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_page_and_to_a_heading_of_it(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page]):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        assert not path.startswith("../"), f"{target}: not part of the site"
        assert (DOCS / path).exists(), f"{target}: no such file"
        if anchor:
            assert anchor in anchors(PAGES[path or page]), f"{target}: no such heading"


def test_every_picture_is_used_small_and_told_in_words() -> None:
    used = set()
    for text in PAGES.values():
        for words, target in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", text):
            assert len(words) > 20, f"{target}: say what it shows"
            used.add(target)
    there = {f"pictures/{path.name}" for path in (DOCS / "pictures").iterdir()}
    assert used == there
    for name in there:
        limit = SCREENSHOT_BYTES if name.endswith(".png") else PICTURE_BYTES
        assert (DOCS / name).stat().st_size < limit, name


@pytest.mark.usefixtures("files")  # its cache has the sample
def test_the_drawn_pictures_are_those_of_their_script(tmp_path: Path) -> None:
    pictures = loaded("pictures")
    drawn = {path.name for path in pictures.draw_all(tmp_path)}
    assert drawn == {path.name for path in (DOCS / "pictures").glob("*.svg")}
    for name in drawn:
        here, there = ((folder / name).read_text() for folder in (tmp_path, DOCS / "pictures"))
        assert words_of(here) == words_of(there), f"{name}: draw it again"


def words_of(svg: str) -> list[str]:
    """Return the texts of a picture, but for scores: they differ between processors."""
    texts = [element.text or "" for element in ElementTree.fromstring(svg).iter()]
    return [text for text in texts if text.strip() and not re.search(r"\d\.\d", text)]


def loaded(name: str) -> Any:
    """Return a script of docs/making as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "making" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Errors


@dataclass(frozen=True)
class Texts:
    """Every text of the program: those that stand as they are, and f-strings as patterns."""

    fixed: set[str]
    patterns: list[tuple[int, re.Pattern[str]]]

    def hold(self, text: str, least: int) -> bool:
        """Tell whether `text` is one of them, of those with so many letters of their own."""
        if text in self.fixed and len(text) >= least:
            return True
        return any(own >= least and one.fullmatch(text) for own, one in self.patterns)


LEAST = {"error": 10, "skipped": 10, "note": 10, "hint": 6}
"""Letters that a text has of its own, at least: what has fewer would match anything."""


def texts_of(node: ast.AST, fixed: set[str], woven: set[str]) -> None:
    """Gather the texts below a node; of an f-string the whole, not its pieces."""
    if isinstance(node, ast.JoinedStr):
        woven.add(pattern_of(node))
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        fixed.add(node.value)
    else:
        for child in ast.iter_child_nodes(node):
            texts_of(child, fixed, woven)


def pattern_of(node: ast.JoinedStr) -> str:
    """Return an f-string as a pattern: what stands in braces may be anything."""
    parts = []
    for part in node.values:
        fixed = isinstance(part, ast.Constant)
        parts.append(re.escape(str(part.value)) if fixed else ".+")  # type: ignore[attr-defined]
    return "".join(parts)


@pytest.fixture(scope="module")
def program() -> Texts:
    fixed: set[str] = set()
    woven: set[str] = set()
    for folder in ("edge_retrieval", "distill"):
        for file in (ROOT / folder).rglob("*.py"):
            texts_of(ast.parse(file.read_text(encoding="utf-8")), fixed, woven)
    patterns = [(len(re.sub(r"\\|\.\+", "", text)), text) for text in woven]
    return Texts(
        fixed, [(own, re.compile(text)) for own, text in patterns if own >= min(LEAST.values())]
    )


QUOTED = [
    (str(block), line)
    for block in BLOCKS
    if block.language == "text" or block.not_run  # what runs is compared with what is shown
    for line in block.text.splitlines()
    if re.match(r"(error|hint|skipped|note): ", line)
]


def test_errors_are_quoted() -> None:
    lines = re.findall(r"^error: .+", PAGES["errors.md"], flags=re.M)
    assert len(set(lines)) >= 60


@pytest.mark.parametrize(("where", "line"), QUOTED)
def test_every_error_that_is_quoted_is_one_of_the_program(
    where: str, line: str, program: Texts
) -> None:
    kind, _, text = line.partition(": ")
    parts = text.split(": ")
    texts = [": ".join(parts[start:]) for start in range(len(parts))]  # without what names a file
    assert any(program.hold(text, LEAST[kind]) for text in texts), f"{where}: {line}"


# The site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it; a warning fails it."""
    for name in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(name, reason="needs the extra 'docs'")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(out)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_the_site_needs_nothing_from_elsewhere_and_holds_what_is_made(site: Path) -> None:
    built = {page.name: page.read_text(encoding="utf-8") for page in site.glob("*.html")}
    assert {f"{Path(page).stem}.html" for page in PAGES} <= built.keys()
    for name, html in built.items():
        loads = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=[\"']?([^\"'\s>]+)", html)
        loads += re.findall(r"<link[^>]*\shref=[\"']?([^\"'\s>]+)", html)
        assert not [url for url in loads if re.match(r"(https?:)?//", url)], name
        assert "<!-- made:" not in html, name
        if f"{Path(name).stem}.md" in PAGES:
            assert 'role="dialog" aria-label=' in html, f"{name}: the search has no name"
    for command in ("edge-ret search", "edge-ret register verify"):
        assert command in built["commands.html"]
    assert "edge_retrieval.Session" in built["python.html"]
    assert "similarity_weight" in built["train.html"]
    assert "/api/search" in built["desk.html"]
    assert not (site / "making").exists()


def test_the_site_is_searched_as_a_file_and_asks_for_nothing_else(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
    if chromium is None:
        pytest.skip("there is no chromium or chrome here")
    asked: list[str] = []
    wrong: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        for name in PAGES:
            page.goto((site / f"{Path(name).stem}.html").as_uri())
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 390, f"{name}: wider than a phone"
        page.keyboard.press("/")
        page.keyboard.type("compact")
        page.locator(".md-search-result__item a[href*='commands.html']").first.wait_for()
        browser.close()
    assert wrong == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}
