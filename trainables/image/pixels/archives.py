"""Zip and tar archives of pictures: they are read where they lie, and never unpacked."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ZIP, TAR = "zip", "tar"
"""`Member.column` of a picture in an archive; its row is the number of the entry, or where a tar's data begin."""

MOST_BYTES = 1 << 29
"""No picture is larger: what says so is a decompression bomb."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive.

    Attributes:
        name: its path there.
        row: for `Member`.
        size: in bytes, unpacked.
    """

    name: str
    row: int
    size: int


def is_zip(head: bytes) -> bool:
    """Whether a file begins as a zip archive does."""
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def is_tar(head: bytes) -> bool:
    """Whether a file begins as an uncompressed tar archive does."""
    return head[257:262] == b"ustar"


def entries(path: Path) -> Iterator[Entry]:
    """The files of an archive, in their order.

    Raises:
        OSError, ValueError: it cannot be read, or is damaged.
    """
    try:
        if tarfile.is_tarfile(path) and not zipfile.is_zipfile(path):
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.isfile():
                        yield Entry(member.name, member.offset_data, member.size)
            return
        with zipfile.ZipFile(path) as packed:
            for row, info in enumerate(packed.infolist()):
                if not info.is_dir():
                    yield Entry(info.filename, row, info.file_size)
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise ValueError(f"the archive is damaged: {error}") from error


def reader(path: Path, column: str) -> Callable[[int], bytes]:
    """Reads entries of an archive by their `row`."""
    return _zip_reader(path) if column == ZIP else _tar_reader(path)


def _zip_reader(path: Path) -> Callable[[int], bytes]:
    archive = zipfile.ZipFile(path)
    infos = archive.infolist()

    def read(row: int) -> bytes:
        info = infos[row]
        if info.file_size > MOST_BYTES:
            raise ValueError(f"{info.filename} would be {info.file_size:,} bytes")
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # damaged, encrypted, unknown method
            raise ValueError(str(error)) from error

    return read


def _tar_reader(path: Path) -> Callable[[int], bytes]:
    file = path.open("rb")  # closed when the reader is forgotten

    def read(row: int) -> bytes:
        file.seek(row - tarfile.BLOCKSIZE)
        try:
            info = tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise ValueError(f"the archive has changed or is damaged: {error}") from error
        if info.size > MOST_BYTES:
            raise ValueError(f"{info.name} would be {info.size:,} bytes")
        content = file.read(info.size)
        if len(content) < info.size:
            raise ValueError("the archive is cut short")
        return content

    return read
