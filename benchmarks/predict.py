"""Images/s of prediction from files: `predict_paths`, as `sweep predict` uses it, against plain onnxruntime loops.

Both sides have the same ONNX file, batches and number of threads, read every file anew, and resize it with Pillow as
the package does. The first peer is the loop that one writes in ten lines: open, resize, run. The second decodes a batch
in as many threads as we do before it runs the model.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image

from benchmarks import image_side
from benchmarks.harness import Figure, paired
from benchmarks.photos import CLASSES, photos
from trainables.cpus import num_cpus
from trainables.image.deployment.predict import Package, find_images, load_package, predict_paths
from trainables.image.package import INPUT, ONNX_FILE, OUTPUT, PackageFacts

NUM_PHOTOS, BATCH, RESOLUTION, MODEL = 600, 32, 128, "mobilenetv2_100"
_MOST_APART = 1e-4
"""Between probabilities of both sides: threads may add up in another order."""

Probabilities = npt.NDArray[np.float32]


def measure(pairs: int = 5) -> list[Figure]:
    num_threads = num_cpus()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = find_images([photos(Path(folder) / "photos", NUM_PHOTOS, 0)])
        model = _write_model(Path(folder) / ONNX_FILE)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        ours = partial(_ours, load_package(model, num_threads), files, num_threads)
        peers = {
            "a plain onnxruntime loop": partial(_plain, session, files),
            f"the same, decoding in {num_threads} threads": partial(_plain_threaded, session, files, num_threads),
        }
        for theirs in peers.values():
            apart = np.abs(ours() - theirs()).max()
            assert apart <= _MOST_APART, f"not the same predictions: {apart}"
        return [
            paired(
                partial(_rate, ours, len(files)),
                partial(_rate, theirs, len(files)),
                pairs=pairs,
                ratio=lambda our, their: our / their,
                what=f"predicting 500×375 photos with {MODEL} at {RESOLUTION} px, {num_threads} threads",
                against=peer,
                unit="images/s",
                ratio_of="as fast",
                aim="at least 0.95×",
                command="python -m benchmarks predict",
            )
            for peer, theirs in peers.items()
        ]


def _write_model(path: Path) -> Path:
    """An untrained network's ONNX file, as an export makes it."""
    from trainables.image.deployment.onnx_graph import DeployedClassifier, write_onnx
    from trainables.image.models.factory import normalization

    model = image_side.model_of(model=MODEL, input_resolution=RESOLUTION).eval()
    classifier = DeployedClassifier(model, *normalization(model), multilabel=False).eval()
    write_onnx(classifier, PackageFacts(CLASSES, False, RESOLUTION, 3), path)
    return path


def _rate(run: Callable[[], Probabilities], num_images: int) -> float:
    """Images/s."""
    began = time.perf_counter()
    run()
    return num_images / (time.perf_counter() - began)


def _ours(package: Package, files: Sequence[Path], num_threads: int) -> Probabilities:
    batches = list(predict_paths(package, files, BATCH, num_threads))
    return np.concatenate([np.stack([batch[f"p_{name}"] for name in CLASSES], axis=1) for batch in batches])


def _plain(session: ort.InferenceSession, files: Sequence[Path]) -> Probabilities:
    found = []
    for start in range(0, len(files), BATCH):
        images = np.stack([_open(file) for file in files[start : start + BATCH]])
        found.append(session.run([OUTPUT], {INPUT: images})[0])
    return np.concatenate(found)


def _plain_threaded(session: ort.InferenceSession, files: Sequence[Path], num_threads: int) -> Probabilities:
    found = []
    with ThreadPoolExecutor(num_threads) as pool:
        for start in range(0, len(files), BATCH):
            images = np.stack(list(pool.map(_open, files[start : start + BATCH])))
            found.append(session.run([OUTPUT], {INPUT: images})[0])
    return np.concatenate(found)


def _open(file: Path) -> npt.NDArray[np.uint8]:
    image = Image.open(file).convert("RGB")
    return np.asarray(image.resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR))
