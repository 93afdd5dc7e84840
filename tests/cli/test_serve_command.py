"""`sweep serve` as a process: a real server, its limits, its token, its end."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from sweep_runner.cli.main import main
from sweep_runner.cli.serve import _listening
from tests.support.servers import serving as running

pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")


@contextmanager
def serving(model: Path, *options: str, token: str = "") -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The command, its address from this machine, and what it said before it answered."""
    environment = {name: value for name, value in os.environ.items() if name != "SWEEP_TOKEN"}
    if token:
        environment["SWEEP_TOKEN"] = token
    command = ("serve", str(model), "--port", "0", *options)
    with running(*command, announces=r"http://\S+:(\d+)/predict", environment=environment) as (process, found, said):
        yield process, f"http://127.0.0.1:{found[1]}", said


def picture(color: tuple[int, int, int], size: tuple[int, int] = (12, 9)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, "PNG")
    return file.getvalue()


def test_it_answers_refuses_what_is_too_large_and_ends(color_model: Path) -> None:
    with (
        serving(color_model, "--max-bytes", "50000", "--max-pixels", "10000") as (process, address, _),
        httpx.Client(base_url=address, timeout=120) as client,
    ):
        assert client.get("/health").json() == {"status": "ok"}
        assert client.get("/labels").json()["classes"] == ["red", "green", "blue"]
        answer = client.post("/predict?top=1", content=picture((0, 250, 0))).json()
        assert answer["predicted"] == "green"
        assert [each["class"] for each in answer["top"]] == ["green"]
        assert client.post("/predict", content=bytes(60_000)).status_code == 413
        refused = client.post("/predict", content=picture((0, 0, 0), (2000, 2000)))
        assert refused.status_code == 422
        assert "2000×2000 pixels are more than the limit: 10,000" in refused.json()["detail"]
        docs = client.get("/docs").text
        assert f"{address}/predict" in docs
        assert set(re.findall(r"https?://[^/\s'\"]+", docs)) == {address}, "the page must work offline"
        # Another address of this machine: 127.0.0.0/8 is all loopback on Linux, and only the one is listened on.
        if sys.platform == "linux":
            with pytest.raises(ConnectionRefusedError), socket.socket() as other:
                other.connect(("127.0.0.2", int(address.rpartition(":")[2])))
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
        assert process.returncode == 0, told
        assert "Traceback" not in told


@pytest.mark.parametrize("given", ["", "known"], ids=["made", "given"])
def test_beyond_this_machine_a_token_is_needed(color_model: Path, given: str) -> None:
    with serving(color_model, "--host", "0.0.0.0", token=given) as (_, address, said):
        printed = re.search(r"Bearer (\S+)", said)
        assert (printed is None) == bool(given)  # a token of the user's own is not shown
        token = given or (printed[1] if printed else "")
        assert httpx.get(f"{address}/health", timeout=120).status_code == 200
        for path in ("/labels", "/docs", "/openapi.json"):
            assert httpx.get(f"{address}{path}", timeout=120).status_code == 401
        for wrong in ({}, {"Authorization": "Bearer no"}):
            refused = httpx.post(f"{address}/predict", content=picture((250, 0, 0)), headers=wrong, timeout=120)
            assert refused.status_code == 401
        headers = {"Authorization": f"Bearer {token}"}
        answer = httpx.post(f"{address}/predict", content=picture((250, 0, 0)), headers=headers, timeout=120)
        assert answer.json()["predicted"] == "red"


def test_a_port_in_use_is_said(color_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["serve", str(color_model), "--port", str(port)]) == 1
    told = capsys.readouterr().err
    assert f"port {port}: Address already in use" in told
    assert "--port" in told


def test_an_unknown_host_is_said(color_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(color_model), "--host", "no.such.host.invalid", "--port", "0"]) == 2
    assert "no.such.host.invalid" in capsys.readouterr().err


def test_answers_on_an_open_connection_are_sent_at_once() -> None:
    with _listening("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()[:2]) as client:
        connection, _ = listening.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        client.settimeout(5)
        assert client.recv(1) == b""
