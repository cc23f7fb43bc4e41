"""The documentation of the API, for programs (OpenAPI 3.1) and for people, from the one table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from typing import Any

from edge_retrieval import __version__
from edge_retrieval.page import page
from edge_retrieval.server.answers import JSON
from edge_retrieval.server.checking import Schema
from edge_retrieval.server.routes import ANYWHERE, FILE, PNG, ROUTES, Route
from edge_retrieval.server.schemas import answers, named, requests
from edge_retrieval.server.settings import ServeSettings

_ABOUT = (
    "Search a register of designs with drawings, on this machine. Errors are always"
    ' {"error", "hint"}. Requests that change or compute something must come from the page itself'
    " or from a program that sends no Origin."
)


def openapi(settings: ServeSettings) -> dict[str, Any]:
    """Return the description as OpenAPI 3.1."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    schemas = {**requests(settings), **answers()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "edge-ret serve", "version": __version__, "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Where the server was started with a token, and needs one.",
                }
            },
        },
        "security": [{}, {"token": []}],
    }


def _operation(route: Route) -> dict[str, Any]:
    told: dict[str, Any] = {"summary": route.summary, "operationId": route.handler.__name__}
    if route.about:
        told["description"] = route.about
    if route.parameters:
        told["parameters"] = [
            {
                "name": name,
                "in": "path" if f"{{{name}}}" in route.path else "query",
                "required": f"{{{name}}}" in route.path,
                "schema": schema,
            }
            for name, schema in route.parameters.items()
        ]
    if route.takes:
        kind = FILE if route.takes == FILE else JSON
        content: dict[str, Any] = {} if kind == FILE else {"schema": named(route.takes)}
        if route.example is not None:
            content["example"] = route.example
        told["requestBody"] = {"required": True, "content": {kind: content}}
    told["responses"] = {
        "200": {"description": "as asked", "content": _content(route)},
        **{
            str(status): {
                "description": when,
                "content": {JSON: {"schema": named("Error")}},
                **({"headers": _RETRY} if status == 503 else {}),
            }
            for status, when in sorted({**route.errors, **ANYWHERE}.items())
        },
    }
    return told


_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}


def _content(route: Route) -> dict[str, Any]:
    if route.gives == PNG:
        return {PNG: {}}
    if route.gives == FILE:
        return {JSON: {}, "text/html": {}, "text/csv": {}}
    return {JSON: {"schema": named(route.gives)}}


# ------------------------------------------------------------------ for people


def api_page(settings: ServeSettings) -> str:
    """Return the documentation as a page; it runs no script."""
    schemas = {**requests(settings), **answers()}
    routes = "\n".join(_section(route, schemas) for route in ROUTES)
    shared = "\n".join(
        f'<section id="{name}"><h2>{name}</h2>\n{_shape(schemas[name])}</section>'
        for name in ("Filters", "Search", "Facets", "Branch", "Picture")
    )
    contents = "\n".join(
        f'<li><a href="#{_anchor(route)}"><b>{route.method}</b> {escape(route.path)}</a>'
        f" <span>{escape(route.summary)}</span></li>"
        for route in ROUTES
    )
    always = "\n".join(f"<li><b>{s}</b> {escape(when)}</li>" for s, when in ANYWHERE.items())
    body = f"""<main>
<header><h1>The API of edge-ret serve</h1>
<p>{escape(_ABOUT)} The same for programs:
<a href="/api/openapi.json">openapi.json</a>.</p></header>
<nav><ul>
{contents}
</ul></nav>
<section><h2 class="words">From a terminal</h2>
<pre tabindex="0">{escape(_TERMINAL)}</pre></section>
{routes}
<section><h2 class="words">Errors of any request</h2>
<p>Each has the body {escape('{"error": what is wrong, "hint": what to do next}')}.</p>
<ul class="errors">
{always}
</ul></section>
{shared}
</main>"""
    return page(title="The API of edge-ret serve", style=_STYLE, body=body)


def _section(route: Route, schemas: Mapping[str, Schema]) -> str:
    parts = [f"<p>{escape(route.about)}</p>"] if route.about else []
    if route.parameters:
        parts.append(f"<h3>Parameters</h3>{_shape({'properties': route.parameters})}")
    if route.takes == FILE:
        parts.append("<h3>Body</h3><p>The bytes of the file.</p>")
    elif route.takes:
        parts.append(f"<h3>Body</h3>{_shape(schemas[route.takes])}")
    if route.example is not None:
        shown = escape(_a_line_each(route.example))
        parts.append(f'<h3>Example</h3><pre tabindex="0">{shown}</pre>')
    gives = schemas.get(route.gives)
    answer = _shape(gives) if gives is not None else f"<p>{escape(_GIVES[route.gives])}</p>"
    parts.append(f"<h3>Answer</h3>{answer}")
    errors = "".join(f"<li><b>{s}</b> {escape(when)}</li>" for s, when in route.errors.items())
    parts.append(f'<h3>Errors</h3><ul class="errors">{errors}</ul>')
    inside = "\n".join(parts)
    return f"""<section id="{_anchor(route)}">
<h2><b>{route.method}</b> {escape(route.path)}</h2>
<p class="summary">{escape(route.summary)}</p>
{inside}
</section>"""


