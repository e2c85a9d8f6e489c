"""What is evaluated: a BEIR folder or an index, its queries and judgements, and where its texts are."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bicross.documents import read_documents
from bicross.errors import UsageError
from bicross.evaluation.judged import Qrels, named, read_queries
from bicross.index import Index
from bicross.index.cluster.address import is_address
from bicross.index.manifest import FILE
from bicross.opening import open, open_or_create


@dataclass(frozen=True)
class Collection:
    """Where everything is.

    Attributes:
        name: For people.
        qrels, queries: Files; ``queries`` is None where only run files are measured.
        corpus: The documents of a BEIR folder.
        index: The folder of an index, which for a BEIR folder may have to be made, or an index that is open.
    """

    name: str
    qrels: Path
    queries: Path | None
    corpus: Path | None = None
    index: str | Path | Index | None = None


def find_collection(
    collection: str | Path | Index | None,
    split: str,
    queries: str | Path | None,
    qrels: str | Path | None,
    index: str | Path | None,
) -> Collection:
    """What the arguments of ``evaluate`` name.

    Raises:
        UsageError: Something is not there, or not said.
    """
    queries, qrels = queries and Path(queries), qrels and Path(qrels)
    if collection is None:
        if not qrels:
            raise UsageError("no collection and no judgements; name a BEIR folder, or a file of qrels for run files")
        return Collection(str(qrels), qrels, queries or None)
    if isinstance(collection, Index) or is_address(collection) or (Path(collection) / FILE).is_file():
        name = collection.name if isinstance(collection, Index) else str(collection)
        if index is not None:
            raise UsageError(f"{name}: this is an index already; leave out --index {index}")
        if not queries or not qrels:
            raise UsageError(f"{name}: an index has no judged queries; name them with --queries FILE --qrels FILE")
        return Collection(name, qrels, queries, None, collection)
    folder = Path(collection)
    if not folder.exists():
        raise UsageError(f"{folder}: no such folder")
    corpus = _one_of(folder, "corpus.jsonl")
    if corpus is None:
        raise UsageError(
            f"{folder}: neither an index nor a BEIR folder, which holds corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv"
        )
    queries = queries or _one_of(folder, "queries.jsonl")
    if queries is None:
        raise UsageError(f"{folder}: no queries.jsonl; name the queries with --queries FILE")
    qrels = qrels or _one_of(folder / "qrels", f"{split}.tsv")
    if qrels is None:
        there = sorted(path.name.partition(".")[0] for path in (folder / "qrels").glob("*.tsv*"))
        hint = f"choose --split {' or '.join(there)}" if there else "name the judgements with --qrels FILE"
        raise UsageError(f"{folder}: no judgements qrels/{split}.tsv; {hint}")
    return Collection(str(folder), qrels, queries, corpus, index)


def _one_of(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def open_index(
    collection: Collection, model: str | Path | None, device: str, progress: Callable[[str], None], stack: ExitStack
) -> tuple[Index, list[str]]:
    """The index of a collection, up to date with its corpus; kept open by the stack. And notes.

    Raises:
        UsageError: There is nothing that could be searched.
        BicrossError: See ``bicross.opening`` and ``Index.add``.
    """
    if isinstance(collection.index, Index):
        return collection.index, []
    if collection.corpus is None:
        if collection.index is None:
            raise UsageError("systems that search need a collection; name a BEIR folder or an index, or only run files")
        return stack.enter_context(open(collection.index, model, device=device)), []
    folder = collection.index or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bicross-"))) / "index"
    index = stack.enter_context(open_or_create(folder, model, device=device))
    safe = 0

    def committed(documents: int) -> None:
        nonlocal safe
        safe += documents
        progress(f"Indexing … {safe} documents stored")

    progress("Indexing …")
    report = index.add(read_documents([collection.corpus]), committed=committed)
    others = index.count().documents - report.new - report.changed - report.unchanged
    notes = [f"{folder}: the index holds {others} documents that {collection.corpus} has not"] if others > 0 else []
    if report.emptied:
        notes.append(f"{collection.corpus}: {report.emptied} documents without text, which nothing can find")
    return index, notes


def check_documents(index: Index, qrels: Qrels, where: Path) -> list[str]:
    """Notes on judged documents that the index has not.

    Raises:
        UsageError: It has none of them.
    """
    judged = {document_id for grades in qrels.values() for document_id in grades}
    missing = [document_id for document_id in sorted(judged) if index.catalogue.find(document_id) is None]
    if len(missing) == len(judged):
        raise UsageError(
            f"no document that is judged in {where} is in the index {index.name}: the ids match nothing "
            f"(judged: {named(missing, 'document', 'documents')})"
        )
    return [f"{named(missing, 'document', 'documents')} judged in {where} but not in the index"] if missing else []


def query_texts(collection: Collection) -> Callable[[set[str]], Mapping[str, str]]:
    """What gives the texts of some queries."""

    def texts(ids: set[str]) -> Mapping[str, str]:
        return dict(wanted_queries(collection.queries, ids)) if collection.queries else {}

    return texts


def wanted_queries(path: Path, ids: set[str]) -> Iterator[tuple[str, str]]:
    """The queries with these ids, in the order of the file; it is read no further than the last one."""
    left = set(ids)
    for query_id, text in read_queries(path):
        if query_id in left:
            yield query_id, text
            left.remove(query_id)
            if not left:
                return


def document_texts(collection: Collection, index: Index | None) -> Callable[[set[str]], Mapping[str, tuple[str, str]]]:
    """What gives title and beginning of some documents: from the index, else from the corpus, else nothing."""

    def texts(ids: set[str]) -> Mapping[str, tuple[str, str]]:
        if index is not None:
            stored = ((document_id, index.get(document_id)) for document_id in ids)
            return {d: (chunks[0].chunk.title, chunks[0].chunk.text) for d, chunks in stored if chunks}
        if collection.corpus is None:
            return {}
        return {d.id: (d.title, d.text) for d in read_documents([collection.corpus]) if d.id in ids}

    return texts
