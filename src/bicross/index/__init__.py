"""The stored corpus: manifest, chunks and vectors in one folder."""

from bicross.index.embedder import Embedder
from bicross.index.local import AddReport, Candidate, LocalIndex
from bicross.index.manifest import Fingerprint, Manifest, read_manifest

__all__ = ["AddReport", "Candidate", "Embedder", "Fingerprint", "LocalIndex", "Manifest", "read_manifest"]
