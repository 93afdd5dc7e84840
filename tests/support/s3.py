"""A real S3 server in a process of its own: it can be stopped, started again, and its bucket removed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import boto3
from botocore.config import Config

KEYS = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests-secret", "AWS_REGION": "us-east-1"}
BUCKET = "sweeps"

# Not `python -m moto.server`, which says its port only where it was told one.
_SERVE = """
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    def log(self, kind, message, *args):
        # A line a request: the test counts them.
        sys.stdout.write(f"REQUEST {self.requestline}\\n")
        sys.stdout.flush()

server = make_server(sys.argv[1], int(sys.argv[2]), DomainDispatcherApplication(create_backend_app),
                     threaded=True, request_handler=Handler)
print("PORT", server.port, flush=True)
server.serve_forever()
"""


@dataclass
class S3Server:
    """A running server.

    Attributes:
        host: the address that it listens on.
        port: there.
        requests: the request lines so far, `PUT /sweeps/...`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    requests: list[str] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What makes commands use it."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.endpoint}

    def start(self) -> None:
        """Starts it, empty, on the port that it had before."""
        import threading

        command = [sys.executable, "-c", _SERVE, self.host, str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        lines = self._process.stdout
        while not (line := lines.readline()).startswith("PORT"):
            assert self._process.poll() is None, "the server did not start"
        self.port = int(line.split()[1])

        def read() -> None:
            self.requests += (line.removeprefix("REQUEST ").strip() for line in lines if line.startswith("REQUEST "))

        threading.Thread(target=read, daemon=True).start()

    def stop(self) -> None:
        """Ends it; what it held is gone, as it is in memory."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @cached_property
    def client(self) -> Any:
        """To look at what is there by other means than the project's own. For the server once it has a port."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=KEYS["AWS_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            config=Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2}),
        )

    def make_bucket(self, bucket: str = BUCKET) -> None:
        self.client.create_bucket(Bucket=bucket)

    def remove_bucket(self, bucket: str = BUCKET) -> None:
        """With everything in it, however busily it is written to."""
        client = self.client
        for _ in range(100):
            for name in self.objects(bucket):
                client.delete_object(Bucket=bucket, Key=name)
            try:
                client.delete_bucket(Bucket=bucket)
                return
            except client.exceptions.ClientError:
                time.sleep(0.01)
        raise AssertionError("the bucket is written to faster than it is emptied")

    def objects(self, bucket: str = BUCKET) -> dict[str, int]:
        """Every object with its size."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {each["Key"]: each["Size"] for page in pages for each in page.get("Contents", ())}

    def content(self, name: str, bucket: str = BUCKET) -> bytes:
        body: bytes = self.client.get_object(Bucket=bucket, Key=name)["Body"].read()
        return body

    def put(self, name: str, content: bytes, bucket: str = BUCKET) -> None:
        self.client.put_object(Bucket=bucket, Key=name, Body=content)

    def delete(self, name: str, bucket: str = BUCKET) -> None:
        self.client.delete_object(Bucket=bucket, Key=name)


@contextmanager
def s3_server(host: str = "127.0.0.1") -> Iterator[S3Server]:
    """A server with an empty bucket, gone when this is left."""
    server = S3Server(host)
    server.start()
    try:
        server.make_bucket()
        yield server
    finally:
        server.stop()
