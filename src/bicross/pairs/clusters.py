"""Texts that found pairs link, and one text that stands for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bicross.pairs.report import Cluster, TextPair


def clusters_of(
    pairs: Sequence[TextPair], rows: Callable[[Sequence[str]], npt.NDArray[np.float32]]
) -> tuple[Cluster, ...]:
    """Connected components of the pairs, largest first, then in order of the representative's id.

    Args:
        pairs: The links.
        rows: Embeddings of unit length for ids: float32 (ids, dimension).
    """
    if not pairs:
        return ()
    ids = sorted({name for pair in pairs for name in (pair.a, pair.b)})
    place = {name: i for i, name in enumerate(ids)}
    a, b = ([place[name] for name in names] for names in ((p.a for p in pairs), (p.b for p in pairs)))
    _, component = connected_components(coo_array((np.ones(len(a), np.bool_), (a, b)), (len(ids),) * 2), directed=False)
    order = np.argsort(component, kind="stable")
    groups: Iterable[npt.NDArray[np.int64]] = np.split(order, np.flatnonzero(np.diff(component[order])) + 1)
    found = [_cluster([ids[i] for i in group], rows) for group in groups]
    return tuple(sorted(found, key=lambda c: (-len(c.members), c.representative)))


def _cluster(members: list[str], rows: Callable[[Sequence[str]], npt.NDArray[np.float32]]) -> Cluster:
    vectors = rows(members)
    # the mean cosine with all members is the product with their mean; rounded, so that ties fall to the first id
    means = np.round(vectors @ vectors.mean(axis=0), 5)
    return Cluster(members[int(np.argmax(means))], tuple(members))
