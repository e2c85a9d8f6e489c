"""Words: what a term is in each language, and that the engine's scores are BM25."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bicross import BiEncoder, Document, LocalIndex
from bicross.errors import UsageError
from bicross.index.fusing import reciprocal_ranks, weighted_scores
from bicross.index.lexical import AVERAGE_TERMS, K1, B, document_weights, query_weights, terms


def test_terms_by_language() -> None:
    assert terms("The Pumps were cooling, quickly!", "en") == ["pump", "cool", "quick"]
    assert terms("The Pumps were cooling", "none") == ["the", "pumps", "were", "cooling"]
    assert terms("Die Häuser stehen", "de") == ["die", "haus", "steh"]
    assert terms("柏林的博物馆很多", "en") == ["柏林", "的", "博物馆", "很多"]
    assert terms("GPT4模型 v2.0", "zh") == ["gpt4", "模型", "v2", "0"]
    assert terms("müde café", "en") == ["müde", "café"]
    assert terms(" \n…", "en") == []


def test_the_scores_are_bm25(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    texts = {"a": "pump pump valve", "b": "pump " + "filler " * 30, "c": "valve seat"}
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add(Document(name, text) for name, text in texts.items())
        scores = {hit.chunk.document_id: hit.score for hit in index.search("pumps", mode="lexical")}

    def bm25(frequency: int, length: int, having: int) -> float:
        idf = math.log((len(texts) - having + 0.5) / (having + 0.5) + 1)
        return idf * frequency * (K1 + 1) / (frequency + K1 * (1 - B + B * length / AVERAGE_TERMS))

    assert scores == pytest.approx({"a": bm25(2, 3, 2), "b": bm25(1, 31, 2)}, abs=1e-4)


def test_weights_are_stable_and_sorted() -> None:
    weights = document_weights("one two two three", "none")
    assert list(weights.terms) == sorted(set(weights.terms))
    assert weights.weights.dtype.name == "float32"
    assert set(query_weights("two three two", "none").weights) == {1.0}


def test_exact_words_are_found_that_meaning_misses(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add(Document(f"d{i}", f"Error code E-{7000 + i} means that valve {i} is stuck.") for i in range(200))
        assert index.search("E-7113", mode="lexical", top_k=1)[0].chunk.document_id == "d113"
        assert index.search("E-7113", mode="hybrid", top_k=1)[0].chunk.document_id == "d113"


def test_chinese_by_words(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add(
            [
                Document("pump", "冷却泵在三月更换。", "冷却"),
                Document("museum", "柏林有很多博物馆。"),
                Document("food", "我们在柏林吃了早饭。"),
            ]
        )
        assert [h.chunk.document_id for h in index.search("博物馆", mode="lexical")] == ["museum"]
        assert {h.chunk.document_id for h in index.search("柏林", mode="lexical")} == {"museum", "food"}


def test_hybrid_joins_both_orders(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with LocalIndex.create(tmp_path / "index", bi_encoder) as index:
        index.add(
            Document(f"d{i}", f"Note {i} about {'cats' if i % 2 else 'dogs'} and number {i % 9}.") for i in range(90)
        )
        query = "feline number 4"
        sides = {mode: index.search(query, mode=mode, top_k=100) for mode in ("dense", "lexical")}
        hybrid = index.search(query, top_k=20, fusion="rrf")
        question = index.ask(query, "hybrid")
        orders = index.engine.nearest(question.vectors[0], 100, None), index.engine.matching(question.terms, 100, None)
        fused = reciprocal_ranks(orders)
        assert [c.score for c in hybrid] == sorted(fused.values(), reverse=True)[:20]
        assert [(-c.score, c.chunk.document_id) for c in hybrid] == sorted(
            (-c.score, c.chunk.document_id) for c in hybrid
        )
        dense = {c.chunk.id: c.score for c in sides["dense"]}
        assert all(c.dense == pytest.approx(dense[c.chunk.id], abs=1e-6) for c in hybrid)
        by_weight = index.search(query, top_k=20, dense_weight=1.0)
        assert [c.chunk.id for c in by_weight] == [c.chunk.id for c in sides["dense"][:20]]


def test_fusing_by_hand() -> None:
    fused = reciprocal_ranks([{"a": 9.0, "b": 3.0, "c": 3.0, "d": 1.0}, {"b": 0.5}])
    assert fused == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62, "d": 1 / 64})
    assert weighted_scores({"a": 3.0, "b": 1.0}, {"b": 9.0}, 0.7) == pytest.approx({"a": 0.7, "b": 0.3})


def test_a_language_that_is_not_known(tmp_path: Path, bi_encoder: BiEncoder) -> None:
    with pytest.raises(UsageError, match="language 'klingon' is not known; choose one of ar, da"):
        LocalIndex.create(tmp_path / "index", bi_encoder, language="klingon")
    with pytest.raises(UsageError, match="an overlap of 200 tokens: choose between 0 and 127"):
        LocalIndex.create(tmp_path / "index", bi_encoder, overlap=200)
    assert not (tmp_path / "index").exists()
