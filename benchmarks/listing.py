"""Listing 100,000 pictures in class folders: CPU time and memory, against torchvision's ImageFolder and PIL's sizes.

Each side is a process of its own that imports what it needs, lists, and says what that took. The pictures are small
JPEG files, so that what is measured is the listing.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.harness import Figure, paired

CLASSES, PER_CLASS = 100, 1000

_OURS = """
from trainables.image.data.listing import list_examples
from trainables.image.data_config import DataConfig
began = cpu_s()
count = len(list_examples(DataConfig(root=sys.argv[1])).table)
"""
_THEIRS = """
from PIL import Image
from torchvision.datasets import ImageFolder
began = cpu_s()
sizes = []
for path, _ in ImageFolder(sys.argv[1]).samples:
    with Image.open(path) as image:
        sizes.append(image.size)
count = len(sizes)
"""
_SIDE = """
import json, resource, sys
def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
{work}
peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({{"count": count, "cpu_s": cpu_s() - began, "peak_bytes": peak_bytes}}))
"""


def measure(pairs: int = 5) -> list[Figure]:
    """CPU seconds of the listing alone; peak memory of the process, imports included."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        _write(Path(folder))
        facts = {
            "against": "torchvision ImageFolder, and the size of each image by PIL",
            "aim": "≤ 0.5×",
            "command": "python -m benchmarks listing",
        }
        what = f"listing {CLASSES * PER_CLASS:,} images in {CLASSES} class folders, recognised by looking"
        return [
            paired(
                partial(_measured, _OURS, folder, key, scale),
                partial(_measured, _THEIRS, folder, key, scale),
                pairs=pairs,
                ratio=lambda our, their: our / their,
                what=f"{what}: {measured}",
                unit=unit,
                ratio_of="as much",
                **facts,
            )
            for key, scale, unit, measured in (
                ("cpu_s", 1.0, "s", "CPU time"),
                ("peak_bytes", float(1 << 20), "MiB", "peak memory, imports included"),
            )
        ]


def _measured(work: str, folder: str, key: str, scale: float) -> float:
    return _run(work, folder)[key] / scale


def _write(root: Path) -> None:
    from PIL import Image

    written = io.BytesIO()
    Image.new("RGB", (32, 24), (90, 120, 40)).save(written, "JPEG")
    for name in range(CLASSES):
        folder = root / f"class_{name:03d}"
        folder.mkdir()
        for number in range(PER_CLASS):
            (folder / f"image_{number:05d}.jpg").write_bytes(written.getvalue())


def _run(work: str, folder: str) -> dict[str, float]:
    command = [sys.executable, "-c", _SIDE.format(work=work), folder]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    assert found["count"] == CLASSES * PER_CLASS, "both sides list every image"
    return found
