"""The queries that a system does badly on, with the texts that tell why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from bicross.evaluation.judged import Qrels
from bicross.evaluation.outcome import Shown, WorstQuery
from bicross.evaluation.runs import Run

#: Queries of each system, documents of each query, characters of each document.
QUERIES, DOCUMENTS, CHARACTERS = 10, 3, 400

Values = npt.NDArray[np.float64]

#: Texts by id: of queries.
QueryTexts = Callable[[set[str]], Mapping[str, str]]

#: Title and text by id: of documents.
DocumentTexts = Callable[[set[str]], Mapping[str, tuple[str, str]]]


def worst_queries(
    ids: Sequence[str], qrels: Qrels, runs: Mapping[str, Run], values: Mapping[str, Values], baseline: str
) -> list[WorstQuery]:
    """Ten of each system, without texts yet: by loss against the baseline, then by value, then by id."""
    found = []
    for system, own in values.items():
        loss = own - values[baseline] if system != baseline else own
        for place in sorted(range(len(ids)), key=lambda i: (loss[i], own[i], ids[i]))[:QUERIES]:
            query_id = ids[place]
            grades, listed = qrels[query_id], _listed(runs[system], query_id)
            expected = sorted((d for d in grades if grades[d] > 0), key=lambda d: (-grades[d], d))
            ranks = [_ranks(listed), _ranks(_listed(runs[baseline], query_id))]
            found.append(
                WorstQuery(
                    system,
                    query_id,
                    "",
                    float(own[place]),
                    float(values[baseline][place]) if system != baseline else None,
                    [_shown(document_id, grades, *ranks) for document_id in expected[:DOCUMENTS]],
                    [_shown(document_id, grades, *ranks) for document_id in listed[:DOCUMENTS]],
                )
            )
    return found


def _listed(run: Run, query_id: str) -> list[str]:
    return run[query_id].ids if query_id in run else []


def _ranks(ids: Sequence[str]) -> dict[str, int]:
    return {document_id: rank for rank, document_id in enumerate(ids, start=1)}


def _shown(
    document_id: str, grades: Mapping[str, int], ranks: Mapping[str, int], ranks_before: Mapping[str, int]
) -> Shown:
    return Shown(document_id, grades.get(document_id), ranks.get(document_id), ranks_before.get(document_id), "", "")


def with_texts(worst: Sequence[WorstQuery], queries: QueryTexts, documents: DocumentTexts) -> list[WorstQuery]:
    """The same with the beginnings of the texts; what has no text stays without."""
    questions = queries({query.query_id for query in worst})
    texts = documents({shown.document_id for query in worst for shown in (*query.expected, *query.first)})

    def told(shown: Shown) -> Shown:
        title, text = texts.get(shown.document_id, ("", ""))
        return replace(shown, title=_beginning(title), text=_beginning(text))

    return [
        replace(
            query,
            text=_beginning(questions.get(query.query_id, "")),
            expected=[told(shown) for shown in query.expected],
            first=[told(shown) for shown in query.first],
        )
        for query in worst
    ]


def _beginning(text: str) -> str:
    line = " ".join(text[: 4 * CHARACTERS].split())
    return line if len(line) <= CHARACTERS else line[:CHARACTERS].rstrip() + "…"
