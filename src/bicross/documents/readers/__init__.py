"""Which kind of file is read by what. A reader yields documents, and failures of single records.

A reader raises DocumentError for what is wrong with the whole file; the message is the reason, without the place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bicross.documents.document import Document
from bicross.documents.fields import Fields
from bicross.documents.files import Failure, File
from bicross.documents.readers import html, json_array, json_lines, parquet, pdf, plain, table, word

Reader = Callable[[File, Fields], Iterator[Document | Failure]]

_TEXTS: dict[str, Reader] = {
    ".txt": plain.read,
    ".md": plain.read_markdown,
    ".markdown": plain.read_markdown,
    ".html": html.read,
    ".htm": html.read,
    ".xhtml": html.read,
    ".csv": table.read_csv,
    ".tsv": table.read_tsv,
    ".json": json_array.read,
    ".jsonl": json_lines.read,
    ".ndjson": json_lines.read,
}

READERS: dict[str, Reader] = {
    **_TEXTS,
    **{f"{suffix}.gz": reader for suffix, reader in _TEXTS.items()},
    ".pdf": pdf.read,
    ".docx": word.read,
    ".parquet": parquet.read,
}


def kind_of(name: str) -> str:
    """The key in ``READERS`` for a file's name; "" when it cannot be read."""
    suffix = "." + ".".join(name.lower().rsplit(".", 2)[1:])
    last = "." + suffix.rpartition(".")[2]
    return next((kind for kind in (suffix, last) if kind in READERS), "")
