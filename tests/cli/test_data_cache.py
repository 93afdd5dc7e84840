"""`sweep data cache`: what is in the cache is listed, and removed unless somebody uses it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from sweep_runner.cli.main import main
from trainables.image.pixels.pixel_cache import PixelCache


def filled(folder: Path, name: str, num: int, side: int) -> PixelCache:
    cache = PixelCache(folder, 1 << 30, keep_free_bytes=0)
    partial = cache.reserve((num, side, side, 3))
    assert partial is not None
    for row in range(num):
        partial.write(row, np.full((side, side, 3), row, dtype=np.uint8))
    partial.publish(cache.path(f"{name}-{side}x{side}x3"))
    return cache


def test_what_is_there_is_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = filled(tmp_path, "ab12", 5, 8)
    filled(tmp_path, "cd34", 7, 16)
    old = time.time() - 3 * 86_400
    os.utime(cache.path("ab12-8x8x3"), (old, old))

    assert main(["data", "cache", "ls", "--dir", str(tmp_path), "--json"]) == 0
    newer, older = json.loads(capsys.readouterr().out)
    assert (newer["fingerprint"], newer["content"], newer["in_use"]) == ("cd34", "7 images, 16×16 RGB", False)
    assert (older["fingerprint"], older["num_images"], older["size_bytes"]) == ("ab12", 5, 128 + 5 * 8 * 8 * 3 + 16)
    assert main(["data", "cache", "ls", "--dir", str(tmp_path)]) == 0
    assert "7 images, 16×16 RGB" in capsys.readouterr().out

    used = cache.find("cd34-16x16x3", (7, 16, 16, 3))
    assert used is not None
    assert main(["data", "cache", "clear", "--dir", str(tmp_path), "--unused-for", "2"]) == 0
    assert "removed 1 files" in capsys.readouterr().err
    assert main(["data", "cache", "clear", "--dir", str(tmp_path)]) == 0
    assert "1 files kept" in capsys.readouterr().err, "a sweep that runs keeps its pixels"
    used.close()
    assert main(["data", "cache", "clear", "--dir", str(tmp_path)]) == 0
    assert not list(tmp_path.rglob("*.npy"))


def test_a_cache_that_is_not_there_is_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "cache", "ls", "--dir", str(tmp_path / "none")]) == 0
    assert main(["data", "cache", "clear", "--dir", str(tmp_path / "none")]) == 0
    assert "removed 0 files" in capsys.readouterr().err
