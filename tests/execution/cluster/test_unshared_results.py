"""A sweep on machines that share no folder: results are on S3, and a machine that dies leaves its checkpoints there."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.nodes import Lab, events
from tests.support.s3 import BUCKET, s3_server
from tests.support.sweeps import recorded

WriteSpec = Callable[..., Path]

pytestmark = [pytest.mark.ray, pytest.mark.cluster]


def test_a_trial_goes_on_elsewhere_from_what_a_dead_machine_uploaded(
    own_lab: Lab, write_spec: WriteSpec, tmp_path: Path
) -> None:
    address = f"{own_lab.network}.254"
    subprocess.run(["ip", "address", "add", f"{address}/24", "dev", own_lab.bridge], check=True)
    copies = tmp_path / "copies"
    copies.mkdir()
    file = write_spec(
        fixed={"epochs": 6, "epoch_s": 1.0}, search={"sampler": "random", "trials": 3}, resources={"max_failures": 0}
    )
    with s3_server(address) as server:
        nodes = [own_lab.head.begin_ray(head=True, **server.environment)]
        second = own_lab.add("second")
        cache = {"XDG_CACHE_HOME": str(tmp_path / "cache-of-second")}
        nodes.append(second.begin_ray(hides=copies, **server.environment, **cache))
        own_lab.wait(*nodes)
        where = {**server.environment, "SWEEP_COPIES": str(copies), "SWEEP_RESULTS": f"s3://{BUCKET}/lab"}
        driver = own_lab.begin_sweep("run", file, "--address", "auto", cwd=tmp_path, **where)

        def root() -> Path:
            return next(copies.glob("*/small"), tmp_path / "nothing")

        driver.until(lambda: {event["trial"] for event in events(root(), kind="epoch", epoch=2)} >= {0, 1}, "two run")
        second.kill()
        done = driver.end()
        assert done.returncode == 0, done.stderr
        rows, ends = recorded(root())
        assert sorted(rows) == [(trial, epoch) for trial in range(3) for epoch in range(1, 7)]
        assert {end["state"] for end in ends.values()} == {"COMPLETED"}
        (failure,) = events(root(), kind="failure")
        again = events(root(), kind="epoch", trial=failure["trial"], attempt=2)
        assert again[0]["epoch"] >= 3, "it went on from a checkpoint that was never on this machine"
        assert (root() / "trials" / str(failure["trial"]) / "attempt-0").is_dir()
