"""Which fields of a record become the id, the text, the title and the metadata of a document."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from bicross.documents.document import Document, short
from bicross.documents.files import LIMIT
from bicross.errors import DocumentError, UsageError

_IDS = ("_id", "id")
_MISSING = object()
_OPTIONS = "choose fields with --id-field, --text-field and --title-field"


@dataclass(frozen=True)
class Fields:
    """The names of the fields to read in JSON, CSV and Parquet records.

    A name may be a dotted path into nested objects (``author.name``) when no field has that very name.

    Attributes:
        id: By default ``_id``, or ``id`` where there is none.
        text: Fields that are joined by blank lines; by default ``text``.
        title: By default ``title``, which a record need not have.
        metadata: By default every other field; an object called ``metadata`` is merged. ``year:int`` gives a field a
            type: text, int, float or bool.

    Raises:
        UsageError: ``text`` or ``metadata`` is one string.
    """

    id: str | None = None
    text: tuple[str, ...] = ()
    title: str | None = None
    metadata: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.text, str) or isinstance(self.metadata, str):
            raise UsageError('Fields: text and metadata are tuples of names, such as ("body",)')

    @property
    def ids(self) -> tuple[str, ...]:
        """The fields that may hold the id, the first one first."""
        return (self.id,) if self.id else _IDS

    @property
    def texts(self) -> tuple[str, ...]:
        """The fields that may hold text."""
        return self.text or ("text",)


DEFAULT_FIELDS = Fields()


def document_of(
    record: Mapping[str, Any], fields: Fields, source: str, convert: Callable[[Any], Any] | None = None
) -> Document:
    """The document that a record holds.

    Args:
        record: The record.
        fields: Which fields to take.
        source: The file that it comes from.
        convert: What makes metadata of the values of a table, in which None is a missing value. Without it values
            stay as they are.

    Raises:
        DocumentError: A field is missing or of the wrong type.
    """
    document_id = _id(record, fields)
    try:
        text = _text(record, fields)
        title = _string(_find(record, fields.title or "title"))
        metadata = _metadata(record, fields, convert)
    except DocumentError as error:
        raise DocumentError(f"id {short(document_id)}: {error}") from None
    return Document(document_id, text, title, metadata, source)


def check_columns(columns: Collection[str], fields: Fields) -> None:
    """Raise DocumentError when a table lacks a column that is asked for; dotted names go by their first part."""

    def there(name: str) -> bool:
        return name in columns or name.split(".")[0] in columns

    named = [fields.title] if fields.title else []
    named += [name if there(name) else _split_type(name)[0] for name in fields.metadata or ()]
    if not any(map(there, fields.ids)):
        raise DocumentError(_no_field(fields.ids, columns))
    if not any(map(there, fields.texts)):
        raise DocumentError(_no_field(fields.texts, columns))
    for name in named:
        if not there(name):
            plain = name.rpartition(":")[0]
            raise DocumentError(_no_type(name) if plain and there(plain) else _no_field([name], columns))


def _id(record: Mapping[str, Any], fields: Fields) -> str:
    value = next(filter(lambda v: v is not _MISSING, (_find(record, name) for name in fields.ids)), _MISSING)
    if value is _MISSING:
        raise DocumentError(f"no id: {_no_field(fields.ids, record)}")
    if value is None or value == "":
        raise DocumentError("no id: the field is empty; every document needs an id of its own")
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise DocumentError(f"no id: it is a {type(value).__name__}, not a string or a number")
    return str(value)


def _text(record: Mapping[str, Any], fields: Fields) -> str:
    found = [value for value in (_find(record, name) for name in fields.texts) if value is not _MISSING]
    if not found:
        raise DocumentError(_no_field(fields.texts, record))
    texts = [_string(value) for value in found]
    text = texts[0] if len(texts) == 1 else "\n\n".join(t for t in texts if t.strip())
    if len(text) > LIMIT:
        raise DocumentError(f"more than {LIMIT >> 20} million characters of text; split it into several documents")
    return text


def _string(value: Any) -> str:
    if value is None or value is _MISSING:
        return ""
    if not isinstance(value, str):
        raise DocumentError(f"text and title must be strings, this is a {type(value).__name__}; {_OPTIONS}")
    return value


def _metadata(record: Mapping[str, Any], fields: Fields, convert: Callable[[Any], Any] | None) -> dict[str, Any]:
    if fields.metadata is not None:
        chosen = (_named(record, name, convert) for name in fields.metadata)
        return {name: value for name, value in chosen if value is not _MISSING}
    rest = record
    for name in (*fields.ids, *fields.texts, fields.title or "title"):
        rest = _without(rest, name)
    metadata = {name: value for name, value in rest.items() if name != "metadata"}
    nested = rest.get("metadata")
    if isinstance(nested, Mapping):
        metadata.update(nested)
    elif nested is not None:
        metadata["metadata"] = nested
    if convert:
        converted = ((name, convert(value)) for name, value in metadata.items())
        return {name: value for name, value in converted if value is not None}
    return metadata


def _named(record: Mapping[str, Any], name: str, convert: Callable[[Any], Any] | None) -> tuple[str, Any]:
    """The name and the value of a metadata field that was asked for."""
    value, kind = _find(record, name), ""
    if value is _MISSING:
        name, kind = _split_type(name)
        value = _find(record, name)
        if value is _MISSING and _find(record, name.rpartition(":")[0]) is not _MISSING:
            raise DocumentError(_no_type(name))
    if value is _MISSING or not (kind or convert):
        return name, value
    if kind and value is not None:
        try:
            value = _TYPES[kind](value)
        except (ValueError, OverflowError):
            raise DocumentError(
                f"field {short(name)}: {short(value)} is no {kind}; mend it, or read the field as text"
            ) from None
    elif convert:
        value = convert(value)
    return name, _MISSING if value is None else value


def _split_type(name: str) -> tuple[str, str]:
    plain, _, kind = name.rpartition(":")
    return (plain, kind) if plain and kind in _TYPES else (name, "")


def _to_text(value: Any) -> str:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    raise ValueError


def _to_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if (isinstance(value, float) and value.is_integer()) or (isinstance(value, str) and "_" not in value):
        return int(value)
    raise ValueError


def _to_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or "_" in str(value):
        raise ValueError
    number = float(value)
    return number if math.isfinite(number) else None


def _to_bool(value: Any) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False}
    if isinstance(value, str | int) and (key := str(value).lower()) in known:
        return known[key]
    raise ValueError


_TYPES: dict[str, Callable[[Any], Any]] = {"text": _to_text, "int": _to_int, "float": _to_float, "bool": _to_bool}


def _find(record: Mapping[str, Any], name: str) -> Any:
    if name in record:
        return record[name]
    value: Any = record
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def _without(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The record less one field, which may lie in a nested object."""
    if name in record:
        return {key: value for key, value in record.items() if key != name}
    first, dot, rest = name.partition(".")
    if dot and isinstance(record.get(first), Mapping):
        return {**record, first: _without(record[first], rest)}
    return record


def _no_type(name: str) -> str:
    return f"metadata field {short(name)}: the type after the colon is unknown; types are {', '.join(_TYPES)}"


def _no_field(names: Iterable[str], there: Iterable[str]) -> str:
    fields = list(there)
    shown = ", ".join(short(name) for name in fields[:20]) + (" …" if len(fields) > 20 else "")
    return f"no field {' or '.join(map(short, names))}; the fields here are {shown or 'none'}; {_OPTIONS}"
