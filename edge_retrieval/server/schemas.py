"""The shapes of requests and answers as JSON Schema: checked here, and told by `/api/openapi.json`.

Requests are held against these very schemas, so what the documentation says is what is taken.
"""

from __future__ import annotations

from typing import Any

from edge_retrieval.server.checking import Schema
from edge_retrieval.server.settings import ServeSettings

TEXT = 200
"""Characters of one name or number."""

NAMES = 500
"""Names in one list."""

NOTES = 20_000
"""Characters of a note."""


def _object(**known: Schema) -> Schema:
    """Return the schema of an object that has all of these, and perhaps more."""
    return {"type": "object", "properties": known, "required": list(known)}


def _options(**known: Schema) -> Schema:
    """Return the schema of an object that may have these, and nothing else."""
    return {"type": "object", "properties": known, "additionalProperties": False}


def many(one: Schema, most: int | None = None) -> Schema:
    """Return the schema of a list; `most`: how long it may be."""
    made: dict[str, Any] = {"type": "array", "items": one}
    return made if most is None else made | {"maxItems": most}


def named(name: str) -> Schema:
    """Return a reference to a schema of `answers`."""
    return {"$ref": f"#/components/schemas/{name}"}


def told(schema: Schema, description: str) -> Schema:
    """Return a schema with a sentence."""
    return {**schema, "description": description}


STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
MAYBE_INTEGER: Schema = {"type": ["integer", "null"]}
MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
MAYBE_BOOLEAN: Schema = {"type": ["boolean", "null"]}
SHORT: Schema = {"type": "string", "maxLength": TEXT}
LISTED = many(SHORT, NAMES)
FOUND_IN = told(STRING, "the collection whose store found the candidates; only where one did")
DAY = told({"type": ["string", "null"], "maxLength": 20}, "2021-03-04, 2021-03 or 2021")

FILTERS = told(
    _options(
        classes=told(LISTED, "only these, with all below: 06, 06-01"),
        not_classes=LISTED,
        before=DAY,
        after=DAY,
        applicants=told(LISTED, "only those with one of these texts in an applicant's name"),
        not_applicants=LISTED,
        sources=told(LISTED, "only what was indexed from one of these"),
        not_sources=LISTED,
        designs=told(LISTED, "only these numbers"),
        not_designs=LISTED,
    ),
    "A design must meet all of it, and of a list any one.",
)


def requests(settings: ServeSettings) -> dict[str, Schema]:
    """Return the schema of each body of JSON that is taken, and of its parts, by its name."""
    view = _options(drawing=told(SHORT, "the id of a drawing"), figure={**INTEGER, "minimum": 1})
    search = _options(
        views=told(
            {
                **many({**view, "required": ["drawing", "figure"]}, settings.views),
                "minItems": 1,
            },
            "figures of drawings that show one product; or design",
        ),
        design=told(SHORT, "a number of the register, to search with its own figures; or views"),
        k={**INTEGER, "minimum": 1, "maximum": settings.k, "default": 24},
        filters=named("Filters"),
        exclude_self=told(
            {**BOOLEAN, "default": False}, "leave out the register's figures of the very same file"
        ),
    )
    flag = _options(relevant=MAYBE_BOOLEAN, note={**STRING, "maxLength": NOTES})
    export = _options(
        search=named("Search"),
        format={"type": "string", "enum": ["record", "html", "csv"]},
        flags=told(
            {"type": "object", "additionalProperties": flag, "maxProperties": settings.k},
            "what the examiner thinks of designs, by number",
        ),
        notes={**STRING, "maxLength": NOTES},
        drawings=told({**BOOLEAN, "default": True}, "put the drawings into the record"),
    )
    return {
        "Search": search,
        "FacetsOf": _options(filters=named("Filters")),
        "Export": {**export, "required": ["search", "format"]},
        "Filters": FILTERS,
    }


