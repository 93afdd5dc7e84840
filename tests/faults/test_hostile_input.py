"""Input that means harm: damaged sweep files; names that are paths, SQL or markup; who may connect to a sweep."""

from __future__ import annotations

import http.client
import json
import os
import signal
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from sweep_runner.results.environment import capture_environment
from sweep_runner.results.events import SweepChanged, TrialEnded, TrialStarted
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.spec.model import Objective
from tests.support import fuzz
from tests.support.faults import Driver
from tests.support.sweeps import log_of, sweep_here


@pytest.mark.parametrize("seed", [11, 12])
def test_damaged_sweep_files_end_with_words_and_exit_code_2(tmp_path: Path, seed: int) -> None:
    """`make fuzz` does the same with 12,000 files, damaging the shipped ones, too."""
    codes, _ = fuzz.fuzz(250, seed, [fuzz.OWN], tmp_path)
    assert codes[2] > 200
    assert codes[2] + codes[0] == 250


NAMES = [
    "a/b",
    "..",
    ".",
    "../up",
    "/etc",
    "a\\b",
    "a\nb",
    "a\x1b[31m",
    "a\x00b",
    "ſweep",
    "x" * 200,
    "-rf",
    " ",
    "a b",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_more_than_a_name_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sweep.yaml"
    quoted = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\x1b", "\\e").replace("\x00", "\\0")
    path.write_text(f'name: "{quoted}"\ntrainable: synthetic\nspace: {{lr: [0.1]}}\n')
    before = set(tmp_path.iterdir())
    assert fuzz.check(path) == 2
    assert set(tmp_path.iterdir()) == before
    if "\x00" not in name:
        for command in (["resume", "--", name], ["top", "--", name]):
            done = sweep_here(*command, cwd=tmp_path)
            assert done.returncode in (1, 2)
            assert "Traceback" not in done.stderr


HOSTILE = ["x'; drop table trials; --", '"quoted"', "<script>alert(1)</script>", "a,b\tc", "..", "ünï-code 🧪", "%s{0}"]


def test_hostile_names_of_classes_and_baselines_are_data_and_nothing_else(tmp_path: Path) -> None:
    paths = SweepPaths(tmp_path / "results" / "small")
    paths.root.mkdir(parents=True)
    with Recorder(paths, Objective(), ["lr"], {}) as recorder:
        recorder.record(SweepChanged(time=1.0, state="RUNNING"))
        for number, name in enumerate(HOSTILE):
            params = {"lr": 0.1}
            recorder.record(TrialStarted(time=2.0, trial=number, attempt=1, seed=1, params=params, name=name))
            recorder.record(TrialEnded(time=3.0, trial=number, attempt=1, state="FAILED", reason=name, params=params))
        rows = {"split": ["test"], "example": ["one.jpg"], "labels": [[HOSTILE[0]]], "predicted": [[HOSTILE[1]]]}
        predictions = pa.table({**rows, **{f"p_{name}": [0.1] for name in HOSTILE}})
        classes = pa.table({"split": ["test"] * len(HOSTILE), "class": HOSTILE, "support": [1] * len(HOSTILE)})
        recorder.record_evaluation(0, "test", predictions, classes)
        recorder.record(SweepChanged(time=4.0, state="COMPLETED"))
    told = sweep_here("query", "select name, reason from trials order by trial", "--format", "json", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert [row["name"] for row in json.loads(told.stdout)] == HOSTILE
    by_column = sweep_here("query", 'select "p_x\'; drop table trials; --" as p from predictions', cwd=tmp_path)
    assert by_column.stdout.split() == ["p", "0.1"]
    for command in (["top", "small"], ["ls"], ["show", "small", "0"], ["query", "select * from classes"]):
        done = sweep_here(*command, cwd=tmp_path)
        assert "Traceback" not in done.stderr
        assert "drop table" in done.stdout or command != ["query", "select * from classes"]
    assert sweep_here("query", "select count(*) from trials", cwd=tmp_path).stdout.split()[-1] == str(len(HOSTILE))


@pytest.mark.ray
def test_all_that_listens_is_on_this_machine_and_behind_a_token(
    write_spec: Callable[..., Path], tmp_path: Path
) -> None:
    """Everything of Ray, its dashboard included; and nobody else can read the token or reach the sockets in files."""
    file = write_spec(fixed={"epochs": 2, "epoch_s": 300.0}, dashboard=True)
    root = tmp_path / "results" / "small"
    token = tmp_path / "config" / "sweep-runner" / "ray-token"
    driver = Driver("run", file, cwd=tmp_path, XDG_CONFIG_HOME=str(tmp_path / "config"), HF_TOKEN="a-secret-of-mine")
    driver.wait_for(lambda: (root / "log.jsonl").exists() and '"start"' in (root / "log.jsonl").read_text())
    driver.wait_for(lambda: "Ray dashboard: http://" in driver.said)
    me = psutil.Process(driver.process.pid)
    pids = {process.pid for process in [me, *me.children(recursive=True)]}
    listening = [
        connection
        for connection in psutil.net_connections("inet")
        if connection.pid in pids and connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) > 5, "Ray's processes are among them"
    addresses = {connection.laddr.ip for connection in listening}
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, addresses

    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() not in driver.said
    host, _, port = driver.said.partition("http://")[2].split()[0].rpartition(":")
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 403),
        ({"Authorization": f"Bearer {token.read_text()}"}, 200),
    ):
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", "/api/jobs/", headers=headers)
        assert connection.getresponse().status == status
        connection.close()
    (target,) = json.loads((root.parent / ".metrics" / "small.json").read_text())
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"http://{target['targets'][0]}/metrics", timeout=30)
    (session,) = Path(os.environ["TMPDIR"]).glob("sweep-ray-*")
    assert stat.S_IMODE(session.stat().st_mode) == 0o700

    # And Ctrl-C ends all of it in far less time than an epoch takes.
    driver.process.send_signal(signal.SIGINT)
    code, _, said = driver.end()
    assert code == 130, said
    assert "sweep resume small" in said
    assert "Traceback" not in said
    assert log_of(root)[-1]["state"] == "INTERRUPTED"
    for path in [*root.rglob("*.json"), *root.rglob("*.jsonl"), *root.rglob("*.yaml"), *root.rglob("log.txt")]:
        assert "a-secret-of-mine" not in path.read_text(), path


