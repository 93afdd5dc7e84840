"""Where remote results are, `s3://bucket/prefix`, and where their working copy on this machine is."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import platformdirs

from sweep_runner.durable import write_atomically
from sweep_runner.errors import RequestError
from sweep_runner.results.paths import ADDRESS_FILE

SCHEME = "s3://"
COPIES_VARIABLE = "SWEEP_COPIES"
"""The environment variable that says where working copies are kept; by default in the user's cache folder."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_DEFAULT_REGION = "us-east-1"  # what servers other than Amazon's answer to


@dataclass(frozen=True)
class Address:
    """A prefix of a bucket, and how to reach it. Holds no credentials: those come from the usual places.

    Attributes:
        bucket: its name.
        prefix: below which everything is; may be empty, has no slash at its ends.
        endpoint: `http(s)://host:port` of the server; empty for Amazon's.
        region: of the bucket; empty to find out.
    """

    bucket: str
    prefix: str
    endpoint: str = ""
    region: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `s3://bucket/prefix`; endpoint and region come from the environment.

        The variables are those of Amazon's own tools: AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, AWS_REGION or
        AWS_DEFAULT_REGION.

        Raises:
            RequestError: this is no such address.
        """
        bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
        if not text.startswith(SCHEME) or not _BUCKET.fullmatch(bucket):
            raise RequestError(
                f"--results {text}: a remote results folder is s3://BUCKET or s3://BUCKET/PREFIX, and a bucket's name "
                "has 3 to 63 lower-case letters, digits, dots and hyphens",
                hint="for example: --results s3://my-bucket/sweeps",
            )
        parts = [part for part in prefix.split("/") if part]
        if any(part in (".", "..") for part in parts):
            raise RequestError(f"--results {text}: a prefix has no part '.' or '..'", hint="name it without")
        env = os.environ
        endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or ""
        region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or (_DEFAULT_REGION if endpoint else "")
        return cls(bucket, "/".join(parts), endpoint, region)

    @property
    def url(self) -> str:
        """As the user writes it."""
        return f"{SCHEME}{self.path}"

    @property
    def path(self) -> str:
        """`bucket/prefix`."""
        return f"{self.bucket}/{self.prefix}" if self.prefix else self.bucket

    def below(self, name: str) -> Address:
        """The address of what is called `name` here."""
        return Address(self.bucket, f"{self.prefix}/{name}".strip("/"), self.endpoint, self.region)

    def __str__(self) -> str:
        return self.url + (f" (at {self.endpoint})" if self.endpoint else "")


def is_remote(results: str) -> bool:
    """Whether `--results` names no folder of this machine."""
    return "://" in results


def working_copy(address: Address) -> Path:
    """The folder that is the working copy of remote results; made, and marked as such.

    Two servers' buckets of one name have two copies.

    Raises:
        OSError: it cannot be made.
    """
    own = os.environ.get(COPIES_VARIABLE)
    base = Path(own).expanduser().absolute() if own else platformdirs.user_cache_path("sweep-runner") / "remote"
    # A name that a person recognizes, and that no other address has.
    digest = hashlib.sha256(f"{address.endpoint}/{address.path}".encode()).hexdigest()[:8]
    root = base / f"{re.sub(r'[^a-z0-9]+', '-', address.path.lower()).strip('-')[:80]}-{digest}"
    root.mkdir(parents=True, exist_ok=True)
    marker = root / ADDRESS_FILE
    if address_of(root) != address:
        said = {"url": address.url, **asdict(address), "copy": secrets.token_hex(8)}
        write_atomically(marker, json.dumps(said, indent=2).encode())
    return root


def copy_id(root: Path) -> str:
    """What tells this working copy from every other one, also where folders or machines have the same name."""
    return str(json.loads((root / ADDRESS_FILE).read_bytes())["copy"])


def address_of(root: Path) -> Address | None:
    """Of which address a results folder is the working copy; None for a folder of its own."""
    try:
        said = json.loads((root / ADDRESS_FILE).read_bytes())
    except FileNotFoundError:
        return None
    return Address(said["bucket"], said["prefix"], said["endpoint"], said["region"])
