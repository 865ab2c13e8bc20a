"""Every kind of file, whole and broken."""

import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psutil
import pytest

from nearfar.errors import (
    DocumentError,
    DocumentNotFoundError,
    DocumentTooLargeError,
    EmptyDocumentError,
    EncryptedDocumentError,
    UnreadableDocumentError,
    UnsupportedFormatError,
)
from nearfar.retrieval.readers import DocumentText, ReadLimits, read
from nearfar.retrieval.readers.encoding import decode
from nearfar.retrieval.readers.process import ReaderProcess

from .make import docx_bytes, locked_pdf, pdf_bytes, real_docx

Make = Callable[[str, bytes | str], Path]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


def shown(document: DocumentText) -> list[tuple[str, str, str]]:
    """Kind, headings and text of each block."""
    return [
        (b.kind, " > ".join(b.headings), document.text[b.start : b.end]) for b in document.blocks
    ]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a file and gives its path."""

    def write(name: str, content: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


# PDF


def test_pdf_gives_the_page_of_each_block(make: Make) -> None:
    document = read(make("a.pdf", pdf_bytes(["First page.\nGoes on.", None, "Third page."])))
    assert document.pages == 3
    assert [(b.page, document.text[b.start : b.end]) for b in document.blocks] == [
        (1, "First page."),
        (1, "Goes on."),
        (3, "Third page."),
    ]


def test_pdf_joins_words_that_were_cut_at_a_line_end(make: Make) -> None:
    document = read(make("a.pdf", pdf_bytes(["The engi-\nneer reads."])))
    assert document.text == "The engineer reads."


def test_pdf_without_text_is_empty_and_the_message_speaks_of_scans(make: Make) -> None:
    with pytest.raises(EmptyDocumentError, match="scan"):
        read(make("a.pdf", pdf_bytes([None, None])))


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_pdf_under_a_password_is_encrypted_and_one_that_opens_is_read(
    make: Make, algorithm: Literal["RC4-128", "AES-256"]
) -> None:
    closed = locked_pdf(["Secret."], user="x", owner="y", algorithm=algorithm)
    with pytest.raises(EncryptedDocumentError):
        read(make("closed.pdf", closed))
    restricted = locked_pdf(["Open."], user="", owner="y", algorithm=algorithm)
    assert read(make("open.pdf", restricted)).text == "Open."


def test_damaged_pdfs_are_unreadable_and_never_anything_else(make: Make) -> None:
    """Cut off, overwritten and scrambled: a document, or one of our errors."""
    whole = pdf_bytes(["One page of text.", "Another page."])
    for cut in range(0, len(whole), 37):
        for name, data in (
            ("cut", whole[:cut]),
            ("zeroed", whole[:cut] + b"\0" * 40 + whole[cut + 40 :]),
            ("inserted", whole[:cut] + b"<< /A [ (" + whole[cut:]),
        ):
            try:
                document = read(make(f"{name}.pdf", data))
            except DocumentError:
                continue
            assert document.blocks


def test_a_file_that_only_calls_itself_pdf_is_unreadable(make: Make) -> None:
    with pytest.raises(UnreadableDocumentError, match="not a PDF"):
        read(make("a.pdf", "just words\n" * 20))


def test_a_pdf_with_too_many_pages_is_refused(make: Make) -> None:
    with pytest.raises(DocumentTooLargeError, match="4 pages, over the limit of 3"):
        read(make("a.pdf", pdf_bytes(["x"] * 4)), ReadLimits(max_pages=3))


# Word


def test_docx_has_headings_lists_and_tables(tmp_path: Path) -> None:
    path = tmp_path / "heron.docx"
    real_docx(path)
    document = read(path)
    assert document.title == "The Heron"
    assert shown(document) == [
        ("heading", "The Heron", "The Heron"),
        ("text", "The Heron", "It stands in shallow water."),
        ("heading", "The Heron > Food", "Food"),
        ("list", "The Heron > Food", "- Fish\n- Frogs"),
        ("heading", "The Heron > Food > Sizes", "Sizes"),
        ("table", "The Heron > Food > Sizes", "Kind | cm\nGrey | 98"),
        ("text", "The Heron > Food > Sizes", "After the table."),
    ]


def test_docx_reads_inserted_text_and_content_controls_but_not_deleted_text(make: Make) -> None:
    body = (
        "<w:p><w:r><w:t>Kept </w:t></w:r><w:ins><w:r><w:t>new</w:t></w:r></w:ins>"
        "<w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:r><w:tab/><w:t>end</w:t></w:r></w:p>"
        "<w:sdt><w:sdtContent><w:p><w:r><w:t>Controlled.</w:t></w:r></w:p></w:sdtContent></w:sdt>"
    )
    assert read(make("a.docx", docx_bytes(body))).text == "Kept new\tend\n\nControlled."


def test_docx_expands_no_entities(make: Make) -> None:
    secret = make("secret.txt", "swordfish")
    bomb = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "boom"}">' for n in range(12))
    for prolog in (
        f"<!DOCTYPE x [{bomb}]>",
        f'<!DOCTYPE x [<!ENTITY e11 SYSTEM "{secret.as_uri()}">]>',
    ):
        body = "<w:p><w:r><w:t>&e11;</w:t></w:r></w:p>"
        with pytest.raises(UnreadableDocumentError, match=r"entities|XML"):
            read(make("a.docx", docx_bytes(body, prolog=prolog)))


def test_docx_that_unpacks_to_very_much_is_too_large(make: Make) -> None:
    body = "<w:p><w:r><w:t>" + "0" * 30_000_000 + "</w:t></w:r></w:p>"
    packed = docx_bytes(body)
    assert len(packed) < 100_000
    with pytest.raises(DocumentTooLargeError):
        read(make("a.docx", packed), ReadLimits(max_file_mb=5))


def test_a_docx_directory_that_lies_about_its_size_gains_nothing(make: Make) -> None:
    packed = bytearray(docx_bytes("<w:p><w:r><w:t>" + "0" * 30_000_000 + "</w:t></w:r></w:p>"))
    with zipfile.ZipFile(make("x.zip", bytes(packed))) as package:
        size = package.getinfo("word/document.xml").file_size.to_bytes(4, "little")
    lying = bytes(packed).replace(size, (1000).to_bytes(4, "little"))
    with pytest.raises((UnreadableDocumentError, DocumentTooLargeError)):
        read(make("a.docx", lying), ReadLimits(max_file_mb=5))


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04 and then nothing",
        docx_bytes("<w:p><w:r><w:t>x</w:t></w:r></w:p>")[:200],
        docx_bytes("<w:p><unclosed></w:p>"),
        b"no zip at all, just words",
    ],
)
def test_damaged_docx_is_unreadable(make: Make, data: bytes) -> None:
    with pytest.raises(UnreadableDocumentError):
        read(make("a.docx", data))


def test_a_word_file_under_a_password_is_encrypted(make: Make) -> None:
    data = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le")
    )
    with pytest.raises(EncryptedDocumentError):
        read(make("a.docx", data))


# HTML

PAGE = """<!DOCTYPE html><html><head><title> The  Pond </title><style>p {color: red}</style></head>
<body><nav><a href="/">Home</a></nav><script>alert("x")</script>
<h1>Pond</h1><p>Water <b>stands</b>
here.<br>Always.</p><h2>Fish</h2><ul><li>carp</li><li>pike <i>big</i></li></ul>
<table><tr><th>Kind</th><th>kg</th></tr><tr><td>Carp</td><td>3 <small>max</small> 4</td></tr></table>
<pre>  one
    two</pre><h2>End</h2>loose text<div hidden>no</div></body></html>"""


def test_html_has_headings_lists_tables_and_code_and_no_scripts(make: Make) -> None:
    document = read(make("a.html", PAGE))
    assert document.title == "The Pond"
    assert shown(document) == [
        ("heading", "Pond", "Pond"),
        ("text", "Pond", "Water stands here.\nAlways."),
        ("heading", "Pond > Fish", "Fish"),
        ("list", "Pond > Fish", "- carp"),
        ("list", "Pond > Fish", "- pike big"),
        ("table", "Pond > Fish", "Kind | kg\nCarp | 3 max 4"),
        ("code", "Pond > Fish", "  one\n    two"),
        ("heading", "Pond > End", "End"),
        ("text", "Pond > End", "loose text"),
    ]


def test_a_table_that_lays_out_a_page_is_read_as_a_page(make: Make) -> None:
    page = "<html><table><tr><td><h1>Title</h1><p>Words.</p></td></tr></table></html>"
    assert shown(read(make("a.html", page)))[0] == ("heading", "Title", "Title")


def test_deeply_nested_html_is_read_or_refused_but_does_not_crash(make: Make) -> None:
    page = "<html><body>" + "<div>" * 100_000 + "deep" + "</div>" * 100_000 + "<p>after</p></body>"
    path = make("a.html", page)
    try:
        text = read(path).text
    except (UnreadableDocumentError, EmptyDocumentError):
        return
    assert text


def test_html_in_its_declared_charset(make: Make) -> None:
    page = '<html><meta charset="koi8-r"><body><p>пруд</p></body></html>'.encode("koi8-r")
    assert read(make("a.html", page)).text == "пруд"


def test_html_named_txt_is_read_as_html_and_says_so(make: Make) -> None:
    document = read(make("a.txt", PAGE))
    assert document.format == "html"
    assert any("HTML" in warning for warning in document.warnings)


# Text


def test_markdown_blocks(make: Make) -> None:
    text = (
        "---\ntitle: Notes\n---\n\n# One\nwords\nmore\n- a\n- b\n\n```py\n# no heading\n\nx = 1\n```\n"
        "Two\n---\n| a | b |\n|---|---|\n\n#hashtag\n"
    )
    document = read(make("a.md", text))
    assert document.title == "Notes"
    assert document.text == text
    assert shown(document)[1:] == [
        ("heading", "One", "# One"),
        ("text", "One", "words\nmore"),
        ("list", "One", "- a\n- b"),
        ("code", "One", "```py\n# no heading\n\nx = 1\n```"),
        ("heading", "One > Two", "Two\n---"),
        ("table", "One > Two", "| a | b |\n|---|---|"),
        ("text", "One > Two", "#hashtag"),
    ]


def test_restructured_text_has_titles(make: Make) -> None:
    text = "=====\nGuide\n=====\n\nIntro.\n\nUse\n---\n\nCall it.\n"
    assert shown(read(make("a.rst", text)))[1:] == [
        ("text", "Guide", "Intro."),
        ("heading", "Guide > Use", "Use\n---"),
        ("text", "Guide > Use", "Call it."),
    ]


def test_python_is_cut_along_definitions_with_qualified_names(make: Make) -> None:
    text = (
        '"""Ponds."""\nimport os\n\n\nclass Pond:\n    """Holds water."""\n\n    @property\n'
        "    def depth(self):\n        return 3\n\n\nasync def fill(): ...\n"
    )
    document = read(make("a.py", text))
    assert document.title == "Ponds."
    assert [(headings, block.split("\n")[0]) for _, headings, block in shown(document)] == [
        ("", '"""Ponds."""'),
        ("Pond", "class Pond:"),
        ("Pond.depth", "    @property"),
        ("fill", "async def fill(): ..."),
    ]


@pytest.mark.parametrize("text", ["def broken(:\n  x", "x = " + "(" * 5000 + ")" * 5000, "a\n\nb"])
def test_python_that_does_not_parse_is_still_text(make: Make, text: str) -> None:
    assert read(make("a.py", text)).text == text


def test_other_source_code_is_cut_at_unindented_lines(make: Make) -> None:
    text = "package x\n\nfunc Fill(p *Pond) int {\n\n\treturn 1\n}\n\ntype Pond struct {\n}\n"
    assert [
        (headings, block.split("\n")[0]) for _, headings, block in shown(read(make("a.go", text)))
    ] == [
        ("", "package x"),
        ("Fill", "func Fill(p *Pond) int {"),
        ("Pond", "type Pond struct {"),
    ]


@pytest.mark.parametrize("suffix", ["csv", "json", "yaml", "toml", "log"])
def test_data_files_are_text(make: Make, suffix: str) -> None:
    assert read(make(f"a.{suffix}", "a,b\n1,2\n")).text == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("data", "text", "warned"),
    [
        ("näive".encode(), "näive", False),
        (b"\xef\xbb\xbfmarked", "marked", False),
        ("näive text".encode("utf-16"), "näive text", False),
        ("näive text, more".encode("utf-16-le"), "näive text, more", True),
        ("näive".encode("utf-32"), "näive", False),
        (b"na\xefve \x93quoted\x94", "naïve “quoted”", True),
        (b"one\r\ntwo\rthree", "one\ntwo\nthree", False),
        (
            b"nul\0here and a long line of words after it",
            "nulhere and a long line of words after it",
            True,
        ),
        (b"\xff\xfea", "\ufffd", True),
    ],
)
def test_encodings(data: bytes, text: str, warned: bool) -> None:
    decoded = decode(data)
    assert decoded is not None
    assert decoded.text == text
    assert bool(decoded.warnings) is warned


def test_random_bytes_are_not_text() -> None:
    assert decode(os.urandom(5000)) is None


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("empty.md", b"", EmptyDocumentError),
        ("blank.txt", b" \n\t\n", EmptyDocumentError),
        ("scripts.html", b"<html><script>x()</script></html>", EmptyDocumentError),
        ("picture.txt", PNG, UnreadableDocumentError),
        ("picture.png", PNG, UnsupportedFormatError),
        ("archive.zip", b"PK\x03\x04rest", UnsupportedFormatError),
        ("archive.txt", b"PK\x03\x04rest", UnreadableDocumentError),
        ("noise.md", bytes(range(256)) * 30, UnreadableDocumentError),
        ("noise.bin", bytes(range(256)) * 30, UnsupportedFormatError),
        ("program", b"\x7fELF\x02\x01\0\0", UnsupportedFormatError),
    ],
)
def test_what_cannot_be_read_is_an_error_of_its_kind(
    make: Make, name: str, content: bytes, error: type[DocumentError]
) -> None:
    path = make(name, content)
    with pytest.raises(error) as raised:
        read(path)
    assert raised.value.data["path"] == str(path)
    assert raised.value.remedy


def test_a_file_of_an_unknown_kind_that_is_text_is_read(make: Make) -> None:
    assert read(make("notes.xyz", "words")).text == "words"


def test_missing_folders_and_large_files(tmp_path: Path, make: Make) -> None:
    with pytest.raises(DocumentNotFoundError):
        read(tmp_path / "nothing.md")
    with pytest.raises(UnsupportedFormatError):
        read(tmp_path)
    with pytest.raises(DocumentTooLargeError) as raised:
        read(make("big.txt", "x" * 3_000_000), ReadLimits(max_file_mb=2))
    assert raised.value.data["bytes"] == 3_000_000


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may read all")
def test_a_file_without_permission_is_reported(make: Make) -> None:
    path = make("a.md", "x")
    path.chmod(0)
    with pytest.raises(UnreadableDocumentError, match="could not be opened"):
        read(path)


# The process


def test_the_process_reads_what_read_reads(make: Make, tmp_path: Path) -> None:
    real_docx(tmp_path / "a.docx")
    paths = [make("a.pdf", pdf_bytes(["One."])), make("a.html", PAGE), tmp_path / "a.docx"]
    with ReaderProcess() as reader:
        assert [reader.read(path) for path in paths] == [read(path) for path in paths]
        pid = reader.pid
        with pytest.raises(EncryptedDocumentError):
            reader.read(make("b.pdf", locked_pdf(["x"], user="a", owner="b")))
        assert reader.pid == pid
    assert pid is not None
    assert not psutil.pid_exists(pid)


def test_plain_text_needs_no_process(make: Make) -> None:
    with ReaderProcess() as reader:
        reader.read(make("a.md", "# x"))
        assert reader.pid is None


def test_a_file_that_takes_too_long_is_given_up_and_the_next_one_is_read(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content of the page repeats itself through nested forms: 10 ** 12 words."""
    monkeypatch.setattr("nearfar.retrieval.readers.process._GRACE_S", 0.5)
    path = make("slow.pdf", endless_pdf())
    with ReaderProcess(ReadLimits(timeout_s=1)) as reader:
        with pytest.raises(UnreadableDocumentError, match="given up after 1 s") as raised:
            reader.read(path)
        assert raised.value.data["limit_s"] == 1
        assert reader.read(make("b.pdf", pdf_bytes(["Next."]))).text == "Next."