def test_anchors_that_explode_are_refused_at_once(tmp_path: Path) -> None:
    """Nine lines that stand for 43 million values."""
    lines = ["name: x", "a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefg", "bcdefgh", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    path = tmp_path / "sweep.yaml"
    path.write_text("\n".join([*lines, "fixed: {epochs: *h}", ""]))
    done = sweep_here("check", path, cwd=tmp_path)
    assert done.returncode == 2
    assert "values, aliases followed" in done.stderr


def test_what_is_kept_of_the_environment_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of the variables, not of the command line, not of the address that the code came from."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com"]
    (tmp_path / "code.py").write_text("x = 1\n")
    for command in (
        ["git", "init", "-q"],
        ["git", "remote", "add", "origin", "https://me:ghp_remotesecret1@host/code.git"],
        ["git", "add", "code.py"],
        [*git, "commit", "-q", "-m", "first"],
    ):
        subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "HOME": str(tmp_path)})
    secrets = {"AWS_SECRET_ACCESS_KEY": "env-secret-1", "WANDB_API_KEY": "env-secret-2", "DB_PASSWORD": "env-secret-3"}
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    captured = capture_environment(
        [
            *("sweep", "run", "sweep.yaml", "--set", "fixed.api_key=line-secret-1"),
            *("--set", "data.root=https://me:line-secret-2@host/data", "--token", "line-secret-3"),
            *("--set", "data.header=Bearer line-secret-4"),
        ]
    )
    kept = json.dumps(captured)
    assert captured["git_commit"]
    assert "data.root=https://***@host/data" in kept
    assert "secret-" not in kept
    assert "remotesecret" not in kept
