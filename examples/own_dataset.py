"""A dataset of one's own: pictures listed in a table, `labels.csv`, with the columns file, label and group.

python examples/write_pictures.py /tmp/pictures    something to try it on
sweep data check examples/own_dataset.yaml         what is in it
sweep run examples/own_dataset.yaml                the sweep
"""

from __future__ import annotations

import csv

from trainables.contract import Progress, no_progress
from trainables.errors import DataError
from trainables.image.datasets.base import (
    Dataset,
    Defect,
    Example,
    Listing,
    table_of,
    unused_but,
)

COLUMNS = {"file", "label", "group"}


class LabelTable(Dataset):
    """Pictures in `data.root`, listed in the table that `data.options.labels` names (labels.csv unless given)."""

    unused_settings = unused_but("options")

    def examples(self, progress: Progress = no_progress) -> Listing:
        path = self.root / self.data.options.get("labels", "labels.csv")
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
        except FileNotFoundError as error:
            raise DataError(f"data.root: there is no {path}: a CSV file with the columns file, label, group") from error
        if missing := COLUMNS - set(rows[0] if rows else ()):
            raise DataError(f"{path}: no column {', '.join(sorted(missing))}, or no row")

        classes = tuple(sorted({row["label"] for row in rows}))
        number = {name: position for position, name in enumerate(classes)}
        examples, defects = [], []
        for row in rows:
            picture = self.root / row["file"]
            if not picture.is_file():
                defects.append(Defect(row["file"], f"listed in {path.name}, but missing"))
                continue
            examples.append(Example(row["file"], [number[row["label"]]], path=picture, group=row["group"]))
        return Listing(table_of(examples), classes, defects=tuple(defects))
