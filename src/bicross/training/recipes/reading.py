"""The texts of ``prepare`` and the models that read them, on a GPU or on CPUs.

Texts are tokenised once and lie on the device as rows of ids; batches are put together there, so a GPU does not wait
for Python. Imports nothing that is not on a machine with torch and transformers.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForSequenceClassification

SEED = 20261123

#: Tokens of a query and of a document in training.
QUERY_TOKENS, DOCUMENT_TOKENS = 48, 160

#: Batches are padded to a multiple of so many tokens: a GPU is slow with a shape that it has not seen.
STEP = 16

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")

Batch = dict[str, Tensor]


@dataclass
class Query:
    """Of the file that ``prepare`` writes; documents are named by their places in the source."""

    text: str
    held_out: bool
    grades: dict[int, int]
    bm25: dict[int, float]


@dataclass
class Source:
    """Texts of one source; ``first_document`` and ``first_query`` are its places among all texts."""

    name: str
    documents: list[str]
    queries: list[Query]
    first_document: int = 0
    first_query: int = 0


def read_sources(files: list[Path]) -> list[Source]:
    out: list[Source] = []
    documents = queries = 0
    for file in files:
        with lzma.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                asked = [
                    Query(
                        q["text"],
                        q["held_out"],
                        {int(place): grade for place, grade in q["grades"].items()},
                        dict(zip(q["lexical"], q["bm25"], strict=True)),
                    )
                    for q in row["queries"]
                ]
                out.append(Source(row["name"], row["documents"], asked, documents, queries))
                documents += len(row["documents"])
                queries += len(asked)
    return out


@dataclass
class Tokens:
    """Texts as rows of token ids without special tokens, on the device, and how many each has.

    What is to be read is chosen by lengths that lie in main memory (``sizes``): so nothing waits for the device.
    """

    ids: Tensor
    lengths: Tensor
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.sizes)


def tokens_of(tokenizer: Tokenizer, texts: list[str], most: int) -> Tokens:
    tokenizer.no_padding()
    tokenizer.enable_truncation(most)
    ids = np.zeros((len(texts), most), dtype=np.int32)
    lengths = np.zeros(len(texts), dtype=np.int64)
    for start in range(0, len(texts), 4096):
        for row, e in enumerate(tokenizer.encode_batch(texts[start : start + 4096], add_special_tokens=False), start):
            lengths[row] = len(e.ids)
            ids[row, : len(e.ids)] = e.ids
    sizes = torch.from_numpy(lengths)
    return Tokens(torch.from_numpy(ids).to(DEVICE), sizes.to(DEVICE), sizes)


class Texts:
    """The texts of all sources, tokenised once for each tokenizer and its prompts."""

    def __init__(self, sources: list[Source]) -> None:
        self.sources = sources
        self._known: dict[tuple[bytes, str, str], tuple[Tokens, Tokens]] = {}

    def tokens(self, tokenizer: Path, query: str = "", document: str = "") -> tuple[Tokens, Tokens]:
        """All queries and all documents, with such prompts, by the tokenizer of a file."""
        key = (tokenizer.read_bytes(), query, document)
        if key not in self._known:
            reads = Tokenizer.from_file(str(tokenizer))
            asked = [query + q.text for s in self.sources for q in s.queries]
            stored = [document + d for s in self.sources for d in s.documents]
            self._known[key] = tokens_of(reads, asked, QUERY_TOKENS), tokens_of(reads, stored, DOCUMENT_TOKENS)
        return self._known[key]


@dataclass
class Frame:
    """The special tokens around a text, and around and between two."""

    start: list[int]
    middle: list[int]
    end: list[int]
    padding: int

    @staticmethod
    def of(tokenizer: Tokenizer, padding: int) -> Frame:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        (a,) = tokenizer.encode("a", add_special_tokens=False).ids[-1:]
        ids = tokenizer.encode("a", "a").ids
        first, second = (i for i, token in enumerate(ids) if token == a)
        return Frame(ids[:first], ids[first + 1 : second], ids[second + 1 :], padding)


def _wide(tokens: int) -> int:
    return -(-tokens // STEP) * STEP


def single(tokens: Tokens, rows: Tensor, frame: Frame) -> Batch:
    """Texts, by their places, as a model reads them: (rows, longest)."""
    before, after = len(frame.start), len(frame.end)
    width = _wide(int(tokens.sizes[rows].max()) + before + after)
    rows = rows.to(DEVICE)
    lengths = tokens.lengths[rows]
    place = torch.arange(width, device=DEVICE)[None]
    inside = (place - before).clamp(0, tokens.ids.shape[1] - 1)
    ids = tokens.ids[rows].long().gather(1, inside.expand(len(rows), -1))
    ids = torch.where((place >= before) & (place < before + lengths[:, None]), ids, frame.padding)
    ids[:, :before] = torch.tensor(frame.start, device=DEVICE)
    for offset, token in enumerate(frame.end):
        ids.scatter_(1, (lengths + before + offset)[:, None], token)
    return {"input_ids": ids, "attention_mask": (place < lengths[:, None] + before + after).long()}


def pairs(queries: Tokens, documents: Tokens, q: Tensor, d: Tensor, frame: Frame, types: bool) -> Batch:
    """Pairs, by their places, as a model reads them: (pairs, longest)."""
    s, m, e = len(frame.start), len(frame.middle), len(frame.end)
    width = _wide(int((queries.sizes[q] + documents.sizes[d]).max()) + s + m + e)
    q, d = q.to(DEVICE), d.to(DEVICE)
    lq, ld = queries.lengths[q][:, None], documents.lengths[d][:, None]
    place = torch.arange(width, device=DEVICE)[None].expand(len(q), -1)
    of_query = queries.ids[q].long().gather(1, (place - s).clamp(0, queries.ids.shape[1] - 1))
    second = s + lq + m
    of_document = documents.ids[d].long().gather(1, (place - second).clamp(0, documents.ids.shape[1] - 1))
    ids = torch.full_like(place, frame.padding)
    ids = torch.where((place >= s) & (place < s + lq), of_query, ids)
    ids = torch.where((place >= second) & (place < second + ld), of_document, ids)
    for offset, token in enumerate(frame.start):
        ids[:, offset] = token
    for offset, token in enumerate(frame.middle):
        ids.scatter_(1, s + lq + offset, token)
    for offset, token in enumerate(frame.end):
        ids.scatter_(1, second + ld + offset, token)
    batch = {"input_ids": ids, "attention_mask": (place < second + ld + e).long()}
    return {**batch, "token_type_ids": (place >= second).long()} if types else batch


def autocast() -> Any:
    """bf16 on a GPU; on CPUs the precision of the weights."""
    return torch.autocast(DEVICE.type, torch.bfloat16, enabled=DEVICE.type == "cuda")


def by_length(lengths: Tensor, most_tokens: int) -> Iterator[Tensor]:
    """Places in batches of like length, the longest first, each of at most so many tokens with padding."""
    order = torch.argsort(lengths, descending=True)
    start = 0
    while start < len(order):
        rows = max(1, most_tokens // (int(lengths[order[start]]) + 4))
        yield order[start : start + rows]
        start += rows


class Encoder:
    """A bi-encoder with mean pooling: all texts of all sources, by its own tokenizer and with its own prompts."""

    def __init__(self, folder: Path, most_tokens: int) -> None:
        self.model = AutoModel.from_pretrained(folder, dtype=torch.float32).to(DEVICE)
        self.tokenizer = folder / "tokenizer.json"
        self.frame = Frame.of(Tokenizer.from_file(str(self.tokenizer)), self.model.config.pad_token_id or 0)
        prompts = folder / "config_sentence_transformers.json"
        self.prompts = json.loads(prompts.read_text()).get("prompts", {}) if prompts.is_file() else {}
        self.most_tokens = most_tokens

    def tokens(self, texts: Texts) -> tuple[Tokens, Tokens]:
        document = self.prompts.get("document", self.prompts.get("passage", ""))
        return texts.tokens(self.tokenizer, self.prompts.get("query", ""), document)

    def embeddings(self, batch: Batch) -> Tensor:
        """Unit vectors, f32: (texts, dimensions)."""
        with autocast():
            states = self.model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None].float()
        return nn.functional.normalize((states.float() * mask).sum(1) / mask.sum(1), dim=1)

    def embed(self, tokens: Tokens) -> Tensor:
        """Unit vectors of all texts, f16, on the device: (texts, dimensions)."""
        self.model.eval()
        with torch.inference_mode():
            return self._embed(tokens)

    def _embed(self, tokens: Tokens) -> Tensor:
        out: Tensor | None = None
        for rows in by_length(tokens.sizes, self.most_tokens):
            vectors = self.embeddings(single(tokens, rows, self.frame))
            if out is None:
                out = torch.empty(len(tokens), vectors.shape[1], dtype=torch.float16, device=DEVICE)
            out[rows.to(DEVICE)] = vectors.half()
        assert out is not None
        return out


class Pooled(nn.Module):
    """Instead of ``[CLS]``: the means of both segments, their product and their difference, and a line through them."""

    def __init__(self, body: nn.Module, hidden: int) -> None:
        super().__init__()
        self.body = body
        self.line = nn.Linear(4 * hidden, 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        states = self.body(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        second = (token_type_ids * attention_mask)[..., None].to(states.dtype)
        first = ((1 - token_type_ids) * attention_mask)[..., None].to(states.dtype)
        q, d = ((states * mask).sum(1) / mask.sum(1).clamp(min=1) for mask in (first, second))
        return self.line(torch.cat([q, d, q * d, (q - d).abs()], 1))[:, 0]


class Reader:
    """A cross-encoder over the texts of all sources."""

    def __init__(
        self,
        folder: Path,
        texts: Texts,
        most_tokens: int,
        *,
        layers: Sequence[int] = (),
        pooled: bool = False,
    ) -> None:
        torch.manual_seed(SEED)
        # no dropout: few passes over soft targets do not overfit
        options = {"dtype": torch.float32, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        whole = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, **options)
        if layers:
            encoder = whole.base_model.encoder
            encoder.layer = nn.ModuleList([encoder.layer[i] for i in layers])
            whole.config.num_hidden_layers = len(layers)
        self.whole = whole.to(DEVICE)
        self.model = Pooled(whole.base_model, whole.config.hidden_size).to(DEVICE) if pooled else self.whole
        self.pooled = pooled
        tokenizer = folder / "tokenizer.json"
        self.frame = Frame.of(Tokenizer.from_file(str(tokenizer)), whole.config.pad_token_id or 0)
        self.types = getattr(whole.config, "type_vocab_size", 0) > 1
        self.most_tokens = most_tokens
        self.queries, self.documents = texts.tokens(tokenizer)
        self.folder = folder

    def sizes(self, q: Tensor, d: Tensor) -> Tensor:
        return self.queries.sizes[q] + self.documents.sizes[d]

    def logits(self, q: Tensor, d: Tensor) -> Tensor:
        """f32 logits of pairs (places of queries and of documents), in their order; read by like length."""
        parts, order = [], []
        for rows in by_length(self.sizes(q, d), self.most_tokens):
            batch = pairs(self.queries, self.documents, q[rows], d[rows], self.frame, self.types)
            with autocast():
                out = self.model(**batch)
            parts.append((out if self.pooled else out.logits[:, 0]).float())
            order.append(rows)
        return torch.cat(parts)[torch.argsort(torch.cat(order)).to(DEVICE)]

    def score(self, q: Tensor, d: Tensor) -> Tensor:
        """Logits of any number of pairs, in main memory."""
        self.model.eval()
        out = torch.empty(len(q), device=DEVICE)
        with torch.inference_mode():
            for rows in by_length(self.sizes(q, d), self.most_tokens * 3):
                out[rows.to(DEVICE)] = self.logits(q[rows], d[rows])
        return out.cpu()

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        config = json.loads((self.folder / "config.json").read_text())
        config |= {
            "architectures": [type(self.whole).__name__],
            "num_hidden_layers": self.whole.config.num_hidden_layers,
            "id2label": {"0": "LABEL_0"},
            "label2id": {"LABEL_0": 0},
            "dtype": "float16",
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        weights = {name: w.detach().half().cpu().contiguous() for name, w in self.whole.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
