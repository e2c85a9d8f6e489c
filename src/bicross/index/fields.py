"""Metadata fields and their types: found out from the values that come, so that filters can be checked and indexed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

FieldType = Literal["text", "integer", "float", "boolean", "date", "mixed"]

#: So many fields get an index in the engine; the others can be filtered by all the same, more slowly.
MOST_INDEXED = 64

# RFC 3339 dates and times, as ISO 8601 is commonly written.
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?")

_UNNAMED = re.compile(r'["\\]')
_PLAIN = re.compile(r"[A-Za-z0-9_-]+(\[\])?")


def is_date(text: str) -> bool:
    """Whether a text is a date or a point in time: 2024-01-31, 2024-01-31T12:00:00Z."""
    return _DATE.fullmatch(text) is not None


def field_path(keys: Iterable[str]) -> str:
    """The name of a field within objects, in the engine's syntax: ``year``, ``author.name``, ``"odd key"``."""
    return ".".join(key if _PLAIN.fullmatch(key) else f'"{key}"' for key in keys)


def field_name(text: str) -> str:
    """A field as a user writes it, with backquotes around odd keys, in the engine's syntax."""
    return field_path(key.strip('`"') for key in re.findall(r"""`[^`]+`|"[^"]+"|[^.]+""", text))


def field_values(metadata: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(name, value) of every field. A list gives each member.

    What the engine has no name for is left out: an empty key, and one with a quotation mark or a backslash.
    """
    for key, value in metadata.items():
        if not key or _UNNAMED.search(key):
            continue
        keys = (*above, key)
        for member in value if isinstance(value, list | tuple) else (value,):
            if isinstance(member, Mapping):
                yield from field_values(member, keys if member is value else (*above, f"{key}[]"))
            elif member is not None:
                yield field_path(keys), member


def field_types(metadata: Mapping[str, Any]) -> Iterator[tuple[str, FieldType]]:
    """(name, type) of every value."""
    for name, value in field_values(metadata):
        match value:
            case bool():
                yield name, "boolean"
            case int():
                yield name, "integer"
            case float():
                yield name, "float"
            case str():
                yield name, "date" if is_date(value) else "text"


def merged(known: Mapping[str, FieldType], seen: Iterable[tuple[str, FieldType]]) -> dict[str, FieldType]:
    """The fields of which the type is new or has become wider."""
    wider: dict[str, FieldType] = {}
    for name, kind in seen:
        before = wider.get(name) or known.get(name)
        after = kind if before is None else _both(before, kind)
        if after != before:
            wider[name] = after
    return wider


def _both(one: FieldType, other: FieldType) -> FieldType:
    if one == other:
        return one
    pair = {one, other}
    if pair == {"integer", "float"}:
        return "float"
    if pair == {"date", "text"}:
        return "text"
    return "mixed"
