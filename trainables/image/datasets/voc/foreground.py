"""VOC's view `foreground`: objects, or all that is of a class, cut out by a segmentation mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trainables.contract import Progress
from trainables.cpus import num_cpus
from trainables.errors import DataError
from trainables.image.datasets.base import Box, Defect
from trainables.image.datasets.objects.annotated import AnnotatedObject, AnnotatedPicture, Annotations, MaskFile
from trainables.image.datasets.picture_names import PictureNames
from trainables.image.datasets.tree import suffix
from trainables.image.datasets.voc.annotation import read_annotation
from trainables.image.datasets.voc.lists import list_files, read_lists
from trainables.image.datasets.voc.pictures import PicturesOf
from trainables.image.pixels.header import upright_size
from trainables.image.pixels.masks import MaskPicture, read_mask

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree
    from trainables.image.datasets.voc.reading import VocPlaces
    from trainables.image.settings.data import DataSettings

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


_FOLDERS = {
    "object": ("SegmentationObject", "SegmentationObjectPNG"),
    "class": ("SegmentationClass", "SegmentationClassPNG"),
}


def mask_folder(tree: Tree, kind: str) -> str | None:
    """The folder of masks of objects, or of classes; None when there is none."""
    for path, folder in tree.folders.items():
        if path.rpartition("/")[2] in _FOLDERS[kind] and any(suffix(name) == ".png" for name in folder.files):
            return path
    return None


def has_masks(tree: Tree) -> bool:
    """Whether there are masks of either kind."""
    return any(mask_folder(tree, kind) is not None for kind in _FOLDERS)


@dataclass
class _Photo:
    """What one photo gave."""

    found: list[tuple[str, str, Box, int, bool]] = field(default_factory=list)  # key, class, box, value, difficult
    mask: MaskPicture | None = None
    defects: list[Defect] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class ForegroundReader:
    """Lists the objects of one VOC folder by its masks.

    With `data.mask: object`, an object is one of SegmentationObject. Its class is the one that most of its
    pixels have in SegmentationClass; where there is no such mask, the class of the annotated box that fits it best.
    With `data.mask: class`, an object is everything of one class in a photo, which may be several objects.

    The names of palette indices come from `class_names.txt` beside the masks' folder (one per line, `_background_`
    first), or are VOC's own.
    """

    def __init__(self, data: DataSettings, places: VocPlaces) -> None:
        self.data = data
        self.places = places
        self.tree = places.tree
        self.folders = {kind: mask_folder(self.tree, kind) for kind in _FOLDERS}
        self.names = _class_names(self.tree)
        self.kind = data.mask if data.view == "foreground" or self.folders["object"] else "class"

    def read(self, progress: Progress) -> Annotations:
        """Reads every mask.

        Raises:
            DataError: there are no masks, or none can be used.
        """
        pictures = PicturesOf(self.places.pictures())
        found = Annotations()
        self.annotations = {
            name.rpartition("/")[2][:-4]: name for name in self.tree.files(self.places.annotations, frozenset({".xml"}))
        }
        names = self._masks(found)
        splits = self._splits()
        with ThreadPoolExecutor(num_cpus(), thread_name_prefix="masks") as pool:
            photos = pool.map(lambda name: self._photo(name, pictures), names)
            for number, (name, (picture, photo)) in enumerate(zip(names, photos, strict=True)):
                if number % 100 == 0:
                    progress("reading masks", number, len(names))
                found.defects += photo.defects
                found.counts += photo.counts
                if photo.mask is None or picture is None:
                    continue
                objects = tuple(
                    AnnotatedObject(
                        label,
                        (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                        MaskFile(self.tree.path(name), value, photo.mask.digest),
                        key=key,
                        difficult=difficult,
                    )
                    for key, label, box, value, difficult in photo.found
                )
                found.pictures.append(AnnotatedPicture(picture, name, objects=objects, split=splits.get(picture)))
        progress("reading masks", len(names), len(names))
        if not any(photo.objects for photo in found.pictures):
            first = "".join(f"\n  {defect}" for defect in found.defects[:10])
            raise DataError(f"data.root: no mask in {self.tree.path(self.folders[self.kind] or '')} can be used{first}")
        return found

    def _masks(self, found: Annotations) -> list[str]:
        """The mask files of the photos that count."""
        folder = self.folders[self.kind]
        if folder is None:
            place = self.tree.root / _FOLDERS[self.kind][0]
            other = next((kind for kind, name in self.folders.items() if name is not None), None)
            hint = f", but there is {self.folders[other]}: --set data.mask={other}" if other else ""
            raise DataError(f"data.root: the view foreground needs masks in {place}, which does not exist{hint}")
        if self.kind == "class" and self.data.view == "crops":
            raise DataError(
                f"data.root: {folder} holds masks of classes, which do not tell objects apart: view crops needs more"
            )
        masks = list(self.tree.files(folder, frozenset({".png"})))
        if not list_files(self.tree, "Segmentation"):
            return masks
        lists = read_lists(self.tree, PictureNames(masks), "Segmentation")
        if not lists.pictures:
            return masks
        for missing, purpose in lists.missing.items():
            found.defects.append(Defect(f"{folder}/{missing}.png", f"listed in {purpose}, but missing"))
        found.counts["masks that no list of ImageSets/Segmentation names were passed over"] = len(masks) - len(
            lists.pictures
        )
        return [name for name in masks if name in lists.pictures]

    def _splits(self) -> dict[str, str]:
        """Picture → split, by the first of the lists that there are; empty when they are not asked for."""
        if not self.data.split.given:
            return {}
        names = PictureNames(self.places.pictures())
        for purpose in ("Segmentation", "Main"):
            if list_files(self.tree, purpose) and (splits := read_lists(self.tree, names, purpose).splits):
                return splits
        raise DataError(
            f"data.split.given: no train.txt, val.txt or test.txt in {self.tree.root / 'ImageSets/Segmentation'}: "
            "leave it out to have the photos divided by the fractions"
        )

    def _photo(self, name: str, pictures: PicturesOf) -> tuple[str | None, _Photo]:
        photo = _Photo()
        try:
            picture = pictures.find(name, "")
        except ValueError:
            photo.defects.append(Defect(name, "there is no image for it in JPEGImages"))
            return None, photo
        try:
            mask = read_mask(self.tree.path(name))
            height, width = mask.values.shape
            if (size := upright_size(self.tree.path(picture))) not in (None, (width, height)):
                assert size is not None
                raise ValueError(f"the mask is {width}×{height}, but its image {size[0]}×{size[1]}")
            stem = name.rpartition("/")[2][:-4]
            photo.found = list((self._objects if self.kind == "object" else self._classes)(stem, mask.values))
        except ValueError as error:
            photo.defects.append(Defect(name, str(error)))
            return picture, photo
        if not photo.found:
            photo.counts["photos in whose mask is nothing to use"] += 1
        photo.mask = mask
        return picture, photo

    def _classes(self, name: str, values: npt.NDArray[np.uint8]) -> Iterator[tuple[str, str, Box, int, bool]]:
        for value, box in _boxes(values):
            label = self._name(value)
            yield label, label, box, value, False

    def _objects(self, name: str, values: npt.NDArray[np.uint8]) -> Iterator[tuple[str, str, Box, int, bool]]:
        class_file = f"{self.folders['class']}/{name}.png"
        classes = read_mask(self.tree.path(class_file)).values if class_file in self.tree else None
        if classes is not None and classes.shape != values.shape:
            raise ValueError(f"the mask is {_size(values)}, but {class_file} {_size(classes)}")
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
                    raise ValueError(f"object {value} has no class: {self.folders['class']} has none of its pixels")
                label = self._name(int(counts.argmax()))
            elif overlap < _MIN_OVERLAP:
                raise ValueError(f"object {value} has no class: there is no class mask, and no annotated box fits it")
            yield f"object-{value}", label, box, value, difficult and overlap >= _MIN_OVERLAP

    def _annotated(self, name: str) -> list[tuple[Box, str, bool]]:
        """Box, class and difficulty of the annotated objects; none when there is no usable annotation."""
        if (place := self.annotations.get(name)) is None:
            return []
        found = []
        for item in read_annotation(self.tree.path(place).read_bytes(), place, [], Counter()).objects:
            if item.sides is not None:
                left, top, right, bottom = (round(side) for side in item.sides)
                found.append(((left - 1, top - 1, right, bottom), item.label, item.is_difficult))
        return found

    def _name(self, value: int) -> str:
        if value >= len(self.names):
            raise ValueError(
                f"the mask has class {value}, but only {len(self.names) - 1} have names: "
                f"write them into {self.tree.root / 'class_names.txt'}, one per line, _background_ first"
            )
        return self.names[value]


def _class_names(tree: Tree) -> Sequence[str]:
    """The name of each palette index, from 0."""
    if "class_names.txt" not in tree:
        return ["_background_", *VOC_CLASSES]
    path = tree.path("class_names.txt")
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
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
