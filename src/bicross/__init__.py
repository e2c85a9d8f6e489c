"""Two-stage semantic search: a bi-encoder finds candidates, a cross-encoder puts the best on top."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bicross.documents import Chunk, Document, Fields, read_documents
    from bicross.encoders import BiEncoder, CompactEmbeddings, CrossEncoder, Quantised, compact, quantise
    from bicross.errors import BicrossError
    from bicross.evaluation import Evaluation, evaluate
    from bicross.index import Index, LocalIndex, check, copy, export, refresh
    from bicross.machine import Plan, plan
    from bicross.opening import create, default_cross_encoder, import_export, open
    from bicross.pairs import PairReport, TextPair, find_pairs
    from bicross.planning import PairPlan, plan_pairs
    from bicross.search import Comparison, Hit, Searcher, SearchResult, compare

__version__ = "0.1.0"

# Each name is imported when it is first used, so that ``import bicross`` costs next to nothing.
_HOME = {
    "BiEncoder": "encoders",
    "BicrossError": "errors",
    "Chunk": "documents",
    "CompactEmbeddings": "encoders",
    "Comparison": "search",
    "CrossEncoder": "encoders",
    "Document": "documents",
    "Evaluation": "evaluation",
    "Fields": "documents",
    "Hit": "search",
    "Index": "index",
    "LocalIndex": "index",
    "PairPlan": "planning",
    "PairReport": "pairs",
    "Plan": "machine",
    "Quantised": "encoders",
    "SearchResult": "search",
    "Searcher": "search",
    "TextPair": "pairs",
    "check": "index",
    "compact": "encoders",
    "compare": "search",
    "copy": "index",
    "create": "opening",
    "default_cross_encoder": "opening",
    "evaluate": "evaluation",
    "export": "index",
    "find_pairs": "pairs",
    "import_export": "opening",
    "open": "opening",
    "plan": "machine",
    "plan_pairs": "planning",
    "quantise": "encoders",
    "read_documents": "documents",
    "refresh": "index",
}

__all__ = [
    "BiEncoder",
    "BicrossError",
    "Chunk",
    "CompactEmbeddings",
    "Comparison",
    "CrossEncoder",
    "Document",
    "Evaluation",
    "Fields",
    "Hit",
    "Index",
    "LocalIndex",
    "PairPlan",
    "PairReport",
    "Plan",
    "Quantised",
    "SearchResult",
    "Searcher",
    "TextPair",
    "check",
    "compact",
    "compare",
    "copy",
    "create",
    "default_cross_encoder",
    "evaluate",
    "export",
    "find_pairs",
    "import_export",
    "open",
    "plan",
    "plan_pairs",
    "quantise",
    "read_documents",
    "refresh",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bicross' has no attribute {name!r}")
    return getattr(importlib.import_module(f"bicross.{_HOME[name]}"), name)
