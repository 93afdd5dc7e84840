"""What of a launcher's environment a trial does not see, and what of the user's it does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from trainables.environment import WITHHELD, withhold, words

LAUNCHER = {
    "WORLD_SIZE": "2",
    "RANK": "1",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
    "OMPI_COMM_WORLD_SIZE": "2",
}
SPEC = """\
name: small
data: {dataset: digits, limit: 40}
trainable: image_classifier
fixed: {epochs: 1, color: grayscale, finetune: scratch, pretrained: false, model: simple_cnn3, input_resolution: 16}
space: {lr: [0.01]}
"""


def test_a_group_of_others_is_left_out_and_what_the_user_set_stays() -> None:
    users = {"PATH": "/bin", "HF_HOME": "/models", "MY_RANK": "3", "OMP_NUM_THREADS": "1", "NCCL_DEBUG": "INFO"}
    environment = {**LAUNCHER, **users}
    removed = withhold(environment)
    assert environment == users
    assert removed == sorted(LAUNCHER)
    assert all(name in words(removed) for name in LAUNCHER)
    assert withhold(environment) == []


def test_whatever_accelerate_reads_of_a_group_is_in_the_list() -> None:
    """As accelerate.state and accelerate.utils read them: one more in a later version is one more here."""
    from accelerate.utils import environment as accelerates

    source = Path(accelerates.__file__).read_text(encoding="utf-8")
    read = {name for name in source.split('"') if name.isupper() and ("RANK" in name or "SIZE" in name)}
    assert {"RANK", "WORLD_SIZE", "PMI_SIZE"} <= read
    assert withhold(dict.fromkeys(read, "1")) == sorted(read), f"add what is missing to {WITHHELD}"


def test_a_trial_in_this_process_does_not_wait_for_a_group(tmp_path: Path) -> None:
    """With the variables of torchrun for a second process that never comes, and a compiler that it did not ask for."""
    (tmp_path / "sweep.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "sweep_runner", "trial", "sweep.yaml"]
    environment = {**os.environ, **LAUNCHER, "SWEEP_CACHE": str(tmp_path / "cache")}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "epoch 1:" in ran.stdout
    assert "not passed on to trials: ACCELERATE_DYNAMO_BACKEND, LOCAL_RANK" in ran.stderr
