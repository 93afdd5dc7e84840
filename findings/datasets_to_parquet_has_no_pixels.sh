#!/usr/bin/env bash
# datasets 5.2.0 (Hugging Face): Dataset.to_parquet writes no pixels of images that are files.
#
# An image column that was made from paths (cast_column to Image, or load_dataset("imagefolder")) is written as
# {bytes: null, path: ...}: the Parquet file holds paths, which count from the working directory of the writer. The file
# is valid, small, and loads without a word; the images are missing as soon as it is read from another folder or machine,
# at the first access of a row. save_to_disk of the very same dataset holds the pixels.
#
# Seen with datasets 5.2.0, pyarrow 26.0.1, pillow 13.0.0:
#   to_parquet:   {'bytes': None, 'path': 'pictures/red.png'}
#   read from another folder: FileNotFoundError
#   save_to_disk: 75 bytes of pixels
#
# Ends with 0 while this is so, with 1 when it has changed. Needs python3 with venv, and a package index.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1 pillow==13.0.0
mkdir "$folder/here" "$folder/elsewhere"
cd "$folder/here"
export HF_HOME="$folder/cache" HF_HUB_OFFLINE=1 HF_DATASETS_DISABLE_PROGRESS_BARS=1
"$folder/venv/bin/python" - <<'PYTHON'
import os
import sys
from pathlib import Path

import datasets
import pyarrow.parquet as pq
from PIL import Image

datasets.disable_progress_bars()
Path("pictures").mkdir()
Image.new("RGB", (8, 8), (255, 0, 0)).save("pictures/red.png")
made = datasets.Dataset.from_dict({"image": ["pictures/red.png"], "label": [0]}).cast_column("image", datasets.Image())

made.to_parquet("../elsewhere/set.parquet")
(image,) = pq.read_table("../elsewhere/set.parquet")["image"].to_pylist()
print("to_parquet:  ", image)

made.save_to_disk("../elsewhere/disk")
os.chdir("../elsewhere")
loaded = datasets.Dataset.from_parquet("set.parquet")
try:
    loaded[0]
    error = "no error"
except Exception as raised:
    error = type(raised).__name__
print("read from another folder:", error)

(kept,) = datasets.load_from_disk("disk").with_format("arrow")[:]["image"].to_pylist()
print("save_to_disk:", len(kept["bytes"] or b""), "bytes of pixels")

as_described = image["bytes"] is None and error == "FileNotFoundError" and bool(kept["bytes"])
print("as described" if as_described else "changed")
sys.exit(0 if as_described else 1)
PYTHON
