"""Word files (.docx): paragraphs and tables in order, headings as markdown."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from bicross.documents.document import Document
from bicross.documents.fields import Fields
from bicross.documents.files import LIMIT, Failure, File
from bicross.documents.readers.plain import first_heading
from bicross.errors import DocumentError

if TYPE_CHECKING:
    from docx.document import Document as WordDocument
    from docx.table import Table
    from docx.text.paragraph import Paragraph

#: The most that the parts of a file may hold when they are unpacked, pictures counted in: they are read whole.
UNPACKED_LIMIT = 8 * LIMIT


def read(file: File, _: Fields) -> Iterator[Document | Failure]:
    """Yield the document that a Word file is."""
    import docx

    with file.path.open("rb") as stream:
        try:
            with zipfile.ZipFile(stream) as parts:
                unpacked = sum(part.file_size for part in parts.infolist())
            if unpacked > UNPACKED_LIMIT:
                raise DocumentError(
                    f"it unpacks to {unpacked >> 20} MiB, the limit is {UNPACKED_LIMIT >> 20}; split it"
                )
            stream.seek(0)
            opened = docx.Document(stream)
            text = "\n\n".join(_blocks(opened.iter_inner_content(), _heading_levels(opened)))
            title = opened.core_properties.title
        except DocumentError:
            raise
        except Exception as error:  # broken files make zipfile, lxml and python-docx raise all kinds of things
            raise DocumentError(
                f"the Word file is broken or has a password ({type(error).__name__}: {error}); "
                "open it in Word and save it anew without one"
            ) from error
    if not text.strip():
        raise DocumentError("the file has no text; remove it or give it some")
    if len(text) > LIMIT:
        raise DocumentError(f"more than {LIMIT >> 20} million characters of text; split the file")
    # python-docx calls a file without properties "Word Document"
    title = "" if title == "Word Document" else title.strip()
    yield Document(file.id, text, title or first_heading(text), source=file.source)


def _heading_levels(document: WordDocument) -> dict[str, int]:
    """The level of each style that makes headings, by the id of the style."""
    levels = {"Title": 1, **{f"heading {level}": level for level in range(1, 7)}}
    named = ((style.style_id, (style.name or "").replace("Heading", "heading")) for style in document.styles)
    return {style_id: levels[name] for style_id, name in named if name in levels}


def _blocks(content: Iterable[Paragraph | Table], levels: dict[str, int]) -> Iterator[str]:
    from docx.table import Table

    for block in content:
        text = _table(block, levels) if isinstance(block, Table) else _paragraph(block, levels)
        if text:
            yield text


def _paragraph(paragraph: Paragraph, levels: dict[str, int]) -> str:
    text = paragraph.text.strip()
    # paragraph.style would search through all styles for each paragraph
    level = levels.get(paragraph._p.style or "", 0)
    return f"{'#' * level} {' '.join(text.split())}" if text and level else text


def _table(table: Table, levels: dict[str, int]) -> str:
    """A line a row; cells that span columns are told once."""
    lines = []
    for row in table.rows:
        cells = (" ".join(_blocks(cell.iter_inner_content(), levels)) for cell in dict.fromkeys(row.cells))
        lines.append(" | ".join(filter(None, cells)))
    return "\n".join(filter(None, lines))
