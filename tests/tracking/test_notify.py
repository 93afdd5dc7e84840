"""A command and a webhook are told; what they do wrong is a warning."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sweep_runner.results.log import read_events
from sweep_runner.results.state import fold
from sweep_runner.spec.model import Notify, Objective
from sweep_runner.tracking.notify import notify, payload
from tests.support.evaluated import write_evaluated_sweep


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, object]]]]:
    received: list[dict[str, object]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if self.path == "/broken" else 204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_both_are_told_of_the_end(tmp_path: Path, webhook: tuple[str, list[dict[str, object]]]) -> None:
    sweep = write_evaluated_sweep(tmp_path / "results", ["a", "b"], examples=20)
    told = payload(sweep, "COMPLETED", "", fold(read_events(sweep.log), Objective()))
    address, received = webhook
    warned: list[str] = []
    command = f'cat > {tmp_path}/told.json; echo "$SWEEP_SWEEP $SWEEP_STATE $SWEEP_BEST_TRIAL" > {tmp_path}/told.txt'
    notify(Notify(command=command, webhook=address), told, warned.append)
    assert warned == []
    assert received == [told]
    assert json.loads((tmp_path / "told.json").read_text()) == told
    assert (tmp_path / "told.txt").read_text() == "balls COMPLETED 4\n"
    assert told["best_value"] is not None


def test_what_they_do_wrong_is_a_warning(webhook: tuple[str, list[dict[str, object]]]) -> None:
    warned: list[str] = []
    notify(Notify(command="echo no mail here >&2; exit 3", webhook=f"{webhook[0]}/broken"), {}, warned.append)
    assert "exit code 3: no mail here" in warned[0]
    assert "500" in warned[1]
    notify(Notify(command="sleep 60", webhook="http://127.0.0.1:9/", timeout_s=0.2), {}, warned.append)
    assert len(warned) == 4
