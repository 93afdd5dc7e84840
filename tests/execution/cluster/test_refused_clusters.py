"""What is wrong with a cluster is said before the first trial, all of it, quickly, and with what to do."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.nodes import Lab
from tests.support.sweeps import sweep

WriteSpec = Callable[..., Path]


@contextlib.contextmanager
def web_server() -> Iterator[str]:
    """A server that is no head of a cluster; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    connection.recv(100)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    connection.close()

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_an_address_where_no_cluster_is(write_spec: WriteSpec, tmp_path: Path) -> None:
    file = write_spec()
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"127.0.0.1:{server.getsockname()[1]}"
    with web_server() as web:
        for address, words in (
            (closed, f"cluster.address is {closed}: nothing is reachable there (Connection refused)"),
            (web, f"cluster.address is {web}: the server there is not a Ray head but a web server"),
            ("http://127.0.0.1:8265", "is the address of Ray's dashboard: use the head's, HOST:PORT"),
            ("ray://127.0.0.1:10001", "which sweeps do not support"),
            ("somewhere", 'neither HOST:PORT (such as "10.0.0.5:6379") nor auto nor local'),
        ):
            done = sweep("run", file, "--address", address, cwd=tmp_path, timeout=30)
            assert done.returncode == 2
            assert words in done.stderr
            assert "Traceback" not in done.stderr
    assert not (tmp_path / "results" / "small").exists(), "nothing is in the way of the next try"


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"working_dir": "nowhere"}, "cluster.env.working_dir is 'nowhere', which must be a folder"),
        ({"py_modules": ["gone.py", "sweep.yaml"]}, "cluster.env.py_modules is 'gone.py', which must be a package's"),
        ({"env_vars": {"NOT_SET_ANYWHERE": None}}, "cluster.env.env_vars.NOT_SET_ANYWHERE has no value"),
    ],
)
def test_what_cannot_be_sent_is_said_before(write_spec: WriteSpec, tmp_path: Path, env: object, words: str) -> None:
    file = write_spec(cluster={"address": "127.0.0.1:1", "env": env})
    done = sweep("run", file, cwd=tmp_path, timeout=30)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("which must be") in (0, 1, 2)


@pytest.mark.ray
def test_what_is_wrong_with_nodes_and_token_is_said_at_once(
    own_lab: Lab, write_spec: WriteSpec, tmp_path: Path
) -> None:
    """On one cluster: a wrong token, none, a machine outside; no GPU, and a node on which three things are wrong."""
    results = tmp_path / "results"
    results.mkdir()
    # As if another version of PyTorch were installed on that node, and another sweep runner.
    other = tmp_path / "other"
    for package, version in (("torch", "1.0.0"), ("sweep_runner", "0.0.1")):
        (other / f"{package}-{version}.dist-info").mkdir(parents=True)
        (other / f"{package}-{version}.dist-info" / "METADATA").write_text(f"Name: {package}\nVersion: {version}\n")
    path = f"{other}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    bad, outside = own_lab.add("bad"), own_lab.add("outside")
    own_lab.wait(own_lab.head.begin_ray(head=True), bad.begin_ray(hides=results, PYTHONPATH=path))
    file = write_spec()

    def refused(*words: str | Path, **options: object) -> str:
        done = own_lab.sweep("run", file, "--address", own_lab.address, *words, cwd=tmp_path, **options)  # type: ignore[arg-type]
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert not (results / "small").exists()
        return done.stderr

    wrong = tmp_path / "wrong-token"
    wrong.write_text("f" * 64)
    said = refused(RAY_AUTH_TOKEN_PATH=str(wrong))
    assert f"rejects the token: it received the one in {wrong}" in said
    said = refused(RAY_AUTH_TOKEN_PATH="", HOME=str(tmp_path), XDG_CONFIG_HOME=str(tmp_path))
    assert "rejects the token: it received none" in said
    said = refused(RAY_AUTH_TOKEN_PATH=str(tmp_path / "gone"))
    assert f"the file {tmp_path / 'gone'}, which is to hold the cluster's token, cannot be read" in said
    said = refused(on=outside)
    assert f"is not a node of the cluster at {own_lab.address}" in said

    said = refused("--set", "resources.gpus=1")
    label = f"node {bad.address}"
    assert "2 problems" in said, "the table of nodes counts them"
    assert f"{label} (" in said
    assert f"{results / 'small'} is not shared: this machine's marker is not there" in said
    assert "torch 1.0.0 (here " in said
    assert "sweep-runner 0.0.1 (here " in said
    assert "resources: a trial asks for one worker with 1 CPU and 1 GPU on one node" in said
    assert "Available: 2 nodes with 1 CPU" in said
