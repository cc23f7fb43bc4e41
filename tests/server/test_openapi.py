"""The documentation tells all that is served, and what it tells is true."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from edge_retrieval.server import ServeSettings
from edge_retrieval.server.checking import wrong
from edge_retrieval.server.openapi import openapi
from edge_retrieval.server.routes import ROUTES
from tests.fakes import drawing

if TYPE_CHECKING:
    from starlette.testclient import TestClient


def test_every_route_under_api_is_told(client: TestClient) -> None:
    told = client.get("/api/openapi.json").json()
    served = {
        (method, re.sub(r":\w+\}", "}", route.path))
        for route in client.app.routes
        for method in route.methods - {"HEAD"}
        if route.path.startswith("/api/") and route.path != "/api/openapi.json"
    }
    documented = {
        (method.upper(), path) for path, methods in told["paths"].items() for method in methods
    }
    assert documented == served
    assert told["openapi"].startswith("3.1")


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [ref for one in value.values() for ref in references(one)]
    return [ref for one in value for ref in references(one)] if isinstance(value, list) else []


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    told = openapi(ServeSettings())
    found = {ref.rsplit("/", 1)[-1] for ref in references(told)}
    assert found == set(told["components"]["schemas"])


def test_each_operation_tells_its_parameters_its_answer_and_its_errors() -> None:
    told = openapi(ServeSettings())
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", path))
            assert operation["responses"]["200"]["content"]
            assert {"401", "403", "500"} <= set(operation["responses"])
            assert ("requestBody" in operation) == (method == "post")
            if "503" in operation["responses"]:
                assert "Retry-After" in operation["responses"]["503"]["headers"]


def undescribed(value: Any, schema: Any, schemas: Any, name: str = "") -> list[str]:
    """Return the fields of an answer that its schema does not name."""
    if "$ref" in schema:
        schema = schemas[schema["$ref"].rsplit("/", 1)[-1]]
    if isinstance(value, list):
        return [
            found for one in value for found in undescribed(one, schema["items"], schemas, name)
        ]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    known = schema["properties"]
    missing = [f"{name}.{field}" for field in value if field not in known]
    return missing + [
        found
        for field, one in value.items()
        if field in known
        for found in undescribed(one, known[field], schemas, f"{name}.{field}")
    ]


def test_real_answers_are_what_is_told_no_field_more_no_field_less(client: TestClient) -> None:
    schemas = client.get("/api/openapi.json").json()["components"]["schemas"]
    sent = client.post("/api/drawings", content=drawing(1, figures=2)).json()
    views = [{"drawing": sent["id"], "figure": 1}, {"drawing": sent["id"], "figure": 2}]
    narrow = {"views": views, "k": 2, "filters": {"classes": ["07"]}}
    answers = {
        "Status": [client.get("/api/status").json()],
        "Drawing": [sent],
        "Result": [
            client.post("/api/search", json=body).json()
            for body in ({"views": views}, narrow, {"design": "D0001"})
        ],
        "Facets": [client.post("/api/facets", json={}).json()],
        "Designs": [client.get("/api/designs").json()],
        "Design": [client.get("/api/designs/D0001").json()],
        "Error": [client.get("/api/designs/none").json()],
    }
    assert set(answers) == {route.gives for route in ROUTES if route.gives in schemas} | {"Error"}
    for name, found in answers.items():
        for one in found:
            assert wrong(one, schemas[name], schemas) is None
            assert undescribed(one, schemas[name], schemas, name) == []


def test_the_examples_are_taken() -> None:
    schemas = openapi(ServeSettings())["components"]["schemas"]
    for route in ROUTES:
        if route.example is not None:
            assert wrong(route.example, schemas[route.takes], schemas) is None


@pytest.mark.parametrize(
    ("value", "schema", "told"),
    [
        (1, {"type": "integer"}, None),
        (True, {"type": "integer"}, "x is no integer"),
        (1.5, {"type": "number"}, None),
        (None, {"type": ["string", "null"]}, None),
        (["a", 1], {"items": {"type": "string"}}, "x[1] is no string"),
        ({"a": 1}, {"required": ["b"]}, "x.b is missing"),
        ({"a": {"b": 1}}, {"properties": {"a": {"$ref": "#/T"}}}, "x.a.b is no string"),
        (3, {"minimum": 4}, "x is below 4"),
        ("c", {"enum": ["a", "b"]}, "x is none of a, b"),
    ],
)
def test_a_value_is_held_against_its_schema(value: Any, schema: Any, told: str | None) -> None:
    known = {"T": {"type": "object", "additionalProperties": {"type": "string"}}}
    reason = wrong({"x": value}, {"properties": {"x": schema}}, known)
    assert reason == told


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.to: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {found["id"] or ""} if "id" in found else set()
        self.to |= {found["href"] or ""} if "href" in found else set()

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_for_people_tells_every_route_and_its_links_lead_somewhere(
    client: TestClient,
) -> None:
    page = Links()
    page.feed(client.get("/api").text)
    for route in ROUTES:
        assert route.path in page.text
        assert route.summary in page.text
    inside = {link.removeprefix("#") for link in page.to if link.startswith("#")}
    assert inside <= page.ids
    assert {link for link in page.to if not link.startswith("#")} == {"/api/openapi.json"}
