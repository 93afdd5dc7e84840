"""Images/s of prediction from files: `predict_paths`, as `sweep predict` uses it, against plain onnxruntime loops.

All sides have the same ONNX file and number of threads, read every file anew, and resize it with Pillow as the
package does. The first peer is the loop that one writes in ten lines: open, resize, run. The second decodes a batch in
as many threads as we have before it runs the model. The third, as `sweep predict` once did, decodes in a pool while
ONNX Runtime runs the model in threads of its own. The last is the model alone on decoded pictures, which no reader of
files can beat.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
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
from benchmarks.photos import CLASSES, photos, said
from trainables.cpus import num_cpus
from trainables.image.deployment.predict import Package, find_images, load_package, predict_paths
from trainables.image.package import INPUT, ONNX_FILE, OUTPUT, PackageFacts

NUM_PHOTOS, BATCH, OUR_BATCH, RESOLUTION, MODEL = 1000, 32, 8, 128, "mobilenetv2_100"
_MOST_APART = 1e-4
"""Between probabilities of both sides: threads may add up in another order."""

AIMS = {
    "decoding ahead, ONNX Runtime's own threads": "at least 1.3× on two CPUs",
    "the model alone, pictures decoded": "at least 0.95× with CPUs to spare",
}

Probabilities = npt.NDArray[np.float32]


def measure(pairs: int = 5) -> list[Figure]:
    num_threads = num_cpus()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        files = find_images([photos(Path(folder) / "photos", NUM_PHOTOS, 0)])
        model = write_model(Path(folder) / ONNX_FILE)
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        package = load_package(model)
        ours = partial(_ours, package, files, num_threads)
        decoded = np.stack([_open(file) for file in files])
        peers = {
            "a plain onnxruntime loop": partial(_plain, session, files),
            f"the same, decoding in {num_threads} threads": partial(_plain_threaded, session, files, num_threads),
            "decoding ahead, ONNX Runtime's own threads": partial(_decoding_ahead, session, files, num_threads),
            "the model alone, pictures decoded": partial(_model_alone, package, decoded, num_threads),
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
                what=f"predicting {said()} with {MODEL} at {RESOLUTION} px, {num_threads} threads",
                against=peer,
                unit="images/s",
                ratio_of="as fast",
                aim=AIMS.get(peer, "at least 0.95×"),
                command="python -m benchmarks predict",
            )
            for peer, theirs in peers.items()
        ]


def write_model(path: Path) -> Path:
    """An untrained network's ONNX file, as an export makes it."""
    from trainables.image.deployment.onnx_graph import DeployedClassifier, write_onnx
    from trainables.image.models.factory import normalization

    model = image_side.model_of(len(CLASSES), model=MODEL, input_resolution=RESOLUTION).eval()
    classifier = DeployedClassifier(model, *normalization(model), multilabel=False).eval()
    write_onnx(classifier, PackageFacts(CLASSES, False, RESOLUTION, 3), path)
    return path


def _rate(run: Callable[[], Probabilities], num_images: int) -> float:
    """Images/s."""
    began = time.perf_counter()
    run()
    return num_images / (time.perf_counter() - began)


def _ours(package: Package, files: Sequence[Path], num_threads: int) -> Probabilities:
    batches = list(predict_paths(package, files, OUR_BATCH, num_threads))
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


def _decoding_ahead(session: ort.InferenceSession, files: Sequence[Path], num_threads: int) -> Probabilities:
    found = []
    with ThreadPoolExecutor(num_threads) as pool:
        waiting = deque(pool.submit(_open, file) for file in files[: 2 * BATCH])
        for start in range(0, len(files), BATCH):
            batch = []
            for number in range(start, min(start + BATCH, len(files))):
                batch.append(waiting.popleft().result())
                if number + 2 * BATCH < len(files):
                    waiting.append(pool.submit(_open, files[number + 2 * BATCH]))
            found.append(session.run([OUTPUT], {INPUT: np.stack(batch)})[0])
    return np.concatenate(found)


def _model_alone(package: Package, images: npt.NDArray[np.uint8], num_threads: int) -> Probabilities:
    with ThreadPoolExecutor(num_threads) as pool:
        pieces = (images[start : start + OUR_BATCH] for start in range(0, len(images), OUR_BATCH))
        return np.concatenate(list(pool.map(package.probabilities, pieces)))


def _open(file: Path) -> npt.NDArray[np.uint8]:
    image = Image.open(file).convert("RGB")
    return np.asarray(image.resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR))
