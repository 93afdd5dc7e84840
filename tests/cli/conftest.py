"""A folder to stand in, the `sweep` command in this process, and generated data."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweep_runner.cli.main import main
from tests.support.cli import MakePictures, Refused


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, empty, with a cache of its own and the usual `results/` as results folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SWEEP_RESULTS", raising=False)
    return folder


@pytest.fixture
def make_pictures() -> MakePictures:
    """Writes an image folder of random pictures: `make({"cat": 5, "dog": 5}, root)`."""

    def make(counts: Mapping[str, int], root: Path = Path("pictures")) -> Path:
        for place, (name, count) in enumerate(counts.items()):
            (root / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = np.random.default_rng((place, number)).integers(0, 256, (16, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / name / f"{number:03d}.png")
        return root

    return make


@pytest.fixture
def refused(
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Refused:
    """Runs a command that must be refused, and returns what was told.

    It ends with exit code 2, prints no result and no traceback, and leaves neither a sweep nor a temporary folder.
    """

    # Of its own: other tests make temporary folders at the same time.
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def run(*arguments: str | Path) -> str:
        sweeps = set(here.glob("results/*"))
        assert main([str(argument) for argument in arguments]) == 2
        out, told = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in told
        assert "error: " in told or " problems." in told
        assert set(here.glob("results/*")) == sweeps
        assert list(temporary.glob("sweep-*")) == []
        return told

    return run
