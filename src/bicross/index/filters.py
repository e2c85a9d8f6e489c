"""Filters over metadata: ``year >= 2020 and lang == "en"``, parsed into a small tree and checked against the fields.

From loose to tight: ``or``, ``and``, ``not``, comparisons, parentheses. A comparison is one of ``== != < <= > >=``,
``in [...]`` or ``not in [...]``; ``exists NAME`` asks whether a field has a value. Values are "text" (or 'text'),
numbers, true and false. A name with other characters than letters, digits and _ stands in backquotes; ``a.b`` is the
field b of the object a. A field that holds a list is equal to each of its members. A date stands for its whole day. A
document without the field makes every comparison false but ``!=`` and ``not in``.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from bicross.documents.document import short
from bicross.errors import UsageError
from bicross.index.fields import FieldType, field_path, is_date

if TYPE_CHECKING:
    from lark import Lark

Value = str | int | float | bool

#: Longer ones are mistakes or attacks; so are those that nest deeper.
MOST_CHARACTERS = 10_000
MOST_NESTED = 50

_GRAMMAR = r"""
?start: either
?either: both (_OR both)*
?both: negation (_AND negation)*
?negation: _NOT negation -> negated
         | test
?test: name COMPARES value -> compares
     | name _IN members    -> within
     | name _NOT _IN members -> outside
     | _EXISTS name        -> exists
     | "(" either ")"
members: "[" [value ("," value)*] "]"
name: (WORD | QUOTED) ("." (WORD | QUOTED))*
value: TEXT | NUMBER | TRUE | FALSE
_OR.2: /or\b/i
_AND.2: /and\b/i
_NOT.2: /not\b/i
_IN.2: /in\b/i
_EXISTS.2: /exists\b/i
TRUE.2: /true\b/i
FALSE.2: /false\b/i
COMPARES: "==" | "!=" | "<=" | ">=" | "<" | ">"
NUMBER: /[+-]?\d+(\.\d+)?([eE][+-]?\d+)?/
TEXT: /"(\\.|[^"\\])*"/s | /'(\\.|[^'\\])*'/s
QUOTED: /`[^`]+`/
WORD: /[^\W\d]\w*(\[\])?/
%ignore /\s+/
"""


@dataclass(frozen=True)
class Compare:
    """``field operator value``; the operator is ``==``, ``<``, ``<=``, ``>`` or ``>=``; ``kind`` of the field."""

    field: str
    operator: str
    value: Value
    kind: FieldType


@dataclass(frozen=True)
class In:
    """The field has one of these values."""

    field: str
    values: tuple[Value, ...]
    kind: FieldType


@dataclass(frozen=True)
class Exists:
    """The field has a value."""

    field: str


@dataclass(frozen=True)
class Not:
    """The condition does not hold."""

    condition: Condition


@dataclass(frozen=True)
class All:
    """Every condition holds."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class Either:
    """At least one condition holds."""

    conditions: tuple[Condition, ...]


Condition = Compare | In | Exists | Not | All | Either


def parse_filter(text: str, fields: Mapping[str, FieldType]) -> Condition:
    """The tree of a filter.

    Args:
        text: As the user wrote it.
        fields: Name and type of every metadata field of the index.

    Raises:
        UsageError: It cannot be parsed, names a field that no document has, or compares it with another type of value.
    """
    from lark.exceptions import UnexpectedInput, VisitError

    if not text.strip():
        raise UsageError('the filter is empty; write for example: year >= 2020 and lang == "en"')
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"the filter has {len(text)} characters; at most {MOST_CHARACTERS} are read")
    if text.count("(") > MOST_NESTED or text.lower().count("not") > 2 * MOST_NESTED:
        raise UsageError(f"the filter nests too deep; at most {MOST_NESTED} parentheses are read")
    try:
        tree = _parser().parse(text)
    except UnexpectedInput as error:
        ended = getattr(getattr(error, "token", None), "type", "") == "$END"
        place = len(text) if ended else error.pos_in_stream or 0
        rest = text[place : place + 20] or "its end"
        raise UsageError(
            f"the filter {short(text)} cannot be read at {rest!r} (character {place + 1}); "
            'write for example: year >= 2020 and lang == "en"'
        ) from None
    try:
        condition: Condition = _builder(fields).transform(tree)
    except VisitError as error:
        if isinstance(error.orig_exc, UsageError):
            raise error.orig_exc from None
        raise
    return condition


@cache
def _parser() -> Lark:
    from lark import Lark

    return Lark(_GRAMMAR, parser="lalr", maybe_placeholders=False)


def _builder(fields: Mapping[str, FieldType]) -> Any:
    from lark import Token, Transformer

    class Builder(Transformer[Token, Condition]):
        def either(self, conditions: list[Condition]) -> Condition:
            return Either(tuple(conditions))

        def both(self, conditions: list[Condition]) -> Condition:
            return All(tuple(conditions))

        def negated(self, conditions: list[Condition]) -> Condition:
            return Not(conditions[0])

        def compares(self, parts: list[Any]) -> Condition:
            field, operator, value = parts
            kind = _check(fields, field, str(operator), value)
            if operator == "!=":
                return Not(Compare(field, "==", value, kind))
            return Compare(field, str(operator), value, kind)

        def within(self, parts: list[Any]) -> Condition:
            field, values = parts
            kinds = [_check(fields, field, "in", value) for value in values]
            return In(field, values, kinds[0])

        def outside(self, parts: list[Any]) -> Condition:
            return Not(self.within(parts))

        def exists(self, parts: list[Any]) -> Condition:
            check_field(fields, parts[0])
            return Exists(parts[0])

        def members(self, values: list[Value]) -> tuple[Value, ...]:
            if not values:
                raise UsageError('a filter has an empty list; give at least one value: lang in ["en", "zh"]')
            return tuple(values)

        def name(self, parts: list[Token]) -> str:
            return known_name(fields, field_path(part.strip("`") for part in parts))

        def value(self, parts: list[Token]) -> Value:
            return _literal(parts[0].type, str(parts[0]))

    return Builder()


