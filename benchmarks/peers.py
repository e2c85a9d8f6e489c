"""The libraries that people use today, side by side on the same local weights; nothing is downloaded.

Each is called as its documentation says, with its own defaults for batches and threads. Models are of the BERT family.
With transformers 5, optimum-onnx cannot be installed, and sentence-transformers has no ONNX backend without it; ONNX is
measured through fastembed, FlashRank and onnxruntime itself, on a model that torch exports.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

#: What the model is fed, and what the tokeniser calls it.
INPUTS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
BATCH = 32  # sentence-transformers' default, for onnxruntime, which has none
FLASHRANK_NAME = "ms-marco-TinyBERT-L-2-v2"  # it reads only folders of names that it knows; this is its default

Run = Callable[..., np.ndarray]
Load = Callable[[], tuple[str, Run]]  # gives the precision in force, and what to call


@dataclass(frozen=True)
class Peer:
    """One library on one model; ``run(texts)`` gives vectors, ``run(query, passages)`` scores in the given order."""

    system: str
    precision: str
    run: Run


def embedders(folder: Path, work: Path) -> Iterator[Peer]:
    """Bi-encoders; the first is sentence-transformers with its defaults. Exported files stay in ``work`` for reuse."""
    loads: list[tuple[str, Load]] = [
        *_st_loads(folder, pairs=False),
        ("onnxruntime", partial(_onnxruntime, folder, work, pairs=False)),
        ("fastembed", partial(_fastembed_embedder, folder, work)),
    ]
    yield from _working(loads, ["a short text", "another text, which is longer"])


def rerankers(folder: Path, work: Path) -> Iterator[Peer]:
    """Cross-encoders; the first is sentence-transformers' ``predict``. Scores are logits, FlashRank's their sigmoid."""
    loads: list[tuple[str, Load]] = [
        *_st_loads(folder, pairs=True),
        ("onnxruntime", partial(_onnxruntime, folder, work, pairs=True)),
        ("fastembed", partial(_fastembed_reranker, folder, work)),
        ("flashrank", partial(_flashrank_reranker, folder, work)),
    ]
    yield from _working(loads, "a query", ["a short passage", "another passage, which is longer"])


def _working(loads: list[tuple[str, Load]], *sample: Any) -> Iterator[Peer]:
    """The peers that load and answer; for any other, a line says why not. Without the first there is no comparison."""
    given: set[tuple[str, str]] = set()
    for system, load in loads:
        try:
            precision, run = load()
            run(*sample)
        except Exception as error:
            if not given:
                raise
            reason = " ".join(str(error).split())[:300]
            print(f"{system}: {type(error).__name__}: {reason}", file=sys.stderr, flush=True)
            continue
        if (system, precision) not in given:  # OpenVINO's default may be f32
            given.add((system, precision))
            yield Peer(system, precision, run)


def _st_loads(folder: Path, *, pairs: bool) -> list[tuple[str, Load]]:
    """What sentence-transformers offers on a CPU; with OpenVINO both f32 and the precision that it chooses itself."""
    kinds = [("torch", "f32"), ("torch", "bf16"), ("onnx", "f32"), ("openvino", "f32"), ("openvino", "")]
    names = [f"sentence-transformers {backend}".removesuffix(" torch") for backend, _ in kinds]
    return [(name, partial(_st, folder, *kind, pairs=pairs)) for name, kind in zip(names, kinds, strict=True)]


def _st(folder: Path, backend: str, precision: str, *, pairs: bool) -> tuple[str, Run]:
    import torch
    from sentence_transformers import CrossEncoder, SentenceTransformer

    options: dict[str, Any] = {}  # the baseline is given nothing at all
    if precision == "bf16":
        options = {"model_kwargs": {"dtype": torch.bfloat16}}
    elif backend != "torch":
        hint = {"ov_config": {"INFERENCE_PRECISION_HINT": precision}} if backend == "openvino" and precision else {}
        options = {"backend": backend, "model_kwargs": {"export": True, **hint}}
    outer: Any = (CrossEncoder if pairs else SentenceTransformer)(str(folder), device="cpu", **options)
    inner = outer.model if pairs else outer[0].auto_model
    if backend == "openvino":
        inner.compile()
        precision = str(inner.request.get_property("INFERENCE_PRECISION_HINT").get_type_name())
    elif backend == "torch" and precision == "f32":
        inner.float()  # transformers keeps fp16 weights as they are on disk
    if pairs:
        raw = torch.nn.Identity()
        return precision, lambda query, passages: outer.predict([(query, p) for p in passages], activation_fn=raw)
    return precision, lambda texts: outer.encode(texts)


def _limit(folder: Path) -> int:
    """How many tokens of a text the model reads."""
    if (file := folder / "sentence_bert_config.json").is_file():
        return int(json.loads(file.read_text())["max_seq_length"])
    return int(json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"])


def _size(folder: Path) -> int:
    return int(json.loads((folder / "config.json").read_text())["hidden_size"])


def _exported(folder: Path, work: Path, *, pairs: bool) -> Path:
    """A folder with ``model.onnx`` in f32 and tokeniser files that state the model's token limit; made once."""
    with (folder / "model.safetensors").open("rb") as stream:
        target = work / f"{folder.name}-{hashlib.file_digest(stream, 'sha256').hexdigest()[:12]}"
    if (target / "model.onnx").is_file():
        return target
    import torch
    from transformers import AutoModel, AutoModelForSequenceClassification

    # onnxruntime fuses more of the graph when attention is spelt out
    options: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "eager"}
    if pairs:
        model = AutoModelForSequenceClassification.from_pretrained(folder, **options)
    else:
        model = AutoModel.from_pretrained(folder, add_pooling_layer=False, **options)
    target.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model.eval(),
        kwargs={name: torch.ones(2, 8, dtype=torch.long) for name in INPUTS},
        f=target / "unfinished",
        input_names=list(INPUTS),
        dynamic_shapes={name: {0: "batch", 1: "tokens"} for name in INPUTS},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    special = {key: value for key, value in settings.items() if key.endswith("_token") and value}
    # fastembed cuts at the smallest limit that stands here, so only the true one does
    (target / "tokenizer_config.json").write_text(json.dumps({"model_max_length": _limit(folder), **special}))
    (target / "special_tokens_map.json").write_text(json.dumps(special))
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(folder / name, target / name)
    (target / "unfinished").rename(target / "model.onnx")
    return target


