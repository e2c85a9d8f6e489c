"""Find the pairs: embed each text once, take near neighbours, let the cross-encoder read those in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, product
from math import inf, isnan
from time import perf_counter

import numpy as np

from bicross.documents import Document
from bicross.encoders import BiEncoder, CrossEncoder
from bicross.encoders.progress import progress
from bicross.errors import UsageError
from bicross.pairs.clusters import clusters_of
from bicross.pairs.corpus import Corpus, corpus_of
from bicross.pairs.neighbours import near_pairs
from bicross.pairs.reading import Candidates, Reading, read_both_ways
from bicross.pairs.report import PairReport, Step, TextPair
from bicross.pairs.verdict import Verdict, verdict_of
from bicross.planning import plan_pairs

#: Copies of one text whose pairs are all listed: a thousand equal texts would make half a million pairs.
LISTED_COPIES = 100

#: The lowest cosine of a pair where cosines alone decide: a probability of .5 on the same judged pairs as the verdict.
COSINE = 0.875

#: The lowest cosine of a candidate where the verdict does not give one.
FLOOR = 0.5

#: The most candidates that are read, for each text.
BUDGET = 10


def find_pairs(
    texts: Iterable[str] | Iterable[Document],
    *,
    bi_encoder: BiEncoder | None = None,
    cross_encoder: CrossEncoder | None = None,
    rerank: bool = True,
    threshold: float | None = None,
    top: int | None = None,
    neighbours: int = 50,
    floor: float | None = None,
    budget: int | None = None,
    show_progress: bool | None = None,
) -> PairReport:
    """Near-duplicates and paraphrases among texts, the same whatever order the texts come in.

    The bi-encoder embeds each distinct text once. Pairs above a cosine floor that are near neighbours are candidates.
    The cross-encoder reads those in both directions, see ``reading``. Equal texts are pairs without being read.

    Args:
        texts: Strings, whose ids are their positions, "0", "1" …; or documents, whose title goes before the text.
        bi_encoder: By default the usual one.
        cross_encoder: By default the one that bicross ships.
        rerank: False leaves the decision to the cosines.
        threshold: The lowest probability of a pair, 0 to 1; without ``rerank`` the lowest cosine. By default .5, or a
            cosine of .875; with ``top``, none.
        top: The most pairs, best first.
        neighbours: A pair is a candidate when it is among so many nearest neighbours of one of both texts.
        floor: The lowest cosine of a candidate; by default the lowest at which a pair can reach the threshold, or .5
            where the models have no fitted numbers.
        budget: The most candidates that the cross-encoder reads, the most similar ones; by default 10 a text.
        show_progress: None shows bars on a terminal for long work.

    Raises:
        UsageError: Fewer than two texts, a number out of its range, or a cross-encoder with several labels.
        DocumentError: Two documents have the same id and different texts.
    """
    check_numbers(threshold, top, neighbours, floor, budget, rerank)
    corpus = corpus_of(texts)
    bi_encoder = bi_encoder or BiEncoder()
    judge = (cross_encoder or CrossEncoder()) if rerank else None
    if judge is not None:
        judge.check_orders()
    verdict = verdict_of(bi_encoder, judge)
    if threshold is None and top is None:
        threshold = 0.5 if rerank else COSINE
    bar = -inf if threshold is None else verdict.bar(threshold)
    if floor is None:
        floor = verdict.floor(bar, default=FLOOR)

    started = perf_counter()
    encoded = bi_encoder.encode(corpus.texts, bi_encoder.document_prompt, "texts", show_progress)
    rows = encoded.embeddings / np.maximum(np.linalg.norm(encoded.embeddings, axis=1, keepdims=True), 1e-12)
    embedded = perf_counter()
    with progress("Comparing embeddings", len(rows), show_progress) as advance:
        near = Candidates(*near_pairs(rows, floor, neighbours, advance=advance))
    compared = perf_counter()
    if judge is None:
        found, reading = near, Reading(np.full(len(near), np.nan), 0, 0, 0, 0, False)
        kept = verdict.scores(0.0, near.cosines) >= bar
    else:
        most = BUDGET * len(rows) if budget is None else budget
        found = Candidates(near.left[:most], near.right[:most], near.cosines[:most])
        reading = read_both_ways(corpus.texts, found, judge, verdict, bar, top, show_progress)
        kept = verdict.scores(reading.logits, found.cosines) >= bar  # no NaN is
    read = perf_counter()
    pairs = sorted(
        _listed(corpus, found, reading, kept.nonzero()[0], verdict), key=lambda pair: (-pair.score, pair.a, pair.b)
    )[:top]
    place = {name: i for i, names in enumerate(corpus.ids) for name in names}
    clusters = clusters_of(pairs, lambda names: rows[[place[name] for name in names]])
    listed = perf_counter()

    count = sum(map(len, corpus.ids))
    return PairReport(
        pairs=tuple(pairs),
        clusters=clusters,
        verdict=verdict.name,
        threshold=threshold,
        texts=count,
        distinct=len(corpus.texts),
        empty=corpus.empty,
        unlisted_copies=sum(max(0, len(names) - LISTED_COPIES) for names in corpus.ids),
        exist=plan_pairs(count).pairs,
        floor=floor,
        candidates=len(near),
        scored=reading.scored,
        readings=reading.readings,
        out_of_reach=reading.out_of_reach,
        unread=0 if judge is None else len(near) - reading.scored - reading.out_of_reach,
        truncated_texts=int(encoded.truncated.sum()),
        truncated_pairs=reading.truncated,
        stopped=reading.stopped,
        steps=(
            Step("embed texts", len(rows), embedded - started),
            Step("compare embeddings", plan_pairs(len(rows)).pairs, compared - embedded),
            Step("read pairs", reading.readings, read - compared),
            Step("list and cluster", len(pairs), listed - read),
        ),
    )


def check_numbers(
    threshold: float | None,
    top: int | None,
    neighbours: int,
    floor: float | None,
    budget: int | None,
    rerank: bool,
) -> None:
    """Raise UsageError for a number out of its range."""
    lowest = 0 if rerank else -1
    if threshold is not None and not lowest <= threshold <= 1:
        raise UsageError(
            f"threshold is {threshold}; it is a {'probability' if rerank else 'cosine'} between {lowest} and 1"
        )
    if floor is not None and not -1 <= floor <= 1:
        raise UsageError(f"floor is {floor}; it is a cosine between -1 and 1")
    for name, number in (("top", top), ("neighbours", neighbours), ("budget", budget)):
        if number is not None and number < 1:
            raise UsageError(f"{name} is {number}; it must be 1 or more")


def _listed(
    corpus: Corpus,
    found: Candidates,
    reading: Reading,
    kept: np.ndarray[tuple[int], np.dtype[np.int64]],
    verdict: Verdict,
) -> Iterator[TextPair]:
    """The pairs of ids: of equal texts, and of those that were found."""
    scores = verdict.scores(reading.logits, found.cosines) if verdict.logit else verdict.scores(0.0, found.cosines)
    # no pair is more alike: the highest score there is, or where nobody knows it, the highest one seen
    highest = float(verdict.scores(verdict.highest_logit, 1.0))
    equal = highest if highest < inf else float(max(scores[kept], default=0.0))
    certain = None if verdict.calibration is None else 1.0
    for names in corpus.ids:
        first, *others = names
        for a, b in (*combinations(names[:LISTED_COPIES], 2), *product([first], others[LISTED_COPIES - 1 :])):
            yield TextPair(a, b, equal, certain, 1.0, None)
    for k in kept:
        score, cosine, logit = float(scores[k]), float(found.cosines[k]), float(reading.logits[k])
        probability = verdict.probability(score)
        sides = corpus.ids[found.left[k]][:LISTED_COPIES], corpus.ids[found.right[k]][:LISTED_COPIES]
        for pair in product(*sides):
            yield TextPair(min(pair), max(pair), score, probability, cosine, None if isnan(logit) else logit)
