"""Ideas that could make the encoders faster, each against what bicross does; what came of them is in docs/decisions.

Both sides of each idea run in one process, in bf16 where the CPU has it, and take turns. Prints a table and writes
``benchmarks/results/ideas.json``: ``ratio`` is how many times as fast the idea is as its base.

Run: ``python benchmarks/ideas.py``
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import openvino as ov
from measuring import alternate, technical_texts
from openvino import opset13 as op

from bicross import BiEncoder, CrossEncoder
from bicross.encoders import batching
from bicross.encoders.batching import plan_batches
from bicross.encoders.engines import Head, resolve_precision
from bicross.encoders.engines.openvino import OpenVinoEngine, padded
from bicross.encoders.families import Tensors, architecture
from bicross.encoders.folder import read_config, read_weights, weights_file
from bicross.encoders.graphs import encoder_graph, transformer
from bicross.encoders.tokenising import TextTokeniser, Tokenised

RESULTS = Path(__file__).parent / "results" / "ideas.json"
ROUNDS = 5
PRECISION = resolve_precision("auto")
EMBEDDING = Head("embedding", "mean", True)


def graph(folder: Path, head: Head) -> ov.Model:
    file = weights_file(folder)
    shape = architecture(read_config(folder), str(folder))
    return encoder_graph(Tensors(read_weights(file), shape.family, str(file)), shape, head)


def fused_layer(self, x, bias, name: str, first_token_only: bool):
    """A layer with one product for queries, keys and values, in place of three."""
    family, shape = self._shape.family, self._shape
    parts = [f"{name}{part}" for part in (family.query, family.key, family.value)]
    weight = np.concatenate([self._tensors(f"{part}.weight") for part in parts])
    offset = np.concatenate([self._tensors(f"{part}.bias") for part in parts])
    together = op.add(op.matmul(x, op.constant(weight), False, True), op.constant(offset))
    split = op.constant(np.array([0, 0, 3, shape.heads, shape.hidden // shape.heads]))
    by_head = op.transpose(op.reshape(together, split, True), op.constant(np.array([2, 0, 3, 1, 4])))
    query, key, value = (op.gather(by_head, op.constant(np.int64(i)), op.constant(np.int64(0))) for i in range(3))
    attended = op.transpose(
        op.scaled_dot_product_attention(query, key, value, bias), op.constant(np.array([0, 2, 1, 3]))
    )
    joined = op.reshape(attended, op.constant(np.array([0, 0, shape.hidden])), True)
    rows = self.normalised(op.add(self.linear(joined, f"{name}{family.joined}"), x), f"{name}{family.attention_norm}")
    forward = self._feed_forward(rows, f"{name}{family.inner}", f"{name}{family.outer}")
    return self.normalised(op.add(forward, rows), f"{name}{family.output_norm}")


@contextmanager
def layers(replacement: Callable[..., object]):
    with mock.patch.object(transformer._Body, "_layer", replacement):
        yield


def runner(model: ov.Model, items: Sequence[Tokenised], budget: int, **config: object) -> Callable[[], object]:
    """Run all items through a compiled model, in batches made beforehand."""
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": PRECISION, **config})
    queue = ov.AsyncInferQueue(compiled)
    plan = plan_batches([len(item) for item in items], budget)
    batches = [padded([items[i] for i in positions], 0) for positions in plan]

    def run() -> None:
        for batch in batches:
            queue.start_async(batch)
        queue.wait_all()

    return run


def main() -> None:
    folder, cross_folder = BiEncoder().folder, CrossEncoder().folder
    texts = technical_texts(256)
    items = TextTokeniser(folder, 256).texts(texts, str)
    lengths = [len(item) for item in items]
    rows: list[dict[str, object]] = []

    def compare(idea: str, base: Callable[[], object], tried: dict[str, Callable[[], object]]) -> None:
        taken = alternate([base, *tried.values()], ROUNDS)
        for name, seconds in zip(tried, taken[1:], strict=True):
            rows.append({"idea": idea, "tried": name, "ratio": round(taken[0] / seconds, 3)})
            print(f"{idea:<46}{name:<34}{rows[-1]['ratio']:>8}", flush=True)

    plain = graph(folder, EMBEDDING)
    own = OpenVinoEngine.token_budget
    streams = {"PERFORMANCE_HINT": "THROUGHPUT"}
    base = runner(plain, items, own, **streams)
    budgets = {f"{n} tokens": runner(plain, items, n, **streams) for n in (256, 512, 2048, 4096, 8192)}
    compare(f"other token budgets than {own}", base, budgets)
    in_order = [batch for i in range(0, len(items), 32) if (batch := items[i : i + 32])]
    sizes = [len(batch) * max(map(len, batch)) for batch in in_order]
    rows.append(
        {"idea": "padding", "tried": "batches of 32 as they come", "share": round(1 - sum(lengths) / sum(sizes), 4)}
    )
    planned = sum(len(batch) * lengths[batch[0]] for batch in plan_batches(lengths, own))
    rows.append({"idea": "padding", "tried": f"sorted, {own} tokens", "share": round(1 - sum(lengths) / planned, 4)})
    print(f"padding: {rows[-2]['share']:.1%} in batches of 32 as they come, {rows[-1]['share']:.1%} sorted")
    compare("one stream with all cores", base, {"latency": runner(plain, items, own, PERFORMANCE_HINT="LATENCY")})
    with layers(fused_layer):
        fused = graph(folder, EMBEDDING)
    compare("one product for query, key, value", base, {"fused": runner(fused, items, own, **streams)})

    pairs = TextTokeniser(cross_folder, 512).pairs([("how do I read a file", t) for t in texts[:100]], "truncate", str)[
        0
    ]
    shortened = runner(graph(cross_folder, Head("logits")), pairs, own, **streams)
    usual = transformer._Body._layer
    with layers(lambda self, x, bias, name, first: usual(self, x, bias, name, False)):
        whole = graph(cross_folder, Head("logits"))
    compare("last layer for the first token only", runner(whole, pairs, own, **streams), {"first token": shortened})

    encoder = BiEncoder()
    many = texts * 4
    with mock.patch.object(batching, "WINDOW", 256):

        def in_one_thread() -> None:
            with mock.patch("bicross.encoders.bi_encoder.one_ahead", map):
                encoder.encode_document(many)

        compare(
            "tokenising in a second thread", in_one_thread, {"one window ahead": lambda: encoder.encode_document(many)}
        )

    with tempfile.TemporaryDirectory() as cache:
        compile_plain = lambda **config: ov.Core().compile_model(  # noqa: E731
            graph(folder, EMBEDDING), "CPU", {"INFERENCE_PRECISION_HINT": PRECISION, **streams, **config}
        )
        compare("model cache", compile_plain, {"CACHE_DIR": lambda: compile_plain(CACHE_DIR=cache)})
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
