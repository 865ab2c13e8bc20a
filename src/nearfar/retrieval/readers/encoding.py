"""Bytes to text: which encoding a file is in, and whether it is text at all."""

import codecs
from dataclasses import dataclass

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with the other's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CONTROL = bytes(sorted(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 27}))  # NUL among them
_SAMPLE_BYTES = 65_536
_MAX_CONTROL_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Decoded:
    """Text with line feeds as line ends and without NULs; warnings say what had to be guessed."""

    text: str
    encoding: str
    warnings: tuple[str, ...] = ()


def decode(data: bytes, *, declared: str | None = None) -> Decoded | None:
    """The text of ``data``, or None where it is not text.

    A byte order mark wins; then UTF-8; then what the document declares (an HTML ``charset``); then
    Windows-1252, which reads anything, and is reported as a guess.
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _with_mark(data[len(mark) :], encoding)
    if (wide := _unmarked_utf16(data)) is not None:
        return _clean(
            data.decode(wide, "replace"), wide, [f"no byte order mark: read as {wide.upper()}"]
        )
    if looks_binary(data):
        return None
    try:
        return _clean(data.decode("utf-8"), "utf-8", [])
    except UnicodeDecodeError as error:
        return _fallback(data, declared, error.start)


def looks_binary(data: bytes) -> bool:
    """Whether the first 64 KiB hold more control characters than any text does."""
    sample = data[:_SAMPLE_BYTES]
    if not sample:
        return False
    controls = len(sample) - len(sample.translate(None, _CONTROL))
    return controls > max(1, int(len(sample) * _MAX_CONTROL_SHARE))


def _with_mark(data: bytes, encoding: str) -> Decoded:
    try:
        return _clean(data.decode(encoding), encoding, [])
    except UnicodeDecodeError:
        warning = f"bytes that are not {encoding.upper()} were replaced"
        return _clean(data.decode(encoding, "replace"), encoding, [warning])


def _unmarked_utf16(data: bytes) -> str | None:
    """UTF-16 without a mark: mostly Latin text has a zero in every second byte."""
    sample = data[: _SAMPLE_BYTES & ~1]
    if len(sample) < 4:
        return None
    half = len(sample) // 2
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if odd > 0.7 * half and even < 0.05 * half:
        return "utf-16-le"
    if even > 0.7 * half and odd < 0.05 * half:
        return "utf-16-be"
    return None


def _fallback(data: bytes, declared: str | None, position: int) -> Decoded:
    if declared is not None:
        try:
            return _clean(data.decode(declared), declared, [])
        except (LookupError, UnicodeDecodeError):
            pass
    warning = f"not UTF-8 (byte {position}): read as Windows-1252"
    # Five bytes have no meaning in Windows-1252; Latin-1 gives each of them a control character.
    text = data.decode("cp1252", "replace")
    return _clean(text, "cp1252", [warning])


def _clean(text: str, encoding: str, warnings: list[str]) -> Decoded:
    if "\0" in text:
        warnings = [*warnings, "NUL characters were taken out"]
        text = text.replace("\0", "")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return Decoded(text, encoding, tuple(warnings))
