"""Values held against JSON Schema, as much of it as `schemas` uses."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Schema = Mapping[str, Any]

KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}


def wrong(value: Any, schema: Schema, known: Mapping[str, Schema]) -> str | None:
    """Return what is wrong with a value, in one line; None: nothing.

    Args:
        value: From JSON.
        schema: Of the words that are used here: type, properties, required, additionalProperties,
            items, enum, $ref, and the limits of numbers, texts, lists and objects.
        known: Schemas that it refers to, by their names.
    """
    return next(_Checking(known).value(value, schema, "the body"), None)


class _Checking(NamedTuple):
    known: Mapping[str, Schema]

    def value(self, value: Any, schema: Schema, name: str) -> Iterator[str]:
        """Yield what is wrong with a value that is called so."""
        if "$ref" in schema:
            schema = self.known[schema["$ref"].rsplit("/", 1)[-1]]
        kinds = schema.get("type", ())
        kinds = [kinds] if isinstance(kinds, str) else kinds
        if kinds and not any(_is(value, kind) for kind in kinds):
            yield f"{name} is no {' or '.join(kinds)}"
            return
        yield from _beyond(value, schema, name)
        if isinstance(value, list):
            for place, one in enumerate(value):
                yield from self.value(one, schema.get("items", {}), f"{name}[{place}]")
        if isinstance(value, dict):
            yield from self.fields(value, schema, name)

    def fields(self, value: Mapping[str, Any], schema: Schema, name: str) -> Iterator[str]:
        """Yield what is wrong with the fields of an object."""
        inside = "" if name == "the body" else f"{name}."
        fields, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        for field in schema.get("required", ()):
            if field not in value:
                yield f"{inside}{field} is missing"
        for field, one in value.items():
            if field in fields:
                yield from self.value(one, fields[field], f"{inside}{field}")
            elif others is False:
                near = difflib.get_close_matches(field[:40], fields, 1)
                meant = f"; did you mean {near[0]}?" if near else f": {', '.join(fields)}"
                yield f"{name} has no {field[:40]!r}{meant}"
            elif isinstance(others, Mapping):
                yield from self.value(one, others, f"{inside}{field[:40]}")


def _beyond(value: Any, schema: Schema, name: str) -> Iterator[str]:
    """Yield which limits a value is beyond."""
    if "enum" in schema and value not in schema["enum"]:
        yield f"{name} is none of {', '.join(map(str, schema['enum']))}"
    for key, word in _SIZES.items():
        if isinstance(value, str | list | dict) and len(value) > schema.get(key, len(value)):
            yield f"{name} has more than {schema[key]} {word}"
    if isinstance(value, list) and len(value) < schema.get("minItems", 0):
        yield f"{name} has fewer than {schema['minItems']} entries"
    if isinstance(value, int | float):
        if value < schema.get("minimum", value):
            yield f"{name} is below {schema['minimum']}"
        if value > schema.get("maximum", value):
            yield f"{name} is above {schema['maximum']}"


_SIZES = {"maxLength": "characters", "maxItems": "entries", "maxProperties": "entries"}


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
