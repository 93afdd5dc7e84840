"""The pictures of what a network was fed are those that training really takes."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainables.image.batches.augment import make_augmentation, with_generator
from trainables.image.batches.feed import Feed
from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.data_config import DataConfig
from trainables.image.index import ImageIndex
from trainables.image.looking.fed import TILE, images_fed
from trainables.image.looking.tiles import seen
from trainables.image.trainable import ImageClassifier
from trainables.image.training.order import epoch_generator, epoch_order

MakeFolder = Callable[..., Path]


class _All:
    """Every image of an index, in memory."""

    def __init__(self, images: np.ndarray) -> None:
        self._images = images

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return self._images[rows]


@pytest.fixture
def prepared(make_folder: MakeFolder, tmp_path: Path) -> tuple[ImageClassifier, ImageIndex, DataConfig]:
    root = make_folder({"train/cat": 14, "train/dog": 14, "val/cat": 2, "val/dog": 2})
    data = DataConfig.model_validate({"dataset": "image_folder", "root": str(root)})
    trainable = ImageClassifier(data, tmp_path / "data")
    trainable.check_data()
    return trainable, ImageIndex.load(tmp_path / "data" / INDEX_FILE), data


def test_they_are_the_first_examples_of_the_trial_as_its_feed_gives_them_out(
    prepared: tuple[ImageClassifier, ImageIndex, DataConfig],
) -> None:
    _, index, data = prepared
    config = ImageConfig(model="simple_cnn3", finetune="scratch", input_resolution=16, batch_size=8, augment="light")
    found = images_fed(config, index, data, 7, 5)
    assert found is not None
    (unchanged, changed), words = found
    assert "5 training examples" in words
    everything = seen(index, data, config, np.arange(len(index.table)))
    order = epoch_order(index.rows("train"), 8, 7, 1)
    feed = Feed(_All(everything), torch.device("cpu"), (0.0,) * 3, (1.0,) * 3)
    first = next(iter(feed.batches(order, 8, with_generator(make_augmentation(config), epoch_generator(7, 1)))))
    given = (first[:5] * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(unchanged, everything[order[:5]])
    assert np.abs(changed.astype(int) - given.astype(int)).max() <= 1
    assert (changed != unchanged).any()


def test_the_report_gets_one_picture_and_none_where_nothing_is_changed(
    prepared: tuple[ImageClassifier, ImageIndex, DataConfig],
) -> None:
    trainable, _, _ = prepared
    plain = ImageConfig(model="simple_cnn3", finetune="scratch", input_resolution=16, batch_size=8)
    assert trainable.pictures_fed(plain, 7, 5) is None
    found = trainable.pictures_fed(plain.model_copy(update={"augment": "trivialaugment"}), 7, 5)
    assert found is not None
    picture = Image.open(io.BytesIO(found[0]))
    assert (picture.width + 4) // (TILE + 4) == 5
    assert (picture.height + 4) // (TILE + 4) == 2


def test_a_report_needs_no_pytorch_where_no_image_is_changed(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from trainables.image.config import ImageConfig\n"
        "from trainables.image.data_config import DataConfig\n"
        "from trainables.image.trainable import ImageClassifier\n"
        "trainable = ImageClassifier(DataConfig(dataset='digits'), Path(sys.argv[1]))\n"
        "print(trainable.pictures_fed(ImageConfig(model='simple_cnn3'), 7, 5), 'torch' in sys.modules)\n"
    )
    (tmp_path / INDEX_FILE).touch()
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False"]