def _onnxruntime(folder: Path, work: Path, *, pairs: bool) -> tuple[str, Run]:
    """Padded batches, longest texts first; a vector is the mean over its tokens, brought to unit length."""
    import onnxruntime
    from tokenizers import Tokenizer

    exported = _exported(folder, work, pairs=pairs)
    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(exported / "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(_limit(folder))

    def outputs(inputs: Sequence[Any]) -> np.ndarray:
        found = np.empty((len(inputs), 1 if pairs else _size(folder)), dtype=np.float32)
        order = sorted(range(len(inputs)), key=lambda i: len("".join(inputs[i])), reverse=True)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            encoded = tokenizer.encode_batch([inputs[i] for i in rows])
            feed = {name: np.array([getattr(e, field) for e in encoded]) for name, field in INPUTS.items()}
            output = session.run(None, feed)[0]
            if not pairs:
                output = (feed["attention_mask"][:, None].astype(np.float32) @ output)[:, 0]
                output /= np.linalg.norm(output, axis=1, keepdims=True)
            found[rows] = output
        return found

    if pairs:
        return "f32", lambda query, passages: outputs([(query, p) for p in passages])[:, 0]
    return "f32", outputs


def _fastembed_embedder(folder: Path, work: Path) -> tuple[str, Run]:
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    exported = _exported(folder, work, pairs=False)
    name, source = exported.name, ModelSource(hf=exported.name)
    if name not in [m["model"] for m in TextEmbedding.list_supported_models()]:
        TextEmbedding.add_custom_model(name, PoolingType.MEAN, True, source, _size(folder), model_file="model.onnx")
    model = TextEmbedding(name, specific_model_path=str(exported))
    return "f32", lambda texts: np.array(list(model.embed(texts)), dtype=np.float32)


def _fastembed_reranker(folder: Path, work: Path) -> tuple[str, Run]:
    from fastembed.common.model_description import ModelSource
    from fastembed.rerank.cross_encoder import TextCrossEncoder

    exported = _exported(folder, work, pairs=True)
    name, source = exported.name, ModelSource(hf=exported.name)
    if name not in [m["model"] for m in TextCrossEncoder.list_supported_models()]:
        TextCrossEncoder.add_custom_model(name, source, model_file="model.onnx")
    model = TextCrossEncoder(name, specific_model_path=str(exported))
    return "f32", lambda query, passages: np.array(list(model.rerank(query, passages)), dtype=np.float32)


def _flashrank_reranker(folder: Path, work: Path) -> tuple[str, Run]:
    from flashrank import Ranker, RerankRequest
    from flashrank.Config import model_file_map

    exported = _exported(folder, work, pairs=True)
    home = work / f"{exported.name}-flashrank" / FLASHRANK_NAME
    home.mkdir(parents=True, exist_ok=True)
    for file in exported.iterdir():
        link = home / (model_file_map[FLASHRANK_NAME] if file.suffix == ".onnx" else file.name)
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    ranker = Ranker(FLASHRANK_NAME, cache_dir=str(home.parent), max_length=_limit(folder), log_level="WARNING")

    def run(query: str, passages: Sequence[str]) -> np.ndarray:
        scores = np.empty(len(passages), dtype=np.float32)
        for hit in ranker.rerank(RerankRequest(query, [{"id": i, "text": p} for i, p in enumerate(passages)])):
            scores[hit["id"]] = hit["score"]
        return scores

    return "f32", run
