"""Errors of documents and indexes."""

from ._errors_base import NearfarError


class DocumentError(NearfarError):
    """Something about documents or an index."""

    code = "NF-300"


class DocumentNotFoundError(DocumentError):
    """A file or folder is not there; data: ``path``."""

    code = "NF-301"
    exit_code = 2
    default_remedy = "Check the path."


class NoDocumentsError(DocumentError):
    """Nothing readable was found; data: ``paths``."""

    code = "NF-302"
    exit_code = 2
    default_remedy = "Name a file or folder with .pdf, .docx, .html, .md, .txt or source files."


class UnreadableDocumentError(DocumentError):
    """A file is damaged, or is not what its name says; data: ``path``."""

    code = "NF-303"
    default_remedy = "Open the file in its own program and save it again, or leave it out."


class EncryptedDocumentError(DocumentError):
    """A file asks for a password; data: ``path``."""

    code = "NF-304"
    default_remedy = "Save a copy without a password."


class EmptyDocumentError(DocumentError):
    """A file holds no text; data: ``path``."""

    code = "NF-305"
    default_remedy = (
        "A scanned document needs text recognition first; an empty file can be left out."
    )


class DocumentTooLargeError(DocumentError):
    """A file is over the size limit; data: ``path``, ``bytes``, ``limit_bytes``."""

    code = "NF-306"
    default_remedy = "Split the file, or raise retrieval.max_file_mb."


class UnsupportedFormatError(DocumentError):
    """A file's kind cannot be read; data: ``path``."""

    code = "NF-307"
    default_remedy = "Convert it to PDF, DOCX, HTML, Markdown or text."


class IndexNotFoundError(DocumentError):
    """No index of that name; data: ``name``, ``known``."""

    code = "NF-310"
    exit_code = 2
    default_remedy = (
        "`nearfar index list` shows them; `nearfar index add PATH --name NAME` makes one."
    )


class IndexLockedError(DocumentError):
    """Another program is writing to the index; data: ``path``."""

    code = "NF-311"
    default_remedy = "Wait until the other program is done."


class IndexDamagedError(DocumentError):
    """A file of the index is missing or its checksum is wrong; data: ``path``."""

    code = "NF-312"
    default_remedy = "Remove the index and add its documents again."


class EmbedderMismatchError(DocumentError):
    """The index was made by another embedding model; data: ``expected``, ``found``."""

    code = "NF-313"
    exit_code = 2
    default_remedy = "Use the embedding model that made the index, or make the index anew."


class MetadataError(DocumentError):
    """Metadata that is not JSON, or a filter that cannot be understood; data: ``pointer``."""

    code = "NF-314"
    exit_code = 2
