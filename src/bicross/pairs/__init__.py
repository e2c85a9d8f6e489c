"""Near-duplicates and paraphrases among n texts, without comparing every text with every other by a cross-encoder."""

from bicross.pairs.finding import find_pairs
from bicross.pairs.report import Cluster, PairReport, Step, TextPair

__all__ = ["Cluster", "PairReport", "Step", "TextPair", "find_pairs"]
