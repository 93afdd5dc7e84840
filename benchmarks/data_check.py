"""What `sweep data check` costs, with and without its page, on many pictures: CPU seconds and memory. It has no peer.

`python -m benchmarks.data_check FOLDER [--pictures 12000] [--size 320x240]`: pictures are generated in FOLDER, once.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.photos import photos

SWEEP = """\
name: many
data: {{root: "{root}", dataset: image_folder}}
fixed: {{input_resolution: 128, resize: crop, augment: light, finetune: scratch, model: simple_cnn3}}
space: {{lr: [0.1]}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=12_000)
    parser.add_argument("--size", default="320x240", help="width and height in pixels")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    root = options.folder.absolute()
    if not (root / "train").is_dir():
        photos(root, options.pictures * 4 // 5, options.pictures // 5, (width, height))
    for page in (False, True):
        with tempfile.TemporaryDirectory() as place:
            _measure(root, Path(place), page)


def _measure(root: Path, place: Path, page: bool) -> None:
    """One command in a fresh cache; in a process of its own, whose children are then only it."""
    file = place / "many.yaml"
    file.write_text(SWEEP.format(root=root))
    command = [sys.executable, "-m", "sweep_runner", "data", "check", str(file), "--quiet"]
    command += ["--html", str(place / "page.html")] if page else []
    child = os.fork()
    if child == 0:
        environment = {**os.environ, "SWEEP_CACHE": str(place / "cache")}
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = f", page {(place / 'page.html').stat().st_size / 1e6:.1f} MB" if page else ""
        print(
            f"sweep data check{' --html' if page else ''}: {used.ru_utime + used.ru_stime:.0f} CPU seconds, "
            f"{used.ru_maxrss / 1024:.0f} MiB{size}",
            flush=True,
        )
        os._exit(done.returncode)
    if os.waitpid(child, 0)[1]:
        sys.exit("the command failed")


if __name__ == "__main__":
    main()
