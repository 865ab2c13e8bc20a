"""Answers of servers as text: HTML as markdown, JSON, plain text, PDF."""

import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from nearfar.errors import DocumentError, FetchError
from nearfar.retrieval.readers.encoding import decode
from nearfar.retrieval.readers.html import decode_html

from .client import Reply

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

MAX_HTML = 1_000_000  # characters; ordinary pages of this size take two seconds, the worst ten
_DROPPED = (
    *("script", "style", "noscript", "template", "nav", "head", "dialog", "link", "meta"),
    *("svg", "math", "iframe", "frame", "object", "embed", "canvas", "audio", "video", "map"),
    *("button", "select", "input", "textarea", "form > label"),
)
# What a reader of the page would not see, so that nobody can hide words there for a model.
_UNSEEN = (
    "[hidden]",
    "[aria-hidden=true]",
    "[role=navigation]",
    "[role=banner]",
    "[role=search]",
    "body > header nav",
    "body > footer",
)
_UNSEEN_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d]*[1-9])"
    r"|opacity\s*:\s*0(?![.\d]*[1-9])",
    re.IGNORECASE,
)
_XML_HEAD = re.compile(r"^\s*<\?xml[^>]*\?>", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*)+\n")
_LINKED = ("http://", "https://", "mailto:")


@dataclass(frozen=True, slots=True)
class Page:
    """What an answer says."""

    text: str
    title: str | None = None
    cut: bool = False  # whether the server had more than was taken


def text_of(reply: Reply) -> Page:
    """The answer as text for a model; raises ``FetchError`` for errors and for what is not text."""
    check_status(reply)
    kind = reply.content_type
    if reply.body.startswith(b"%PDF-"):
        return _pdf(reply)
    if kind == "application/json" or kind.endswith("+json"):
        return _json(reply)
    text = _decoded(reply)
    if is_html(kind, text):
        return _markdown(text, str(reply.url), cut=reply.cut)
    return Page(text, cut=reply.cut)


def check_status(reply: Reply) -> None:
    """Raise ``FetchError`` for an answer that says that something is wrong."""
    if reply.status >= 400:
        raise FetchError(
            f"{reply.url.shown} answered with status {reply.status}.",
            data={"url": reply.url.shown, "reason": "status", "status": reply.status},
        )


def is_html(kind: str, text: str) -> bool:
    """By the declared type; servers that declare none are looked at."""
    if kind in {"text/html", "application/xhtml+xml"}:
        return True
    return not kind and bool(re.match(r"\s*<(?:!doctype html|html)\b", text, re.IGNORECASE))


def soup_of(reply: Reply) -> "BeautifulSoup":
    """The parsed HTML of an answer; raises ``FetchError`` where it is something else."""
    check_status(reply)
    text = _decoded(reply)
    if not is_html(reply.content_type, text):
        raise FetchError(
            f"{reply.url.shown} is not an HTML page but {reply.content_type or 'something else'}.",
            data={"url": reply.url.shown, "reason": "type"},
        )
    return _parse(text)


def base_of(soup: "BeautifulSoup", url: str) -> str:
    """What relative links of the page start from."""
    base = soup.find("base", href=True)
    return absolute(url, str(base["href"])) or url if base is not None else url


def absolute(base: str, link: str) -> str | None:
    """The link with its server; None for scripts, data and what is no link."""
    try:
        joined = urljoin(base, link.strip())
    except ValueError:
        return None
    return joined if joined.lower().startswith(_LINKED) else None


def _decoded(reply: Reply) -> str:
    html = reply.content_type in {"", "text/html", "application/xhtml+xml"}
    found = (
        decode_html(reply.body)
        if html and not reply.charset
        else decode(reply.body, declared=reply.charset)
    )
    if found is None:
        kind = reply.content_type or "an unknown type"
        raise FetchError(
            f"{reply.url.shown} is not text but {kind}.",
            data={"url": reply.url.shown, "reason": "type"},
        )
    return found.text


def _parse(text: str) -> "BeautifulSoup":
    from bs4 import BeautifulSoup

    # Without an XML head, which makes the parser warn on standard error, and never so short that it
    # takes the text for a file's name.
    return BeautifulSoup(f"<!doctype html>\n{_XML_HEAD.sub('', text[:MAX_HTML])}", "lxml")


