"""Read documents from .txt, .md and .jsonl files (plain or gzipped) and from folders of them."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bicross.documents.document import Document
from bicross.errors import DocumentError, UsageError

_FIELDS = ("_id", "id", "title", "text")


def read_documents(paths: Iterable[str | Path]) -> Iterator[Document]:
    """Yield the documents of files and folders, in order of path.

    A text or markdown file is one document; its id is its path relative to the folder that was named (or its name).
    A ``.jsonl`` file holds one document a line with the fields of BEIR: ``_id`` (or ``id``), ``text``, optionally
    ``title``; every other field becomes metadata, and so do the fields of an object called ``metadata``. A line may
    hold no text, as some do in published collections; an index leaves it out and says so. Folders are walked
    recursively; hidden files, and files of kinds that cannot be read, are passed over there.

    Raises:
        UsageError: A path does not exist, is of an unknown kind, or nothing to read was found in a folder.
        DocumentError: A file is empty or not UTF-8, a JSON line is broken, or an id occurs twice; the message names
            the file, the line and the id.
    """
    seen: dict[str, str] = {}
    for document, where in _all_documents(paths):
        if document.id in seen:
            raise DocumentError(
                f"{where}: the id {document.id!r} was already used by {seen[document.id]}; ids must be unique"
            )
        seen[document.id] = where
        yield document


def _all_documents(paths: Iterable[str | Path]) -> Iterator[tuple[Document, str]]:
    for path in map(Path, paths):
        if path.is_dir():
            files = sorted(f for f in path.rglob("*") if _readable(f) and not _hidden(f.relative_to(path)))
            if not files:
                raise UsageError(f"{path}: no readable file here; bicross reads {', '.join(sorted(READERS))}")
            for file in files:
                yield from _reader(file)(file, file.relative_to(path).as_posix())
        elif path.is_file():
            yield from _reader(path)(path, path.name)
        else:
            raise UsageError(f"{path}: no such file or folder")


def _kind(path: Path) -> str:
    suffixes = [s.lower() for s in path.suffixes]
    return "".join(suffixes[-2:]) if suffixes[-1:] == [".gz"] else "".join(suffixes[-1:])


def _readable(path: Path) -> bool:
    return path.is_file() and _kind(path) in READERS


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _reader(path: Path) -> Callable[[Path, str], Iterator[tuple[Document, str]]]:
    try:
        return READERS[_kind(path)]
    except KeyError:
        raise UsageError(f"{path}: unknown kind of file; bicross reads {', '.join(sorted(READERS))}") from None


def read_text(path: Path) -> str:
    """The whole file as UTF-8, a byte-order mark removed.

    Raises:
        DocumentError: It cannot be opened or is not UTF-8; the message names the first bad byte and its line.
    """
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(
            f"{path}: line {line}: not UTF-8 (byte 0x{data[error.start]:02x} at {error.start}); "
            "save it as UTF-8, for example with iconv"
        ) from None


def _read_plain(path: Path, document_id: str) -> Iterator[tuple[Document, str]]:
    text = read_text(path)
    if not text.strip():
        raise DocumentError(f"{path}: the file is empty; remove it or give it some text")
    yield Document(document_id, text), str(path)


def _read_markdown(path: Path, document_id: str) -> Iterator[tuple[Document, str]]:
    for document, where in _read_plain(path, document_id):
        headings = (line.lstrip("#").strip() for line in document.text.splitlines() if line.startswith("# "))
        title = "".join(islice(headings, 1))
        yield Document(document.id, document.text, title), where


def _read_jsonl(path: Path, document_id: str) -> Iterator[tuple[Document, str]]:
    found = False
    for where, record in read_json_lines(path):
        found = True
        yield _document_of(record, where), where
    if not found:
        raise DocumentError(f"{path}: the file is empty; expected one JSON object a line")


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, object) for each line that is not blank; the place is ``file:line``.

    Raises:
        DocumentError: A line is not UTF-8 or not a JSON object, or a gzip file is cut short.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                where = f"{path}:{number}"
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                    if not text:
                        continue
                    record = json.loads(text)
                except UnicodeDecodeError:
                    raise DocumentError(f"{where}: not UTF-8; save the file as UTF-8") from None
                except (ValueError, RecursionError) as error:
                    raise DocumentError(f"{where}: broken JSON: {error}") from None
                if not isinstance(record, dict):
                    raise DocumentError(f"{where}: expected a JSON object, found {type(record).__name__}")
                yield where, record
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DocumentError(f"{path}: cannot be read after line {number} ({reason})") from error


def _document_of(record: dict[str, Any], where: str) -> Document:
    document_id = record.get("_id", record.get("id"))
    if not isinstance(document_id, str | int) or isinstance(document_id, bool) or document_id == "":
        raise DocumentError(f'{where}: no id; every line needs a field "_id" (or "id") with a string')
    text, title = record.get("text"), record.get("title") or ""
    if not isinstance(text, str) or not isinstance(title, str):
        raise DocumentError(f'{where}: id {document_id!r}: the fields "text" and "title" must be strings')
    metadata = {k: v for k, v in record.items() if k not in (*_FIELDS, "metadata")}
    nested = record.get("metadata")
    if isinstance(nested, dict):
        metadata.update(nested)
    elif nested is not None:
        metadata["metadata"] = nested
    try:
        return Document(str(document_id), text, title, metadata)
    except DocumentError as error:
        raise DocumentError(f"{where}: {error}") from None


READERS: dict[str, Callable[[Path, str], Iterator[tuple[Document, str]]]] = {
    ".txt": _read_plain,
    ".md": _read_markdown,
    ".jsonl": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
}
