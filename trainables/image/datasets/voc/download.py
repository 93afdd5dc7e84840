"""PASCAL VOC when it is not there: what is missing, and torchvision's downloader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainables.errors import DataError
from trainables.image.datasets.voc.layout import year_of
from trainables.image.settings.values import YEARS

if TYPE_CHECKING:
    from trainables.image.settings.data import DataSettings


def missing_message(data: DataSettings, looked_in: Sequence[Path]) -> str:
    """What is missing, where it was looked for, and the ways to get it there."""
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    year, parent = _year(data), _parent(data)
    archive = DATASET_YEAR_DICT[year]
    target = parent / archive["base_dir"]
    places = "".join(f"\n    {folder}  ({_state(folder)})" for folder in looked_in)
    return f"""data.root: no data in VOC layout. Annotations/*.xml and JPEGImages/*.jpg were looked for in{places}
  To let it be downloaded (about 2 GB; the archive's checksum is verified):
    --set data.download=true
    Run the same again after an interruption: an archive that is whole is not fetched twice, a damaged one is.
  To put it there by hand: fetch
    {archive["url"]}
    (md5 {archive["md5"]}) and unpack it in {parent}, so that there are
    {target}/Annotations/*.xml
    {target}/JPEGImages/*.jpg
    {target}/ImageSets/Main/trainval.txt
  Any other folder in this layout does, too; its classes come from its annotations:
    --set data.root=FOLDER"""


def has_archive(data: DataSettings) -> bool:
    """Whether the year's archive lies where `download` puts it, whole or not: then a download has been begun."""
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    return bool((_parent(data) / DATASET_YEAR_DICT[_year(data)]["filename"]).exists())


def download(data: DataSettings) -> None:
    """Fetches and unpacks the year's archive with torchvision, which checks its md5.

    An archive that is there and whole is unpacked without being fetched; a partial or damaged one is fetched again.

    Raises:
        DataError: it could not be fetched, or written.
    """
    import http.client
    import tarfile

    from torchvision.datasets import VOCDetection
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    year, parent = _year(data), _parent(data)
    try:
        # 2007 is the one year whose test annotations are public.
        for image_set in ("trainval", "test") if year == "2007" else ("trainval",):
            VOCDetection(parent, year=year, image_set=image_set, download=True)
    except (OSError, RuntimeError, ValueError, http.client.HTTPException, tarfile.TarError) as error:
        archive = DATASET_YEAR_DICT[year]
        raise DataError(
            f"data.download: VOC {year} could not be fetched into {parent}: {error or type(error).__name__}\n"
            f"  It comes from {archive['url']} (md5 {archive['md5']}).\n"
            "  Run the same again to try again, or unpack the archive there by hand; "
            f"there must then be {parent / archive['base_dir'] / 'Annotations'}"
        ) from error


def _year(data: DataSettings) -> str:
    return year_of(data) if year_of(data) in YEARS else "2012"


def _parent(data: DataSettings) -> Path:
    """The folder in which the archive makes VOCdevkit/VOC<year> so that the data lies where root says."""
    root = data.root
    assert root is not None
    if root.name == f"VOC{_year(data)}" and root.parent.name == "VOCdevkit":
        parent = root.parent.parent
        return parent.parent if parent.name == "TrainVal" and _year(data) == "2011" else parent
    return root.parent if root.name == "VOCdevkit" else root


def _state(folder: Path) -> str:
    if not folder.exists():
        return "does not exist"
    missing = [name for name in ("Annotations", "JPEGImages") if not (folder / name).is_dir()]
    return f"has no {' and no '.join(missing)}" if missing else "is there"
