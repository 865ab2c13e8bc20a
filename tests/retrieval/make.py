"""Documents for tests, made from scratch."""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def pdf_bytes(pages: Sequence[str | None]) -> bytes:
    """A PDF with one page for each text; None is a page with a drawing but no text."""
    objects: list[bytes] = []
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects.append(b"<< /Type /Catalog /Pages 2 0 R >>")
    objects.append(f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode())
    objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, text in enumerate(pages):
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>".encode()
        )
        stream = b"0 0 100 100 re f"
        if text is not None:
            lines = [line.replace("(", "[").replace(")", "]") for line in text.split("\n")]
            shown = " ".join(f"({line}) Tj 0 -14 Td" for line in lines)
            stream = f"BT /F1 12 Tf 50 740 Td {shown} ET".encode("latin-1")
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    return assemble(objects)


def assemble(objects: Sequence[bytes]) -> bytes:
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n")
    places = []
    for number, content in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, content))
    start = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    for place in places:
        out.write(b"%010d 00000 n \n" % place)
    out.write(
        b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    )
    return out.getvalue()


def locked_pdf(pages: Sequence[str], *, user: str, owner: str, algorithm: str = "RC4-128") -> bytes:
    """A PDF under passwords; an empty ``user`` opens for everyone."""
    from pypdf import PdfReader, PdfWriter

    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf_bytes(pages))))
    writer.encrypt(user_password=user, owner_password=owner, algorithm=algorithm)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def docx_bytes(body: str, *, styles: str = "", prolog: str = "", compress: bool = True) -> bytes:
    """A Word file of which the test writes the XML."""
    out = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", kind) as package:
        package.writestr("[Content_Types].xml", "<Types/>")
        package.writestr(
            "word/document.xml",
            f'<?xml version="1.0" encoding="UTF-8"?>{prolog}<w:document xmlns:w="{W}">'
            f"<w:body>{body}</w:body></w:document>",
        )
        if styles:
            package.writestr("word/styles.xml", f'<w:styles xmlns:w="{W}">{styles}</w:styles>')
    return out.getvalue()


def real_docx(path: Path) -> None:
    """A file as python-docx (and Word) writes it: title, headings, lists, a table."""
    import docx

    document = docx.Document()
    document.add_heading("The Heron", 0)
    document.add_paragraph("It stands in shallow water.")
    document.add_heading("Food", 1)
    document.add_paragraph("Fish", style="List Bullet")
    document.add_paragraph("Frogs", style="List Bullet")
    document.add_heading("Sizes", 2)
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(
        (c for row in table.rows for c in row.cells), ("Kind", "cm", "Grey", "98"), strict=True
    ):
        cell.text = text
    document.add_paragraph("After the table.")
    document.save(str(path))
