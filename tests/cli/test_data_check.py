from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sweep_runner.cli import data
from sweep_runner.cli.common import Out
from sweep_runner.cli.main import main

SWEEP = """
name: look
data: {{dataset: image_folder, root: {root}}}
trainable: image_classifier
fixed: {{epochs: 1}}
space: {{lr: {{low: 0.001, high: 0.1, log: true}}}}
"""


@pytest.fixture
def sweep_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "pictures"
    for number in range(24):
        folder = root / ("cat" if number % 3 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (10, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (root / "cat/broken.jpg").write_bytes(b"\xff\xd8\xff")
    path = tmp_path / "look.yaml"
    path.write_text(SWEEP.format(root=root))
    return path


def test_a_row_a_class_and_unreadable_files_by_name(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(sweep_file)]) == 0
    out, err = capsys.readouterr()
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0] == ["class", "train", "val", "test", "all"]
    assert [row[0] for row in rows[1:]] == ["cat", "dog"]
    assert [sum(map(int, row[1:4])) for row in rows[1:]] == [16, 8] == [int(row[4]) for row in rows[1:]]
    assert "warning: 1 left out" in err
    assert "cat/broken.jpg: " in err
    assert "12×10" in err


def test_class_of_which_no_file_is_read_ends_with_1(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = sweep_file.parent / "pictures/horse"
    lost.mkdir()
    (lost / "1.xcf").write_bytes(b"x")
    assert main(["data", "check", str(sweep_file)]) == 1
    assert "the class 'horse' is lost" in capsys.readouterr().err
    assert main(["data", "check", str(sweep_file), "--json", "--quiet"]) == 1
    assert json.loads(capsys.readouterr().out)["lost_classes"] == ["horse"]


def test_json_has_everything(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(sweep_file), "--json", "--quiet", "--set", "data.limit=4"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["examples"]["val"] == 4
    assert found["picture_sizes"]["width"] == [12, 12, 12]
    assert found["fingerprint"]


def test_copies_of_a_picture_are_listed(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = sweep_file.parent / "pictures"
    with Image.open(pictures / "dog/0.png") as picture:
        picture.transpose(Image.Transpose.ROTATE_90).save(pictures / "dog/turned.png")
    assert main(["data", "check", str(sweep_file)]) == 0
    assert "near-duplicates: dog/0.png, dog/turned.png\n" in capsys.readouterr().err
    assert main(["data", "check", str(sweep_file), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["near_duplicates"] == [["dog/0.png", "dog/turned.png"]]


def test_missing_data_is_the_users_to_mend(sweep_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(sweep_file), "--set", "data.root=/no/such/folder"]) == 2
    assert "/no/such/folder does not exist" in capsys.readouterr().err


def test_looking_at_data_imports_no_torch(sweep_file: Path) -> None:
    code = (
        "import sys; from sweep_runner.cli.main import main; "
        f"code = main(['data', 'check', {str(sweep_file)!r}]); assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_trainable_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "synthetic.yaml"
    path.write_text("name: s\ntrainable: synthetic\nspace: {lr: {low: 0.001, high: 0.1, log: true}}\n")
    assert main(["data", "check", str(path)]) == 0
    assert "synthetic reads no data" in capsys.readouterr().err


def test_the_page_shows_the_data(sweep_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    assert main(["data", "check", str(sweep_file), "--html", str(page), "--set", "data.limit=60"]) == 0
    assert f"page: {page}" in capsys.readouterr().err
    text = page.read_text()
    assert "Model input" in text
    assert "Probable label errors" in text
    assert main(["data", "check", str(sweep_file), "--html", str(tmp_path / "none" / "page.html")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_progress_that_is_told_is_told_to_its_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "_SAY_EVERY_S", 0.0)
    slow = data.Teller(Out())
    slow("pictures", 16, 350)
    monkeypatch.setattr(data, "_SAY_EVERY_S", 1e9)
    slow("pictures", 340, 350)
    slow("pictures", 350, 350)
    quick = data.Teller(Out())
    quick("tables", 2, 2)
    assert capsys.readouterr().err.splitlines() == ["pictures: 16 of 350", "pictures: 350 of 350"]
