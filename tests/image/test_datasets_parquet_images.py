from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainables.errors import DataError
from trainables.image.data.prepare import prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.datasets.base import Listing, Member
from trainables.image.datasets.parquet_images import ParquetImages
from trainables.image.index import ImageIndex
from trainables.image.pixels import containers
from trainables.image.pixels.decode import decode
from trainables.image.pixels.examples import open_pixels

CLASSES = {"names": ["cat", "dog", "bird"], "_type": "ClassLabel"}


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="PNG")
    return content.getvalue()


def make(
    path: Path,
    labels: list[Any],
    *,
    feature: Any = CLASSES,
    images: list[Any] | None = None,
    columns: tuple[str, str] = ("image", "label"),
    row_group_size: int = 4,
    seed: int = 0,
) -> Path:
    """A file as `datasets` writes it; `.arrow` as a stream."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if images is None:
        images = [{"bytes": png(seed + row), "path": f"{row}.png"} for row in range(len(labels))]
    table = pa.table({columns[0]: images, columns[1]: labels})
    if feature is not None:
        features = {columns[0]: {"_type": "Image"}, columns[1]: feature}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=row_group_size)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=row_group_size)
    return path


def config(root: Path, **values: Any) -> DataConfig:
    return DataConfig.model_validate({"dataset": "parquet_images", "root": root, **values})


def listed(root: Path, **values: Any) -> Listing:
    return ParquetImages(config(root, **values)).examples()


def labels(listing: Listing) -> list[list[str]]:
    return [[listing.classes[number] for number in row] for row in listing.table["labels"].to_pylist()]


def test_hugging_face_layout(tmp_path: Path) -> None:
    make(tmp_path / "data/train-00000-of-00002.parquet", [0, 1])
    make(tmp_path / "data/train-00001-of-00002.parquet", [1])
    make(tmp_path / "data/validation-00000-of-00001.parquet", [0])
    make(tmp_path / "data/test-00000-of-00001.parquet", [1, 0, -1])
    listing = listed(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert listing.table["split"].to_pylist() == ["test", "test", "train", "train", "train", "val"]
    assert labels(listing) == [["dog"], ["cat"], ["cat"], ["dog"], ["dog"], ["cat"]]
    assert listing.table["example"][3].as_py() == "data/train-00000-of-00002.parquet#1"
    assert listing.table["image"].null_count == 6  # nothing is copied
    assert "1 rows without a label (null or -1) left out" in listing.notes
    assert "classes without an example: bird" in listing.notes
    assert listed(tmp_path, split={"given": False}).table["split"].null_count == 6


def test_folders_as_save_to_disk_makes_them(tmp_path: Path) -> None:
    make(tmp_path / "train/data-00000-of-00001.arrow", ["b", "a"], feature=None)
    make(tmp_path / "test/data-00000-of-00001.arrow", ["a"], feature=None)
    listing = listed(tmp_path)
    assert listing.classes == ("a", "b")
    assert listing.table["split"].to_pylist() == ["test", "train", "train"]


@pytest.mark.parametrize(
    ("values", "feature", "expected"),
    [
        ([[0, 2], [], [1]], {"feature": CLASSES, "_type": "List"}, [["cat", "bird"], [], ["dog"]]),
        ([[2, 0], [], [1]], [CLASSES], [["cat", "bird"], [], ["dog"]]),
        ([["x"], ["y", "x"], None], None, [["x"], ["x", "y"]]),
    ],
)
def test_lists_of_labels_are_multi_label(tmp_path: Path, values: list[Any], feature: Any, expected: list[Any]) -> None:
    make(tmp_path / "all.parquet", values, feature=feature)
    listing = listed(tmp_path)
    assert listing.multilabel
    assert labels(listing) == expected
    assert listing.table["split"].null_count == len(expected)


def test_columns_of_other_names_and_types(tmp_path: Path) -> None:
    images = [png(0), png(1)]
    make(tmp_path / "train.parquet", [5, 3], feature=None, images=images, columns=("img", "kind"))
    with pytest.raises(DataError, match=r"no column label or labels among img, kind(?s:.*)data\.label_column"):
        listed(tmp_path)
    listing = listed(tmp_path, label_column="kind", image_column="img")
    assert listing.classes == ("3", "5")
    with pytest.raises(DataError, match="no column of images 'kind'"):
        listed(tmp_path, label_column="kind", image_column="kind")


def test_images_beside_the_file(tmp_path: Path) -> None:
    for row in range(2):
        (tmp_path / f"{row}.png").write_bytes(png(row))
    rows = [{"bytes": None, "path": "0.png"}, {"bytes": None, "path": "1.png"}, {"bytes": None, "path": None}]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(rows, kind), "label": [0, 1, 1]}), tmp_path / "train.parquet")
    listing = listed(tmp_path)
    assert listing.table["path"].to_pylist() == [str(tmp_path / "0.png"), str(tmp_path / "1.png")]
    assert [str(defect) for defect in listing.defects] == ["train.parquet#2: the row has no image"]


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize("cache", ["1GB", "0"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_with_and_without_cache(
    tmp_path: Path, suffix: str, cache: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "KEEP_BYTES", 3000)  # not all row groups at once
    make(tmp_path / f"set/train-0.{suffix}", [row % 2 for row in range(30)])
    data = config(tmp_path / "set", cache_limit_bytes=cache)
    prepare_images(data, tmp_path, [8], [channels])
    index = ImageIndex.load(tmp_path / "index.arrow")
    pixels = open_pixels(index, data, 8, channels)
    rows = np.random.default_rng(0).permutation(len(index.table))
    for name, picture in zip(index.table["example"].take(rows).to_pylist(), pixels.gather(rows), strict=True):
        expected = decode(png(int(name.rpartition("#")[2])), resolution=8, channels=channels)
        np.testing.assert_array_equal(picture, expected)
    pixels.close()


def test_rows_that_cannot_be_decoded_are_named(tmp_path: Path) -> None:
    images: list[Any] = [{"bytes": png(row), "path": None} for row in range(20)]
    images[3]["bytes"] = b"no picture"
    images[5]["bytes"] = None
    make(tmp_path / "set/train.parquet", [row % 2 for row in range(20)], images=images)
    preparation = prepare_images(config(tmp_path / "set"), tmp_path, [8])
    assert preparation.details["defects"] == {
        "train.parquet#3": "not an image of a known format",
        "train.parquet#5": f"{tmp_path}/set/train.parquet has no image in row 5: it is empty",
    }


def test_file_that_changed_is_noticed(tmp_path: Path) -> None:
    path = make(tmp_path / "set/train.parquet", [row % 2 for row in range(20)])
    data = config(tmp_path / "set")
    prepare_images(data, tmp_path, [])
    index = ImageIndex.load(tmp_path / "index.arrow")
    make(path, [row % 2 for row in range(20)], seed=50)
    with pytest.raises(DataError, match="not those that the sweep was prepared with"):
        open_pixels(index, data, 8)


def test_members_that_are_not_there(tmp_path: Path) -> None:
    path = make(tmp_path / "a.parquet", [0, 1])
    for row in (2, -1):
        with pytest.raises(OSError, match=f"no image in row {row}"):
            containers.read_member(path, Member("image", row))
    (tmp_path / "text").write_text("something else")
    with pytest.raises(OSError, match="no Parquet, Arrow, CIFAR or array file"):
        containers.read_member(tmp_path / "text", Member("image", 0))


@pytest.mark.parametrize(
    ("values", "feature", "says"),
    [
        ([0.5, 1.5], None, "of type double: labels are whole numbers, text"),
        ([0, 7], CLASSES, "a label 7, but the metadata name the classes 0 to 2"),
    ],
)
def test_labels_that_are_none(tmp_path: Path, values: list[Any], feature: Any, says: str) -> None:
    make(tmp_path / "train.parquet", values, feature=feature)
    with pytest.raises(DataError, match=says):
        listed(tmp_path)


def test_damaged_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        listed(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has none(?s:.*)train-00000"):
        listed(tmp_path / "empty")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train-1.parquet").write_bytes(b"PAR1 cut off")
    with pytest.raises(DataError, match=r"no file in .* can be used(?s:.*)train-1\.parquet"):
        listed(tmp_path / "set")
    make(tmp_path / "set/train-0.parquet", [0, 1])
    listing = listed(tmp_path / "set")
    assert len(listing.table) == 2
    assert [defect.name for defect in listing.defects] == ["train-1.parquet"]


def test_the_word_for_a_split_may_be_anywhere_in_a_name(tmp_path: Path) -> None:
    for name in ("cats_train", "dataset-dev", "0000_eval", "testing/part-0", "strain"):
        make(tmp_path / f"{name}.parquet", [0, 1])
    listing = listed(tmp_path)
    files = [row.partition("#")[0] for row in listing.table["example"].to_pylist()]
    by_file = dict(zip(files, listing.table["split"].to_pylist(), strict=True))
    assert by_file == {
        "cats_train.parquet": "train",
        "dataset-dev.parquet": "val",
        "0000_eval.parquet": "test",
        "testing/part-0.parquet": "test",
        "strain.parquet": None,
    }


def test_configurations_are_not_pooled(tmp_path: Path) -> None:
    for name in ("plain", "augmented"):
        make(tmp_path / name / "train-00000-of-00001.parquet", [0, 1])
        make(tmp_path / name / "test-00000-of-00001.parquet", [0, 1])
    with pytest.raises(DataError, match=r"2 configurations(?s:.*)data\.root: .*/augmented(?s:.*)data\.root: .*/plain"):
        listed(tmp_path)
    assert len(listed(tmp_path / "plain").table) == 4
    readme = "---\nconfigs:\n- config_name: a\n  data_files: a-*.parquet\n- config_name: b\n  data_files:\n"
    readme += "  - split: train\n    path: b-*.parquet\n---\n"
    for name in ("a", "b"):
        make(tmp_path / f"one/{name}-train.parquet", [0, 1])
    assert len(listed(tmp_path / "one").table) == 4
    (tmp_path / "one/README.md").write_text(readme)
    with pytest.raises(DataError, match=r"a \(1 files, such as a-train\.parquet\): put its files apart"):
        listed(tmp_path / "one")


@pytest.mark.parametrize("names", ["['x', 'y', 'z']", "{'0': x, '1': y, '2': z}"])
def test_names_of_classes_from_the_readme(tmp_path: Path, names: str) -> None:
    make(tmp_path / "data/train.parquet", [0, 1, 2], feature=None)
    assert listed(tmp_path).classes == ("0", "1", "2")
    info = f"dataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names: {names}\n"
    (tmp_path / "README.md").write_text(f"---\n{info}---\n# Cats\n")
    listing = listed(tmp_path)
    assert listing.classes == ("x", "y", "z")
    assert "names of classes are from README.md (dataset_info)" in listing.notes


def test_splits_that_number_their_classes_differently_are_read_by_name(tmp_path: Path) -> None:
    make(tmp_path / "train.parquet", [0, 1])
    make(tmp_path / "test.parquet", [0, 1], feature={"names": ["dog", "cat"], "_type": "ClassLabel"})
    assert labels(listed(tmp_path)) == [["dog"], ["cat"], ["cat"], ["dog"]]


def test_whole_numbers_as_floats_are_labels_and_others_are_not(tmp_path: Path) -> None:
    make(tmp_path / "train.parquet", [0.0, 1.0, 1.0], feature=None)
    assert listed(tmp_path).classes == ("0", "1")
    make(tmp_path / "train.parquet", [0.5, 1.0, 1.0], feature=None)
    with pytest.raises(DataError, match=r"of type double(?s:.*)data\.label_column"):
        listed(tmp_path)


@pytest.mark.parametrize("struct", [True, False])
def test_arrow_view_types_as_polars_writes_them(tmp_path: Path, struct: bool) -> None:
    pixels = pa.array([png(1), png(2)], pa.binary_view())
    names = pa.array(["a.png", "b.png"], pa.string_view())
    images = pa.StructArray.from_arrays([pixels, names], ["bytes", "path"]) if struct else pixels
    table = pa.table({"image": images, "label": pa.array(["cat", "dog"], pa.string_view())})
    with pa.OSFile(str(tmp_path / "train.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    listing = listed(tmp_path)
    assert labels(listing) == [["cat"], ["dog"]]
    member = listing.table["member"][1].as_py()
    assert containers.read_member(tmp_path / "train.arrow", Member(**member)) == png(2)


def test_files_that_hold_only_paths(tmp_path: Path) -> None:
    images = [{"bytes": None, "path": f"source/images/{row}.png"} for row in range(3)]
    make(tmp_path / "set/train.parquet", [0, 1, 2], images=images)
    with pytest.raises(DataError, match=r"no pixels(?s:.*)source/images/0\.png: there is no such(?s:.*)to_parquet"):
        listed(tmp_path / "set")
    for row in range(2):
        path = tmp_path / f"set/pictures/images/{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(row))
    make(tmp_path / "set/train.parquet", [0, 1, 2], images=[{**each, "path": each["path"][7:]} for each in images])
    listing = listed(tmp_path / "set")
    assert [Path(path).name for path in listing.table["path"].to_pylist()] == ["0.png", "1.png"]
    assert [str(each) for each in listing.defects] == ["train.parquet#2: images/2.png: there is no such image"]
    assert DataConfig(root=tmp_path / "set").dataset == "parquet_images"


def test_what_save_to_disk_keeps_beside_its_data_is_left_out(tmp_path: Path) -> None:
    make(tmp_path / "train/data-00000-of-00001.arrow", [0, 1])
    make(tmp_path / "train/cache-0123.arrow", [0, 1])
    (tmp_path / "train/state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    listing = listed(tmp_path)
    assert len(listing.table) == 2
    assert "1 files that state.json does not name left out (such as train/cache-0123.arrow)" in listing.notes


def test_a_second_column_of_labels_is_said(tmp_path: Path) -> None:
    table = pa.table({"img": [{"bytes": png(1), "path": ""}], "fine_label": [0], "coarse_label": [1]})
    features = {"img": {"_type": "Image"}, "fine_label": CLASSES, "coarse_label": CLASSES}
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(meta), tmp_path / "train.parquet")
    listing = listed(tmp_path)
    assert "labels are in column 'fine_label'; 'coarse_label' has some, too (data.label_column)" in listing.notes


@pytest.mark.parametrize("in_readme", [False, True])
def test_objects_give_an_image_their_classes(tmp_path: Path, in_readme: bool) -> None:
    objects = [{"bbox": [[0.0, 0.0, 4.0, 4.0], [1.0, 1.0, 2.0, 2.0]], "category": [0, 2]}, {"bbox": [], "category": []}]
    table = pa.table({"image": [{"bytes": png(row), "path": ""} for row in range(2)], "objects": objects})
    feature = {"bbox": {"feature": {"dtype": "float32"}, "_type": "List"}, "category": {"feature": CLASSES}}
    if in_readme:
        info = "- name: objects\n    sequence:\n    - name: category\n      dtype:\n        class_label:\n"
        info += "          names: [cat, dog, bird]\n"
        (tmp_path / "README.md").write_text(f"---\ndataset_info:\n  features:\n  {info}---\n")
    else:
        features = {"image": {"_type": "Image"}, "objects": feature}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "train.parquet")
    listing = listed(tmp_path)
    assert listing.multilabel
    assert labels(listing) == [["cat", "bird"], []]
    assert any("objects.category" in note and "boxes are not read" in note for note in listing.notes)


def test_an_arrow_file_of_datumaro_is_refused_by_its_name(tmp_path: Path) -> None:
    table = pa.table({name: pa.array([b"x"]) for name in ("id", "subset", "media", "annotations", "attributes")})
    with pa.OSFile(str(tmp_path / "datum-0.arrow"), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match=r"Datumaro's Arrow(?s:.*)export it as"):
        DataConfig(root=tmp_path)
    with pytest.raises(DataError, match=r"Datumaro's Arrow(?s:.*)export it as"):
        listed(tmp_path)
