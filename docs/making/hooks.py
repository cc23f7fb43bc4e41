"""What the site tells of the program is made of the program: `<!-- made: NAME -->` in a page.

commands  every command with its options, from the command line itself
api       the public names of `edge_retrieval`, from `__all__` and their docstrings
evidence  the functions of records and reports, likewise
routes    the JSON API of edge-ret serve, from its table of routes
settings  every setting of the training, from `TrainConfig`
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

MADE = re.compile(r"<!-- made: ([a-z]+) -->")
SHOWN_FIRST = ("index_designs", "search_drawings", "Session", "Filters", "Register")
"""Public names in the order in which a reader meets them; others follow by name."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in place what is made; called by mkdocs for every page."""
    return MADE.sub(lambda found: MAKERS[found[1]](), markdown)


def on_post_page(output: str, **_: Any) -> str:
    """Name the theme's search for those who hear the page; called by mkdocs for every page."""
    search = 'data-md-component="search" role="dialog"'
    return output.replace(search, f'{search} aria-label="Search"')


def commands() -> str:
    """Return a section for each command that can be called."""
    import typer

    from edge_retrieval.cli.commands import application

    root = typer.main.get_command(application())
    return "\n\n".join(_command(name, command) for name, command in leaves(root, "edge-ret"))


def leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the full name of every command that can be called, and the command."""
    below: Mapping[str, Any] = getattr(command, "commands", None) or getattr(command, "also", {})
    if not getattr(command, "commands", None):
        yield name, command
    for part, other in below.items():
        yield from leaves(other, f"{name} {part}")


def _command(name: str, command: Any) -> str:
    rows = []
    context = command.make_context(name, [], resilient_parsing=True)
    for param in command.params:
        if param.name in ("install_completion", "show_completion"):
            continue
        says = (getattr(param, "help", None) or "").replace("|", "\\|").replace("\n", " ")
        written = ", ".join(f"`{one}`" for one in (*param.opts, *param.secondary_opts))
        if param.param_type_name == "argument":
            written = f"`{param.make_metavar(context)}`"
        rows.append(f"| {written} | {says} |")
    about = "\n\n".join(_escaped(part) for part in (command.help or "").split("\n\n"))
    table = "\n".join(["| option | |", "| --- | --- |", *rows])
    examples = [line[2:] for line in (command.epilog or "").splitlines() if line[:2] == "  "]
    shown = "\n".join(["```bash", *examples, "```"])
    return f"## {name}\n\n{about}\n\n{shown}\n\n{table}"


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("_", "\\_").replace("*", "\\*")


def api() -> str:
    """Return a directive for each public name of the package."""
    package = import_module("edge_retrieval")
    return _directives(package, [name for name in package.__all__ if not name.startswith("__")])


def evidence() -> str:
    """Return a directive for each public name of `edge_retrieval.evidence`."""
    package = import_module("edge_retrieval.evidence")
    shown = set(import_module("edge_retrieval").__all__)
    return _directives(package, [name for name in package.__all__ if name not in shown])


def _directives(package: Any, names: list[str]) -> str:
    known = {name: place for place, name in enumerate(SHOWN_FIRST)}
    told = []
    for name in sorted(names, key=lambda one: (known.get(one, len(known)), one.casefold())):
        thing = getattr(package, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        heading = f"{package.__name__}.{name}"
        own = f"{thing.__module__}.{thing.__qualname__}"
        options = f'      heading: "{heading}"\n      toc_label: "{name}"\n'
        told.append(f"::: {own}\n    options:\n{options}")
    return "\n".join(told)


def routes() -> str:
    """Return the table of the JSON API."""
    from edge_retrieval.server.routes import ROUTES

    rows = [f"| `{route.method} {route.path}` | {route.summary} |" for route in ROUTES]
    return "\n".join(["| ask | for |", "| --- | --- |", *rows])


def settings() -> str:
    """Return the table of the settings of a training, with what `TrainConfig` says of each."""
    from distill.config import TrainConfig

    told = _attributes(TrainConfig.__doc__ or "")
    default = TrainConfig()
    rows = []
    for field in fields(TrainConfig):
        value = getattr(default, field.name)
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        rows.append(f"| `{field.name}` | {f'`{shown}`' if shown else ''} | {told[field.name]} |")
    return "\n".join(["| setting | default | |", "| --- | --- | --- |", *rows])


def _attributes(docstring: str) -> dict[str, str]:
    """Return what the section "Attributes:" says of each name, in one line."""
    section = inspect.cleandoc(docstring).partition("Attributes:\n")[2].partition("\n\n")[0]
    told: dict[str, str] = {}
    for line in section.splitlines():
        if found := re.match(r" {4}(\w+): (.*)", line):
            last = found[1]
            told[last] = found[2]
        else:
            told[last] += " " + line.strip()
    return {name: text.replace("|", "\\|") for name, text in told.items()}


MAKERS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "api": api,
    "evidence": evidence,
    "routes": routes,
    "settings": settings,
}