def _literal(kind: str, text: str) -> Value:
    if kind in ("TRUE", "FALSE"):
        return kind == "TRUE"
    if kind == "NUMBER":
        number = float(text) if any(c in text for c in ".eE") else int(text)
        if not -(2**63) <= number < 2**63:
            raise UsageError(f"the number {text[:40]} in a filter has more than 64 bits")
        return number
    if text[0] == "'":
        text = '"' + text[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        raise UsageError(f"the text {short(text)} in a filter has a backslash that means nothing; write \\\\") from None


def known_name(fields: Mapping[str, FieldType], name: str) -> str:
    """``a.b`` as the field b within a, or as one field of that very name where only that is there."""
    whole = f'"{name}"'
    return whole if name not in fields and whole in fields else name


def check_field(fields: Mapping[str, FieldType], name: str) -> FieldType:
    """The type of a field.

    Raises:
        UsageError: No document has it; the message names those there are.
    """
    if name in fields:
        return fields[name]
    near = difflib.get_close_matches(name, fields, 1)
    hint = f"; did you mean {_written(near[0])}?" if near else ""
    known = ", ".join(map(_written, list(fields)[:20])) or "none"
    raise UsageError(f"no document has the field {_written(name)!r}{hint} (fields of this index: {known})")


def _written(name: str) -> str:
    """A field's name as it is written in a filter."""
    return name.replace('"', "`")


def _check(fields: Mapping[str, FieldType], name: str, operator: str, value: Value) -> FieldType:
    kind = check_field(fields, name)
    given = "boolean" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "text"
    fits = {
        "text": ("text",),
        "integer": ("number",),
        "float": ("number",),
        "boolean": ("boolean",),
        "date": ("text",),
        "mixed": ("text", "number", "boolean"),
    }[kind]
    if given not in fits:
        raise UsageError(f"the field {name!r} holds {_PLURALS[kind]}; it cannot be compared with {json.dumps(value)}")
    ordered = operator in ("<", "<=", ">", ">=")
    if kind == "date" and not is_date(str(value)) and ordered:
        raise UsageError(f"the field {name!r} holds dates; {json.dumps(value)} is none (write 2024-01-31)")
    if ordered and (given == "boolean" or (given == "text" and kind != "date")):
        raise UsageError(f"the field {name!r} holds {_PLURALS[kind]}; {operator} compares numbers and dates only")
    return kind


_PLURALS = {
    "text": "texts",
    "integer": "whole numbers",
    "float": "numbers",
    "boolean": "true or false",
    "date": "dates",
    "mixed": "values of several types",
}
