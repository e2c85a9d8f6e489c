"""Models for the tests: the real bi-encoder, and small random ones made with torch."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ["HF_HUB_OFFLINE"] = "1"  # every test must pass without a hub

import shutil
from pathlib import Path

import pytest

from bicross import BiEncoder, CrossEncoder
from bicross.encoders.loading import find_model

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="session")
def minilm_folder() -> Path:
    return find_model("all-MiniLM-L6-v2")


@pytest.fixture(scope="session")
def bi_encoder() -> BiEncoder:
    return BiEncoder()


@pytest.fixture(scope="session")
def cross_encoder() -> CrossEncoder:
    return CrossEncoder()


@pytest.fixture(scope="session")
def cities() -> Path:
    return EXAMPLES / "cities.jsonl"


@pytest.fixture
def make_bert(tmp_path: Path, minilm_folder: Path):
    """Write a small random BERT folder: ``make_bert(labels=None or a number)``; labels make it a cross-encoder."""
    import torch
    import transformers

    def make(name: str = "tiny", labels: int | None = None, **settings: object) -> Path:
        torch.manual_seed(7)
        sizes = {
            "vocab_size": 30522,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 64,
            "initializer_range": 0.2,  # large enough that activations and attention matter
        }
        config = transformers.BertConfig(**(sizes | settings), **({"num_labels": labels} if labels else {}))
        kind = transformers.BertForSequenceClassification if labels else transformers.BertModel
        folder = tmp_path / name
        kind(config).eval().save_pretrained(folder)
        for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
            shutil.copy(minilm_folder / file, folder)
        return folder

    return make
