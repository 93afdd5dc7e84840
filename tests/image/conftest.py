"""Pictures and datasets that the tests of this folder generate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakePicture = Callable[..., Path]
MakeVoc = Callable[..., Path]
VocObject = tuple[str, tuple[float, float, float, float]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of a test reaches the user's cache, or another test's."""
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "sweep-cache"))


@pytest.fixture
def make_picture() -> MakePicture:
    """Writes a picture of random pixels, the same for the same seed."""

    def make(path: Path, size: tuple[int, int] = (24, 16), seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        name = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else None
        Image.fromarray(pixels).save(path, format=name)
        return path

    return make


@pytest.fixture
def make_folder(tmp_path: Path, make_picture: MakePicture) -> Callable[..., Path]:
    """Writes an image folder: `{"train/cat": 5, "train/dog": 5}`."""

    def make(counts: dict[str, int], root: Path = tmp_path / "pictures", size: tuple[int, int] = (24, 16)) -> Path:
        for place, (folder, count) in enumerate(counts.items()):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                make_picture(root / folder / f"{number:03d}.png", size, seed=1000 * place + number)
        return root

    return make


@pytest.fixture
def make_voc(tmp_path: Path, make_picture: MakePicture) -> MakeVoc:
    """Writes a VOC folder: photo name to its objects (class and box as VOC writes it)."""

    def make(
        photos: dict[str, Sequence[VocObject]], root: Path = tmp_path / "voc", size: tuple[int, int] = (40, 30)
    ) -> Path:
        for folder in ("Annotations", "JPEGImages"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        for seed, (name, objects) in enumerate(photos.items()):
            make_picture(root / "JPEGImages" / f"{name}.jpg", size, seed)
            write_annotation(root / "Annotations" / f"{name}.xml", objects, size)
        return root

    return make


def write_annotation(path: Path, objects: Sequence[VocObject], size: tuple[int, int] = (40, 30)) -> None:
    parts = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for name, box in objects
    )
    path.write_text(
        f"<annotation><filename>{path.stem}.jpg</filename>"
        f"<size><width>{size[0]}</width><height>{size[1]}</height></size>{parts}</annotation>"
    )


@pytest.fixture
def annotate() -> Callable[..., None]:
    """Writes one VOC annotation."""
    return write_annotation
