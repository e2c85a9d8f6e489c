"""Query to hits: retrieve candidates, rerank them, say what each stage cost."""

from bicross.search.comparing import Comparison, compare
from bicross.search.hit import Hit, Reading, SearchResult, StageCost
from bicross.search.two_stage import Searcher

__all__ = ["Comparison", "Hit", "Reading", "SearchResult", "Searcher", "StageCost", "compare"]
