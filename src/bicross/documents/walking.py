"""Find the files to read: folders, globs, what is ignored. Nothing is opened here but ``.bicrossignore``."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bicross.documents.encoding import decode
from bicross.documents.files import Failure, File, file_id
from bicross.documents.readers import kind_of
from bicross.errors import DocumentError, UsageError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".bicrossignore"

_CORPORA = ("corpus.jsonl", "corpus.jsonl.gz")
# what the folder of an index holds; it lies where its documents do more often than not
_INDEX = frozenset({"manifest.json", "shard"})
_QUERIES = frozenset({"queries.jsonl", "queries.jsonl.gz", "qrels"})


@dataclass(frozen=True)
class Rules:
    """Patterns in the syntax of .gitignore, and the folder (``""`` or ``"a/b/"``) that they are relative to."""

    base: str
    spec: GitIgnoreSpec


def rules_of(patterns: Sequence[str]) -> tuple[Rules, ...]:
    """The rules that a call gives.

    Raises:
        UsageError: A pattern is malformed.
    """
    try:
        return (_rules("", patterns),) if patterns else ()
    except ValueError as error:
        raise UsageError(f"ignore: {error}") from None


def _rules(base: str, patterns: Sequence[str]) -> Rules:
    from pathspec import GitIgnoreSpec

    return Rules(base, GitIgnoreSpec.from_lines(patterns))


def ignored(path: str, rules: Sequence[Rules]) -> bool:
    """Whether the last of the rules that speaks of a path leaves it out; the path of a folder ends in a slash."""
    for rule in reversed(rules):
        include = rule.spec.check_file(path[len(rule.base) :]).include
        if include is not None:
            return include
    return False


@dataclass(frozen=True)
class _Folder:
    path: Path
    id: str  # "" or "a/b/"
    rules: tuple[Rules, ...]


def walk(root: Path, strongest: tuple[Rules, ...] = ()) -> Iterator[File | Failure]:
    """Yield the files in a folder that can be read, in order of their names, folder by folder.

    Links are followed, and each folder is walked once. Hidden files and folders are passed over, and so are files of
    other kinds, and folders that hold an index. A folder in the layout of BEIR gives its corpus only: its queries are
    no documents.

    Args:
        root: The folder.
        strongest: Rules that outweigh every ``.bicrossignore``.
    """
    seen: set[tuple[int, int]] = set()
    stack: list[Iterator[File | Failure | _Folder]] = [iter([_Folder(root, "", ())])]
    while stack:
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
        elif isinstance(item, _Folder):
            stack.append(_entries(item, strongest, seen))
        else:
            yield item


def _entries(
    folder: _Folder, strongest: tuple[Rules, ...], seen: set[tuple[int, int]]
) -> Iterator[File | Failure | _Folder]:
    here = File(folder.path, folder.id)
    try:
        status = folder.path.stat()
        if (status.st_dev, status.st_ino) in seen:
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder.path) as entries:
            names = sorted((entry.name, _is_folder(entry)) for entry in entries if _is_wanted(entry))
    except OSError as error:
        yield here.failure(f"the folder cannot be read ({error.strerror}); mend its permissions or leave it out")
        return
    if _INDEX.issubset(name for name, _ in names):
        return
    try:
        rules = (*folder.rules, *_own_rules(folder))
    except (OSError, ValueError, DocumentError) as error:
        # whoever wrote the file wanted something left out: better nothing than too much
        reason = getattr(error, "strerror", None) or error
        yield here.failure(f"{reason}; mend it: nothing in this folder was read", f"/{IGNORE_FILE}")
        return
    for name, is_folder in _beir_corpus(names):
        path = folder.id + name + ("/" if is_folder else "")
        if ignored(path, (*rules, *strongest)):
            continue
        if is_folder:
            yield _Folder(folder.path / name, path, rules)
        else:
            yield File(folder.path / name, file_id(path))


def _own_rules(folder: _Folder) -> tuple[Rules, ...]:
    try:
        data = (folder.path / IGNORE_FILE).read_bytes()
    except FileNotFoundError:
        return ()
    return (_rules(folder.id, decode(data).splitlines()),)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_wanted(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith("."):
        return False
    if _is_folder(entry):
        return True
    if not kind_of(entry.name):
        return False
    # opening a pipe would wait for ever; a link that leads nowhere is wanted, and its failure told
    return entry.is_file(follow_symlinks=False) or (entry.is_symlink() and _is_file_or_nothing(entry.path))


def _is_file_or_nothing(path: str) -> bool:
    return Path(path).is_file() or not os.path.exists(path)  # noqa: PTH110, pathlib raises for a link to itself


def _beir_corpus(names: Sequence[tuple[str, bool]]) -> Sequence[tuple[str, bool]]:
    """Of a BEIR folder the corpus alone, of any other folder all that is given."""
    files = {name for name, is_folder in names if not is_folder}
    corpus = next((name for name in _CORPORA if name in files), None)
    if corpus and not _QUERIES.isdisjoint(name for name, _ in names):
        return [(corpus, False)]
    return names


def has_wildcard(path: str) -> bool:
    """Whether a path is to be expanded when nothing of that very name exists."""
    return any(mark in path for mark in "*?[")


def expand(pattern: str, rules: tuple[Rules, ...]) -> list[File]:
    """The files that a glob matches, sorted; ids are relative to the part before the first wildcard.

    Raises:
        UsageError: The pattern is malformed.
    """
    parts = Path(pattern).parts
    first = next(number for number, part in enumerate(parts) if has_wildcard(part))
    base, rest = Path(*parts[:first]), [*parts[first:]]
    if rest[-1] == "**":
        rest.append("*")  # Python before 3.13 finds only folders without it
    try:
        found = [path.relative_to(base) for path in base.glob("/".join(rest)) if path.is_file()]
    except ValueError as error:
        raise UsageError(f"{pattern}: {error}") from None
    return [
        File(base / path, file_id(path.as_posix()))
        for path in sorted(set(found))
        if kind_of(path.name) and not _hidden(path.parts) and not ignored(path.as_posix(), rules)
    ]


def _hidden(parts: Collection[str]) -> bool:
    return any(part.startswith(".") for part in parts)
