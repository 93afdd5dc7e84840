"""`sweep dashboard` as a process: the study's pages, on this machine only, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sweep_runner.cli.main import main
from sweep_runner.results.paths import SweepPaths
from tests.support.servers import serving

pytest.importorskip("optuna_dashboard")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with the sweep `tried`: a study of four trials whose last line is half written."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    paths = SweepPaths(tmp_path / "results" / "tried")
    paths.root.mkdir(parents=True)
    paths.spec.write_text("name: tried\n")
    storage = JournalStorage(JournalFileBackend(str(paths.study)))
    study = optuna.create_study(study_name="tried", storage=storage, direction="maximize")
    study.optimize(lambda trial: -abs(trial.suggest_float("lr", 0, 1) - 0.3), n_trials=4)
    with paths.study.open("a") as file:
        file.write('{"op_code": 5, "wor')
    return paths.root.parent


@contextmanager
def running(results: Path, temporary: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command and its address."""
    temporary.mkdir()
    command = ("dashboard", "tried", "--port", "0", "--results", str(results))
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with serving(*command, announces=r"http://127\.0\.0\.1:\d+", environment=environment) as (process, found, _):
        yield process, found[0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_it_answers_here_only_and_leaves_nothing(
    results: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with running(results, tmp_path / "temporary") as (process, address):
        with urllib.request.urlopen(f"{address}/api/studies/0") as answer:
            assert len(json.load(answer)["trials"]) == 4
        with urllib.request.urlopen(f"{address}/dashboard") as answer:
            assert b"<html" in answer.read()
        # Another address of this machine: 127.0.0.0/8 is all loopback on Linux, and only the one is listened on.
        if sys.platform == "linux":
            with pytest.raises(ConnectionRefusedError), socket.socket() as other:
                other.connect(("127.0.0.2", int(address.rpartition(":")[2])))
        process.send_signal(number)
        _, told = process.communicate()
        assert process.returncode == code, told
        assert "Traceback" not in told
    assert list((tmp_path / "temporary").glob("sweep-*")) == []


def test_a_port_in_use_is_said(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["dashboard", "tried", "--results", str(results), "--port", str(port)]) == 1
    told = capsys.readouterr().err
    assert f"port {port}" in told
    assert "--port" in told


@pytest.mark.skipif(BROWSER is None, reason="no chromium")
def test_in_a_browser(results: Path, tmp_path: Path) -> None:
    sync = pytest.importorskip("playwright.sync_api")
    with running(results, tmp_path / "temporary") as (_, address), sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        tab = browser.new_page()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(address)
        tab.get_by_text("tried").first.click(timeout=120_000)
        tab.get_by_text("lr").first.wait_for(timeout=120_000)
        browser.close()
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
