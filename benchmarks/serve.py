"""Requests/s of `sweep serve`: 16 clients at a time against one, each of which asks again as soon as it is answered.

The server is a process of its own with an untrained MobileNetV2 of 128 px, the pictures are photos of 500×375 in JPEG,
and the clients are threads of this process: they take CPU time from the server, as they do on a user's laptop.
"""

from __future__ import annotations

import http.client
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.harness import Figure, paired, sweep
from benchmarks.photos import photos, said
from benchmarks.predict import MODEL, RESOLUTION, write_model
from trainables.image.package import ONNX_FILE

NUM_CLIENTS, NUM_PHOTOS, SECONDS = 16, 32, 4.0


def measure(pairs: int = 5) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        photo_folder = photos(Path(folder) / "photos", NUM_PHOTOS, 0)
        pictures = [path.read_bytes() for path in sorted(photo_folder.rglob("*.*"))]
        model = write_model(Path(folder) / ONNX_FILE)
        with _server(model) as port:
            _rate(port, pictures, 1)  # warm
            return [
                paired(
                    partial(_rate, port, pictures, NUM_CLIENTS),
                    partial(_rate, port, pictures, 1),
                    pairs=pairs,
                    ratio=lambda many, one: many / one,
                    what=f"`sweep serve`, {said()}, {MODEL} at {RESOLUTION} px, {NUM_CLIENTS} clients",
                    against="one client",
                    unit="requests/s",
                    ratio_of="as many",
                    aim="at least 2×",
                    command="python -m benchmarks serve",
                )
            ]


def _rate(port: int, pictures: Sequence[bytes], num_clients: int) -> float:
    """Requests/s."""
    began = time.perf_counter()
    with ThreadPoolExecutor(num_clients) as pool:
        counts = list(pool.map(partial(_ask, port, pictures, began + SECONDS), range(num_clients)))
    return sum(counts) / (time.perf_counter() - began)


def _ask(port: int, pictures: Sequence[bytes], until: float, first: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    count = 0
    while time.perf_counter() < until:
        connection.request("POST", "/predict", pictures[(first + count) % len(pictures)])
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        count += 1
    connection.close()
    return count


@contextmanager
def _server(model: Path) -> Iterator[int]:
    """Its port."""
    command = sweep("serve", str(model), "--port", "0")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "http://" in line)
            yield int(line.split("http://127.0.0.1:")[1].split("/")[0])
        finally:
            process.terminate()
