"""Numbers as people write them: 1e6, 100k, 2.5M, 1_000_000."""

from __future__ import annotations

import math
import re
from decimal import Decimal, InvalidOperation, Overflow

from bicross.errors import UsageError

#: Beyond this nothing here has a meaning.
MOST = 10**15

_SUFFIXES = {"k": 10**3, "m": 10**6, "b": 10**9}


def whole_number(text: str | int, what: str) -> int:
    """A whole number of at least 1, exactly.

    >>> whole_number("2.5M", "documents")
    2500000

    Raises:
        UsageError: It is not a number, not whole, below 1 or above ``MOST``.
    """
    if isinstance(text, bool) or not isinstance(text, str | int):
        raise UsageError(f"{what} is {text!r}, not a whole number")
    plain = str(text).strip().replace("_", "").replace(",", "")
    factor = _SUFFIXES.get(plain[-1:].lower(), 1)
    try:
        number = Decimal(plain[:-1]) * factor if factor > 1 else Decimal(plain)
    except InvalidOperation:
        number = Decimal("NaN")
    except Overflow:
        number = Decimal(10 * MOST)
    if not number.is_finite():
        raise UsageError(f"{what} is {str(text)[:40]!r}, not a number; write it as 1000000, 1e6 or 1M")
    if number < 1:
        raise UsageError(f"{what} is {str(text)[:40]}; it must be 1 or more")
    if number > MOST:
        raise UsageError(f"{what} is {str(text)[:40]}; more than {MOST:.0e} cannot be planned")
    if number != number.to_integral_value():
        raise UsageError(f"{what} is {str(text)[:40]}; it must be a whole number")
    return int(number)


def size_of(text: str, what: str) -> float:
    """Bytes as people write them, the other way round from ``size``: 64GB, 64G, 1.5 TB.

    >>> size_of("1.5 TB", "disk")
    1500000000000.0

    Raises:
        UsageError: It is not a size.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT])B?\s*", text, re.IGNORECASE)
    if found is None or float(found[1]) <= 0:
        raise UsageError(f"{what} is {text[:40]!r}, not a size; write it as 64GB or 2TB")
    return float(found[1]) * float(1000 ** ("KMGT".index(found[2].upper()) + 1))


def positive(value: float, what: str, least: float = 0.0) -> float:
    """A finite number above 0 and not below ``least``.

    Raises:
        UsageError: It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{what} is {value!r}, not a number")
    if value <= 0 or value < least:
        raise UsageError(f"{what} is {value:g}; it must be {f'{least:g} or more' if least else 'more than 0'}")
    return float(value)


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds < 0.9995:
        return f"{1e3 * seconds:.3g} ms"
    for unit, size, until in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 1000), ("days", 86400, 1000)):
        if seconds < until * size:
            return f"{seconds / size:.3g} {unit}"
    years = seconds / (365.25 * 86400)
    return f"{years:,.0f} years" if years >= 100 else f"{years:.3g} years"


def size(count: float) -> str:
    """Bytes in the unit that suits them (powers of 1,000)."""
    for unit, factor in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if count < 1000 * factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count / 1e12:,.3g} TB"
