"""PDF: the text layer, page by page."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bicross.documents.document import Document
from bicross.documents.fields import Fields
from bicross.documents.files import LIMIT, Failure, File
from bicross.errors import DocumentError

if TYPE_CHECKING:
    from pypdf import PdfReader

_BETWEEN_PAGES = "\n\f"


def read(file: File, _: Fields) -> Iterator[Document | Failure]:
    """Yield the document that a PDF is, with the offsets of its pages."""
    import pypdf

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it warns of each oddity that it gets over
    with file.path.open("rb") as stream:
        try:
            reader = pypdf.PdfReader(stream)
            if reader.is_encrypted and not reader.decrypt(""):
                raise DocumentError("the PDF is encrypted; save it without a password")
            title = _whole(str((reader.metadata and reader.metadata.title) or "")).strip()
            texts = list(_pages(reader))
        except DocumentError:
            raise
        except Exception as error:  # broken files make pypdf raise all kinds of things
            reason = f"{type(error).__name__}: {error}"
            raise DocumentError(f"the PDF is broken ({reason}); open it in a viewer and save it anew") from error
    if not any(texts):
        raise DocumentError("the PDF has no text layer, as a scan; add one with OCR, for example with ocrmypdf")
    starts, at = [], 0
    for text in texts:
        starts.append(at)
        at += len(text) + len(_BETWEEN_PAGES)
    yield Document(file.id, _BETWEEN_PAGES.join(texts), title, source=file.source, pages=tuple(starts))


def _pages(reader: PdfReader) -> Iterator[str]:
    size = 0
    for page in reader.pages:
        text = _whole(page.extract_text()).strip()
        size += len(text)
        if size > LIMIT:
            raise DocumentError(f"more than {LIMIT >> 20} million characters of text; split the file")
        yield text


def _whole(text: str) -> str:
    """The text with halves of surrogate pairs joined, or replaced where the other half is missing."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
