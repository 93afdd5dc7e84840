from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from trainables.errors import DataError
from trainables.image.data.prepare import prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Listing
from trainables.image.datasets.image_table import MultilabelTable

ONE_HOT = "file,cat,dog\n1.png,1,0\n2.png,0,1\n3.png,1,1\n4.png,0,0\n"
EXPECTED = {"images/1.png": ["cat"], "images/2.png": ["dog"], "images/3.png": ["cat", "dog"], "images/4.png": []}


@pytest.fixture
def root(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    for number in range(1, 5):
        make_picture(tmp_path / f"set/images/{number}.png", seed=number)
    return tmp_path / "set"


def config(root: Path, table: Any = "labels.csv", **values: Any) -> DataConfig:
    return DataConfig.model_validate({"dataset": "multilabel_table", "root": root, "table": table, **values})


def listed(root: Path, table: Any = "labels.csv", **values: Any) -> Listing:
    return MultilabelTable(config(root, table, **values)).examples()


def labels(listing: Listing) -> dict[str, list[str]]:
    rows = zip(listing.table["example"].to_pylist(), listing.table["labels"].to_pylist(), strict=True)
    return {name: [listing.classes[number] for number in row] for name, row in rows}


def write(root: Path, content: str | bytes, name: str = "labels.csv") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        ONE_HOT.encode(),
        ONE_HOT.replace("\n", "\r\n").encode(),
        ONE_HOT.replace("\n", "\r").encode(),
        ONE_HOT.rstrip("\n").encode("utf-8-sig"),
        ONE_HOT.encode("utf-16"),
        ONE_HOT.replace(",", ";").encode(),
        ONE_HOT.replace(",", "\t").encode(),
        ONE_HOT.replace("1.png", '"1.png"').replace("file", '"file"').encode(),
        ONE_HOT.replace(",1", ",True").replace(",0", ",FALSE").encode(),
        ONE_HOT.replace(",1", ", 1.0").replace(",0", ", 0.0").encode(),
        ONE_HOT.replace(",0", ",").encode(),
        ONE_HOT.replace(".png", "").encode(),
        ONE_HOT.replace(".png", ".PNG").encode(),
        ONE_HOT.replace("1.png", "images/1.png").replace("2.png", "./images\\2.png").encode(),
        ONE_HOT.replace("1.png", "/data/set/images/1.png").encode(),
    ],
)
def test_one_hot_however_it_is_written(root: Path, content: bytes) -> None:
    write(root, content)
    listing = listed(root)
    assert labels(listing) == EXPECTED
    assert listing.multilabel
    assert listing.defects == ()
    assert "1 images without a label" in listing.notes


def test_other_kinds_of_files(root: Path) -> None:
    table = pa.table({"file": ["1", "2", "3", "4"], "cat": [1, 0, 1, 0], "dog": [False, True, True, False]})
    pq.write_table(table, root / "labels.parquet")
    pyarrow.feather.write_feather(table, root / "labels.arrow", compression="uncompressed")
    write(root, ONE_HOT.replace(",", "\t"), "labels.tsv")
    for name in ("labels.parquet", "labels.arrow", "labels.tsv"):
        assert labels(listed(root, name)) == EXPECTED


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        ("file,labels\n1,cat\n2,dog\n3,cat|dog\n4,\n", {}),
        ("file,labels\n1,cat\n2,dog\n3,dog; cat\n4,\n", {}),
        ('file,labels\n1,cat\n2,dog\n3,"dog,cat"\n4,\n', {}),
        ("file,labels\n1,cat\n2,dog\n3,cat dog\n4,\n", {"separator": " "}),
        (
            "note,id,labels\nx,1,cat\ny,2,dog\nz,3,cat/dog\nw,4,\n",
            {"file_column": "id", "label_column": "labels", "separator": "/"},
        ),
        ("file,labels\n1,cat\n2,dog\n3,cat\n3,dog\n4,\n", {}),  # a row a label
    ],
)
def test_columns_of_label_names(root: Path, content: str, settings: dict[str, str]) -> None:
    write(root, content)
    assert labels(listed(root, {"path": "labels.csv", **settings})) == EXPECTED


def test_lists_in_a_column_of_a_parquet_file(root: Path) -> None:
    pq.write_table(
        pa.table({"file": ["1", "2", "3", "4"], "tags": [["cat"], ["dog"], ["dog", "cat"], []]}), root / "t.parquet"
    )
    assert labels(listed(root, "t.parquet")) == EXPECTED


