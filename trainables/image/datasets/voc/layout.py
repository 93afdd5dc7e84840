"""Finds the folder with VOC's own layout, and the year that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainables.errors import DataError

if TYPE_CHECKING:
    from trainables.image.settings.data import DataSettings


def candidates(data: DataSettings) -> list[Path]:
    """Where the layout is looked for: root itself, and what torchvision or a user may have put below it."""
    assert data.root is not None
    year = year_of(data)
    below = ("", f"VOC{year}", f"VOCdevkit/VOC{year}", f"TrainVal/VOCdevkit/VOC{year}")
    return [data.root / name for name in below]


def year_of(data: DataSettings) -> str:
    """The year that is asked for: as given, or of a root like `VOC2012`, or 2012."""
    assert data.root is not None
    name = data.root.name
    return data.year or (name[3:] if name.startswith("VOC20") and name[3:].isdigit() else "2012")


def find_folder(data: DataSettings) -> Path | None:
    """The folder that holds Annotations/ and JPEGImages/, or None.

    Raises:
        DataError: there are several years below root and none was chosen.
    """
    for folder in candidates(data):
        if (folder / "Annotations").is_dir() and (folder / "JPEGImages").is_dir():
            return folder
    assert data.root is not None
    found = [
        path.parent for pattern in ("VOC20*", "VOCdevkit/VOC20*") for path in data.root.glob(f"{pattern}/Annotations")
    ]
    found = [folder for folder in found if (folder / "JPEGImages").is_dir()]
    if data.year is None and len(found) == 1:
        return found[0]
    if found and not data.download:
        years = ", ".join(sorted(folder.name.removeprefix("VOC") for folder in found))
        raise DataError(f"data.root: {data.root} holds VOC {years}, not {year_of(data)}: choose with data.year")
    return None
