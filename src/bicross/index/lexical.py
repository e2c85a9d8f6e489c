"""Words for the lexical side: how a text is cut into terms, and the BM25 weight of each.

A term is a word in lower case, without its English stop words, stemmed by Snowball; a run of Chinese characters is cut
into words by jieba. BM25 (Robertson and Zaragoza, 2009, https://doi.org/10.1561/1500000019) is split in two: the part
that depends on the chunk is stored as a sparse vector, the inverse document frequency is the engine's, at query time,
over what is stored then.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

import numpy as np
import numpy.typing as npt

from bicross.errors import UsageError

#: Saturation and length normalisation of BM25, at their usual values.
K1, B = 1.2, 0.75

#: Terms that a chunk has on average. A constant, so that a chunk's weights never depend on what else is stored; chunks
#: are cut to about one length, so the true average is seldom far.
AVERAGE_TERMS = 80

#: The most terms that a query is searched by, its most frequent ones, so that a whole book takes no longer. A court's
#: judgement has about a thousand.
MOST_TERMS = 2048

_WORD = re.compile(r"[^\W_]+")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")

# The words of English that say nothing about what a text is about.
_STOP_WORDS = frozenset(
    re.findall(
        r"[a-z]+",
        """
    a about above after again against all am an and any are as at be because been before being below between both
    but by can did do does doing don down during each few for from further had has have having he her here hers him
    his how i if in into is it its just me more most my no nor not now of off on once only or other our ours out
    over own s same she should so some such t than that the their them then there these they this those through to
    too under until up very was we were what when where which while who whom why will with you your yours
    """,
    )
)

#: Languages with a stemmer, by their codes of two letters; ``none`` leaves words as they are.
LANGUAGES = {
    "ar": "arabic",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "fi": "finnish",
    "fr": "french",
    "hu": "hungarian",
    "it": "italian",
    "nl": "dutch",
    "no": "norwegian",
    "none": "",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "zh": "",
}


@dataclass(frozen=True)
class TermWeights:
    """A sparse vector: ``terms`` (n,) uint32, ascending, each once; ``weights`` (n,) float32."""

    terms: npt.NDArray[np.uint32]
    weights: npt.NDArray[np.float32]


def check_language(language: str) -> str:
    """The code itself.

    Raises:
        UsageError: There is no such language.
    """
    if language not in LANGUAGES:
        raise UsageError(f"language {language!r} is not known; choose one of {', '.join(LANGUAGES)}")
    return language


def document_weights(text: str, language: str) -> TermWeights:
    """BM25's weight of each term of a chunk, without the inverse document frequency."""
    counts = Counter(map(_number, terms(text, language)))
    ordered = sorted(counts)
    frequencies = np.array([counts[term] for term in ordered], np.float32)
    length = K1 * (1 - B + B * float(frequencies.sum()) / AVERAGE_TERMS)
    return TermWeights(np.array(ordered, np.uint32), frequencies * (K1 + 1) / (frequencies + np.float32(length)))


def query_weights(text: str, language: str) -> TermWeights:
    """Each term of a query once, with weight 1; no more than ``MOST_TERMS``."""
    counts = Counter(map(_number, terms(text, language)))
    ordered = sorted(term for term, _ in counts.most_common(MOST_TERMS))  # as frequent ones: the first in the text
    return TermWeights(np.array(ordered, np.uint32), np.ones(len(ordered), np.float32))


def terms(text: str, language: str) -> list[str]:
    """The terms of a text in order.

    >>> terms("The pumps were cooling; 柏林的博物馆", "en")
    ['pump', 'cool', '柏林', '的', '博物馆']
    """
    return list(_terms(text, language))


def matches(text: str, query: str, language: str) -> list[tuple[int, int]]:
    """Where words of a query stand in a text, in characters: what the lexical side found it by.

    >>> matches("The pumps were cooling; 柏林的博物馆", "cooled pump 柏林", "en")
    [(4, 9), (15, 22), (24, 26)]
    """
    asked = set(_terms(query, language))
    found = []
    for word in _WORD.finditer(text):
        start = word.start()
        pieces = [word.group()] if word.group().isascii() else _pieces(word.group())
        for piece in pieces:
            if asked.intersection(_terms(piece, language)):
                found.append((start, start + len(piece)))
            start += len(piece)
    return found


def _pieces(word: str) -> Iterator[str]:
    """A word with Chinese in it, as it is cut."""
    end = 0
    for run in _HAN.finditer(word):
        if run.start() > end:
            yield word[end : run.start()]
        yield from _chinese_words(run.group())
        end = run.end()
    if end < len(word):
        yield word[end:]


def _terms(text: str, language: str) -> Iterator[str]:
    stem = _stemmer(language)
    stop_words = _STOP_WORDS if language == "en" else frozenset()
    for word in _WORD.findall(text.lower()):
        if word.isascii():
            if word not in stop_words:
                yield stem(word)
            continue
        for piece in _pieces(word):
            yield piece if _HAN.fullmatch(piece) else stem(piece)


def _number(term: str) -> int:
    """A term as a dimension of the sparse vector; two of a million terms share one about a hundred times."""
    return crc32(term.encode())


def _chinese_words(run: str) -> list[str]:
    import rjieba

    words: list[str] = rjieba.cut(run, True)
    return words


class _Stemmer:
    """Snowball, one a thread because it keeps state; words are remembered, since few words make most of a text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._local = threading.local()
        self.stem = lru_cache(maxsize=100_000)(self._stem)

    def _stem(self, word: str) -> str:
        if not hasattr(self._local, "stemmer"):
            import Stemmer

            self._local.stemmer = Stemmer.Stemmer(self._name)
        stemmed: str = self._local.stemmer.stemWord(word)
        return stemmed


@lru_cache
def _stemmer(language: str) -> Callable[[str], str]:
    name = LANGUAGES[language]
    return _Stemmer(name).stem if name else str
