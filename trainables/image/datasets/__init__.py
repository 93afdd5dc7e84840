"""Dataset adapters, one per file, and the table of the built-in ones."""

from __future__ import annotations

import difflib
import pkgutil
from typing import TYPE_CHECKING

from trainables.own_modules import find_own_modules

if TYPE_CHECKING:
    from trainables.image.datasets.base import Dataset

BUILT_IN = {
    "digits": "trainables.image.datasets.digits:Digits",
    "image_folder": "trainables.image.datasets.image_folder:ImageFolder",
    "cifar10": "trainables.image.datasets.cifar10:Cifar10",
    "voc": "trainables.image.datasets.voc:Voc",
    "coco": "trainables.image.datasets.coco:Coco",
    "yolo": "trainables.image.datasets.yolo:Yolo",
    "labelme": "trainables.image.datasets.labelme:Labelme",
    "cvat": "trainables.image.datasets.cvat:Cvat",
    "fiftyone": "trainables.image.datasets.fiftyone:FiftyOne",
    "label_studio": "trainables.image.datasets.label_studio:LabelStudio",
    "datumaro": "trainables.image.datasets.datumaro:Datumaro",
    "createml": "trainables.image.datasets.createml:CreateMl",
    "image_table": "trainables.image.datasets.image_table:ImageTable",
    "multilabel_table": "trainables.image.datasets.image_table:MultilabelTable",
    "cifar100": "trainables.image.datasets.cifar100:Cifar100",
    "image_archive": "trainables.image.datasets.image_archive:ImageArchive",
    "webdataset": "trainables.image.datasets.webdataset:WebDataset",
    "image_arrays": "trainables.image.datasets.image_arrays:ImageArrays",
    "parquet_images": "trainables.image.datasets.parquet_images:ParquetImages",
}


def dataset_class(name: str) -> type[Dataset]:
    """The adapter of a built-in name or of "package.module:attribute".

    A user's own module is looked for in the current directory, after the installed ones.

    Raises:
        ValueError: there is no such dataset, its module cannot be imported, or it is no `Dataset`.
    """
    from trainables.image.datasets.base import Dataset

    target = BUILT_IN.get(name, name)
    if ":" not in target:
        near = difflib.get_close_matches(name, BUILT_IN, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(
            f"unknown dataset {name!r}{hint}: built in are {', '.join(BUILT_IN)}; your own is package.module:attribute"
        )
    if name not in BUILT_IN:
        find_own_modules()
    try:
        found = pkgutil.resolve_name(target)
    except Exception as error:  # a user's module may raise anything
        raise ValueError(f"dataset {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Dataset)):
        raise ValueError(f"dataset {name!r} is not a subclass of trainables.image.datasets.base.Dataset")
    return found
