"""The errors a user can meet. Each message is one line: what, where, and how to mend it."""

from __future__ import annotations


class BicrossError(Exception):
    """Something failed that the user should know about. The CLI prints the message and exits with 1."""


class UsageError(BicrossError, ValueError):
    """The call itself is wrong: an empty query, a path that is not there. The CLI exits with 2."""


class DocumentError(BicrossError):
    """A document cannot be read: not UTF-8, a broken JSON line, an id that came twice."""


class ModelNotFoundError(BicrossError):
    """No model of that name. The message lists the places that were searched."""


class ModelError(BicrossError):
    """A model folder was found but cannot be used."""


class CorpusError(BicrossError):
    """The folder is no index, is newer than this program, or its files are damaged."""


class IndexLockedError(CorpusError):
    """Another process has the index open. The message names its pid."""


class FingerprintError(CorpusError):
    """The index was made with another model or other settings than those given."""


class StorageError(CorpusError):
    """The disk is full or a write failed. What was committed before is still there."""


class ClusterError(CorpusError):
    """The cluster that has the index does not answer, or failed. What it acknowledged before is stored."""


class TrainingError(BicrossError):
    """A training had to stop. The message says at which step, and what was kept."""