def test_a_space_that_may_separate_is_told(root: Path) -> None:
    write(root, "file,labels\n1,cat dog\n2,cat\n")
    listing = listed(root)
    assert listing.classes == ("cat", "cat dog")
    assert any("data.table.separator" in note for note in listing.notes)


def test_one_list_a_label(root: Path) -> None:
    write(root, "1\r\n3\r\n", "annotations/cat.txt")
    write(root, b"\xef\xbb\xbf2\n3", "annotations/dog.txt")
    write(root, "", "annotations/river.txt")
    listing = listed(root, "annotations")
    assert labels(listing) == EXPECTED  # that no list names is an example without a label
    assert "river.txt lists no image: not a label" in listing.notes
    assert "1 images without a label" in listing.notes
    dropped = listed(root, {"path": "annotations", "unlabelled": "drop"})
    assert len(dropped.table) == 3
    assert "1 images without a label left out (data.table.unlabelled: drop)" in dropped.notes


def test_lists_with_a_sign_and_ids_that_are_part_of_names(root: Path) -> None:
    for number in range(1, 5):
        (root / f"images/{number}.png").rename(root / f"images/im{number}.png")
    write(root, "1  1\n2 -1\n3  1\n4  0\n", "lists/cat.txt")
    write(root, "2  1\n3  1\n", "lists/dog.txt")
    found = labels(listed(root, {"path": "lists", "names": "im{}.png"}))
    assert found == {name.replace("/", "/im"): each for name, each in EXPECTED.items()}
    with pytest.raises(DataError, match=r"none of the 4 names(?s:.*)data\.table\.names"):
        listed(root, {"path": "lists"})


def test_missing_pictures_and_those_beside_the_table_are_counted(root: Path, make_picture: Callable[..., Path]) -> None:
    write(root, ONE_HOT + "gone.png,1,0\nlost.png,0,1\n,1,1\n")
    make_picture(root / "images/other.png")
    listing = listed(root)
    assert labels(listing) == EXPECTED
    assert "2 images that labels.csv names are missing" in listing.notes
    assert "1 images are not in labels.csv: left out (such as images/other.png)" in listing.notes
    assert [str(defect) for defect in listing.defects] == [
        "gone.png (labels.csv, row 5): there is no such image",
        "lost.png (labels.csv, row 6): there is no such image",
        "labels.csv, row 7: it names no image",
    ]


def test_missing_pictures_are_fatal_when_asked_for(root: Path, tmp_path: Path) -> None:
    write(root, ONE_HOT + "gone.png,1,0\n")
    with pytest.raises(DataError, match=r"on_unreadable: fail(?s:.*)gone\.png"):
        prepare_images(config(root, on_unreadable="fail"), tmp_path, [])


def test_a_column_that_is_no_label_is_named_with_its_value(root: Path) -> None:
    write(root, "file,cat,width\n1.png,1,0\n2.png,0,640\n")
    with pytest.raises(
        DataError, match=r"column 'width' is not a label: labels\.csv, row 2 has '640'(?s:.*)label_columns"
    ):
        listed(root)
    write(root, "file,cat,width\n1.png,1,10\n2.png,0,640\n3.png,1,5\n")
    assert listed(root, {"path": "labels.csv", "label_columns": ["cat"]}).classes == ("cat",)
    assert listed(root, classes=["cat"]).classes == ("cat",)


def test_a_thousand_columns(root: Path) -> None:
    names = [f"label{number}" for number in range(1000)]
    rows = [[str(int((row + column) % 2)) for column in range(1000)] for row in range(4)]
    rows = [[*row[:999], "0"] for row in rows]
    write(root, "\n".join([",".join(["file", *names]), *(",".join([str(k + 1), *row]) for k, row in enumerate(rows))]))
    listing = listed(root)
    assert len(listing.classes) == 999
    assert "labels without an example: 1 (label999)" in listing.notes
    assert len(listing.table["labels"][0]) == 499


