"""Models for the tests: the real bi-encoder, and small random ones made with torch."""

from __future__ import annotations

import os

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ["HF_HUB_OFFLINE"] = "1"  # every test must pass without a hub

import shutil
import statistics
import textwrap
from pathlib import Path

import pytest

from bicross import BiEncoder, CrossEncoder, Document
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


@pytest.fixture(scope="session")
def functions() -> list[Document]:
    """Two hundred and more functions of Python's own modules: the beginning of the documentation of each."""
    found = {}
    for home in (str, bytes, list, dict, set, int, float, os, shutil, statistics, textwrap, Path):
        for name in dir(home):
            text = getattr(getattr(home, name), "__doc__", None)
            if not name.startswith("_") and text and len(text) > 60:
                found[f"{home.__name__}.{name}"] = Document(f"{home.__name__}.{name}", text[:300])
    return list(found.values())


@pytest.fixture
def make_model(tmp_path: Path, minilm_folder: Path):
    """Write a small random model folder: ``make_model(family, labels=None or a number)``; labels: a cross-encoder."""
    import torch
    import transformers

    def make(family: str = "bert", name: str = "tiny", labels: int | None = None, **settings: object) -> Path:
        torch.manual_seed(7)
        sizes = {
            "vocab_size": 30522,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 66,
            "initializer_range": 0.2,  # large enough that activations and attention matter
        }
        if family == "distilbert":
            sizes = {"vocab_size": 30522, "dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
            sizes |= {"max_position_embeddings": 66, "initializer_range": 0.2}
        if family in ("roberta", "xlm-roberta", "mpnet"):
            sizes |= {"pad_token_id": 1}
        if family == "electra":
            sizes |= {"embedding_size": 16}
        config = transformers.AutoConfig.for_model(
            family, **(sizes | settings), **({"num_labels": labels} if labels else {})
        )
        kind = transformers.AutoModelForSequenceClassification if labels else transformers.AutoModel
        model = kind.from_config(config).eval()
        with torch.no_grad():  # layers start without a bias, which would hide one that is forgotten
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
        folder = tmp_path / name
        model.save_pretrained(folder)
        for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
            shutil.copy(minilm_folder / file, folder)
        return folder

    return make


@pytest.fixture
def make_bert(make_model):
    """As ``make_model`` for BERT: ``make_bert(name, labels=...)``."""

    def make(name: str = "tiny", labels: int | None = None, **settings: object) -> Path:
        return make_model("bert", name, labels, **{"max_position_embeddings": 64, **settings})

    return make
