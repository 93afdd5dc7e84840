"""VOC's view `foreground`: objects, or all that is of a class, cut out by a segmentation mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainables.contract import Progress
from trainables.cpus import num_cpus
from trainables.errors import DataError
from trainables.image.datasets.base import Box, Defect, Example, Listing, Mask, table_of
from trainables.image.datasets.voc import (
    LISTS,
    box_side,
    given_splits,
    is_difficult,
    parse_annotation,
    photo_list,
    pictures_by_name,
    widened,
)
from trainables.image.pixels.decode import upright_size
from trainables.image.pixels.masks import MaskPicture, read_mask

if TYPE_CHECKING:
    from trainables.image.data_config import DataConfig

# fmt: off
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on
"""Palette index 1 and following in VOC's class masks."""
BACKGROUND, VOID = 0, 255
"""Palette indices of what is no object, and of the outlines that VOC leaves open."""

_MIN_OVERLAP = 0.5


@dataclass
class _Photo:
    """What one photo gave."""

    found: list[tuple[str, str, Box, int]] = field(default_factory=list)  # suffix of the name, class, box, mask value
    mask: MaskPicture | None = None
    defects: list[Defect] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class ForegroundReader:
    """Lists the examples of one VOC folder.

    With `data.mask: object`, an example is an object of SegmentationObject. Its class is the one that most of its
    pixels have in SegmentationClass; where there is no such mask, the class of the annotated box that fits it best.
    With `data.mask: class`, an example is everything of one class in a photo, which may be several objects.
    Examples of one photo are one group. An example is cropped to its pixels, with `data.margin` around them.

    The names of palette indices come from `class_names.txt` beside the masks' folder (one a line, `_background_`
    first), or are VOC's own.
    """

    def __init__(self, data: DataConfig, folder: Path) -> None:
        self.data = data
        self.folder = folder
        self.places = {kind: folder / f"Segmentation{kind.capitalize()}" for kind in ("object", "class")}
        self.names = _class_names(folder)

    def listing(self, progress: Progress) -> Listing:
        """Reads every mask.

        Raises:
            DataError: there are no masks, or none can be used.
        """
        pictures, splits = pictures_by_name(self.folder), given_splits(self.data, self.folder, ("Segmentation", "Main"))
        total = _Photo()
        examples: list[Example] = []
        found: list[tuple[str, Path, _Photo]] = []
        names = self._photos(total)
        with ThreadPoolExecutor(num_cpus(), thread_name_prefix="masks") as pool:
            photos = pool.map(lambda name: self._photo(name, pictures.get(name)), names)
            for number, (name, photo) in enumerate(zip(names, photos, strict=True)):
                if number % 100 == 0:
                    progress("reading masks", number, len(names))
                total.defects += photo.defects
                total.counts += photo.counts
                if photo.mask is not None and photo.found:
                    found.append((name, pictures[name], photo))
        progress("reading masks", len(names), len(names))
        classes = tuple(sorted({label for _, _, photo in found for _, label, _, _ in photo.found}))
        if not classes:
            first = "".join(f"\n  {defect}" for defect in total.defects[:10])
            raise DataError(f"data.root: no mask in {self.places[self.data.mask]} can be used{first}")
        for name, path, photo in found:
            assert photo.mask is not None
            group = path.relative_to(self.folder).as_posix()
            file = self._mask_path(self.data.mask, name)
            for suffix, label, box, value in photo.found:
                mask = Mask(file, value, self.data.background, photo.mask.digest)
                examples.append(
                    Example(
                        f"{group}#{suffix}",
                        [classes.index(label)],
                        path=path,
                        box=box,
                        mask=mask,
                        group=group,
                        split=splits.get(name),
                    )
                )
        notes = tuple(f"{count} {what}" for what, count in sorted(total.counts.items()))
        return Listing(table_of(examples), classes, notes=notes, defects=tuple(total.defects))

    def _photos(self, total: _Photo) -> list[str]:
        place = self.places[self.data.mask]
        if not place.is_dir():
            other = next((kind for kind, folder in self.places.items() if folder.is_dir()), None)
            hint = f", but there is {self.places[other].name}: --set data.mask={other}" if other else ""
            raise DataError(f"data.root: the view foreground needs masks in {place}, which does not exist{hint}")
        masked = {path.stem for path in place.iterdir() if path.suffix.lower() == ".png" and path.name[0] != "."}
        named = {name for kind in LISTS for name in photo_list(self.folder, kind, "Segmentation")}
        if not named:
            return sorted(masked)
        for name in sorted(named - masked):
            total.defects.append(Defect(f"{place.name}/{name}.png", "listed in ImageSets/Segmentation, but missing"))
        if beside := len(masked - named):
            total.counts["masks that no list of ImageSets/Segmentation names were passed over"] = beside
        return sorted(named & masked)

    def _photo(self, name: str, picture: Path | None) -> _Photo:
        photo = _Photo()
        file = self._mask_path(self.data.mask, name)
        place = f"{file.parent.name}/{file.name}"
        if picture is None:
            photo.defects.append(Defect(place, "there is no picture for it in JPEGImages"))
            return photo
        try:
            mask = read_mask(file)
            height, width = mask.values.shape
            if (size := upright_size(picture)) not in (None, (width, height)):
                assert size is not None
                raise ValueError(f"the mask is {width}×{height}, but its picture {size[0]}×{size[1]}")
            find = self._objects if self.data.mask == "object" else self._classes
            for suffix, label, box, value in find(name, mask.values, photo):
                if min(box[2] - box[0], box[3] - box[1]) < self.data.min_size:
                    photo.counts[f"objects smaller than data.min_size: {self.data.min_size} left out"] += 1
                else:
                    photo.found.append((suffix, label, widened(box, self.data.margin, width, height), value))
        except ValueError as error:
            photo.defects.append(Defect(place, str(error)))
            return photo
        if not photo.found:
            photo.counts["photos in whose mask is nothing to use"] += 1
        photo.mask = mask
        return photo

    def _classes(self, name: str, values: npt.NDArray[np.uint8], photo: _Photo) -> Iterator[tuple[str, str, Box, int]]:
        for value, box in _boxes(values):
            label = self._name(value)
            yield label, label, box, value

    def _objects(self, name: str, values: npt.NDArray[np.uint8], photo: _Photo) -> Iterator[tuple[str, str, Box, int]]:
        class_file = self._mask_path("class", name)
        classes = read_mask(class_file).values if class_file.exists() else None
        if classes is not None and classes.shape != values.shape:
            raise ValueError(
                f"the mask is {_size(values)}, but {class_file.parent.name}/{class_file.name} {_size(classes)}"
            )
        annotated = self._annotated(name)
        for value, box in _boxes(values):
            overlap, label, difficult = max(
                ((_overlap(box, other), label, difficult) for other, label, difficult in annotated),
                default=(0.0, "", False),
            )
            if classes is not None:
                left, top, right, bottom = box
                part = classes[top:bottom, left:right][values[top:bottom, left:right] == value]
                counts = np.bincount(part, minlength=256)
                counts[[BACKGROUND, VOID]] = 0
                if not counts.any():
                    raise ValueError(f"object {value} has no class: {class_file.parent.name} has none of its pixels")
                label = self._name(int(counts.argmax()))
            elif overlap < _MIN_OVERLAP:
                raise ValueError(f"object {value} has no class: there is no class mask, and no annotated box fits it")
            if difficult and overlap >= _MIN_OVERLAP and not self.data.difficult:
                photo.counts["objects marked as difficult left out (data.difficult)"] += 1
                continue
            yield f"object-{value}", label, box, value

    def _annotated(self, name: str) -> list[tuple[Box, str, bool]]:
        """Box, class and difficulty of the annotated objects; none when there is no usable annotation."""
        path = self.folder / "Annotations" / f"{name}.xml"
        found = []
        if path.exists():
            for element in parse_annotation(path).findall("object"):
                left, top, right, bottom = (round(box_side(element, side)) for side in ("xmin", "ymin", "xmax", "ymax"))
                box = (left - 1, top - 1, right, bottom)
                found.append((box, (element.findtext("name") or "").strip(), is_difficult(element)))
        return found

    def _mask_path(self, kind: str, name: str) -> Path:
        return self.places[kind] / f"{name}.png"

    def _name(self, value: int) -> str:
        if value >= len(self.names):
            raise ValueError(
                f"the mask has class {value}, but only {len(self.names) - 1} have names: "
                f"write them into {self.folder / 'class_names.txt'}, one a line, _background_ first"
            )
        return self.names[value]


def _class_names(folder: Path) -> Sequence[str]:
    """The name of each palette index, from 0."""
    path = folder / "class_names.txt"
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except FileNotFoundError:
        return ["_background_", *VOC_CLASSES]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"data.root: {path} cannot be read: {error}") from error
    names = [name for name in lines if name != "__ignore__"]  # labelme's name of what is void
    if not names or names[0].strip("_").casefold() != "background":
        raise DataError(f"data.root: the first line of {path} must be _background_, the name of palette index 0")
    return names


def _boxes(values: npt.NDArray[np.uint8]) -> Iterator[tuple[int, Box]]:
    """Each palette index but background and void, and the smallest box around its pixels."""
    from scipy.ndimage import find_objects

    for place, slices in enumerate(find_objects(values.astype(np.int32)), start=1):
        if slices is not None and place != VOID:
            down, across = slices
            yield place, (across.start, down.start, across.stop, down.stop)


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both) if both else 0.0


def _size(values: npt.NDArray[np.uint8]) -> str:
    return f"{values.shape[1]}×{values.shape[0]}"
