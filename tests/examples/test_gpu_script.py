"""The script for machines with a GPU, in the mode that runs everywhere: its code paths, not its figures."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import gpu_checks

SCRIPT = Path(gpu_checks.__file__).with_name("gpu.sh")


def test_the_dry_mode_makes_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_checks, "TINY_NETS", (("mlp6", 16, 8),))
    arguments = ["gpu_checks", str(tmp_path / "trials"), "--dry-run", "--json", str(tmp_path / "gpu.json")]
    monkeypatch.setattr("sys.argv", arguments)
    assert gpu_checks.main() == 0, capsys.readouterr().out
    found = json.loads((tmp_path / "gpu.json").read_text())
    whats = [row["what"] for row in found["rows"]]
    assert found["on"] == "a CPU (dry run)"
    compared = (
        "CPU against GPU",
        "eager, same seed twice",
        "graph against eager",
        "pixels on the GPU against eager",
        "all changes, graph",
    )
    for what in (*compared, "bf16: loss falls", "mlp6, 16 px"):
        assert any(each.startswith(what) for each in whats), what
    assert all(row["holds"] is not False for row in found["rows"])


def test_the_script_refuses_what_it_does_not_know() -> None:
    done = subprocess.run([str(SCRIPT), "--dry"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--dry-run" in done.stderr