def endless_pdf() -> bytes:
    """Twelve forms, each of which draws the next one ten times."""
    from .make import assemble

    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        (
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 5 0 R"
            b" /Resources << /XObject << /X 6 0 R >> >> >>"
        ),
        b"<< /Length 5 >>\nstream\n/X Do\nendstream",
    ]
    for level in range(12):
        draw = b"/X Do " * 10 if level < 11 else b"BT /F1 12 Tf (word) Tj ET"
        inner = (
            b"/XObject << /X %d 0 R >>" % (7 + level) if level < 11 else b"/Font << /F1 3 0 R >>"
        )
        objects.append(
            b"<< /Type /XObject /Subtype /Form /BBox [0 0 612 792] /Resources << %s >> /Length %d >>"
            b"\nstream\n%s\nendstream" % (inner, len(draw), draw)
        )
    return assemble(objects)


def test_a_reader_that_is_killed_is_an_error_for_its_file_only(make: Make) -> None:
    with ReaderProcess() as reader:
        reader.read(make("a.pdf", pdf_bytes(["One."])))
        assert reader.pid is not None
        psutil.Process(reader.pid).kill()
        path = make("b.pdf", pdf_bytes(["Two."]))
        try:
            text = reader.read(path).text
        except UnreadableDocumentError:
            text = reader.read(path).text
        assert text == "Two."


def test_what_goes_over_the_wire_comes_back(make: Make) -> None:
    document = read(make("a.html", PAGE))
    wire = json.loads(json.dumps(document.to_wire()))
    assert DocumentText.from_wire(wire) == document
