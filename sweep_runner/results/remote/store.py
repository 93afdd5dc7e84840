"""Objects of one prefix, by their names below it: list, get, put, delete. Errors say what to do about them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from sweep_runner.durable import write_atomically
from sweep_runner.errors import RequestError, SweepError
from sweep_runner.results.remote.address import Address

Kind = Literal["bucket", "refused", "unreachable", "missing", "other"]

_CONNECT_TIMEOUT_S = 5.0
_REQUEST_TIMEOUT_S = 30.0
_TRIES = 2  # of each request, inside the library; whoever calls tries again later
_CHUNK_BYTES = 8 << 20
_KINDS: dict[Kind, tuple[str, ...]] = {
    "bucket": ("NO_SUCH_BUCKET", "NoSuchBucket"),
    "refused": (
        "ACCESS_DENIED",
        "INVALID_ACCESS_KEY_ID",
        "SIGNATURE_DOES_NOT_MATCH",
        "INVALID_CLIENT_TOKEN_ID",
        "EXPIRED_TOKEN",
        "ExpiredToken",
        "InvalidToken",
        "MISSING_AUTHENTICATION_TOKEN",
        "No credentials",
        "HTTP response code: 403",
        "HTTP response code: 401",
    ),
    "unreachable": ("NETWORK_CONNECTION", "REQUEST_TIMEOUT", "curlCode", "resolve", "connect"),
}
_HINTS: dict[Kind, str] = {
    "bucket": "create the bucket, or name another one with --results",
    "refused": "check the credentials (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the machine's "
    "role), and that they may list, read, write and delete there",
    "unreachable": "check the network, and the server's address in AWS_ENDPOINT_URL (empty for Amazon's own)",
    "missing": "",
    "other": "the server's answer is above; AWS_REGION and AWS_ENDPOINT_URL say which server is asked",
}


class StoreError(SweepError):
    """The storage did not do it.

    Attributes:
        kind: what is wrong with it.
        hint: what to do about that.
    """

    def __init__(self, address: Address, error: Exception, kind: Kind | None = None) -> None:
        text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        self.kind: Kind = kind or _kind_of(text)
        self.hint = _HINTS[self.kind]
        rule = {
            "bucket": f"no bucket {address.bucket!r}",
            "refused": "access is refused",
            "unreachable": "the server cannot be reached",
        }.get(self.kind, "it failed")
        super().__init__(f"{address}: {rule} ({text[:300]})")

    def as_request(self) -> RequestError:
        """The same, where it is the request that is wrong."""
        return RequestError(str(self), hint=self.hint)


def _kind_of(text: str) -> Kind:
    for kind, signs in _KINDS.items():
        if any(sign in text for sign in signs):
            return kind
    return "other"


@dataclass(frozen=True)
class Entry:
    """What a listing says of an object.

    Attributes:
        size: in bytes.
        mtime_ns: when it was put, by the server's clock.
    """

    size: int
    mtime_ns: int


class Store:
    """The objects below an address. Names are relative to it. May be used by several threads."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._fs = _file_system(address.endpoint, address.region)

    def below(self, name: str) -> Store:
        """The objects below a name here."""
        return Store(self.address.below(name))

    def _path(self, name: str) -> str:
        return f"{self.address.path}/{name}" if name else self.address.path

    def _failed(self, error: OSError) -> StoreError:
        return StoreError(self.address, error)

    def check(self, writable: bool = False) -> datetime | None:
        """Finds out whether the bucket is there, and whether it can be written to.

        Returns:
            The time on the server's clock, when it was written to.

        Raises:
            StoreError: it is not.
        """
        from pyarrow import fs

        try:
            if self._fs.get_file_info(self.address.bucket).type == fs.FileType.NotFound:
                raise StoreError(self.address, FileNotFoundError("the server has no bucket of this name"), "bucket")
            if not writable:
                return None
            # As other probes are named: a person who sees one left by a killed process knows what it was.
            probe = f".writable-{secrets.token_hex(4)}"
            self.put(probe, b"sweep")
            info = self._fs.get_file_info(self._path(probe))
            self.delete([probe])
            time: datetime = info.mtime
            return time
        except OSError as error:
            raise self._failed(error) from error

    def entries(self, folder: str = "", *, deep: bool = True) -> dict[str, Entry]:
        """The objects below a folder by their names, at any depth or directly in it; none when it is not there.

        Raises:
            StoreError: it cannot be listed. (A bucket that is gone looks empty here: `check` tells.)
        """
        return {name: entry for name, entry in self._infos(folder, deep) if entry is not None}

    def folders(self) -> list[str]:
        """The names of the folders here.

        Raises:
            StoreError: they cannot be listed.
        """
        return sorted(name for name, entry in self._infos("", False) if entry is None)

    def _infos(self, folder: str, deep: bool) -> Iterable[tuple[str, Entry | None]]:
        from pyarrow import fs

        selector = fs.FileSelector(self._path(folder), recursive=deep, allow_not_found=True)
        start = len(self.address.path) + 1
        try:
            infos = self._fs.get_file_info(selector)
        except OSError as error:
            raise self._failed(error) from error
        for info in infos:
            name = info.path[start:]
            if any(part in ("", ".", "..") for part in name.split("/")):
                continue  # a key may be anything, and these would be files elsewhere
            yield name, Entry(info.size, info.mtime_ns) if info.type == fs.FileType.File else None

    def entry(self, name: str) -> Entry | None:
        """What is known of one object; None when there is none.

        Raises:
            StoreError: the server does not say.
        """
        from pyarrow import fs

        try:
            info = self._fs.get_file_info(self._path(name))
        except OSError as error:
            raise self._failed(error) from error
        return Entry(info.size, info.mtime_ns) if info.type == fs.FileType.File else None

    def get(self, name: str) -> bytes | None:
        """What an object holds; None when there is none.

        Raises:
            StoreError: it cannot be read.
        """
        try:
            with self._fs.open_input_stream(self._path(name)) as stream:
                content: bytes = stream.read()
                return content
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failed(error) from error

    def get_file(self, name: str, path: Path) -> bool:
        """Writes an object into a file, which is whole or as it was; whether there is such an object.

        Raises:
            StoreError: it cannot be read.
            OSError: the file cannot be written.
        """
        try:
            stream = self._fs.open_input_stream(self._path(name))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._failed(error) from error

        def copy(file: BinaryIO) -> None:
            while True:
                try:
                    chunk = stream.read(_CHUNK_BYTES)
                except OSError as error:
                    raise self._failed(error) from error
                if not chunk:
                    return
                file.write(chunk)

        with stream:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, copy)
        return True

    def put(self, name: str, content: bytes | BinaryIO) -> None:
        """Puts an object: others see the old one or the new one.

        Raises:
            StoreError: it could not be put.
        """
        try:
            with self._fs.open_output_stream(self._path(name)) as stream:
                if isinstance(content, bytes):
                    stream.write(content)
                    return
                while chunk := content.read(_CHUNK_BYTES):
                    stream.write(chunk)
        except OSError as error:
            raise self._failed(error) from error

    def put_file(self, name: str, path: Path) -> None:
        """Puts a file as it is when this is called.

        Raises:
            StoreError: it could not be put.
            FileNotFoundError: there is no such file.
        """
        with path.open("rb") as file:
            self.put(name, file)

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects; those that are not there are none the less gone.

        Raises:
            StoreError: one could not be deleted.
        """
        for name in names:
            try:
                self._fs.delete_file(self._path(name))
            except FileNotFoundError:
                continue
            except OSError as error:
                raise self._failed(error) from error

    def delete_folder(self, folder: str) -> None:
        """Deletes everything below a folder, in one request a thousand objects.

        Raises:
            StoreError: it could not be deleted.
        """
        try:
            self._fs.delete_dir(self._path(folder))
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed(error) from error

    def move(self, source: str, target: str) -> None:
        """Moves every object below one name to below another.

        Raises:
            StoreError: one could not be moved; what was moved is there, the others are where they were.
        """
        for name in self.entries(source):
            try:
                self._fs.move(self._path(name), self._path(f"{target}{name.removeprefix(source)}"))
            except OSError as error:
                raise self._failed(error) from error


def _file_system(endpoint: str, region: str) -> Any:
    from pyarrow import fs

    # Off: a look-up of the machine's role takes seconds where there is no such service, with credentials in hand.
    if os.environ.get("AWS_ACCESS_KEY_ID"):
        os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
    options: dict[str, Any] = {}
    if endpoint:
        options["endpoint_override"] = endpoint
    if region:
        options["region"] = region
    return fs.S3FileSystem(
        connect_timeout=_CONNECT_TIMEOUT_S,
        request_timeout=_REQUEST_TIMEOUT_S,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
        # A small object is one request instead of the three of an upload in parts.
        allow_delayed_open=True,
        **options,
    )
