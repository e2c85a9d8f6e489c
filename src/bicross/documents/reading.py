"""Read documents from files, folders, globs and standard input."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BufferedReader
from itertools import chain
from pathlib import Path
from stat import S_ISREG
from typing import cast

from bicross.documents.document import Document
from bicross.documents.encoding import marked_encoding
from bicross.documents.fields import DEFAULT_FIELDS, Fields
from bicross.documents.files import Failure, File
from bicross.documents.readers import READERS, json_lines, kind_of, plain
from bicross.documents.walking import Rules, expand, has_wildcard, ignored, rules_of, walk
from bicross.errors import DocumentError, UsageError


def read_documents(
    paths: Iterable[str | Path],
    *,
    fields: Fields = DEFAULT_FIELDS,
    ignore: Sequence[str] = (),
    failed: Callable[[Failure], None] | None = None,
) -> Iterator[Document]:
    """Yield the documents of files, folders and globs, in order of path, one at a time.

    A text, web page, PDF or Word file is one document; its id is its path relative to the folder that was named, or
    to the part of a glob before the first wildcard, or its name. JSON, CSV and Parquet files hold a document a
    record. A record may hold no text, as some do in published collections; an index leaves it out and says so.
    Folders are walked recursively; hidden files, ignored files, and files of kinds that cannot be read are passed
    over there, and a folder in the layout of BEIR gives its corpus only.

    Args:
        paths: Files, folders, globs (``docs/**/*.md``); ``-`` is standard input: JSON lines, or one text.
        fields: Which fields of a record to take.
        ignore: Patterns in the syntax of .gitignore, of what to leave out. They outweigh the files called
            ``.bicrossignore`` in folders.
        failed: Called for each file, line or record that cannot be read; reading goes on after it. Without it the
            first one raises.

    Returns:
        The documents. Ids are as they are in the files; whether they are unique is for the index to see.

    Raises:
        UsageError: At once: a path does not exist or is of an unknown kind, nothing to read was found in a folder
            or for a glob, or an ignore pattern is malformed.
        DocumentError: While reading, without ``failed``: the message names the file, the line and the id.
    """
    return _documents(find_files(paths, ignore=ignore), fields, failed)


def find_files(paths: Iterable[str | Path], *, ignore: Sequence[str] = ()) -> Iterable[File | Failure]:
    """The files that ``read_documents`` reads, in that order.

    Raises:
        UsageError: See there.
    """
    rules = rules_of(ignore)
    named = [_checked(path) for path in paths]
    found = [_files(path, rules) for path in named]
    return chain.from_iterable(found)


def _documents(
    files: Iterable[File | Failure], fields: Fields, failed: Callable[[Failure], None] | None
) -> Iterator[Document]:
    for file in files:
        for item in read_file(file, fields) if isinstance(file, File) else [file]:
            if isinstance(item, Document):
                yield item
            elif failed:
                failed(item)
            else:
                raise DocumentError(f"{item.where}: {item.reason}")


def read_file(file: File, fields: Fields = DEFAULT_FIELDS) -> Iterator[Document | Failure]:
    """The documents of one file, and what of it cannot be read."""
    try:
        if file.source == "-":
            yield from _read_stdin(file, fields)
        elif _is_empty(file.path):
            yield file.failure("the file is empty; remove it or give it some text")
        else:
            yield from READERS[kind_of(file.path.name)](file, fields)
    except DocumentError as error:
        yield file.failure(error)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        yield file.failure(f"the file cannot be read ({reason}); mend it or leave it out")


def _is_empty(path: Path) -> bool:
    status = path.stat()
    return S_ISREG(status.st_mode) and not status.st_size


def _read_stdin(file: File, fields: Fields) -> Iterator[Document | Failure]:
    stream = cast("BufferedReader", BufferedReader(sys.stdin.buffer))
    try:
        head = stream.peek(1)
        text = head[: len(head) // 4 * 4 or 4].decode(marked_encoding(head) or "utf-8", "ignore")
        if text.lstrip().startswith("{"):
            yield from json_lines.read_lines(stream, file, fields)
        else:
            yield from plain.read_stream(stream, file)
    finally:
        stream.detach()  # closing standard input is not for us


def _checked(path: str | Path) -> str:
    """The path, if there is such a thing."""
    name = str(path)
    if not name:
        raise UsageError("a path is empty; name a file or a folder")
    if name != "-" and not has_wildcard(name) and not Path(name).exists():
        raise UsageError(f"{name}: no such file or folder")
    return name


def _files(name: str, rules: tuple[Rules, ...]) -> Iterable[File | Failure]:
    """The files that a named path stands for."""
    path = Path(name)
    if name == "-":
        return [File(path, "stdin")]
    known = ", ".join(sorted(READERS))
    if path.is_dir():
        files = walk(path, rules)
        first = next(files, None)
        if first is None:
            raise UsageError(f"{path}: no readable file here; bicross reads {known}")
        return chain([first], files)
    if path.exists():
        if not kind_of(path.name):
            raise UsageError(f"{path}: unknown kind of file; bicross reads {known}")
        return [] if ignored(path.name, rules) else [File(path, path.name)]
    matches = expand(name, rules)
    if not matches:
        raise UsageError(f"{name}: no such file, and as a pattern it matches no readable file; bicross reads {known}")
    return matches
