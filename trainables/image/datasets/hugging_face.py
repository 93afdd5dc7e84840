"""What Hugging Face's files declare: splits and configurations by name, features by metadata and README."""

from __future__ import annotations

import fnmatch
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml

from trainables.errors import DataError
from trainables.image.datasets.tables.words import split_in
from trainables.image.pixels.containers import map_arrow

if TYPE_CHECKING:
    from trainables.image.datasets.tree import Tree

README = "README.md"
STATE = "state.json"
DATUMARO_ADVICE = (
    "Its annotations are in an encoding of Datumaro's own: export it as imagenet (class folders), "
    "Datumaro JSON, COCO or VOC."
)
_DATUMARO = {"id", "subset", "media", "annotations", "attributes"}
_NO_CONFIGURATION = frozenset({"data", "default"})


def split_of(path: str) -> str | None:
    """The split that a file's name speaks of, or else the nearest folder's; None: none, or several.

    As `datasets` has it, the word may be anywhere in the name, apart from other letters:
    `train-00000-of-00002.parquet`, `cats_train.parquet`, `train/data-00000.arrow`.

    Args:
        path: relative to the dataset's folder.
    """
    *folders, name = path.split("/")
    words = (PurePosixPath(name).stem, *reversed(folders))
    return next((split for word in words if (split := split_in(word)) is not None), None)


def data_files(tree: Tree, files: Iterable[str]) -> tuple[list[str], list[str]]:
    """Files of data, and those beside them that are none: `save_to_disk` names its own in state.json."""
    named: dict[str, frozenset[str] | None] = {}
    found: list[str] = []
    beside: list[str] = []
    for path in files:
        folder, _, name = path.rpartition("/")
        if folder not in named:
            named[folder] = _named_in_state(tree, folder)
        listed = named[folder]
        (found if listed is None or name in listed else beside).append(path)
    return found, beside


def _named_in_state(tree: Tree, folder: str) -> frozenset[str] | None:
    path = f"{folder}/{STATE}".lstrip("/")
    if path not in tree:
        return None
    try:
        files = json.loads(tree.path(path).read_text(encoding="utf-8"))["_data_files"]
        return frozenset(str(file["filename"]) for file in files)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def refuse_several_configurations(tree: Tree, files: Sequence[str]) -> None:
    """Refuses to pool the configurations of a dataset: they hold the same pictures again, or other ones.

    They are what README.md says, else folders that each have a train split of their own.

    Raises:
        DataError: there are several: which, and what to write.
    """
    by_name = _of_readme(tree, files) or _by_folder(files)
    if len(by_name) < 2:
        return
    choices = []
    for name, members in sorted(by_name.items()):
        folders = {str(PurePosixPath(path).parent) for path in members}
        top = {folder.split("/")[0] for folder in folders}
        place = f"data.root: {tree.root / top.pop()}" if len(top) == 1 and "." not in folders else "put its files apart"
        choices.append(f"  {name} ({len(members)} files, such as {members[0]}): {place}")
    raise DataError(
        f"data.root: {tree.root} holds {len(by_name)} configurations of a dataset, which are not parts of one another: "
        "say which\n" + "\n".join(choices)
    )


def _by_folder(files: Sequence[str]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for path in files:
        folders = [name for name in path.split("/")[:-1] if name.lower() not in _NO_CONFIGURATION]
        found[folders[0] if folders and split_in(folders[0]) is None else ""].append(path)
    with_train = {
        name: members for name, members in found.items() if any(split_of(path) == "train" for path in members)
    }
    return with_train if all(with_train) else {}


def _of_readme(tree: Tree, files: Sequence[str]) -> Mapping[str, list[str]]:
    """By configuration, the files whose patterns README.md lists."""
    found: dict[str, list[str]] = {}
    for configuration in _as_list(_front_matter(tree, "").get("configs")):
        if isinstance(configuration, Mapping):
            patterns = list(_patterns(configuration.get("data_files")))
            members = [path for path in files if any(fnmatch.fnmatch(path, pattern) for pattern in patterns)]
            if members:
                found[str(configuration.get("config_name", "default"))] = members
    return found


def _patterns(data_files: Any) -> Iterable[str]:
    if isinstance(data_files, str):
        yield data_files.removeprefix("./")
    elif isinstance(data_files, Mapping):
        yield from _patterns(data_files.get("path"))
    elif isinstance(data_files, list):
        for each in data_files:
            yield from _patterns(each)


def is_datumaro(path: Path) -> bool:
    """Whether a file is an Arrow export of Datumaro, which is no Hugging Face's."""
    try:
        return path.suffix.lower() == ".arrow" and set(map_arrow(path).schema.names) == _DATUMARO
    except (pa.ArrowException, OSError):
        return False


def features_of(schema: pa.Schema) -> Mapping[str, Any]:
    """What the metadata of a file say of its columns; nothing when there are none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, Mapping) else {}


def readme_features(tree: Tree, path: str) -> Mapping[str, Any]:
    """What `dataset_info` in the README.md above a file says of its columns, by name."""
    folder = path.rpartition("/")[0]
    while True:
        info = _front_matter(tree, folder).get("dataset_info")
        if info is not None:
            known: dict[str, Any] = {}
            for each in _as_list(info):
                for feature in _as_list(each.get("features") if isinstance(each, Mapping) else None):
                    if isinstance(feature, Mapping) and "name" in feature:
                        known.setdefault(str(feature["name"]), feature)
            return known
        if not folder:
            return {}
        folder = folder.rpartition("/")[0]


def _front_matter(tree: Tree, folder: str) -> Mapping[str, Any]:
    path = f"{folder}/{README}".lstrip("/")
    if path not in tree:
        return {}
    try:
        text = tree.path(path).read_text(encoding="utf-8")
        if not text.startswith("---"):
            return {}
        found = yaml.safe_load(text.split("---", 2)[1])
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}  # a page for people, which need not be of any form
    return found if isinstance(found, Mapping) else {}


def class_names(feature: Any) -> tuple[str, ...] | None:
    """The names of a ClassLabel, or of a list of them, as metadata or a README write it; None: it is none."""
    if isinstance(feature, list) and len(feature) == 1:
        return class_names(feature[0])
    if not isinstance(feature, Mapping):
        return None
    names = feature.get("names")
    if isinstance(names, list) and names:
        return tuple(str(name) for name in names)
    if isinstance(names, Mapping) and names and all(str(key).isdigit() for key in names):
        by_number = {int(key): str(name) for key, name in names.items()}
        return tuple(by_number.get(number, str(number)) for number in range(max(by_number) + 1))
    inner = (feature.get(key) for key in ("feature", "class_label", "dtype", "list", "sequence"))
    return next((found for each in inner if (found := class_names(each)) is not None), None)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
