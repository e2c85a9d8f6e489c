"""From bytes to text: byte-order marks, UTF-8, what a page declares, and at last a guess."""

from __future__ import annotations

import codecs
import re

from bicross.errors import DocumentError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# What is guessed among, the likelier first: encodings differ in a few letters only, and then the first one counts.
_GUESSES = (
    *("cp1252", "gb18030", "big5", "cp932", "cp949", "cp1251", "euc_jp", "koi8_r"),
    *("cp1250", "cp1254", "cp1253", "cp1255", "cp1256"),
)

# Browsers read these names as the larger encodings that pages really use.
_WEB_NAMES = {
    "iso-8859-1": "cp1252",
    "us-ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc-kr": "cp949",
}
_DECLARED = re.compile(rb"(?:charset|encoding)\s*=\s*[\"']?\s*([\w.:-]+)")


def marked_encoding(head: bytes) -> str | None:
    """The encoding that a byte-order mark at the beginning names; decoding with it takes the mark away."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def decode(data: bytes, page: bool = False) -> str:
    """The text of a file; a web page may declare its encoding.

    Raises:
        DocumentError: It is no text in any encoding that is known here.
    """
    declared = _DECLARED.search(data, 0, 2048) if page else None
    try:
        if encoding := marked_encoding(data):
            return data.decode(encoding)
        return _utf8(data)
    except UnicodeDecodeError:
        if encoding:
            raise DocumentError(f"not {encoding[:6].upper()}, as its byte-order mark says; save it as UTF-8") from None
    if declared:
        name = declared[1].decode("ascii", "replace").lower()
        try:
            return data.decode(_WEB_NAMES.get(name, name))
        except (LookupError, ValueError):  # an unknown name, or not true
            pass
    return data.decode(guess(data))


def guess(data: bytes) -> str:
    """The encoding of bytes that are not UTF-8.

    Raises:
        DocumentError: None is plausible.
    """
    import charset_normalizer

    if b"\0" not in data:
        matches = charset_normalizer.from_bytes(data, cp_isolation=list(_GUESSES))
        if best := matches.best():
            level = (best.chaos, best.coherence)
            equal = {e for m in matches if (m.chaos, m.coherence) == level for e in m.could_be_from_charset}
            for encoding in (*(e for e in _GUESSES if e in equal), best.encoding):
                try:
                    data.decode(encoding)
                except UnicodeDecodeError:  # long texts are judged by samples
                    continue
                return encoding
    raise DocumentError("no text in any known encoding; if it is text, save it as UTF-8, else leave the file out")


def _utf8(data: bytes) -> str:
    # UTF-16 without a mark passes as UTF-8 that is half zeros, and so does some binary data
    if data.count(0) * 10 > len(data):
        raise DocumentError("binary data, or UTF-16 without a byte-order mark; if it is text, save it as UTF-8")
    return data.decode("utf-8")
