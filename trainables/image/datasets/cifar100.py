"""CIFAR-100: the official python files, with their 100 fine labels."""

from __future__ import annotations

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import Dataset, Example, Listing, Member, Recognised, table_of, unused_but
from trainables.image.datasets.tree import Tree
from trainables.image.pixels.cifar_batches import parse_batch, parse_pickle

FOLDER = "cifar-100-python"
META, TRAIN, TEST = "meta", "train", "test"


class Cifar100(Dataset):
    """Pictures of 32×32 in 100 classes (`fine_labels`).

    The file `test` stays the test split (but for `split.given: false`), and val is cut from train. The files are
    pickles; they are read without letting them call anything but what makes an array.
    """

    unused_settings = unused_but()

    @classmethod
    def recognise(cls, tree: Tree) -> Recognised | None:
        """The three files, of which `meta` has the names of fine labels."""
        folder = _folder(tree)
        return None if folder is None else Recognised("cifar100", f"CIFAR-100: {folder}{TRAIN} and {folder}{TEST}")

    def examples(self, progress: Progress = no_progress) -> Listing:
        folder = _folder(self.tree)
        if folder is None:
            raise DataError(
                f"data.root: no CIFAR-100 in {self.root}: looked for {FOLDER}/{META}, {FOLDER}/{TRAIN}, {FOLDER}/{TEST}"
            )
        try:
            names = parse_pickle(self.tree.read(folder + META)).get("fine_label_names")
        except (OSError, ValueError) as error:
            raise DataError(f"data.root: {self.root / folder / META} cannot be used: {error}") from error
        if not isinstance(names, list) or not names:
            raise DataError(f"data.root: {self.root / folder / META} has no names of classes (`fine_label_names`)")
        classes = tuple(name.decode("latin-1") if isinstance(name, bytes) else str(name) for name in names)
        examples = []
        for number, file in enumerate((TRAIN, TEST)):
            progress("reading batches", number, 2)
            path = self.tree.path(folder + file)
            try:
                batch = parse_batch(path.read_bytes())
            except (OSError, ValueError) as error:
                raise DataError(f"data.root: {path} cannot be used: {error}") from error
            if strange := [label for label in batch.labels.tolist() if not 0 <= label < len(classes)]:
                raise DataError(f"data.root: {path} has the label {strange[0]}: labels are 0 to {len(classes) - 1}")
            split = None if self.data.split.given is False else file
            examples += [
                Example(f"{file}#{row}", [label], path=path, member=Member("data", row), split=split)
                for row, label in enumerate(batch.labels.tolist())
            ]
        progress("reading batches", 2, 2)
        return Listing(table_of(examples), classes)


def _folder(tree: Tree) -> str | None:
    """Where the files are: "" or "cifar-100-python/"."""
    for folder in ("", f"{FOLDER}/"):
        if all(folder + name in tree for name in (META, TRAIN, TEST)):
            head = tree.head(folder + META, 4096)
            if head[:1] == b"\x80" and b"fine_label_names" in head:
                return folder
    return None
