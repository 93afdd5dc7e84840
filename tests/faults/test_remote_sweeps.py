"""Whole sweeps on S3: the machine is lost and another one goes on; the bucket is gone when the sweep ends."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults import Driver
from tests.support.s3 import BUCKET, S3Server, s3_server
from tests.support.sweeps import log_of, sweep

pytestmark = pytest.mark.ray

WriteOwn = Callable[..., Path]
RESULTS = f"s3://{BUCKET}/lab"
EPOCHS = 3


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


def on_machine(server: S3Server, folder: Path) -> dict[str, str]:
    """The environment of a machine whose working copies are in this folder."""
    return {**server.environment, "SWEEP_COPIES": str(folder), "SWEEP_RESULTS": RESULTS}


def uploaded_log(server: S3Server) -> list[dict[str, Any]]:
    """The events that are on the storage."""
    if "lab/small/state.zip" not in server.objects():
        return []
    with zipfile.ZipFile(io.BytesIO(server.content("lab/small/state.zip"))) as archive:
        return [json.loads(line) for line in archive.read("log.jsonl").splitlines()]


def epochs_in(events: list[dict[str, Any]]) -> list[tuple[int, int, float]]:
    return [(event["trial"], event["epoch"], event["metrics"]["score"]) for event in events if event["kind"] == "epoch"]


def copy_in(folder: Path) -> Path:
    (found,) = folder.glob("*/small")
    return found


def test_another_machine_goes_on_where_the_first_was_lost(
    write_own: WriteOwn, tmp_path: Path, server: S3Server
) -> None:
    values = ["a", "bb", "ccc"]
    file = write_own("Slow", values, fixed={"epochs": EPOCHS, "epoch_s": 0.4})
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    driver = Driver("run", file, cwd=tmp_path, **on_machine(server, first))
    driver.wait_for(lambda: len(epochs_in(uploaded_log(server))) >= 2)
    driver.kill()
    known = uploaded_log(server)
    shutil.rmtree(first, ignore_errors=True)  # its workers, which live some seconds more, find nothing either

    resumed = sweep("resume", "small", cwd=tmp_path, **on_machine(server, second))
    assert resumed.returncode == 0, resumed.stderr
    log = log_of(copy_in(second))
    assert log[: len(known)] == known, "what was known of it stands"
    rows = epochs_in(log)
    words = {event["trial"]: event["params"]["what"] for event in log if event["kind"] == "start"}
    expected = {(trial, epoch, len(word) + epoch / 10) for trial, word in words.items() for epoch in (1, 2, 3)}
    assert sorted(words.values()) == values
    assert set(rows) == expected
    assert len(rows) == len(expected)
    assert list(copy_in(second).glob("trials/*/attempt-0")), "no trial went on from a checkpoint of the first machine"
    assert uploaded_log(server) == log

    shutil.rmtree(second)
    there = on_machine(server, third)
    board = json.loads(sweep("top", "small", "--json", cwd=tmp_path, **there).stdout)
    assert board["state"] == "COMPLETED"
    ranked = [row["trial"] for row in board["trials"]]
    assert [words[trial] for trial in ranked] == values[::-1]
    counted = sweep("query", "--format", "json", "select count(*) as n from epochs", cwd=tmp_path, **there)
    assert json.loads(counted.stdout) == [{"n": len(expected)}]
    report = sweep("report", "small", cwd=tmp_path, **there)
    assert Path(report.stdout.strip()).stat().st_size > 1000, report.stderr
    exported = sweep("export", "small", "--trial", str(ranked[1]), cwd=tmp_path, **there)
    assert exported.returncode == 0, exported.stderr
    assert (Path(exported.stdout.strip()) / "model.onnx").is_file()
    # Of the trials that are kept each has its best checkpoint there, and nothing else.
    names = [name for name in server.objects() if "/checkpoints/epoch" in name]
    assert [name for name in names if f"/epoch-{EPOCHS:05d}/" not in name] == []
    assert json.loads(server.content("lab/small/best/model.json"))["origin"]["trial"] == ranked[0]
    assert "lab/small/report.html" in server.objects()


@pytest.mark.long
def test_a_bucket_that_is_gone_at_the_end_costs_nothing_but_an_upload(
    write_own: WriteOwn, tmp_path: Path, server: S3Server
) -> None:
    file = write_own("Slow", ["a", "bb"], fixed={"epochs": EPOCHS, "epoch_s": 0.4})
    first, second = tmp_path / "first", tmp_path / "second"
    driver = Driver("run", file, cwd=tmp_path, **on_machine(server, first))
    driver.wait_for(lambda: epochs_in(uploaded_log(server)))
    server.remove_bucket()
    code, _, said = driver.end(timeout_s=240)
    assert code == 1, said
    assert said.count("The sweep continues in") == 1
    assert f"no bucket {BUCKET!r}" in said
    assert "upload it later with: sweep sync small" in said
    log = log_of(copy_in(first))
    assert len(epochs_in(log)) == 2 * EPOCHS
    refused = sweep("resume", "small", cwd=tmp_path, **on_machine(server, first))
    assert refused.returncode == 2, refused.stderr
    server.make_bucket()
    synced = sweep("sync", "small", cwd=tmp_path, **on_machine(server, first))
    assert synced.returncode == 0, synced.stderr
    assert uploaded_log(server) == log
    shown = sweep("top", "small", "--json", cwd=tmp_path, **on_machine(server, second))
    assert json.loads(shown.stdout)["state"] == "COMPLETED"
    assert any("/checkpoints/epoch-00003/manifest.json" in name for name in server.objects())
