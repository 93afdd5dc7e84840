"""PASCAL VOC, and anything else with its XML: Annotations/*.xml beside JPEGImages/, or in other folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import VOC_SETTINGS, Dataset, Listing, Recognised, unused_but
from trainables.image.datasets.objects.dataset import VIEWS, others
from trainables.image.datasets.objects.reading import samples
from trainables.image.datasets.objects.views import listing_of
from trainables.image.datasets.picture_names import PictureNames
from trainables.image.datasets.tree import Tree
from trainables.image.datasets.voc.download import download, has_archive, missing_message
from trainables.image.datasets.voc.foreground import ForegroundReader, has_masks
from trainables.image.datasets.voc.layout import candidates, find_folder
from trainables.image.datasets.voc.lists import list_files, read_lists
from trainables.image.datasets.voc.reading import VocPlaces, VocReader, is_voc_xml

if TYPE_CHECKING:
    from trainables.image.datasets.objects.annotated import Annotations


_MAPS = ("labelmap.txt", "class_names.txt")
"""What tools write beside VOC's folders."""


class Voc(Dataset):
    """Photos with annotated objects.

    The view `images` has an example per photo, with every class that is in it (multi-label). The view `crops` has an
    example an object (one label); the crops of a photo are one group. Classes come from the annotations. The view
    `foreground` cuts objects out by masks (`foreground`) or by the outlines that annotations hold.

    Which photos: those that a list of `ImageSets/Main` names when there are such lists (VOC has annotations beside
    them that name only some of the objects), otherwise all. The XML files and the pictures may be in any folders:
    side by side (LabelImg), in `images/` and `annotations/`, in `train/` and `valid/` (Roboflow), in folders of both.
    Without any XML, masks or the lists of single classes say what is in a photo.
    """

    views = ("images", "crops", "foreground")
    unused_settings = unused_but("download", *VOC_SETTINGS)

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """XML files whose root is `<annotation>`; without any, masks. Lists of classes alone are a table of labels."""
        for name in samples(tree, frozenset({".xml"})):
            if is_voc_xml(tree, name):
                lists = tuple(folder for folder in tree.folders if folder.rpartition("/")[2].lower() == "imagesets")
                return Recognised("voc", f"PASCAL VOC: {name}, {VIEWS}", parts=(*lists, *_MAPS))
        if not has_masks(tree):
            return None
        return Recognised("voc", "PASCAL VOC's masks (SegmentationObject, SegmentationClass), without annotations")

    def examples(self, progress: Progress = no_progress) -> Listing:
        folder = None if self._is_set else find_folder(self.data)
        if self.data.download and (folder is None or (_is_incomplete(folder) and has_archive(self.data))):
            download(self.data)
            folder = find_folder(self.data)
        if folder is not None:
            places = VocPlaces(Tree.of(folder), "Annotations", "JPEGImages", is_official=True)
        else:
            places = self._places()
        return self._listing(places, progress)

    @property
    def _is_set(self) -> bool:
        return self.data.annotations is not None or self.data.images is not None

    def _places(self) -> VocPlaces:
        """Where annotations and pictures are below the root, in another layout than VOC's own.

        Raises:
            DataError: there is nothing of VOC's kind.
        """
        if not self.root.is_dir():
            raise DataError(missing_message(self.data, candidates(self.data)))
        tree = Tree.of(self.root)
        folders = []
        for key in ("annotations", "images"):
            name = (getattr(self.data, key) or "").strip("/").removeprefix("./")
            if name not in ("", ".") and name not in tree.folders:
                raise DataError(f"data.{key}: there is no folder {name} in {self.root}")
            folders.append("" if name == "." else name)
        if holds_voc(tree, folders[0]):
            return VocPlaces(tree, folders[0], folders[1])
        if not any(tree.pictures()):
            raise DataError(missing_message(self.data, candidates(self.data)))
        raise DataError(
            f"data.root: there are images in {self.root}, but no annotations in VOC's form "
            f"(an XML file per image, whose root is <annotation>), no masks and no lists{others(tree)}"
        )

    def _listing(self, places: VocPlaces, progress: Progress) -> Listing:
        tree = places.tree
        masked = has_masks(tree) and (self.data.view == "foreground" or not any(tree.files("", frozenset({".xml"}))))
        found = None if masked else VocReader(self.data, places).read(progress)
        if found is None or (self.data.view == "foreground" and not _has_outlines(found)):
            found = ForegroundReader(self.data, places).read(progress)
        return listing_of(found, self.data, tree.root, progress)


def _has_outlines(found: Annotations) -> bool:
    return any(item.outline is not None for picture in found.pictures for item in picture.objects)


def holds_voc(tree: Tree, under: str = "") -> bool:
    """Whether there is something of VOC's kind: an annotation, masks, or lists of one class."""
    if any(is_voc_xml(tree, name) for name in tree.files(under, frozenset({".xml"}))):
        return True
    return has_masks(tree) or bool(list_files(tree))


def _is_incomplete(folder: Path) -> bool:
    """Whether files that the lists name are missing, as after an unpacking that was interrupted."""
    tree = Tree(folder)
    lists = read_lists(tree, PictureNames(list(tree.pictures("JPEGImages"))))
    if "trainval" not in lists.sizes or lists.missing:
        return True
    annotated = {name.rpartition("/")[2][:-4] for name in tree.files("Annotations", frozenset({".xml"}))}
    return not all(Path(name).stem in annotated for name in lists.pictures)
