"""What the workflows over many documents share: which files, and what stands in each."""

import re
from collections.abc import Sequence

from nearfar.errors import NearfarError, NoDocumentsError
from nearfar.retrieval.files import scan
from nearfar.retrieval.readers import DocumentText
from nearfar.retrieval.readers.process import ReaderProcess
from nearfar.retrieval.readers.read import ReadLimits
from nearfar.settings import Settings

from .evidence import Found
from .sentences import content_words, sentences

_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]{4}")
"""A word of scripts that put no spaces between words, and so is a sentence as well."""


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


def read(path: str, settings: Settings) -> DocumentText:
    """A document's text. Raises DocumentError."""
    own = settings.retrieval
    limits = ReadLimits(own.max_file_mb, own.max_pages, own.read_timeout_s)
    with ReaderProcess(limits) as reader:
        return reader.read(path)


def sentences_of(document: DocumentText) -> list[Found]:
    """The sentences of a document that say something, in their order."""
    found: list[Found] = []
    seen: set[str] = set()
    for block in document.blocks:
        for one in sentences(document.text[block.start : block.end]):
            new = one.text not in seen and not one.heading and not one.code
            if block.kind not in ("heading", "code") and new and _says_something(one.text):
                seen.add(one.text)
                found.append(
                    Found(
                        text=one.text,
                        source=str(document.path),
                        page=block.page,
                        heading=" > ".join(block.headings) or None,
                        score=0.0,
                    )
                )
    return found


def _says_something(text: str) -> bool:
    return len(content_words(text)) > 1 or _UNSPACED.search(text) is not None


def reason(error: NearfarError) -> str:
    """Why a document was left out, without its path."""
    return error.message.removeprefix(str(error.data.get("path", ""))).strip()
