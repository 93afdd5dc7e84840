"""Small images for the page: as the network will see them, or in their own proportions."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from trainables.contract import Progress
from trainables.cpus import num_cpus
from trainables.image.config import ImageConfig
from trainables.image.data_config import DataConfig
from trainables.image.index import SPLITS, ImageIndex, flat_labels
from trainables.image.pixels.examples import open_pixels
from trainables.image.pixels.thumbnails import jpeg, thumbnails
from trainables.image.settings.pixel_rule import PixelRule
from trainables.look import Cell, Section, Tile, TileRow

SIDE = 96
"""Of a tile, in pixels: 2 to 4 kB as JPEG."""
_MOST_TILES = 360
_MOST_CLASSES = 60
_EACH = 4  # of a class and split, at most
_AUGMENTED, _VERSIONS = 4, 5


class Thumbnails:
    """Pictures of examples in their own proportions, by name.

    Args:
        index: of the data set.
        rule: how files are read.
    """

    def __init__(self, index: ImageIndex, rule: PixelRule) -> None:
        self._index, self._rule = index, rule
        self._captions: dict[str, str] = {}

    def of(self, examples: Sequence[str]) -> Mapping[str, bytes]:
        """JPEGs; what cannot be read any more is left out."""
        table = self._index.table.filter(pc.is_in(self._index.table["example"], pa.array(examples, pa.string())))
        for name, split, labels in zip(
            *(table[key].to_pylist() for key in ("example", "split", "labels")), strict=True
        ):
            self._captions[name] = (
                f"{', '.join(self._index.classes[label] for label in labels) or 'no label'} ({split})"
            )
        return thumbnails(self._index, examples, SIDE, self._rule)

    def whole(self, rows: Mapping[str, int]) -> Mapping[str, bytes]:
        """Whole pictures, each named by the row of one of its examples; what cannot be read any more is left out."""
        table = self._index.table.take(pa.array(list(rows.values()), pa.int64()))
        for column in ("box", "mask"):
            field = table.schema.field(column)
            table = table.set_column(table.schema.get_field_index(column), field, pa.nulls(len(table), field.type))
        names = pa.array(list(rows), pa.string())
        table = table.set_column(table.schema.get_field_index("example"), table.schema.field("example"), names)
        return thumbnails(replace(self._index, table=table), list(rows), SIDE, self._rule)

    def caption(self, example: str) -> str:
        """Labels and split of an example that was asked for."""
        return self._captions.get(example, "left out of the splits")


def seen_config(candidates: Mapping[str, Sequence[Any]]) -> ImageConfig:
    """The configuration whose view is shown: the largest resolution, and the first value of everything else."""
    shaping = ("resize", "crop_fraction", "color")
    changing = (
        "augment", "randaugment_operations", "randaugment_magnitude", "hflip", "vflip", "crop_scale",
        "rotation_degrees", "color_jitter", "invert", "random_erasing",
    )  # fmt: skip
    chosen = {key: candidates[key][0] for key in (*shaping, *changing) if candidates.get(key)}
    augments = [value for value in candidates.get("augment") or () if value != "none"]
    if augments:
        chosen["augment"] = augments[0]
    if candidates.get("input_resolution"):
        chosen["input_resolution"] = max(map(int, candidates["input_resolution"]))
    return ImageConfig(**chosen)


def class_sections(index: ImageIndex, data: DataConfig, config: ImageConfig, progress: Progress) -> list[Section]:
    """Class counts, and some pictures of each class and split."""
    splits = [split for split in SPLITS if len(index.rows(split))]
    rows, labels = flat_labels(index.table)
    of_split = np.array(index.table["split"].to_pylist())[rows]
    counts = {split: np.bincount(labels[of_split == split], minlength=len(index.classes)) for split in splits}
    table: list[tuple[Cell, ...]] = []
    for number, name in enumerate(index.classes):
        of_class = [int(counts[split][number]) for split in splits]
        table.append((name, *of_class, sum(of_class)))
    shown = list(range(len(index.classes)))[:_MOST_CLASSES]
    each = max(1, min(_EACH, _MOST_TILES // (len(shown) * len(splits))))
    random = np.random.default_rng(0)
    chosen: dict[tuple[int, str], list[int]] = {}
    for number in shown:
        for split in splits:
            having = rows[(labels == number) & (of_split == split)]
            chosen[number, split] = np.sort(random.permutation(having)[:each]).tolist()
    wanted = np.unique(np.array([row for found in chosen.values() for row in found], dtype=np.int64))
    progress("drawing images", 0, len(wanted))
    squares = dict(zip(wanted.tolist(), seen(index, data, config, wanted), strict=True))
    names = dict(zip(wanted.tolist(), index.table["example"].take(pa.array(wanted)).to_pylist(), strict=True))
    tiles = [
        TileRow(
            index.classes[number],
            tuple(
                Tile(jpeg(squares[row], SIDE), names[row], split) for split in splits for row in chosen[number, split]
            ),
        )
        for number in shown
    ]
    side = config.input_resolution
    more = ""
    if len(shown) < len(index.classes):
        more = f" The first {len(shown)} of {len(index.classes):,} classes are shown."
    return [
        Section("classes", "Classes", "Examples of each class.", ("class", *splits, "all"), tuple(table), bars=True),
        Section(
            "samples",
            "Model input",
            f"Up to {each} per class and split, chosen at random: {config.fit.describe(side)}, {config.color}.{more}",
            tiles=tuple(tiles),
        ),
    ]


def augmentation_section(index: ImageIndex, data: DataConfig, config: ImageConfig) -> list[Section]:
    """Training examples and changed versions of them; nothing when none is changed."""
    import torch

    from trainables.image.batches.augment import make_augmentation, with_generator

    change = with_generator(make_augmentation(config), torch.Generator().manual_seed(0))
    if change is None:
        return []
    rows = np.random.default_rng(1).permutation(index.rows("train"))[:_AUGMENTED]
    images = seen(index, data, config, rows)
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2)
    versions = []
    for _ in range(_VERSIONS):
        changed = change(pictures).float().round().clamp(0, 255).byte()
        versions.append(changed.permute(0, 2, 3, 1).numpy())
    names = index.table["example"].take(pa.array(rows)).to_pylist()
    tiles = [
        TileRow(
            "",
            (Tile(jpeg(images[k], SIDE), name, "unchanged"), *(Tile(jpeg(each[k], SIDE), name) for each in versions)),
        )
        for k, name in enumerate(names)
    ]
    text = f"Training examples with {config.augment!r} and the sweep's other augmentations, {_VERSIONS} samples each."
    return [Section("augmentation", "Augmentation", text, tiles=tuple(tiles))]


def seen(
    index: ImageIndex, data: DataConfig, config: ImageConfig, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """Examples as the net will see them, (N, side, side, C). They fill no cache."""
    uncached = data.model_copy(update={"cache_limit_bytes": 0})
    pixels = open_pixels(index, uncached, config.input_resolution, config.num_channels, num_cpus(), fit=config.fit)
    with contextlib.closing(pixels):
        return pixels.gather(rows)
