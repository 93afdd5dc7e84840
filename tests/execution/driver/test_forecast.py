"""What a sweep will need on disk, before it starts."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweep_runner.execution.driver.forecast import forecast
from sweep_runner.spec.check import load_plan
from tests.support.sweeps import sweep_here
from trainables.quantities import size_text

FILE = """\
name: room
data: {dataset: digits, cache_dir: CACHE}
space: {model: [simple_cnn3, resnet18], finetune: [scratch], lr: [0.1, 0.01]}
fixed: {pretrained: false, epochs: 2}
baselines: {known: {model: resnet18, lr: 0.1}}
search: {trials: 10}
keep: {best: 2}
resources: {max_concurrent: 1, min_free_disk: 1GB}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(FILE.replace("CACHE", str(tmp_path / "cache")).replace(", finetune: [scratch]", ""))
    return path


def with_free(monkeypatch: pytest.MonkeyPatch, free_bytes: float) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=int(free_bytes)))


def test_it_counts_the_largest_model_for_running_and_kept_trials(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_free(monkeypatch, 50e9)
    plan = load_plan(file)
    found = forecast(plan, tmp_path / "results" / "room")
    values = int(11_689_512 * 1.01)  # parameters of resnet18, and its buffers
    checkpoint, package = values * 4 * 3 + 1_000_000, values * 4 + 1_000_000
    assert found.needed_bytes == (4 * 1 + 2 + 1) * checkpoint + 2 * package
    assert not found.warning
    assert size_text(found.needed_bytes) in found.lines[0]
    assert "50 GB free" in found.lines[0]
    assert str(tmp_path / "cache") in found.lines[1]


def test_too_little_room_is_a_warning_with_numbers_and_what_to_do(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = load_plan(file)
    with_free(monkeypatch, 1.5e9)
    tight = forecast(plan, tmp_path)
    assert tight.needed_bytes is not None
    for words in (size_text(tight.needed_bytes), "1.5 GB free", "1 GB free", "--results", "max_concurrent"):
        assert words in tight.warning
    with_free(monkeypatch, 0.4e9)
    full = forecast(plan, tmp_path).warning
    assert "400 MB free" in full
    assert "no trial starts" in full


def test_a_trainable_that_does_not_say_is_no_reason_to_warn(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("name: x\ntrainable: synthetic\nspace: {lr: [0.1]}\nresources: {min_free_disk: 0}\n")
    found = forecast(load_plan(path), tmp_path)
    assert found.needed_bytes is None
    assert not found.warning
    assert "is unknown" in found.lines[0]


def test_check_shows_it(file: Path, tmp_path: Path) -> None:
    done = sweep_here("check", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "running trials × 4 checkpoints + 3 kept" in done.stdout
    lowered = sweep_here("check", file, "--set", "resources.min_free_disk=900000GB", cwd=tmp_path)
    assert "no trial starts until more is free" in lowered.stderr