def _a_line_each(value: Mapping[str, Any]) -> str:
    """Return an object as JSON, each of its fields on a line."""
    lines = (
        f" {json.dumps(name)}: {json.dumps(one, ensure_ascii=False)}" for name, one in value.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}"


_GIVES = {PNG: "A picture, PNG.", FILE: "A file: JSON, HTML or CSV, as the format says."}


def _anchor(route: Route) -> str:
    return route.handler.__name__


def _shape(schema: Schema) -> str:
    """Return the fields of an object as an HTML list, those within below."""
    inner = schema.get("items", schema)
    known: Mapping[str, Schema] = inner.get("properties", {})
    others = inner.get("additionalProperties")
    if isinstance(others, Mapping):
        known = {**known, "NUMBER": others}
    if not known:
        return ""
    rows = []
    for name, field in known.items():
        about = field.get("description", "")
        about = f' <span class="about">{escape(about)}</span>' if about else ""
        below = "" if "$ref" in field or "$ref" in field.get("items", {}) else _shape(field)
        long = ' class="long"' if about or below else ""
        rows.append(
            f'<li{long}><code>{escape(name)}</code> <span class="kind">{_kind(field)}</span>'
            f"{about}{below}</li>"
        )
    return f'<ul class="fields">{"".join(rows)}</ul>'


def _kind(schema: Schema) -> str:
    """Say of what type a field is, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f'<a href="#{name}">{name}</a>'
    if "enum" in schema:
        return " or ".join(f"“{escape(str(one))}”" for one in schema["enum"])
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    said = " or ".join(kinds)
    if "items" in schema:
        said = f"list of {_kind(schema['items'])}"
    limits = [
        f"{word} {schema[key]:,}"
        for key, word in (("minimum", "from"), ("maximum", "to"), ("maxItems", "at most"))
        if key in schema
    ]
    if "default" in schema:
        limits.append(f"default {json.dumps(schema['default'])}")
    return ", ".join([said, *limits])


_TERMINAL = """curl --data-binary @front.png 'http://127.0.0.1:8577/api/drawings?name=front.png'
curl -H 'Content-Type: application/json' http://127.0.0.1:8577/api/search \\
  -d '{"views": [{"drawing": "ID OF THE FIRST ANSWER", "figure": 1}], "k": 5}'"""

_STYLE = """
main { max-width: 60rem; margin: 0 auto; }
header { border-bottom: 1px solid var(--line); padding-bottom: 1.1rem; margin-bottom: 1.4rem; }
header p { color: var(--soft); max-width: 46rem; margin-top: .4rem; }
a { color: var(--accent); }
nav ul, .errors, .fields { list-style: none; }
nav li { display: grid; grid-template-columns: 20rem 1fr; gap: .1rem 1.4rem; padding: .18rem 0; }
nav a { text-decoration: none; font-family: ui-monospace, "DejaVu Sans Mono", monospace;
 font-size: .88em; }
nav a:hover, nav a:focus { text-decoration: underline; }
nav b, h2 b { display: inline-block; min-width: 2.6em; font-weight: 600; }
section { border-top: 1px solid var(--line); margin-top: 2.2rem; padding-top: 1.1rem; }
h2 { font: 600 1rem/1.4 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
h2.words { font-family: inherit; margin-bottom: .5rem; }
h2 b { color: var(--accent); }
h3 { font-size: .85rem; font-weight: 600; color: var(--soft); margin: 1rem 0 .25rem; }
.summary { font-weight: 600; margin: .3rem 0; }
section > p { max-width: 46rem; }
.fields .fields { border-left: 1px solid var(--line); margin: .1rem 0 .3rem .3rem;
 padding-left: .9rem; }
.fields { display: flex; flex-wrap: wrap; gap: .15rem 1.6rem; }
.fields li.long { flex: 1 0 100%; }
.fields li:target, section:target { border-color: var(--accent); }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: .9em; }
pre { border: 1px solid var(--line); border-radius: 6px; padding: .7rem .9rem; overflow-x: auto; }
.kind { color: var(--soft); font-size: .88em; }
.about { font-size: .93em; }
.about::before { content: "· "; color: var(--soft); }
.errors b { display: inline-block; min-width: 2.6em; font-variant-numeric: tabular-nums; }
@media (max-width: 46rem) { nav li { grid-template-columns: 1fr; } }
"""
