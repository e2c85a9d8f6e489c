"""The second stage over those 25: the cross-encoder reads the query with each candidate and reorders them."""

import tempfile
from pathlib import Path

import bicross
from bicross import CrossEncoder, Searcher

HERE = Path(__file__).parent
QUERY = "How many people live in Berlin?"

with tempfile.TemporaryDirectory() as folder, bicross.create(Path(folder) / "index", chunk_tokens=32) as index:
    index.add(bicross.read_documents([HERE / "cities.jsonl"]))
    result = Searcher(index, CrossEncoder()).search(QUERY, top_k=5, candidates=25)

for hit in result.hits:
    dense, final = hit.scores["dense"], hit.scores["final"]
    print(f"{dense.rank:>2} -> {final.rank:<2}  relevance {hit.relevance:.3f}  {hit.chunk_id:<12} {hit.text[:80]}")
for stage in result.stages:
    print(f"{stage.stage:<12} {stage.items:>3} items  {stage.tokens:>5} tokens  {stage.milliseconds:7.1f} ms")