def _json(reply: Reply) -> Page:
    text = _decoded(reply)
    try:
        # Not indented: a small text that is nested deeply would become a very large one.
        return Page(json.dumps(json.loads(text), ensure_ascii=False), cut=reply.cut)
    except (ValueError, RecursionError):
        return Page(text, cut=reply.cut)  # damaged, or cut


def _pdf(reply: Reply) -> Page:
    from nearfar.retrieval.readers import ReadLimits
    from nearfar.retrieval.readers.process import ReaderProcess

    if reply.cut:
        raise FetchError(
            f"{reply.url.shown} is a PDF file over the size limit.",
            data={"url": reply.url.shown, "reason": "size"},
        )
    with tempfile.TemporaryDirectory(prefix="nearfar-") as folder:
        path = Path(folder) / "fetched.pdf"
        path.write_bytes(reply.body)
        try:
            with ReaderProcess(ReadLimits(max_pages=500, timeout_s=20)) as reader:
                document = reader.read(path)
        except DocumentError as error:
            raise FetchError(
                f"{reply.url.shown} is a PDF file that could not be read ({type(error).__name__}).",
                data={"url": reply.url.shown, "reason": "type"},
            ) from error
    return Page(document.text, document.title)


def _markdown(text: str, url: str, *, cut: bool) -> Page:
    soup = _parse(text)
    title = " ".join(soup.title.get_text().split()) if soup.title else None
    base = base_of(soup, url)
    # Passed over and not taken out, which takes quadratic time on pages made to be slow.
    unwanted = {id(element) for element in _unwanted(soup)}
    root = _main_part(soup)
    try:
        markdown = _converter(base, unwanted).convert_soup(root)
    except RecursionError:  # nested deeper than any page that is meant to be read
        markdown = _plain(root, unwanted)
    lines = "\n".join(line.rstrip() for line in markdown.splitlines())
    return Page(_BLANK_LINES.sub("\n\n", lines).strip(), title or None, cut or len(text) > MAX_HTML)


def _unwanted(soup: "BeautifulSoup") -> Iterator[Any]:
    yield from soup.select(", ".join(_DROPPED + _UNSEEN))
    yield from soup.find_all(style=_UNSEEN_STYLE)


def _converter(base: str, unwanted: set[int]) -> Any:
    from markdownify import ATX, MarkdownConverter

    class Converter(MarkdownConverter):
        """Links with their server; images as words, since whatever shows them would fetch them."""

        def process_tag(self, node: Any, parent_tags: Any = None) -> str:
            if id(node) in unwanted:
                return ""
            return str(super().process_tag(node, parent_tags=parent_tags))  # type: ignore[misc]

        def convert_a(self, el: Any, text: str, parent_tags: set[str]) -> str:
            target = absolute(base, str(el.get("href") or "")) if el.get("href") else None
            if target is None or not text.strip():
                return text
            el["href"] = target
            return str(super().convert_a(el, text, parent_tags))  # type: ignore[misc]

        def convert_img(self, el: Any, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002
            return " ".join(str(el.get("alt") or "").split())

    return Converter(heading_style=ATX, bullets="-", escape_misc=False, escape_underscores=False)


def _plain(root: Any, unwanted: set[int]) -> str:
    """The text alone, with a stack of its own instead of the interpreter's."""
    from bs4 import Tag
    from bs4.element import NavigableString

    lines: list[str] = []
    stack: list[Any] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Tag) and id(node) not in unwanted:
            stack.extend(reversed(node.contents))
        elif type(node) is NavigableString and node.strip():  # no comments
            lines.append(node.strip())
    return "\n".join(lines)


def _main_part(soup: "BeautifulSoup") -> "BeautifulSoup | Tag":
    """The page's own content where it says which that is and there is something in it."""
    whole = soup.body or soup
    for name in ("main", "[role=main]", "article"):
        found = soup.select(name)
        if len(found) == 1 and len(found[0].get_text(strip=True)) >= 200:
            return found[0]
    return whole
