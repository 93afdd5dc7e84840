"""Pictures in memory for trials of any model: twelve of coarse noise and stripes, of three classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import timm
import torch
from safetensors.torch import save_file

from trainables.contract import EpochReport
from trainables.image.config import ImageConfig
from trainables.image.features.backbone import backbone_of
from trainables.image.index import SCHEMA, ImageIndex
from trainables.image.training.checkpoint import state_to_save
from trainables.image.training.classifier import train_classifier
from trainables.local import LocalHandle

NUM = 12


class _Stop(Exception):
    pass


class Pictures:
    """Images, and the index of them: eight to train on, four to judge by."""

    def __init__(self, size: int) -> None:
        random = np.random.default_rng(0)
        coarse = random.integers(0, 256, (NUM, 8, 8, 3)).astype(np.uint8)
        self.images: npt.NDArray[np.uint8] = coarse.repeat(-(-size // 8), 1).repeat(-(-size // 8), 2)[:, :size, :size]
        for number, image in enumerate(self.images):
            image[:, number % 3 :: 3] //= 3
        values: dict[str, list[Any]] = {field.name: [None] * NUM for field in SCHEMA}
        values["example"] = [f"{number}.png" for number in range(NUM)]
        values["image"] = [b""] * NUM
        values["labels"] = [[number % 3] for number in range(NUM)]
        values["group"] = values["example"]
        values["split"] = ["train"] * 8 + ["val"] * 4
        arrays = [pa.array(values[field.name], field.type) for field in SCHEMA]
        self.index = ImageIndex(pa.table(arrays, schema=SCHEMA), ("a", "b", "c"), False, "benchmark")

    def gather(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Those rows."""
        return self.images[rows]

    def train(self, config: ImageConfig, folder: Path, *, attempt: int = 1, stop_after: int | None = None) -> Path:
        """Trains from the checkpoint that is there; with `stop_after` as if killed after that epoch.

        Returns:
            The folder of the attempt's checkpoints.
        """

        def stop(report: EpochReport) -> None:
            if report.epoch == stop_after:
                raise _Stop

        handle = LocalHandle(folder, seed=1, attempt=attempt, on_report=stop)
        assert (handle.resumed is not None) == (attempt > 1), "a second attempt finds the checkpoint of the first"
        try:
            train_classifier(config, self.index, self, None, handle)
        except _Stop:
            assert stop_after is not None
        return handle.folder / "checkpoints"

    def features(self, name: str, size: int, folder: str) -> str:
        """Whether a head can be trained apart from the model: `yes`, or why not."""
        path = Path(folder) / "weights.safetensors"
        config = ImageConfig(model=name, input_resolution=size, pretrained=str(path), finetune="head")
        torch.manual_seed(0)
        source = timm.models.get_pretrained_cfg(name)
        sized = {"img_size": size} if source is not None and source.fixed_input_size else {}
        save_file(state_to_save(timm.create_model(name, num_classes=7, **sized)), path)
        try:
            found = backbone_of(config, 3, path)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            return f"failed: {type(error).__name__}: {error}"[:200]
        return found if isinstance(found, str) else "yes"
