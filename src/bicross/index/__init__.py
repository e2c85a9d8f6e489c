"""The stored corpus: a manifest, a catalogue of documents, and an engine with their chunks, in one folder."""

from bicross.index.adding import AddReport
from bicross.index.checking import CheckReport, check
from bicross.index.copying import CopyReport, copy
from bicross.index.embedder import Embedder
from bicross.index.index import Index, IndexCount, IndexStats
from bicross.index.local import LocalIndex
from bicross.index.manifest import Fingerprint, Manifest, read_manifest
from bicross.index.records import EncodedDocument
from bicross.index.refresh import RefreshReport, refresh
from bicross.index.retrieval import Candidate, Mode
from bicross.index.transfer import export

__all__ = [
    "AddReport",
    "Candidate",
    "CheckReport",
    "CopyReport",
    "Embedder",
    "EncodedDocument",
    "Fingerprint",
    "Index",
    "IndexCount",
    "IndexStats",
    "LocalIndex",
    "Manifest",
    "Mode",
    "RefreshReport",
    "check",
    "copy",
    "export",
    "read_manifest",
    "refresh",
]
