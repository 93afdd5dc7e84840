"""The text of a file, in whatever encoding it was saved."""

from __future__ import annotations

import codecs

from trainables.errors import DataError

_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WINDOWS = "cp1252"


def decoded(content: bytes, name: str, encoding: str | None = None) -> tuple[str, str | None]:
    """A file's text, and what is to be said of its encoding.

    Without `encoding` it is as its byte order mark says, or UTF-8, or else cp1252, as Excel saves on Windows.

    Args:
        content: the file's bytes, or its beginning.
        name: how to speak of the file.
        encoding: `data.table.encoding`.

    Raises:
        DataError: it is not in that encoding.
    """
    found = encoding or next((each for mark, each in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(found), None
    except UnicodeDecodeError as error:
        if encoding is not None or found != "utf-8":
            raise DataError(
                f"data.table: {name} is not {found} (byte {error.start + 1}, 0x{content[error.start]:02x}): "
                "data.table.encoding says how it was saved"
            ) from error
        start = error.start
    try:
        text = content.decode(WINDOWS)
    except UnicodeDecodeError as error:
        raise DataError(
            f"data.table: {name} is neither UTF-8 (byte {start + 1}, 0x{content[start]:02x}) nor {WINDOWS}: "
            "data.table.encoding says how it was saved, such as gb18030 or shift_jis"
        ) from error
    # One byte is one character in cp1252: the word around the first byte that is not UTF-8.
    word = _word(text, start)
    return text, f"{name} is not UTF-8: read as {WINDOWS} (such as {word!r}); data.table.encoding says otherwise"


def _word(text: str, place: int) -> str:
    first = last = place
    while first and text[first - 1].isalnum():
        first -= 1
    while last + 1 < len(text) and text[last + 1].isalnum():
        last += 1
    return text[first : last + 1]
