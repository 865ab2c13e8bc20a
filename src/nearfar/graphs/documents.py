"""What the workflows over many documents share: which files, and what stands in each."""

from collections.abc import Sequence

from nearfar.errors import DocumentError, NoDocumentsError
from nearfar.retrieval.files import scan
from nearfar.retrieval.readers.process import ReaderProcess
from nearfar.retrieval.readers.read import ReadLimits
from nearfar.settings import Settings

from .evidence import Found
from .sentences import content_words, sentences


def files_of(docs: Sequence[str], settings: Settings) -> list[str]:
    """The documents in files and folders, sorted. Raises NoDocumentsError and DocumentNotFoundError."""
    paths = [docs] if isinstance(docs, str) else list(docs)
    found = [file.path for file in scan(paths, exclude=settings.retrieval.exclude).files]
    if not found:
        raise NoDocumentsError(
            f"There is no document to read in {', '.join(map(str, paths)) or 'nothing'}.",
            remedy="Name files or folders with text, Markdown, HTML, PDF or Word files.",
            data={"paths": [str(path) for path in paths]},
        )
    return found


def sentences_of(path: str, settings: Settings) -> list[Found]:
    """The sentences of a document that say something, in their order. Raises DocumentError."""
    own = settings.retrieval
    limits = ReadLimits(own.max_file_mb, own.max_pages, own.read_timeout_s)
    with ReaderProcess(limits) as reader:
        document = reader.read(path)
    found: list[Found] = []
    seen: set[str] = set()
    for block in document.blocks:
        for one in sentences(document.text[block.start : block.end]):
            new = one.text not in seen and not one.heading and not one.code
            if block.kind not in ("heading", "code") and new and len(content_words(one.text)) > 1:
                seen.add(one.text)
                heading = " > ".join(block.headings) or None
                found.append(
                    Found(text=one.text, source=path, page=block.page, heading=heading, score=0.0)
                )
    return found


def reason(error: DocumentError) -> str:
    """Why a document was left out, without its path."""
    return error.message.removeprefix(str(error.data.get("path", ""))).strip()
