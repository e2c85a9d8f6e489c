"""Semantic search with a bi-encoder alone: the 25 chunks nearest to a query."""

import tempfile
from pathlib import Path

import bicross

HERE = Path(__file__).parent
QUERY = "How many people live in Berlin?"

with tempfile.TemporaryDirectory() as folder, bicross.create(Path(folder) / "index", chunk_tokens=32) as index:
    index.add(bicross.read_documents([HERE / "cities.jsonl"]))
    for rank, candidate in enumerate(index.search(QUERY, top_k=25), start=1):
        print(f"{rank:>2}  {candidate.score:.4f}  {candidate.chunk.id:<12} {candidate.chunk.text[:80]}")