def test_names_that_differ_in_case_only(root: Path, make_picture: Callable[..., Path]) -> None:
    make_picture(root / "images/a.png", seed=7)
    make_picture(root / "images/A.png", seed=8)
    write(root, "file,cat,dog\na.png,1,0\nA.png,0,1\n")
    assert labels(listed(root)) == {"images/a.png": ["cat"], "images/A.png": ["dog"]}
    make_picture(root / "images/oN.png", seed=9)
    make_picture(root / "images/On.png", seed=10)
    write(root, "file,cat,dog\non.png,1,0\n1.png,0,1\n2.png,1,0\n")
    listing = listed(root)
    assert [str(each) for each in listing.defects] == [
        "on.png (labels.csv, row 1): several images could be meant: images/On.png, images/oN.png"
    ]


def test_same_name_in_two_folders(root: Path, make_picture: Callable[..., Path]) -> None:
    make_picture(root / "more/1.png", seed=9)
    write(root, "file,cat,dog\n1.png,1,0\n2.png,0,1\n3.png,1,0\n")
    assert "several images could be meant: images/1.png, more/1.png" in str(listed(root).defects[0])
    found = labels(listed(root, {"path": "labels.csv", "images": "more"}))
    assert found == {"more/1.png": ["cat"]}


def test_rows_that_contradict_each_other(root: Path) -> None:
    write(root, ONE_HOT + "1,1,0\n2.png,1,0\n")
    listing = listed(root)
    assert set(labels(listing)) == {"images/1.png", "images/3.png", "images/4.png"}
    assert [str(each) for each in listing.defects] == [
        "2.png (labels.csv, row 6): 2.png has another row that says otherwise"
    ]


def test_splits_of_a_column(root: Path) -> None:
    write(root, "file,cat,dog,part\n1.png,1,0,train\n2.png,0,1,Valid\n3.png,1,1,test\n4.png,1,0,\n")
    table = {"path": "labels.csv", "split_column": "part"}
    assert listed(root, table).table["split"].to_pylist() == ["train", "val", "test", None]
    assert listed(root, table, split={"given": False}).table["split"].null_count == 4
    write(root, "file,cat,part\n1.png,1,somewhere\n")
    with pytest.raises(DataError, match="row 1 has 'somewhere': it must be train, val or test"):
        listed(root, table)


@pytest.mark.parametrize(
    ("content", "table", "says"),
    [
        (None, "labels.csv", "does not exist"),
        ("", "labels.csv", "empty"),
        ("file,cat\n", "labels.csv", "no row"),
        ("file\n1.png\n", "labels.csv", "only lists images, and they lie in images: no label"),
        ("1.png,1,0\n2.png,0,1\n", "labels.csv", "must have the names of the columns"),
        ("file,cat,cat\n1.png,1,0\n", "labels.csv", "'cat' twice"),
        ("file,cat\n1.png,1\n2.png\n", "labels.csv", "cannot be read: CSV parse error"),
        (ONE_HOT, {"path": "labels.csv", "file_column": "fiel"}, "no column 'fiel' .did you mean 'file'"),
        (ONE_HOT, {"path": "labels.csv", "label_columns": ["bird"]}, "no column 'bird'"),
        (ONE_HOT, {"path": "labels.csv", "format": "labels"}, "which one holds the labels"),
        (b"PAR1 no parquet", "labels.parquet", "cannot be read"),
        ("file,cat\nx.png,1\ny.png,0\n", "labels.csv", "none of the 2 names"),
    ],
)
def test_tables_that_cannot_be_used(root: Path, content: str | bytes | None, table: Any, says: str) -> None:
    if content is not None:
        write(root, content, table if isinstance(table, str) else table["path"])
    with pytest.raises(DataError, match=says):
        listed(root, table)


def test_missing_folders(root: Path, tmp_path: Path) -> None:
    write(root, ONE_HOT)
    with pytest.raises(DataError, match=r"data\.root: .* does not exist"):
        listed(tmp_path / "nothing")
    with pytest.raises(DataError, match="nothing does not exist"):
        listed(root, {"path": "labels.csv", "images": "nothing"})


@pytest.mark.parametrize("channels", [1, 3])
def test_from_table_to_index(root: Path, tmp_path: Path, make_picture: Callable[..., Path], channels: int) -> None:
    lines = ["file,cat,dog"]
    for number in range(30):
        make_picture(root / f"images/n{number}.png", seed=100 + number)
        lines.append(f"n{number}.png,{number % 2},{number % 3 // 2}")
    write(root, "\n".join(lines))
    preparation = prepare_images(config(root), tmp_path, [16], [channels])
    assert preparation.details["multilabel"]
    assert sum(preparation.details["examples"].values()) == 30
