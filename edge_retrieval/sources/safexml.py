"""XML from strangers: no entity is expanded, nothing outside the document is read."""

from __future__ import annotations

from html.entities import html5
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from edge_retrieval.limits import current


class UnsafeXml(ValueError):
    """The document declares entities: a way to make small files huge, or to read other files."""


def parse(data: bytes) -> Element:
    """Return the root element of an XML document.

    The DTD that a grant names is not opened. Character references and the five predefined entities
    are read; other names of HTML (`&mdash;`) become their character, unknown ones a "?". An
    unparsed entity (`NDATA`, the images of old grants) is harmless and passed over.

    Raises:
        UnsafeXml: It declares an entity that would be expanded, or refers to one outside.
        expat.ExpatError: It is not well formed.
        ValueError: It has more elements than may be, or an unknown encoding.
    """
    builder = TreeBuilder()
    count, most = 0, current().elements

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > most:
            raise ValueError(f"elements, {current().told('elements')}")
        builder.start(tag, attributes)

    def declared(
        name: str,
        is_parameter: bool,
        value: str | None,
        base: str | None,
        system: str | None,
        public: str | None,
        notation: str | None,
    ) -> None:
        if notation is None:
            raise UnsafeXml(f"declares the entity {name!r}, which is not expanded")

    def outside(context: str, base: str | None, system: str | None, public: str | None) -> int:
        raise UnsafeXml(f"refers to {system!r}, which is not read")

    def skipped(name: str, is_parameter: bool) -> None:
        if not is_parameter:
            builder.data(html5.get(f"{name};", "?"))

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = declared
    parser.ExternalEntityRefHandler = outside
    parser.SkippedEntityHandler = skipped
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    parser.Parse(data, True)
    return builder.close()


def text_of(element: Element | None) -> str:
    """Return all text below an element, blanks joined; "" for None."""
    return "" if element is None else " ".join("".join(element.itertext()).split())
