"""WebDataset: tar shards in which files of one key are one sample, such as 000.jpg and 000.cls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.few import few_of
from trainables.image.datasets.base import Dataset, Defect, Example, Listing, Member, Recognised, table_of, unused_but
from trainables.image.datasets.split_words import split_and_rest
from trainables.image.datasets.tree import Tree
from trainables.image.pixels import archives
from trainables.image.pixels.decode import SUFFIXES

LABEL_KEYS = ("label", "cls", "class", "labels", "class_name", "target")
"""Looked for in this order in a sample's .json."""

_LOOKED_AT = 50  # entries of a shard, to recognise it by
_NAMES = ("classnames.txt", "classes.txt", "labels.txt")


class WebDataset(Dataset):
    """Shards (uncompressed .tar): a sample is the files of one key, which ends at the first dot.

    The label is in `.cls` (a number or a name), or in `.json` under `label` or the like. Splits come from the shards'
    names (train-000000.tar). Pictures stay in their shards and are read in place.
    """

    unused_settings = unused_but()

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """Tar files in whose beginnings pictures and labels share keys."""
        shards = _shards(tree)
        if not shards or tree.num_pictures("") or not _is_shard(tree.path(shards[0])):
            return None
        return Recognised("webdataset", f"WebDataset shards: {few_of(shards, 1)}", parts=tuple(shards))

    def examples(self, progress: Progress = no_progress) -> Listing:
        shards = _shards(self.tree)
        if not shards:
            raise DataError(f"data.root: no tar file in {self.root} (compressed ones must be unpacked first)")
        self._counts: Counter[str] = Counter()
        self._defects: list[Defect] = []
        found: list[tuple[str, list[str], Path, int, str | None]] = []
        for number, shard in enumerate(shards):
            progress("reading shards", number, len(shards))
            found += self._samples(shard)
        progress("reading shards", len(shards), len(shards))
        labels = sorted({label for _, names, *_ in found for label in names}, key=_in_order)
        if not labels:
            raise DataError(
                f"data.root: no sample in {shards[0]} has an image and a label (.cls, or .json with `label`)"
            )
        multilabel = any(len(names) != 1 for _, names, *_ in found)
        place = {name: position for position, name in enumerate(labels)}
        examples = [
            Example(
                name, sorted(place[label] for label in names), path=path, member=Member(archives.TAR, row), split=split
            )
            for name, names, path, row, split in sorted(found, key=lambda sample: sample[0])
        ]
        notes = [f"{count} {what}" for what, count in sorted(self._counts.items())]
        return Listing(table_of(examples), self._names(labels, notes), multilabel, tuple(notes), tuple(self._defects))

    def _samples(self, shard: str) -> Iterator[tuple[str, list[str], Path, int, str | None]]:
        path = self.tree.path(shard)
        spoken = split_and_rest(shard.rpartition("/")[2].partition(".")[0])
        split = None if self.data.split.given is False or spoken is None else spoken[0]
        samples: dict[str, dict[str, archives.Entry]] = {}
        try:
            for entry in archives.entries(path):
                key, kind = _key(entry.name)
                if kind in samples.setdefault(key, {}):
                    self._defects.append(
                        Defect(
                            f"{shard}#{entry.name}", "a second file of this key: a WebDataset key ends at the first dot"
                        )
                    )
                samples[key].setdefault(kind, entry)
            read = archives.reader(path, archives.TAR)
            for key, files in samples.items():
                pictures = [entry for kind, entry in files.items() if f".{kind.rpartition('.')[2]}" in SUFFIXES]
                if not pictures:
                    self._counts["samples without an image left out"] += 1
                    continue
                if len(pictures) > 1:
                    listed = ", ".join(entry.name for entry in pictures[:3])
                    reason = f"{listed} are one sample: a WebDataset key ends at the first dot"
                    self._defects.append(Defect(f"{shard}#{key}", reason))
                    continue
                try:
                    names = _labels(files, read)
                except ValueError as error:
                    self._defects.append(Defect(f"{shard}#{key}", str(error)))
                    continue
                if names is None:
                    self._counts["samples without a label (.cls, .json) left out"] += 1
                    continue
                yield f"{shard}#{pictures[0].name}", names, path, pictures[0].row, split
        except (OSError, ValueError) as error:
            self._defects.append(Defect(shard, str(error)))

    def _names(self, labels: list[str], notes: list[str]) -> tuple[str, ...]:
        """The names of numbered classes, where a file beside the shards has them."""
        if all(label.isdecimal() for label in labels):
            for file in _NAMES:
                if file in self.tree:
                    lines = self.tree.read(file).decode("utf-8", errors="replace").splitlines()
                    names = [line.strip() for line in lines if line.strip()]
                    if len(set(names)) == len(names) > int(labels[-1]):
                        notes.append(f"names of classes from {file}")
                        return tuple(names[int(label)] for label in labels)
        return tuple(labels)


def _shards(tree: Tree) -> list[str]:
    return [name for name in tree.files(suffixes=frozenset({".tar"})) if archives.is_tar(tree.head(name, 512))]


def _is_shard(path: Path) -> bool:
    """Whether pictures and labels share keys in the beginning of a tar file."""
    kinds: dict[str, set[str]] = {}
    try:
        for number, entry in enumerate(archives.entries(path)):
            key, kind = _key(entry.name)
            kinds.setdefault(key, set()).add(kind)
            if number >= _LOOKED_AT:
                break
    except (OSError, ValueError):
        pass  # what was read before it broke off counts; `examples` names the damage
    return any({"cls", "json"} & found and any(f".{kind}" in SUFFIXES for kind in found) for found in kinds.values())


def _key(name: str) -> tuple[str, str]:
    """A file's key and what follows its first dot."""
    place, slash, base = name.rpartition("/")
    stem, _, kind = base.partition(".")
    return f"{place}{slash}{stem}", kind.lower()


def _labels(files: dict[str, archives.Entry], read: Callable[[int], bytes]) -> list[str] | None:
    """The labels of a sample; None when it has none.

    Raises:
        ValueError: they cannot be read.
    """
    if "cls" in files:
        text = read(files["cls"].row).decode("utf-8", errors="replace").strip()
        return [text] if text else None
    if "json" not in files:
        return None
    found = json.loads(read(files["json"].row))
    value = next((found[key] for key in LABEL_KEYS if key in found), None) if isinstance(found, dict) else found
    if isinstance(value, list):
        return sorted({str(each) for each in value})
    return None if value is None or isinstance(value, dict) else [str(value)]


def _in_order(label: str) -> tuple[int, str]:
    """Numbers in their order."""
    return (int(label) if label.isdecimal() else -1, label)
