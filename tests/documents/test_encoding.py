"""Text files in the encodings that people have."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

TEXTS = {
    "cp1252": "Le café est fermé. L'été, les élèves préfèrent la forêt – “tout près” du lac, à 5 €.",
    "latin-1": "Größe und Straße, über den Fluß; el niño comió una piña.",
    "gbk": "柏林是德国的首都，它有很多博物馆，也有很多公园。",
    "shift_jis": "東京は日本の首都です。人口は多いです。カタカナも。",
    "big5": "台北是一座城市，有很多博物館。",
    "euc_kr": "서울은 대한민국의 수도이다. 한강이 흐른다.",
    "cp1251": "Москва – столица России, большой город на реке.",
    "utf-8-sig": "Ein Text mit Zeichen: é 柏 🙂",
    "utf-16": "Ein Text mit Zeichen: é 柏 🙂",
    "utf-32": "Ein Text mit Zeichen: é 柏 🙂",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_text_files(tmp_path: Path, read, encoding: str) -> None:
    text = TEXTS[encoding]
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    (tmp_path / "b.md.gz").write_bytes(gzip.compress(f"# {text}\n".encode(encoding)))
    (tmp_path / "c.csv").write_bytes(f'id,text\n1,"{text}"\n'.encode(encoding))
    documents, failures = read(tmp_path)
    assert not failures
    assert [d.text for d in documents] == [text, f"# {text}\n", text]
    assert documents[1].title == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_json_lines_with_a_mark(tmp_path: Path, read, encoding: str) -> None:
    (tmp_path / "a.jsonl").write_bytes('{"id": 1, "text": "é 🙂"}\nbad\n{"id": 2, "text": "柏"}\n'.encode(encoding))
    documents, (failure,) = read(tmp_path)
    assert [d.text for d in documents] == ["é 🙂", "柏"]
    assert failure.where.endswith(":2")


@pytest.mark.parametrize("declaration", ['<meta charset="{}">', "<meta http-equiv=x content='text/html; charset={}'>"])
@pytest.mark.parametrize("encoding", ["shift_jis", "gb2312", "iso-8859-15"])
def test_web_pages_declare_their_encoding(tmp_path: Path, read, encoding: str, declaration: str) -> None:
    text = {"shift_jis": "東京", "gb2312": "柏林", "iso-8859-15": "5 € für Öl"}[encoding]
    page = f"<html><head>{declaration.format(encoding)}</head><body><p>{text}</p></body></html>"
    (tmp_path / "a.html").write_bytes(page.encode(encoding))
    assert [d.text for d in read(tmp_path)[0]] == [text]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)), "no text in any known encoding"),
        (os.urandom(4000), "no text in any known encoding"),
        (b"a\0b\0c\0", "binary data, or UTF-16 without a byte-order mark"),
        (b"\xff\xfea\0b", "not UTF-16, as its byte-order mark says"),
    ],
)
def test_what_is_no_text(tmp_path: Path, read, data: bytes, reason: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    documents, (failure,) = read(tmp_path)
    assert not documents
    assert failure.reason.startswith(reason)


def test_a_stray_zero_is_text(tmp_path: Path, read) -> None:
    (tmp_path / "a.txt").write_bytes(b"some text with a \0 in it")
    assert read(tmp_path)[0][0].text == "some text with a \0 in it"


def test_a_false_declaration(tmp_path: Path, read) -> None:
    for name, encoding in (("a.html", "utf-8"), ("b.html", "no-such-encoding"), ("c.html", "base64")):
        page = f"<meta charset={encoding}><p>Le café est fermé, les élèves préfèrent la forêt.</p>"
        (tmp_path / name).write_bytes(page.encode("cp1252"))
    assert [d.text for d in read(tmp_path)[0]] == ["Le café est fermé, les élèves préfèrent la forêt."] * 3


def test_a_table_is_not_utf8_only_at_its_end(tmp_path: Path, read) -> None:
    rows = "".join(f"{n},plain words here\n" for n in range(100_000))
    (tmp_path / "a.csv").write_bytes(f"id,text\n{rows}x,Le café est fermé\n".encode("cp1252"))
    documents, failures = read(tmp_path)
    assert not failures
    assert documents[-1].text == "Le café est fermé"
