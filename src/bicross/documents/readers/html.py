"""Web pages: the main text, without menus and footers, as markdown."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any

from bicross.documents.document import Document
from bicross.documents.encoding import decode
from bicross.documents.fields import Fields
from bicross.documents.files import Failure, File, read_limited
from bicross.errors import DocumentError


def read(file: File, _: Fields) -> Iterator[Document | Failure]:
    """Yield the document that a web page is."""
    with file.open() as stream:
        page = decode(read_limited(stream), page=True)
    if not page.strip():
        raise DocumentError("the file is empty; remove it or give it some text")
    try:
        title, text = _main_text(page)
    except Exception as error:  # whatever the parser stumbles over must not stop the reading of other files
        raise DocumentError(f"the page cannot be parsed ({type(error).__name__}: {error})") from error
    if not text.strip():
        raise DocumentError("the page shows no text; remove it or give it some text")
    yield Document(file.id, text, title, source=file.source)


def _main_text(page: str) -> tuple[str, str]:
    """Title and text of a page; all that is visible when no part of it stands out."""
    import trafilatura
    from trafilatura.settings import DEFAULT_CONFIG

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)  # what matters is told as a failure
    tree = trafilatura.load_html(page)
    if tree is None:  # no tags at all
        tree = trafilatura.load_html(f"<html><body><p>{page}</p></body></html>")
    if tree is None:
        return "", ""
    title = trafilatura.extract_metadata(copy.deepcopy(tree))
    visible = trafilatura.html2txt(copy.deepcopy(tree))
    _mark_main_part(tree)
    config = copy.deepcopy(DEFAULT_CONFIG)
    # what is shorter than this counts as not found; a fixed number would lose the headings of short pages
    config.set("DEFAULT", "MIN_EXTRACTED_SIZE", str(min(250, len(visible) // 2)))
    text = trafilatura.extract(tree, output_format="markdown", include_comments=False, config=config)
    return (title and title.title) or "", text or visible


def _mark_main_part(tree: Any) -> None:
    """Make the body an article when nothing says which part of it is one: else headings and lists are lost."""
    from trafilatura.xpaths import BODY_XPATH

    body = tree.find("body")
    if body is None or any(find(tree) for find in BODY_XPATH):
        return
    if any((text or "").strip() for text in (body.text, *(part.tail for part in body))):
        return  # in articles text outside of paragraphs runs together
    article = body.makeelement("article")
    article.extend(list(body))
    body.append(article)