def answers() -> dict[str, Schema]:
    """Return the schema of each answer, by its name."""
    picture = _object(
        figure=told(INTEGER, "from 1"),
        row=INTEGER,
        description=STRING,
        picture=told(STRING, "its address"),
        same_as=told(MAYBE_INTEGER, "the earlier figure of the design that it nearly repeats"),
    )
    design = {
        "number": STRING,
        "title": STRING,
        "locarno": MAYBE_TEXT,
        "locarno_title": MAYBE_TEXT,
        "published": MAYBE_TEXT,
        "filed": MAYBE_TEXT,
        "applicants": many(STRING),
        "figures": told(INTEGER, "how many"),
    }
    epoch = told(STRING, "part of the address of its pictures; opaque")
    limits = _object(
        bytes=INTEGER, pixels=INTEGER, drawings=INTEGER, k=INTEGER, views=INTEGER, figures=INTEGER
    )
    branch = {"code": STRING, "title": STRING, "count": INTEGER}
    view = _object(
        view=told(INTEGER, "of the query, from 1"),
        file=STRING,
        figure=INTEGER,
        sha256=STRING,
        same_as=told(MAYBE_INTEGER, "the earlier view that it nearly repeats; not counted"),
    )
    match = _object(
        view=INTEGER,
        figure=INTEGER,
        row=INTEGER,
        score=NUMBER,
        matches=MAYBE_BOOLEAN,
        mirrored=BOOLEAN,
    )
    hit = _object(
        rank=INTEGER,
        score=NUMBER,
        pair=told(NUMBER, "cosine of the best pair"),
        share=told(MAYBE_NUMBER, "of unrelated designs, at most so many have a pair as close"),
        strength=MAYBE_TEXT,
        design=told(STRING, "its number"),
        title=STRING,
        labels=many(STRING),
        locarno=MAYBE_TEXT,
        locarno_title=MAYBE_TEXT,
        uspc=many(STRING),
        filed=MAYBE_TEXT,
        published=MAYBE_TEXT,
        applicants=many(STRING),
        figure=told(INTEGER, "of the best pair, that of the design, from 1"),
        figures=INTEGER,
        description=STRING,
        sheet=STRING,
        box=many(INTEGER),
        row=INTEGER,
        query_figure=told(INTEGER, "of the best pair, that of the query, from 1"),
        matched=told(MAYBE_INTEGER, "how many views match"),
        of=INTEGER,
        sentence=STRING,
        views=told(many(match), "for each view of the query the most similar figure"),
        epoch=epoch,
        pictures=told(many(named("Picture")), "of all figures of the design"),
    )
    store = _object(
        collection=STRING,
        server=told(STRING, "its name and version"),
        local=told(BOOLEAN, "whether it is on the machine that serves"),
        ready=told(BOOLEAN, "whether it answers, and holds what the register does now"),
        error=told(MAYBE_TEXT, "what is wrong, where it is not ready"),
        hint=MAYBE_TEXT,
        index=told(MAYBE_TEXT, "hnsw, nearly exact, or flat, exact; null: not known now"),
        overlap=told(
            {
                **_object(all=NUMBER, figures=INTEGER, **{"class": MAYBE_NUMBER}),
                "type": ["object", "null"],
            },
            "share of the ten nearest designs that it found: measured without a filter, and in"
            " a class",
        ),
    )
    alarm = _object(
        design=STRING,
        title=STRING,
        locarno=MAYBE_TEXT,
        locarno_title=MAYBE_TEXT,
        labels=many(STRING),
        score=NUMBER,
        strength=MAYBE_TEXT,
        row=INTEGER,
        filtered=told(BOOLEAN, "the filters left it out, by its class"),
        sentence=STRING,
    )
    predicted = _object(
        code=STRING, title=STRING, votes=INTEGER, of=INTEGER, clear=BOOLEAN, sentence=STRING
    )
    facets = _object(
        compared_designs=INTEGER,
        statement=STRING,
        classes=many(named("Branch")),
        years=many(_object(year=INTEGER, count=INTEGER)),
        applicants=many(_object(name=STRING, count=INTEGER)),
        sources=many(_object(name=STRING, count=INTEGER)),
        unknown={"type": "object", "additionalProperties": INTEGER},
    )
    result = _object(
        query=STRING,
        sha256=STRING,
        figures=INTEGER,
        compared_designs=INTEGER,
        compared_figures=INTEGER,
        exact=BOOLEAN,
        overlap=MAYBE_NUMBER,
        statement=STRING,
        chance=STRING,
        notes=many(STRING),
        views=many(view),
        predicted={**predicted, "type": ["object", "null"]},
        alarms=many(alarm),
        hits=many(hit),
        facets=named("Facets"),
        seconds=NUMBER,
    )
    return {
        "Error": _object(error=STRING, hint=STRING),
        "Status": _object(
            name=STRING,
            designs=INTEGER,
            figures=INTEGER,
            bundle=STRING,
            fingerprint=STRING,
            precision=STRING,
            snapshot=STRING,
            version=STRING,
            limits=limits,
            token=told(BOOLEAN, "whether one is needed"),
            store=told(
                {**store, "type": ["object", "null"]}, "what finds candidates; null: the register"
            ),
        ),
        "Drawing": _object(
            id=STRING,
            name=STRING,
            sha256=STRING,
            figures=many(
                _object(
                    figure=INTEGER,
                    width=INTEGER,
                    height=INTEGER,
                    turned=told(
                        INTEGER, "degrees counter-clockwise by which it was turned upright"
                    ),
                    picture=STRING,
                )
            ),
        ),
        "Picture": picture,
        "Branch": _object(**branch, children=many(named("Branch"))),
        "Facets": facets,
        "Result": {**result, "properties": {**result["properties"], "store": FOUND_IN}},
        "Designs": _object(total=INTEGER, designs=many(_object(**design, picture=MAYBE_TEXT))),
        "Design": _object(
            **design,
            labels=many(STRING),
            locarno_edition=MAYBE_TEXT,
            uspc=many(STRING),
            source=STRING,
            descriptions=many(STRING),
            stated_figures=MAYBE_INTEGER,
            epoch=epoch,
            pictures=many(named("Picture")),
        ),
    }
