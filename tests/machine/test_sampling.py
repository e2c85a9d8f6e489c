"""A look at some documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bicross import BiEncoder, Document
from bicross.documents import chunk_document
from bicross.errors import UsageError
from bicross.machine import plan, sample_documents
from bicross.planning import MachineProfile


def test_a_sample_says_what_indexing_finds(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    texts = [" ".join(["A pump that stands still does not cool anything."] * (1 + i % 60)) for i in range(90)]
    file = tmp_path / "documents.jsonl"
    file.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)))
    sample = sample_documents([file], bi_encoder.chunk_tokens, bi_encoder.token_spans)
    chunks = [
        chunk
        for i, text in enumerate(texts)
        for chunk in chunk_document(Document(str(i), text), bi_encoder.chunk_tokens, bi_encoder.token_spans)
    ]
    assert (sample.documents, sample.all_of_them) == (90, 90)
    assert len(sample.chunk_tokens) == len(chunks) > 90
    assert max(sample.chunk_tokens) <= bi_encoder.chunk_tokens
    assert sample.read_s > 0


def test_of_many_documents_some_are_chunked(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    file = tmp_path / "many.jsonl"
    file.write_text("".join(json.dumps({"id": str(i), "text": f"number {i}"}) + "\n" for i in range(6000)))
    sample = sample_documents([file], bi_encoder.chunk_tokens, bi_encoder.token_spans)
    assert sample.all_of_them is None
    assert sample.documents == len(sample.chunk_tokens) == 400
    assert sample == sample_documents([file], bi_encoder.chunk_tokens, bi_encoder.token_spans) or sample.read_s


def test_nothing_to_look_at(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    file = tmp_path / "none.jsonl"
    file.write_text('{"id": "a", "text": ""}\n')
    with pytest.raises(UsageError, match="no document with text"):
        sample_documents([file], bi_encoder.chunk_tokens, bi_encoder.token_spans)


def test_a_plan_from_python(measured: MachineProfile, cities: Path) -> None:
    made = plan(sample=cities, profile=measured, latency_ms=60_000)
    assert made.work
    assert made.work.documents == 18
    assert made.search
    assert made.search.use == "cross-encoder"  # eighteen passages are read sooner than a minute is over
    with pytest.raises(UsageError, match="nothing to plan"):
        plan(profile=measured)
    with pytest.raises(UsageError, match="either a sample or a number of words"):
        plan(10, sample=cities, words=100, profile=measured)
    with pytest.raises(UsageError, match="was not measured"):
        plan(10, precision="f64", profile=measured)
