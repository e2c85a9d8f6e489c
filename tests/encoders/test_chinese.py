"""Models that read Chinese, as a hub lays them out: bge-small-zh's kind and XLM-R's, with random weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import CrossEncoder as TorchCrossEncoder
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

import bicross
from bicross import BiEncoder, CrossEncoder, Document, Searcher

TEXTS = [
    "北京是中华人民共和国的首都，常住人口超过两千万。",
    "长江是亚洲第一长河，发源于青藏高原。",
    "Berlin had 3,520,031 registered inhabitants in 2012.",
    "深度学习模型把文本变成向量，再按余弦相似度检索。",
]
QUESTION = "北京有多少人口？"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache; nothing may be fetched."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache


def _placed(hub: Path, repository: str, folder: Path) -> None:
    home = hub / f"models--{repository.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("ab" * 20)
    shutil.copytree(folder, home / "snapshots" / ("ab" * 20))


def _saved(folder: Path, model: transformers.PreTrainedModel, tokenizer: Tokenizer, **names: str) -> None:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)


def _as_sentence_transformer(folder: Path, pooling: str, prompts: dict[str, str]) -> None:
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, f"pooling_mode_{pooling}": True})
        if pooling == "cls_token"
        else json.dumps(
            {"word_embedding_dimension": 32, "pooling_mode_cls_token": False, f"pooling_mode_{pooling}": True}
        )
    )
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": false}')
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))


def _sizes(vocabulary: int) -> dict[str, int | float]:
    return {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "initializer_range": 0.2,
    }


def _one_character_a_token() -> Tokenizer:
    """As Chinese BERT reads: each character is a token."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = sorted({c for text in [*TEXTS, QUESTION] for c in text.lower() if not c.isspace()})
    words = [*special, *characters, *(f"##{c}" for c in characters if c.isalnum() and c.isascii())]
    tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, handle_chinese_chars=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _sentencepiece() -> Tokenizer:
    """As XLM-R reads: pieces of a unigram model over text without spaces of its own."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=160, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator([*TEXTS, QUESTION] * 5, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return tokenizer


BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
XLMR = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
XLMR |= {"cls_token": "<s>", "sep_token": "</s>"}


def test_the_kind_of_bge_small_zh(hub: Path, tmp_path: Path) -> None:
    """Chinese BERT, first token, an instruction before queries; found by its hub id, and searched with."""
    folder, tokenizer = tmp_path / "model", _one_character_a_token()
    config = transformers.BertConfig(**_sizes(tokenizer.get_vocab_size()), max_position_embeddings=64)
    _saved(folder, transformers.BertModel(config), tokenizer, **BERT)
    instruction = "为这个句子生成表示以用于检索相关文章："
    _as_sentence_transformer(folder, "cls_token", {"query": instruction})
    _placed(hub, "BAAI/bge-small-zh-v1.5", folder)
    model, theirs = BiEncoder("BAAI/bge-small-zh-v1.5"), SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(model.encode_document(TEXTS), theirs.encode(TEXTS), atol=2e-2)
    np.testing.assert_allclose(model.encode_query(QUESTION), theirs.encode(instruction + QUESTION), atol=2e-2)
    with bicross.create(tmp_path / "index", "BAAI/bge-small-zh-v1.5") as index:
        index.add([Document(str(i), text) for i, text in enumerate(TEXTS)])
        # its weights are random: the words find it, as they do while nobody has a better model
        assert index.search(QUESTION, mode="lexical")[0].chunk.document_id == "0"
        assert {hit.document_id for hit in Searcher(index).search(QUESTION).hits} == {"0", "1", "2", "3"}


def test_the_kind_of_multilingual_e5_and_of_bge_reranker(hub: Path, tmp_path: Path) -> None:
    """XLM-R with its pieces: a bi-encoder with prompts for both sides, and a cross-encoder, both by hub id."""
    tokenizer = _sentencepiece()
    sizes = _sizes(tokenizer.get_vocab_size()) | {
        "max_position_embeddings": 66,
        "pad_token_id": 1,
        "type_vocab_size": 1,
    }
    encoder, reranker = tmp_path / "encoder", tmp_path / "reranker"
    _saved(encoder, transformers.XLMRobertaModel(transformers.XLMRobertaConfig(**sizes)), tokenizer, **XLMR)
    _as_sentence_transformer(encoder, "mean_tokens", {"query": "query: ", "document": "passage: "})
    head = transformers.XLMRobertaForSequenceClassification(transformers.XLMRobertaConfig(**sizes, num_labels=1))
    _saved(reranker, head, tokenizer, **XLMR)
    _placed(hub, "intfloat/multilingual-e5-small", encoder)
    _placed(hub, "BAAI/bge-reranker-base", reranker)
    model, theirs = BiEncoder("intfloat/multilingual-e5-small"), SentenceTransformer(str(encoder), device="cpu")
    expected = theirs.encode([f"passage: {text}" for text in TEXTS])
    np.testing.assert_allclose(model.encode_document(TEXTS), expected, atol=2e-2)
    np.testing.assert_allclose(model.encode_query(QUESTION), theirs.encode(f"query: {QUESTION}"), atol=2e-2)
    pairs = [(QUESTION, text) for text in TEXTS]
    judge = TorchCrossEncoder(str(reranker), device="cpu", max_length=64)
    logits = judge.predict(pairs, activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(CrossEncoder("BAAI/bge-reranker-base").predict(pairs), logits, atol=5e-2, rtol=2e-2)
    with bicross.create(tmp_path / "index", "intfloat/multilingual-e5-small") as index:
        index.add([Document(str(i), text) for i, text in enumerate(TEXTS)])
        hits = Searcher(index, CrossEncoder("BAAI/bge-reranker-base")).search(QUESTION, read_all=True).hits
    assert {hit.document_id for hit in hits} == {"0", "1", "2", "3"}
    assert all("cross_encoder" in hit.scores for hit in hits)
