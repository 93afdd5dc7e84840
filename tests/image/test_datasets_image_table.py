"""Tables of labels in the forms that people have them in, each read with nothing said but root."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainables.errors import DataError
from trainables.image.data_config import DataConfig
from trainables.image.datasets import dataset_class
from trainables.image.datasets.base import Listing

CLASSES = ("cat", "dog", "bird")


@pytest.fixture
def root(tmp_path: Path, make_picture: Callable[..., Path]) -> Path:
    """Twelve pictures: 0.png to 11.png would be numbers, so they are p00.png to p11.png."""
    for number in range(12):
        make_picture(tmp_path / f"set/images/p{number:02}.png", seed=number)
    return tmp_path / "set"


def write(root: Path, name: str, content: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def names(count: int = 12, suffix: str = ".png") -> list[str]:
    return [f"p{number:02}{suffix}" for number in range(count)]


def csv(header: str, rows: Sequence[Sequence[object]]) -> str:
    return "\n".join([*([header] if header else []), *(",".join(map(str, row)) for row in rows)]) + "\n"


def listed(root: Path, **values: Any) -> Listing:
    """As with nothing but a root in the sweep file, or what is given beside it."""
    data = DataConfig.model_validate({"root": root, **values})
    return dataset_class(data.dataset)(data).examples()


def labels(listing: Listing) -> dict[str, list[str]]:
    rows = zip(listing.table["example"].to_pylist(), listing.table["labels"].to_pylist(), strict=True)
    return {Path(name).stem: sorted(listing.classes[number] for number in row) for name, row in rows}


def splits(listing: Listing) -> Counter[str | None]:
    return Counter(listing.table["split"].to_pylist())


ONE_EACH = {f"p{number:02}": [CLASSES[number % 3]] for number in range(12)}
ROWS = [(name, CLASSES[number % 3]) for number, name in enumerate(names())]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", csv("image_id,label", [(name[:-4], label) for name, label in ROWS])),
        ("labels.csv", csv("", ROWS)),
        ("labels.csv", csv("label,image", [(label, name) for name, label in ROWS])),
        ("labels.csv", csv(",image,label", [(number, *row) for number, row in enumerate(ROWS)])),
        ("labels.txt", "\n".join(f"{name}   {label}" for name, label in ROWS)),
        ("labels.txt", "image label\n" + "\n".join(f"{name} {label}" for name, label in ROWS)),
        ("labels.csv", csv("file,label", ROWS).replace(",", ";")),
        ("labels.jsonl", "\n".join(json.dumps({"file_name": name, "label": label}) for name, label in ROWS)),
        ("labels.json", json.dumps([{"image": f"/data/{name}", "choice": label, "id": 1} for name, label in ROWS])),
        ("labels.json", json.dumps({"classes": None, "labels": {name[:-4]: label for name, label in ROWS}})),
        ("labels.json", json.dumps({"classes": CLASSES, "labels": {name: CLASSES.index(x) for name, x in ROWS}})),
        ("labels.csv", csv("file,label", [(f"https://x.org/?d=images%2F{name}", label) for name, label in ROWS])),
        ("labels.csv", csv("file,tags", [(name, f"['{label}']") for name, label in ROWS])),
        ("labels.csv", csv("file,cat,dog,bird", [(name, *(int(x == label) for x in CLASSES)) for name, label in ROWS])),
        ("labels.csv", csv("file,label,width", [(*row, 640) for row in ROWS])),
    ],
)
def test_one_label_per_picture_however_it_is_written(root: Path, name: str, content: str) -> None:
    write(root, name, content)
    listing = listed(root)
    assert labels(listing) == ONE_EACH
    assert not listing.multilabel
    assert any("single-label" in note for note in listing.notes)
    assert listed(root, table={"path": name, "kind": "multi"}).multilabel


def test_ids_that_a_spreadsheet_has_stripped_of_zeros_are_told(
    tmp_path: Path, make_picture: Callable[..., Path]
) -> None:
    numbers = [7, 42, 123456, 205, 314159, 271828, 161803, 577215, 141421]
    for number in numbers:
        make_picture(tmp_path / f"set/images/{number:06}.png", seed=number)
    rows = [(number, CLASSES[place % 3]) for place, number in enumerate(numbers)]
    write(tmp_path / "set", "train.csv", csv("image_id,label", rows))
    found = listed(tmp_path / "set")
    (note,) = [note for note in found.notes if "leading zeros" in note]
    assert note.startswith("3 of the missing images are there but for leading zeros (such as 7: images/000007.png)")


def test_a_parquet_table_of_names(root: Path) -> None:
    files, values = zip(*ROWS, strict=True)
    pq.write_table(pa.table({"file": files, "label": pa.array(values).dictionary_encode()}), root / "labels.parquet")
    assert labels(listed(root)) == ONE_EACH


def test_a_table_with_arrow_view_types(root: Path) -> None:
    files, values = (pa.array(column, pa.string_view()) for column in zip(*ROWS, strict=True))
    table = pa.table({"file": files, "label": values})
    with pa.OSFile(str(root / "labels.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert labels(listed(root)) == ONE_EACH


SEVERAL = [["cat"], ["dog", "cat"], ["bird"], ["bird", "dog"], ["dog"], ["cat", "bird"]] * 2


@pytest.mark.parametrize(
    "cell",
    [
        lambda each: '"' + str(each) + '"',
        lambda each: '"' + json.dumps(each).replace('"', '""') + '"',
        lambda each: '"[' + " ".join(f"'{name}'" for name in each) + ']"',
        lambda each: '"' + json.dumps({"choices": each}).replace('"', '""') + '"' if len(each) > 1 else each[0],
        lambda each: "|".join(each),
        lambda each: '"' + ", ".join(each) + '"',
    ],
)
def test_several_labels_in_a_cell(root: Path, cell: Callable[[list[str]], str]) -> None:
    write(
        root, "labels.csv", csv("file,label", [(name, cell(each)) for name, each in zip(names(), SEVERAL, strict=True)])
    )
    listing = listed(root)
    assert listing.multilabel
    assert list(labels(listing).values()) == [sorted(each) for each in SEVERAL]


def test_a_list_that_is_cut_short_is_named(root: Path) -> None:
    rows = [(name, "\"['cat', 'dog']\"") for name in names()]
    write(root, "labels.csv", csv("file,label", [*rows[:-1], ("p11.png", "\"['cat', 'do\"")]))
    with pytest.raises(DataError, match=r"row 12: \"\['cat', 'do\" in column 'label' is not a complete list"):
        listed(root)


def test_separators_inside_of_names_do_not_cut(root: Path) -> None:
    written = ["Pepper,_bell___healthy", "Pepper,_bell___spot", "Tomato___healthy"]
    write(root, "labels.csv", csv("file,label", [(name, f'"{written[n % 3]}"') for n, name in enumerate(names())]))
    listing = listed(root)
    assert listing.classes == tuple(written)
    assert any("belongs to their names" in note and "data.table.separator" in note for note in listing.notes)
    assert len(listed(root, table={"path": "labels.csv", "separator": ","}).classes) == 4


def test_blanks_that_may_separate_are_a_question(root: Path) -> None:
    words = ["haze", "clear", "water", "road"]
    cells = [f"{a} {b}" for a in words for b in words if a < b] + [" ".join(words[:3]), " ".join(words[1:])] + words
    write(root, "labels.csv", csv("file,tags", zip(names(), cells, strict=True)))
    with pytest.raises(DataError, match=r"4 words in 12 combinations(?s:.*)separator(?s:.*)kind: single"):
        listed(root)
    assert listed(root, table={"path": "labels.csv", "separator": " "}).classes == tuple(sorted(words))
    assert len(listed(root, table={"path": "labels.csv", "kind": "single"}).classes) == 12


def test_rows_that_contradict_one_another_are_named(root: Path, make_picture: Callable[..., Path]) -> None:
    rows = [(name, CLASSES[number % 3]) for number, name in enumerate(names(20))]
    for name in names(20)[12:]:
        make_picture(root / "images" / name)
    write(root, "labels.csv", csv("file,label", [*rows, ("p00.png", "dog"), ("p01.png", "dog")]))
    listing = listed(root)
    assert not listing.multilabel
    assert len(listing.table) == 19
    assert [str(each) for each in listing.defects] == [
        "p00.png (labels.csv, row 21): its label is 'dog' here and 'cat' in labels.csv, row 1"
    ]
    several = [(name, "dog") for name in names(3)]
    write(root, "labels.csv", csv("file,label", [*rows, *several]))
    with pytest.raises(DataError, match=r"2 of 20 images have several rows with different labels(?s:.*)kind"):
        listed(root)
    assert "2 of 20" not in str(listed(root, table={"path": "labels.csv", "kind": "single"}).defects)
    assert listed(root, table={"path": "labels.csv", "kind": "multi"}).multilabel


def test_no_and_zero_of_a_single_column_are_two_classes(root: Path) -> None:
    write(root, "train.csv", csv("id,has_cactus", [(name, number % 2) for number, name in enumerate(names())]))
    listing = listed(root)
    assert (listing.classes, listing.multilabel) == (("0", "1"), False)


def test_minus_one(root: Path) -> None:
    plus = csv("file,smiling,male", [(name, (-1) ** number, 1) for number, name in enumerate(names())])
    write(root, "labels.csv", plus)
    listing = listed(root)
    assert labels(listing)["p00"] == ["male", "smiling"]
    assert labels(listing)["p01"] == ["male"]
    assert "labels.csv has -1 and 1: -1 read as no" in listing.notes
    write(root, "labels.csv", plus.replace("p03.png,-1", "p03.png,0").replace("p05.png,-1", "p05.png,"))
    with pytest.raises(DataError, match=r"4 cells of -1 beside 0 and 1 \(columns smiling\)(?s:.*)uncertain"):
        listed(root)
    meanings = {"positive": 12, "negative": 12, "drop": 8}
    for meaning, count in meanings.items():
        listing = listed(root, table={"path": "labels.csv", "uncertain": meaning})
        assert len(listing.table) == count
        assert any(f"uncertain: {meaning}" in note for note in listing.notes)
        assert ("smiling" in labels(listing).get("p01", [])) == (meaning == "positive")


def test_columns_that_are_no_labels_are_asked_about(root: Path) -> None:
    write(
        root, "train.csv", csv("Path,Sex,Edema,Pneumonia", [(name, "Male", 1, n % 2) for n, name in enumerate(names())])
    )
    with pytest.raises(DataError, match=r"row 1 has 'Male'(?s:.*)label_columns: \[Edema, Pneumonia\]"):
        listed(root)
    assert listed(root, table={"path": "train.csv", "label_columns": ["Pneumonia"]}).classes == ("Pneumonia",)
    write(root, "train.csv", csv("image,dx,kind", [(name, "mel", "histo") for name in names()]))
    with pytest.raises(DataError, match=r"columns dx, kind beside 'image'(?s:.*)label_column"):
        listed(root)


def test_shares_are_refused_or_decided(root: Path) -> None:
    write(
        root, "labels.csv", csv("id,round,flat", [(name, 0.7 - n / 20, 0.3 + n / 20) for n, name in enumerate(names())])
    )
    with pytest.raises(DataError, match=r"has shares, not labels(?s:.*)data\.table\.soft"):
        listed(root)
    most = listed(root, table={"path": "labels.csv", "soft": "argmax"})
    assert not most.multilabel
    assert labels(most)["p00"] == ["round"]
    assert labels(most)["p11"] == ["flat"]
    above = listed(root, table={"path": "labels.csv", "soft": "threshold", "min_value": 0.4})
    assert above.multilabel
    assert labels(above)["p05"] == ["flat", "round"]


def test_a_value_of_zero_says_that_the_label_is_absent(root: Path) -> None:
    rows = [(name, "human", label, 1) for name, label in ROWS] + [
        ("p00.png", "human", "dog", 0),
        ("p01.png", "human", "cat", 1),
    ]
    write(root, "labels.csv", csv("ImageID,Source,LabelName,Confidence", rows))
    listing = listed(root)
    assert listing.multilabel
    assert labels(listing)["p00"] == ["cat"]
    assert labels(listing)["p01"] == ["cat", "dog"]
    assert any("1 rows of labels.csv have a Confidence below 0.5" in note for note in listing.notes)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "".join(f"class {number}\n" for number in range(12))),
        ("classes.txt", "".join(f"{number} class {number}\n" for number in range(12))),
        ("names.json", json.dumps({str(number): f"class {number}" for number in range(12)})),
        ("names.json", json.dumps({f"class {number}": number for number in range(12)})),
    ],
)
def test_names_of_label_numbers(root: Path, name: str, content: str) -> None:
    write(root, "train.csv", csv("file,label", [(each, number) for number, each in enumerate(names())]))
    assert listed(root).classes == tuple(str(number) for number in range(12))
    write(root, name, content)
    listing = listed(root)
    assert listing.classes == tuple(f"class {number}" for number in range(12))
    assert f"the names of the labels in train.csv are from {name}" in listing.notes


def test_names_that_do_not_fit_are_not_used_unless_asked_for(root: Path) -> None:
    write(root, "train.csv", csv("file,label", [(each, number) for number, each in enumerate(names())]))
    write(root, "classes.txt", "one\ntwo\n")
    assert listed(root).classes[-1] == "11"
    with pytest.raises(DataError, match=r"class_names: classes\.txt has no name for the label '2'"):
        listed(root, table={"path": "train.csv", "class_names": "classes.txt"})


def test_groups_and_splits_from_columns(root: Path) -> None:
    words = ["Train", "TRAINING", "dev", "testing"]
    rows = [(n // 2, name, CLASSES[n % 3], words[n % 4]) for n, name in enumerate(names())]
    write(root, "labels.csv", csv("lesion_id,image,label,split", rows))
    listing = listed(root)
    assert splits(listing) == {"train": 6, "val": 3, "test": 3}
    assert len(set(listing.table["group"].to_pylist())) == 6
    assert {"labels.csv: splits are in column 'split'"} <= set(listing.notes)
    assert any("lesion_id" in note for note in listing.notes)
    write(root, "labels.csv", csv("image,label,split", [(name, label, n % 3) for n, (name, label) in enumerate(ROWS)]))
    with pytest.raises(DataError, match=r"'split' of labels\.csv has the values 0, 1, 2: does it give the splits"):
        listed(root)


def test_fastai_says_what_is_valid(root: Path) -> None:
    rows = [(name, label, n >= 9) for n, (name, label) in enumerate(ROWS)]
    write(root, "labels.csv", csv("fname,labels,is_valid", rows))
    assert splits(listed(root)) == {"train": 9, "val": 3}


def test_folds_are_no_labels(root: Path) -> None:
    write(root, "train.csv", csv("image_id,label,fold", [(*row, n % 5) for n, row in enumerate(ROWS)]))
    listing = listed(root)
    assert labels(listing) == ONE_EACH
    assert "train.csv: labels are in column 'label'; not read: fold" in listing.notes


def test_names_of_columns_with_blanks(root: Path) -> None:
    rows = [(name, label, n // 3) for n, (name, label) in enumerate(ROWS)]
    write(root, "labels.csv", csv("Image Index,Class Name,Patient ID", rows))
    assert len(set(listed(root).table["group"].to_pylist())) == 4


RECORD = "\"{'bytes': None, 'path': 'source/%s'}\""


@pytest.mark.parametrize("cell", [RECORD, "gs://bucket/%s", "C:\\data\\%s"])
def test_paths_of_another_place(root: Path, cell: str) -> None:
    write(root, "labels.csv", csv("image,label", [(cell % name, label) for name, label in ROWS]))
    listing = listed(root)
    assert labels(listing) == ONE_EACH
    assert any("paths of another place" in note for note in listing.notes)


def test_names_of_uploads_to_label_studio(root: Path) -> None:
    write(root, "labels.csv", csv("image,choice", [(f"/upload/1/0a1b2c3d-{name}", label) for name, label in ROWS]))
    assert labels(listed(root)) == ONE_EACH


def test_one_box_in_each_picture_is_one_label(root: Path) -> None:
    write(
        root, "Train.csv", csv("Path,ClassId,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2", [(name, x, 1, 1, 8, 8) for name, x in ROWS])
    )
    assert not listed(root).multilabel
    assert len(listed(root, view="crops").table) == 12


def test_automl(root: Path) -> None:
    words = ["TRAIN"] * 8 + ["VALIDATION"] * 2 + ["TEST"] * 2
    write(root, "all_data.csv", csv("", [(w, f"gs://b/{n}", x) for w, (n, x) in zip(words, ROWS, strict=True)]))
    listing = listed(root)
    assert labels(listing) == ONE_EACH
    assert splits(listing) == {"train": 8, "val": 2, "test": 2}


@pytest.mark.parametrize(
    "template", ["{}.csv", "lists/{}.csv", "annotations/{}-annotations-labels.csv", "{}/_classes.csv"]
)
def test_one_table_per_split(root: Path, template: str) -> None:
    for word, part in (("train", ROWS[:8]), ("valid", ROWS[8:10]), ("test", ROWS[10:])):
        write(root, template.format(word), csv("file,label", part))
    listing = listed(root)
    assert labels(listing) == ONE_EACH
    assert splits(listing) == {"train": 8, "val": 2, "test": 2}
    only = listed(root, table=template.format("train"))
    assert len(only.table) == 8
    assert any("4 images are not in" in note for note in only.notes)


def test_pictures_beside_their_table_may_have_the_same_names(tmp_path: Path, make_picture: Callable[..., Path]) -> None:
    for split in ("train", "test"):
        for number in range(3):
            make_picture(tmp_path / f"{split}/{number}.png")
        write(tmp_path, f"{split}/metadata.csv", csv("file_name,label", [(f"{n}.png", CLASSES[n]) for n in range(3)]))
    listing = listed(tmp_path)
    assert listing.table["example"].to_pylist() == [f"{split}/{n}.png" for split in ("test", "train") for n in range(3)]
    assert splits(listing) == {"train": 3, "test": 3}
    assert not listing.defects


def test_lists_with_numbers_are_splits_not_labels(root: Path) -> None:
    write(root, "meta/train.txt", "".join(f"{name} {number % 3}\n" for number, name in enumerate(names(9))))
    write(root, "meta/val.txt", '"p09".png 0\np10.png 1\np11.png 2\n')
    write(root, "meta/classes.txt", "cat\ndog\nbird\n")
    listing = listed(root)
    assert labels(listing) == ONE_EACH
    assert splits(listing) == {"train": 9, "val": 3}
    assert labels(listed(root, table="meta")) == ONE_EACH


def test_class_lists_of_voc(root: Path) -> None:
    for split, numbers in (("train", range(9)), ("val", range(9, 12))):
        write(root, f"ImageSets/Main/{split}.txt", "".join(f"p{n:02}\n" for n in numbers))
        for place, name in enumerate([*CLASSES, "background"]):
            signs = "".join(f"p{n:02} {'' if n % 3 != place else ' '}{1 if n % 3 == place else -1}\n" for n in numbers)
            write(root, f"ImageSets/Main/{name}_{split}.txt", signs)
    listing = listed(root)
    assert labels(listing) == ONE_EACH
    assert splits(listing) == {"train": 9, "val": 3}


def test_lists_of_splits_have_no_labels(root: Path) -> None:
    write(root, "splits/train.txt", "\n".join(names(8)))
    write(root, "splits/test.txt", "\n".join(names()[8:]))
    with pytest.raises(DataError, match=r"say which images are train, val and test, and no label"):
        listed(root, table="splits")


def test_lists_of_splits_over_class_folders(tmp_path: Path, make_picture: Callable[..., Path]) -> None:
    for number in range(12):
        make_picture(tmp_path / f"images/{CLASSES[number % 3]}/{number}.png")
    lines = [f"{CLASSES[number % 3]}/{number}\n" for number in range(12)]
    write(tmp_path, "meta/train.txt", "".join(lines[:9]))
    write(tmp_path, "meta/test.txt", "".join(lines[9:]))
    listing = listed(tmp_path)
    assert splits(listing) == {"train": 9, "test": 3}
    assert listing.classes == tuple(sorted(CLASSES))
    assert any("the folder that an image lies in is its label" in note for note in listing.notes)


def test_cub(tmp_path: Path, make_picture: Callable[..., Path]) -> None:
    for number in range(6):
        make_picture(tmp_path / f"images/{number % 2 + 1:03}.kind/{number}.png")
    write(tmp_path, "images.txt", "".join(f"{n + 1} {n % 2 + 1:03}.kind/{n}.png\n" for n in range(6)))
    write(tmp_path, "image_class_labels.txt", "".join(f"{n + 1} {n % 2 + 1}\n" for n in range(6)))
    write(tmp_path, "train_test_split.txt", "".join(f"{n + 1} {int(n < 4)}\n" for n in range(6)))
    write(tmp_path, "classes.txt", "1 001.sparrow\n2 002.wren\n")
    listing = listed(tmp_path)
    assert splits(listing) == {"train": 4, "test": 2}
    assert listing.classes == ("001.sparrow", "002.wren")
    write(tmp_path, "train_test_split.txt", "1 1\n")
    with pytest.raises(DataError, match=r"train_test_split\.txt has no line for image 2"):
        listed(tmp_path)


def test_celeba_as_text(root: Path) -> None:
    rows = [f"{name}  {(-1) ** n:2d} -1  1" for n, name in enumerate(names())]
    write(root, "list_attr.txt", "\n".join(["12", "Smiling Male Young", *rows]))
    listing = listed(root)
    assert labels(listing)["p00"] == ["Smiling", "Young"]
    assert listing.multilabel


def test_windows_encoding_is_said(root: Path) -> None:
    content = csv("datei,klasse", [(name, "Rüde" if n % 2 else "Hündin") for n, name in enumerate(names())])
    write(root, "labels.csv", content.encode("cp1252"))
    listing = listed(root)
    assert listing.classes == ("Hündin", "Rüde")
    assert any("not UTF-8: read as cp1252 (such as 'Hündin')" in note for note in listing.notes)
    with pytest.raises(DataError, match=r"labels\.csv is not utf-8 \(byte"):
        listed(root, table={"path": "labels.csv", "encoding": "utf-8"})


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_large_table_is_recognised_by_its_beginning(root: Path, suffix: str) -> None:
    remark = "x" * 9000  # twelve of these are more than is looked at
    if suffix == "csv":
        write(root, "labels.csv", csv("file,label,remark", [(*row, remark) for row in ROWS]))
    elif suffix == "jsonl":
        records = [{"file": name, "label": label, "remark": remark} for name, label in ROWS]
        write(root, "labels.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    else:
        files, values = zip(*ROWS, strict=True)
        pq.write_table(pa.table({"file": files, "label": values, "remark": [remark] * 12}), root / "labels.parquet")
    assert labels(listed(root)) == ONE_EACH


def test_several_tables_are_a_question(root: Path) -> None:
    write(root, "one.csv", csv("file,label", ROWS))
    write(root, "copy/one.csv", csv("file,label", ROWS))
    assert labels(listed(root)) == ONE_EACH  # a copy says nothing else
    write(root, "two.csv", csv("file,label", [(name, "cat") for name, _ in ROWS]))
    with pytest.raises(DataError, match=r"can be read in 2 ways(?s:.*)one\.csv(?s:.*)two\.csv"):
        listed(root)
    assert labels(listed(root, table="one.csv")) == ONE_EACH


def test_a_submission_is_no_table_of_labels(root: Path, make_picture: Callable[..., Path]) -> None:
    write(root, "train.csv", csv("file,label", ROWS))
    make_picture(root / "test_images/t.png")
    write(root, "sample_submission.csv", "file,label\nt.png,cat\n")
    write(root, "test.csv", "file\nt.png\n")
    assert labels(listed(root)) == ONE_EACH


def test_what_the_old_name_means_stays(root: Path) -> None:
    write(root, "labels.csv", csv("file,label", ROWS))
    listing = listed(root, dataset="multilabel_table", table="labels.csv")
    assert listing.multilabel
    assert any("every image has exactly one label" in note and "image_table" in note for note in listing.notes)
    with pytest.raises(DataError, match="multilabel_table means multi; dataset image_table"):
        listed(root, dataset="multilabel_table", table={"path": "labels.csv", "kind": "single"})


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("labels.json", '[{"file": "p00.png", "label": "cat"}, {"fi', "line 1 is not JSON"),
        ("labels.jsonl", '{"file": "p00.png", "label": "cat"}\n{"file": ', "line 2 is not JSON"),
        ("labels.json", '{"images": [{"id": 1}], "annotations": []}', "it is not a table of labels"),
        ("labels.csv", "", "empty"),
        ("labels.xlsx", b"PK\x03\x04", "is a spreadsheet: save it as CSV"),
        ("labels.csv", b"\xff\xfe\x00", "is not utf-16"),
        ("labels.csv", b"file,label\np00.png,\x81\n", "neither UTF-8"),
        ("labels.csv", 'file,label\np00.png,"[{""x"": 1, ""rectanglelabels"": [""cat""]}]"\n', "hold more than labels"),
    ],
)
def test_tables_that_cannot_be_used(root: Path, name: str, content: str | bytes, says: str) -> None:
    write(root, name, content)
    with pytest.raises(DataError, match=says):
        listed(root, table=name)


def test_tables_of_splits_that_differ(root: Path) -> None:
    write(root, "a.csv", csv("file,label", ROWS[:8]))
    write(root, "b.csv", csv("file,klass", ROWS[8:]))
    with pytest.raises(DataError, match=r"b\.csv has the columns file, klass, but a\.csv has file, label"):
        listed(root, table={"train": "a.csv", "val": "b.csv"})


BOXES = "filename,width,height,class,xmin,ymin,xmax,ymax"


def boxes(listing: Listing) -> dict[str, Any]:
    return dict(zip(listing.table["example"].to_pylist(), listing.table["box"].to_pylist(), strict=True))


def test_boxes_as_columns(tmp_path: Path, make_picture: Callable[..., Path]) -> None:
    for name in "abc":
        make_picture(tmp_path / f"{name}.png", size=(20, 10))
    rows = ["a.png,20,10,cat,2,1,8,9", "a.png,20,10,dog,0,0,20,10", "b.png,20,10,cat,5,5,25,8", "c.png,20,10,,,,,"]
    write(tmp_path, "_annotations.csv", "\n".join([BOXES, *rows]))
    whole = listed(tmp_path)
    assert whole.multilabel
    assert labels(whole) == {"a": ["cat", "dog"], "b": ["cat"], "c": []}
    crops = listed(tmp_path, view="crops")
    assert not crops.multilabel
    assert boxes(crops) == {"a.png#0": [2, 1, 8, 9], "a.png#1": [0, 0, 20, 10], "b.png#2": [5, 5, 20, 8]}
    assert [crops.classes[each[0]] for each in crops.table["labels"].to_pylist()] == ["cat", "dog", "cat"]
    assert crops.table["group"].to_pylist() == ["a.png", "a.png", "b.png"]
    assert any("boxes count from 0: there is a 0" in note for note in crops.notes)
    assert boxes(listed(tmp_path, view="crops", box_origin=1))["a.png#0"] == [1, 0, 8, 9]
    assert boxes(listed(tmp_path, view="crops", margin=0.5, min_size=4)) == {
        "a.png#0": [0, 0, 11, 10],
        "a.png#1": [0, 0, 20, 10],
    }


def test_boxes_that_count_from_one_or_are_fractions(tmp_path: Path, make_picture: Callable[..., Path]) -> None:
    make_picture(tmp_path / "a.png", size=(20, 10))
    write(tmp_path, "a.csv", f"{BOXES}\na.png,20,10,cat,1,1,20,10\na.png,20,10,dog,3,3,9,9\n")
    assert boxes(listed(tmp_path, view="crops")) == {"a.png#0": [0, 0, 20, 10], "a.png#1": [2, 2, 9, 9]}
    write(
        tmp_path, "a.csv", "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\na,cat,0.5,1,0.2,0.6,0\na,cat,0,1,0,1,1\n"
    )
    assert boxes(listed(tmp_path, view="crops")) == {"a.png#0": [10, 2, 20, 6]}


def test_labels_of_pictures_and_boxes_in_two_tables_are_two_views(root: Path) -> None:
    write(root, "labels.csv", csv("ImageID,LabelName,Confidence", [(*row, 1) for row in ROWS]))
    write(root, "boxes.csv", csv("ImageID,LabelName,xmin,ymin,xmax,ymax", [(*row, 1, 1, 6, 6) for row in ROWS[:5]]))
    assert labels(listed(root)) == ONE_EACH
    assert len(listed(root, view="crops").table) == 5
    with pytest.raises(DataError, match=r"labels\.csv has no boxes: data\.table\.box_columns"):
        listed(root, view="crops", table="labels.csv")
