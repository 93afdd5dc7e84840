"""One bit of a durable file turns, as on old disks and bad cables: no figure changes in silence.

With `--long` 1,000 bits of each kind of file, else a few. Each is refused, set aside, made anew, or changes nothing.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from sweep_runner.errors import SweepError
from sweep_runner.results.log import EventLog, read_events
from sweep_runner.results.paths import TABLES, ResultsPaths
from sweep_runner.results.tables import load_table
from sweep_runner.search.journal import open_journal
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_spec
from tests.support.evaluated import write_evaluated_sweep
from tests.support.sweeps import drive, open_keeper
from trainables.checkpoints import read_checkpoint, write_checkpoint
from trainables.contract import EpochReport
from trainables.errors import DataError
from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE, prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.index import ImageIndex
from trainables.image.models.prepared import WeightsFile, weights_of, write_weights
from trainables.image.models.weights import digest_of
from trainables.image.pixels import pixel_cache
from trainables.image.pixels.examples import open_pixels

FEW, MANY = 40, 1000
REFUSED, SAME = "refused or left out, and said", "nothing changed"
Look = Callable[[], Any]
"""Reads everything; None: refused."""


@pytest.fixture(params=[FEW, pytest.param(MANY, marks=pytest.mark.long)])
def number(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


def flips(files: list[Path], number: int) -> Iterator[tuple[Path, str]]:
    """Turns one bit after another, anywhere in these files; each is back in its place before the next."""
    places = random.Random(1)
    contents = {file: file.read_bytes() for file in files}
    sizes = [len(content) for content in contents.values()]
    for _ in range(number):
        (file,) = places.choices(files, sizes)
        place, bit = places.randrange(len(contents[file])), places.randrange(8)
        changed = bytearray(contents[file])
        changed[place] ^= 1 << bit
        file.write_bytes(changed)
        yield file, f"bit {bit} of byte {place} of {file.name}"
        for each, content in contents.items():
            if not each.exists() or each.read_bytes() != content:
                each.write_bytes(content)


def none_in_silence(files: list[Path], number: int, look: Look) -> None:
    expected = look()
    assert expected is not None
    ends: Counter[str] = Counter()
    for _, where in flips(files, number):
        found = look()
        assert found is None or found == expected, where
        ends[REFUSED if found is None else SAME] += 1
    print(f"{number} bits of {', '.join(sorted({file.name for file in files}))}: {dict(ends)}")
    assert ends[REFUSED] > number / 2, "most are noticed"


def test_log(tmp_path: Path, number: int) -> None:
    paths = write_evaluated_sweep(tmp_path, ["a", "b"], examples=10)

    def look() -> Any:
        try:
            EventLog.open(paths.log).close()
            return [repr(event) for event in read_events(paths.log)]
        except SweepError:
            return None

    none_in_silence([paths.log], number, look)


def test_study(tmp_path: Path, write_spec: Callable[..., Path], number: int) -> None:
    with open_keeper(check_spec(load_spec(write_spec())).spec, tmp_path / "small") as keeper:
        drive(keeper)
    journal = tmp_path / "small" / "study.journal"

    def look() -> Any:
        try:
            storage, opened = open_journal(journal)
        except SweepError:
            return None
        (study,) = storage.get_all_studies()
        found = [
            (trial.number, trial.state, trial.params, trial.values, trial.intermediate_values)
            for trial in storage.get_all_trials(study._study_id)
        ]
        opened.close()
        return found

    none_in_silence([journal], number, look)


def test_tables(tmp_path: Path, number: int) -> None:
    paths = write_evaluated_sweep(tmp_path / "results", ["a", "b"], examples=50)
    results = ResultsPaths(tmp_path / "results")

    def look() -> Any:
        told: list[str] = []
        found = [load_table(results, table, warn=told.append) for table in TABLES]
        return None if told else repr([table.to_pylist() for table in found])

    none_in_silence(sorted(paths.tables.glob("*/part-*.parquet")), number, look)


def test_checkpoint(tmp_path: Path, number: int) -> None:
    tensors = {"weight": np.random.default_rng(0).random((40, 40), np.float32)}
    history = [EpochReport(epoch, {"val_accuracy": epoch / 7}) for epoch in (1, 2, 3)]
    folder = write_checkpoint(tmp_path, history, lambda into: save_file(tensors, into / "model.safetensors")).folder

    def look() -> Any:
        found = read_checkpoint(folder)
        return None if found is None else (repr(found), (folder / "model.safetensors").read_bytes())

    none_in_silence(sorted(folder.iterdir()), number, look)


def test_cached_pixels_and_index(tmp_path: Path, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    for place in range(20):
        folder = tmp_path / "pictures" / ("dark", "light")[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (place, 5 * place, 100 + place)).save(folder / f"{place}.png")
    data = DataConfig.model_validate(
        {"dataset": "image_folder", "root": str(tmp_path / "pictures"), "cache_dir": str(tmp_path / "cache")}
    )
    prepare_images(data, tmp_path, [16])
    (cached,) = (tmp_path / "cache").glob("pixels/*.npy")
    whole = cached.read_bytes()

    def look() -> Any:
        pixel_cache._seen.clear()  # as a new process
        try:
            index = ImageIndex.load(tmp_path / INDEX_FILE)
        except DataError:
            return None
        pixels = open_pixels(index, data, 16).gather(np.arange(len(index.table)))
        return (pixels.tobytes(), index.table.to_pylist(), index.classes)

    expected = look()
    for file, where in flips([cached, tmp_path / INDEX_FILE], number):
        found = look()
        if file == cached:
            assert found == expected, where
            assert "it was removed, and will be created again" in capsys.readouterr().out, where
            assert cached.read_bytes() == whole, where
        else:
            assert found is None, where


def test_weights(tmp_path: Path, number: int) -> None:
    file = tmp_path / "resnet10t.safetensors"
    save_file({"weight": np.random.default_rng(0).random((40, 40), np.float32)}, file)
    write_weights(tmp_path, [WeightsFile("resnet10t", str(file), str(file), digest_of(file))])
    config = ImageConfig.model_validate({"model": "resnet10t", "pretrained": str(file), "finetune": "head"})
    kept = shutil.copy(file, tmp_path / "kept")

    def look() -> Any:
        try:
            path = weights_of(tmp_path, config)
        except DataError:
            return None
        assert path is not None
        return path.read_bytes()

    assert look() == kept.read_bytes()
    none_in_silence([file, tmp_path / "weights.json"], number, look)
