"""`sweep submit` as a user meets it before a cluster has a say."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep_runner.execution.jobs.submission import Submission
from sweep_runner.execution.jobs.upload import Folder, measure
from tests.support.cli import Refused
from tests.support.sweeps import SPEC


def test_an_address_that_is_none_is_told(refused: Refused) -> None:
    with _answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") as url:
        assert "the server is not Ray's dashboard" in refused("jobs", "ls", "--address", url)
    with _answering(b"\x00\x00\x18\x04") as url:  # Ray's own port, which speaks something else
        assert "the server is not Ray's dashboard" in refused("jobs", "ls", "--address", url)
    assert "nothing answers there (Connection refused)" in refused("jobs", "ls", "--address", url)
    for wrong in ("ray://127.0.0.1:10001", "http://", "127.0.0.1:port", "http://127.0.0.1:8265/jobs"):
        assert "not the address of a dashboard" in refused("jobs", "ls", "--address", wrong)


@contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    """Something that answers so to whatever it is asked; as long as the process lives, for one request."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_whatever_is_wrong_with_the_file_is_told_here(refused: Refused, here: Path) -> None:
    (here / "sweep.yaml").write_text(yaml.safe_dump({**SPEC, "objective": {"metric": "x"}, "serch": {}}))
    told = refused("submit", "sweep.yaml", "--results", "/shared")
    assert "serch" in told
    assert "2 problems" in told


def test_results_are_where_all_nodes_reach_them(refused: Refused, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "sweep.yaml").write_text(yaml.safe_dump(SPEC))
    assert "--results is missing" in refused("submit", "sweep.yaml")
    assert "a relative path" in refused("submit", "sweep.yaml", "--results", "results")
    monkeypatch.setenv("SWEEP_RESULTS", "/shared")
    assert "nothing answers" in refused("submit", "sweep.yaml", "--address", "127.0.0.1:1")


def test_too_much_is_not_sent(refused: Refused, here: Path) -> None:
    (here / "sweep.yaml").write_text(yaml.safe_dump(SPEC))
    (here / "photos").mkdir()
    (here / "photos" / "all.tar").write_bytes(bytes(3 * 1024**2))
    submit = ("submit", "sweep.yaml", "--results", "/shared", "--address", "127.0.0.1:1", "--upload-limit", "2")
    told = refused(*submit)
    assert "3 MiB in 2 files would be sent, more than 2 MiB" in told
    assert "photos/all.tar 3 MiB" in told
    assert "nothing answers" in refused(*submit, "--exclude", "photos/")
    assert "sweep.yaml would not be sent" in refused(*submit, "--exclude", "photos/", "--exclude", "*.yaml")
    assert "is not in it" in refused(*submit, "--working-dir", here / "photos")


def test_secrets_results_and_what_git_ignores_stay_here(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for large in ("results/old/model.onnx", ".git/objects", "big.log", "sub/__pycache__/x.pyc"):
        (project / large).parent.mkdir(parents=True, exist_ok=True)
        (project / large).write_bytes(bytes(2 * 1024**2))
    (project / ".env").write_text("SECRET=1")
    (project / "own.py").write_text("")
    (project / "sub" / "results").mkdir()
    (project / "sub" / "results" / "code.py").write_text("")
    (project / ".gitignore").write_text("*.log\n")
    folder = measure(project, (), 1)
    assert folder.num_files == 3  # own.py, sub/results/code.py, .gitignore


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "exec sweep run sweeps/s.yaml --address auto --results '/shared results'"),
        ({"fresh": True}, "--fresh"),
        ({"overrides": ("search.trials=3", "name=a b")}, "--set search.trials=3 --set 'name=a b'"),
        ({"verb": "resume"}, "exec sweep resume s --file sweeps/s.yaml --address auto"),
    ],
    ids=["run", "fresh", "set", "resume"],
)
def test_the_command_on_the_cluster(changes: dict[str, Any], words: str) -> None:
    folder = Folder(Path("/project"), 1, 1)
    assert words in Submission("s", Path("sweeps/s.yaml"), folder, "/shared results", **changes).entrypoint
