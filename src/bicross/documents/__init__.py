"""Text in: documents, the files they come from, and the chunks they are cut into."""

from bicross.documents.chunking import chunk_document
from bicross.documents.document import Chunk, Document
from bicross.documents.fields import Fields
from bicross.documents.files import Failure
from bicross.documents.reading import read_documents

__all__ = ["Chunk", "Document", "Failure", "Fields", "chunk_document", "read_documents"]
