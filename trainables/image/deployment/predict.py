"""Prediction with a model package: image files in, a table out. Without PyTorch."""

from __future__ import annotations

import glob
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from trainables.errors import DataError
from trainables.image.package import Package, PackageFacts, load_package
from trainables.image.pixels.decode import SUFFIXES, UnreadableImage, decode, keep_memory

__all__ = ["Package", "find_images", "load_package", "predict_paths", "predictions_schema"]

Pixels = npt.NDArray[np.uint8]

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".jsonl", ".parquet"})
"""Of the tables whose paths are predicted."""


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """The image files that paths stand for, each once, in the order asked for; folders and globs in name order.

    Args:
        paths: files (of any name), folders (searched with all their subfolders for image files), glob
            patterns such as `photos/**/*.jpg` (which stand for the image files among what they match), and tables
            (CSV, TSV, text, JSONL, Parquet) with a column of paths, which count from the table's folder.

    Raises:
        DataError: a path that is missing, a folder or pattern without images (all of them are named), or a table that
            cannot be read.
    """
    found: dict[Path, None] = {}
    problems = []
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            files = list(_images_below(path))
            if not files:
                problems.append(f"{given}: no image in this folder (looked for {', '.join(sorted(SUFFIXES))})")
        elif path.is_file() and path.suffix.lower() in TABLE_SUFFIXES:
            from trainables.image.deployment.listed import listed_paths

            files = listed_paths(path)
        elif path.exists():
            files = [path]
        elif glob.has_magic(str(path)):
            # Not Path.glob: that takes no absolute pattern.
            matches = map(Path, sorted(glob.glob(str(path), recursive=True)))  # noqa: PTH207
            files = [match for match in matches if match.suffix.lower() in SUFFIXES and match.is_file()]
            if not files:
                problems.append(f"{given}: the pattern matches no image")
        else:
            files = []
            problems.append(f"{given}: no such file or folder")
        found.update(dict.fromkeys(files))
    if problems:
        raise DataError("\n".join(problems))
    return list(found)


def predictions_schema(facts: PackageFacts) -> pa.Schema:
    """The columns of a prediction table.

    Returns:
        path, predicted (the class, or for a multi-label model the list of labels), probability (of the predicted class;
        of several labels, of the least probable one; null without any), `p_<class>` for each class, error (why the
        file could not be read, else null).
    """
    predicted = pa.list_(pa.string()) if facts.multilabel else pa.string()
    return pa.schema(
        [
            ("path", pa.string()),
            ("predicted", predicted),
            ("probability", pa.float32()),
            *((f"p_{name}", pa.float32()) for name in facts.classes),
            ("error", pa.string()),
        ]
    )


def predict_paths(
    package: Package, paths: Iterable[Path], batch_size: int = 8, num_threads: int = 1
) -> Iterator[pa.RecordBatch]:
    """Predicts image files, a batch at a time, in the order given.

    Each thread decodes the images of a batch and runs the model on them, so that no thread waits for another and all
    CPUs are busy with one or the other. Open the package with one thread: threads of ONNX Runtime's own, which spin
    while they wait, would take the CPUs from those that decode.

    The pixels are prepared as they were for training, so that an example's prediction here and in the final
    evaluation are the same. A file that cannot be read becomes a row with an `error` and stops nothing.

    Args:
        package: the model.
        paths: image files, as from `find_images`.
        batch_size: images that go through the model together.
        num_threads: batches that are worked on at a time.

    Yields:
        Rows as in `predictions_schema`.
    """
    keep_memory(num_threads)
    with ThreadPoolExecutor(num_threads, thread_name_prefix="predict") as pool:
        # As many batches wait for the one that is due as are worked on: results are small, pictures are not.
        waiting: deque[Future[pa.RecordBatch]] = deque()
        try:
            for batch in _batches(paths, batch_size):
                waiting.append(pool.submit(_predict, package, batch))
                if len(waiting) >= 2 * num_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _predict(package: Package, paths: Sequence[Path]) -> pa.RecordBatch:
    facts = package.facts
    batch = [(path, _decode(path, facts)) for path in paths]
    images = [pixels for _, pixels in batch if not isinstance(pixels, str)]
    readable = np.array([not isinstance(pixels, str) for _, pixels in batch])
    probabilities = np.full((len(batch), len(facts.classes)), np.nan, dtype=np.float32)
    if images:
        probabilities[readable] = package.probabilities(np.stack(images))
    predicted: list[str | list[str] | None] = []
    for row, good in zip(probabilities, readable, strict=True):
        if not good:
            predicted.append(None)
        elif facts.multilabel:
            predicted.append([facts.classes[position] for position in np.flatnonzero(row >= facts.thresholds)])
        else:
            predicted.append(facts.classes[int(row.argmax())])
    schema = predictions_schema(facts)
    said = (
        probabilities >= facts.thresholds if facts.multilabel else probabilities == probabilities.max(1, keepdims=True)
    )
    certain = said.any(axis=1)
    least = np.where(said, probabilities, np.inf).min(axis=1).astype(np.float32)
    columns = [
        # A file's name may be no UTF-8, which a text column must be.
        pa.array([os.fsencode(path).decode(errors="backslashreplace") for path, _ in batch], pa.string()),
        pa.array(predicted, schema.field("predicted").type),
        pa.array(least, pa.float32(), mask=~certain),
        *(pa.array(column, pa.float32(), mask=~readable) for column in probabilities.T),
        pa.array([pixels if isinstance(pixels, str) else None for _, pixels in batch], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _decode(path: Path, facts: PackageFacts) -> Pixels | str:
    try:
        return decode(path, resolution=facts.input_resolution, channels=facts.channels, fit=facts.fit, rule=facts.rule)
    except UnreadableImage as error:
        return error.reason


def _images_below(folder: Path) -> Iterator[Path]:
    """Image files in a folder and its subfolders, in name order; hidden ones are left out, links are followed.

    Not a `Tree`, which leaves out files whose names are not text: here each file is an answer.
    """
    start = os.path.realpath(folder)
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen or start.startswith(real.rstrip("/") + "/"):  # a link that leads in a circle, or above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(place, name)


def _batches(paths: Iterable[Path], size: int) -> Iterator[list[Path]]:
    iterator = iter(paths)
    while batch := list(islice(iterator, size)):
        yield batch
