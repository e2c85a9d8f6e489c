"""How costs rise with the size of an index, beyond what can be measured in a minute.

The figures are of ``benchmarks/growth.py`` (vectors of 384 numbers), which let an index grow to a million chunks; they
enter a plan as ratios to what is measured on the machine itself.
"""

from __future__ import annotations

import math
from itertools import pairwise

#: Up to this many chunks an index has no graph; see ``bicross.index.shard.EXACT_UP_TO``.
NO_GRAPH = 50_000

#: Milliseconds of a hybrid search by chunks.
SEARCH_MS = ((1_000, 0.83), (10_000, 1.5), (100_000, 2.94), (1_000_000, 6.73))

#: Processor time a chunk in microseconds, of the chunks added since the row before; the first two are without a graph.
CHUNK_US = ((1_000, 307.0), (10_000, 266.0), (100_000, 610.0), (1_000_000, 822.0))

#: Tokens of the chunks there (60 words), and numbers in a vector.
TOKENS, DIMENSION = 78.0, 384

#: Peak memory while a graph of a million is built, as a multiple of the index on disk (``benchmarks/index.py``).
BUILDING = 2.85


def search_growth(chunks: int, measured: int) -> float:
    """How many times as long a search takes among ``chunks`` as among ``measured``: straight lines over log(chunks)."""
    return _search_ms(chunks) / _search_ms(measured)


def graph_cost(chunks: int) -> float:
    """The cost of the graph of ``chunks`` in all, as a multiple of storing one chunk.

    Up to 100,000 chunks in proportion; to a million along a power, through what was measured; beyond as n log n.
    """
    if chunks <= NO_GRAPH:
        return 0.0
    base = CHUNK_US[1][1]
    (n1, us1), (n2, us2) = CHUNK_US[2:]
    small = (us1 / base - 1) * (n1 - CHUNK_US[1][0])
    large = small + (us2 / base - 1) * (n2 - n1)
    if chunks <= n1:
        return small * chunks / n1
    if chunks <= n2:
        return float(small * (chunks / n1) ** (math.log(large / small) / math.log(n2 / n1)))
    return large * chunks / n2 * math.log(chunks) / math.log(n2)


def _search_ms(chunks: int) -> float:
    if chunks <= SEARCH_MS[0][0]:
        return SEARCH_MS[0][1]
    pairs = list(pairwise(SEARCH_MS))
    (n0, ms0), (n1, ms1) = next((pair for pair in pairs if chunks <= pair[1][0]), pairs[-1])
    return ms0 + (ms1 - ms0) * math.log(chunks / n0) / math.log(n1 / n0)
