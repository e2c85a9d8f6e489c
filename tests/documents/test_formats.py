"""Web pages, PDF and Word files: the text, its structure, and what is said of broken ones."""

from __future__ import annotations

import io
import zipfile
from itertools import pairwise
from pathlib import Path

import docx
import pypdf
import pytest
from fpdf import FPDF

from bicross.documents.readers import word

LONG = "This paragraph is long enough to be taken for the main text of the page, and it says more than the menu does. "


def make_pdf(path: Path, *pages: str, title: str = "") -> None:
    pdf = FPDF()
    pdf.set_font("helvetica", size=12)
    if title:
        pdf.set_title(title)
    for text in pages:
        pdf.add_page()
        pdf.multi_cell(0, 10, text)
    pdf.output(str(path))


def encrypt(path: Path, into: Path, password: str, algorithm: str) -> None:
    writer = pypdf.PdfWriter(clone_from=path)
    writer.encrypt(password, owner_password="owner", algorithm=algorithm)
    writer.write(into)


def test_pdf_pages(tmp_path: Path, read) -> None:
    make_pdf(tmp_path / "a.pdf", "Page one.\nIts second line.", "", "Page three.", title="A title")
    ((document,), failures) = read(tmp_path)
    assert not failures
    assert document.title == "A title"
    assert len(document.pages) == 3
    starts = [*document.pages, len(document.text)]
    texts = [document.text[start:end].strip() for start, end in pairwise(starts)]
    assert texts == ["Page one.\nIts second line.", "", "Page three."]


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_encrypted_pdf(tmp_path: Path, read, algorithm: str) -> None:
    make_pdf(tmp_path / "plain.pdf", "Some text.")
    encrypt(tmp_path / "plain.pdf", tmp_path / "locked.pdf", "secret", algorithm)
    encrypt(tmp_path / "plain.pdf", tmp_path / "open.pdf", "", algorithm)
    documents, (failure,) = read(tmp_path)
    assert [d.id for d in documents] == ["open.pdf", "plain.pdf"]
    assert failure.where == str(tmp_path / "locked.pdf")
    assert "encrypted" in failure.reason


def test_pdf_that_cannot_be_read(tmp_path: Path, read, capfd: pytest.CaptureFixture[str]) -> None:
    make_pdf(tmp_path / "a.pdf", "Some text.")
    data = (tmp_path / "a.pdf").read_bytes()
    (tmp_path / "b-cut.pdf").write_bytes(data[: len(data) // 2])
    (tmp_path / "c-junk.pdf").write_bytes(b"%PDF-1.7\n" + b"junk" * 1000)
    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.write(tmp_path / "d-scan.pdf")
    documents, failures = read(tmp_path)
    assert [d.id for d in documents] == ["a.pdf"]
    assert [Path(f.where).name for f in failures] == ["b-cut.pdf", "c-junk.pdf", "d-scan.pdf"]
    assert ["broken" in f.reason for f in failures] == [True, True, False]
    assert "no text layer" in failures[2].reason
    assert capfd.readouterr() == ("", "")


def test_word_files(tmp_path: Path, read) -> None:
    document = docx.Document()
    document.core_properties.title = "Of cities"
    document.add_heading("Cities", 0)
    document.add_heading("Berlin", 1)
    document.add_paragraph("It has museums.")
    table = document.add_table(2, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "Name", "People"
    table.cell(1, 0).merge(table.cell(1, 1)).text = "Berlin, 3.5 million"
    document.add_paragraph("")
    document.add_heading("Its rivers", 2)
    document.add_paragraph("The Spree.")
    document.save(str(tmp_path / "a.docx"))
    ((found,), failures) = read(tmp_path)
    assert not failures
    assert found.title == "Of cities"
    assert found.text == (
        "# Cities\n\n# Berlin\n\nIt has museums.\n\nName | People\nBerlin, 3.5 million\n\n## Its rivers\n\nThe Spree."
    )


def test_a_word_file_without_title_takes_its_first_heading(tmp_path: Path, read) -> None:
    document = docx.Document()
    document.add_paragraph("Before.")
    document.add_heading("The heading", 1)
    document.save(str(tmp_path / "a.docx"))
    assert read(tmp_path)[0][0].title == "The heading"


def test_word_files_that_cannot_be_read(tmp_path: Path, read, monkeypatch: pytest.MonkeyPatch) -> None:
    docx.Document().save(str(tmp_path / "a-empty.docx"))
    (tmp_path / "b-junk.docx").write_bytes(b"\xd0\xcf\x11\xe0 as files with a password begin")
    with zipfile.ZipFile(tmp_path / "c-other.docx", "w") as parts:
        parts.writestr("hello.txt", "hello")
    stream = io.BytesIO()
    docx.Document().save(stream)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as parts:
        parts.writestr("word/media/bomb.bin", bytes(2 * 2**20))
    (tmp_path / "d-bomb.docx").write_bytes(stream.getvalue())
    assert len(stream.getvalue()) < 100_000
    monkeypatch.setattr(word, "UNPACKED_LIMIT", 2**20)
    documents, failures = read(tmp_path)
    assert not documents
    for failure, reason in zip(failures, ["no text", "a password", "broken", "it unpacks to 2 MiB"], strict=True):
        assert reason in failure.reason


def test_web_pages(tmp_path: Path, read) -> None:
    body = f"<h1>Berlin</h1><p>{LONG}</p><h2>Museums</h2><p>There are many.</p><ul><li>Pergamon</li></ul>"
    menu = "<nav><a href='x'>Home</a> <a href='y'>About</a></nav>"
    page = "<html><head><title>Berlin | Cities</title><script>var x</script></head><body>{}{}<footer>Legal</footer>"
    expected = f"# Berlin\n\n{LONG.strip()}\n\n## Museums\n\nThere are many.\n\n- Pergamon"
    (tmp_path / "a.html").write_text(page.format(menu, f"<article>{body}</article>"))
    (tmp_path / "b.htm").write_text(page.format(menu, body))
    (tmp_path / "c.xhtml").write_text(f'<?xml version="1.0" encoding="utf-8"?>{page.format(menu, body)}</body></html>')
    documents, failures = read(tmp_path)
    assert not failures
    assert [d.text for d in documents] == [expected] * 3
    assert [d.title for d in documents] == ["Berlin"] * 3


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<p>Short.", "Short."),
        ("no tags at all", "no tags at all"),
        ("<html><body>loose <b>text</b></body></html>", "loose text"),
        ("<html><head><title>Only a title</title></head><body><script>x</script></body></html>", None),
        ("<div>" * 100_000, None),
    ],
)
def test_pages_with_little_or_no_text(tmp_path: Path, read, page: str, text: str | None) -> None:
    (tmp_path / "a.html").write_text(page)
    documents, failures = read(tmp_path)
    assert [d.text.replace("**", "") for d in documents] == ([text] if text else [])
    assert len(failures) == (0 if text else 1)
