from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from trainables.image.data_config import DataConfig
from trainables.image.settings.split import Split


def problem(**values: object) -> str:
    with pytest.raises(ValidationError) as caught:
        DataConfig.model_validate(values)
    return str(caught.value)


def test_defaults_are_the_embedded_digits() -> None:
    data = DataConfig()
    assert data.dataset == "digits"
    assert data.split.fractions == {"train": 0.64, "val": 0.16, "test": 0.20}


def test_survives_the_way_to_another_process() -> None:
    data = DataConfig.model_validate(
        {
            "dataset": "voc",
            "root": "some/folder",
            "view": "crops",
            "balance": {"person": "mean", 3: 7},
            "split": {"train": 0.8, "val": 0.2},
            "cache_limit_bytes": "1.5GB",
            "classes": [3, "person"],
            "year": 2007,
        }
    )
    assert DataConfig.model_validate(data.model_dump(mode="json")) == data
    assert data.root == Path.cwd() / "some/folder"
    assert data.cache_limit_bytes == 1_500_000_000
    assert data.balance.caps == {"person": "mean", "3": 7}
    assert data.classes == ("3", "person")
    assert data.split.test == 0


def test_third_fraction_is_the_rest() -> None:
    assert Split.model_validate({"val": 0.1, "test": 0.1}).train == pytest.approx(0.8)
    assert Split.model_validate({"train": 0.7, "test": 0.1}).val == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("split", "says"),
    [
        ({"train": 0.5, "val": 0.2, "test": 0.2}, "add up to 0.9: they must add up to 1"),
        ({"train": 0.9, "val": 0.2}, "add up to 1.1"),
        ({"train": 0.9}, "only train is given"),
        ({"train": 1.0, "val": 0.0, "test": 0.0}, "greater than 0"),
        ({"train": 0.5, "val": 0.3, "tset": 0.2}, "Extra inputs"),
    ],
)
def test_impossible_splits(split: dict[str, float], says: str) -> None:
    assert says in problem(split=split)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"dataset": "image_foldr", "root": "x"}, "did you mean image_folder?"),
        ({"dataset": "no.such.module:Thing"}, "cannot be imported: ModuleNotFoundError"),
        ({"dataset": "pathlib:Path"}, "not a subclass"),
        ({"dataset": "voc"}, "root must be their folder"),
        ({"dataset": "voc", "root": "$NO_SUCH_VARIABLE_HERE/voc"}, "$NO_SUCH_VARIABLE_HERE is not set"),
        ({"dataset": "voc", "root": "x", "year": 1999}, "2007 to 2012"),
        ({"dataset": "voc", "root": "x", "view": "crop"}, "'images', 'crops' or 'foreground'"),
        ({"dataset": "voc", "root": "x", "margin": 0.1}, "the view is images"),
        ({"dataset": "image_folder", "root": "x", "view": "crops"}, "has no view 'crops'"),
        ({"dataset": "digits", "root": "x"}, "does not use root"),
        ({"balance": "most"}, "a cap is mean, median or min"),
        ({"balance": {"cat": 0}}, "cat: 0 is not a cap"),
        ({"balance": {"strategy": "weights"}}, "'cap', 'class_weights' or 'sampler'"),
        ({"balance": {"strategy": "sampler", "pwer": 0.5}}, "Extra inputs"),
        ({"balance": {"strategy": "sampler", "power": 0}}, "greater than 0"),
        ({"dataset": "voc", "root": "x", "view": "crops", "background": "black"}, "for the view foreground"),
        ({"dataset": "image_folder", "root": "x", "mask": "class"}, "does not use mask"),
        ({"dataset": "multilabel_table", "root": "x"}, "table must name their file"),
        ({"dataset": "voc", "root": "x", "table": "labels.csv"}, "does not use table"),
        ({"dataset": "multilabel_table", "root": "x", "table": {"path": "a", "names": "im.jpg"}}, "one {}"),
        ({"dataset": "multilabel_table", "root": "x", "table": {"path": "a", "names": "{0.x}"}}, "one {}"),
        ({"dataset": "multilabel_table", "root": "x", "table": {"paht": "a"}}, "path\n  Field required"),
        ({"classes": ["a", "b", "a"]}, "listed twice: a"),
        ({"cache_limit_bytes": "much"}, "20GB"),
        ({"cache_limit_bytes": -1}, "20GB"),
        ({"on_unreadable": "ignore"}, "'skip' or 'fail'"),
        ({"rooot": "x"}, "Extra inputs"),
    ],
)
def test_impossible_values_are_told(values: dict[str, object], says: str) -> None:
    assert says in problem(**values)


@pytest.mark.parametrize(
    ("written", "strategy", "caps"),
    [
        (None, "cap", {}),
        ("mean", "cap", "mean"),
        (12, "cap", 12),
        ({"person": "mean", 3: 7}, "cap", {"person": "mean", "3": 7}),
        ("class_weights", "class_weights", {}),
        ("sampler", "sampler", {}),
        ({"strategy": "sampler", "caps": {"person": 500}}, "sampler", {"person": 500}),
        ({"caps": "median"}, "cap", "median"),
        ({"caps": {"strategy": 5}}, "cap", {"strategy": 5}),
    ],
)
def test_balance_in_all_its_forms(written: object, strategy: str, caps: object) -> None:
    data = DataConfig.model_validate({"balance": written})
    assert (data.balance.strategy, data.balance.caps) == (strategy, caps)
    assert DataConfig.model_validate(data.model_dump(mode="json")) == data


def test_table_may_be_a_path_alone() -> None:
    data = DataConfig.model_validate({"dataset": "multilabel_table", "root": "x", "table": "labels.csv"})
    assert data.table is not None
    assert (data.table.path, data.table.unlabelled) == ("labels.csv", "keep")
    assert DataConfig.model_validate(data.model_dump(mode="json")) == data


def test_paths_know_home_and_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PICTURES", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for root in ("$PICTURES/a", "${PICTURES}/b/../a", "~/a"):
        assert DataConfig(dataset="image_folder", root=root).root == tmp_path / "a"  # type: ignore[arg-type]


def test_cache_folder_is_chosen_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWEEP_CACHE", str(tmp_path / "by-variable"))
    assert DataConfig().cache_folder == tmp_path / "by-variable"
    assert DataConfig(cache_dir=tmp_path / "given").cache_folder == tmp_path / "given"
    monkeypatch.delenv("SWEEP_CACHE")
    assert DataConfig().cache_folder.name == "sweep-runner"


def test_own_dataset_is_found_in_the_current_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own_pictures.py").write_text(
        "from trainables.image.datasets.base import Dataset, Example, Listing, table_of\n"
        "class Own(Dataset):\n"
        "    needs_root = False\n"
        "    def examples(self, progress=None):\n"
        "        return Listing(table_of([Example('a', [0], image=b'x')]), (self.data.options['name'],))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    data = DataConfig(dataset="own_pictures:Own", options={"name": "cat"})
    from trainables.image.datasets import dataset_class

    assert dataset_class(data.dataset)(data).examples().classes == ("cat",)
    monkeypatch.delitem(sys.modules, "own_pictures")


def test_schema_for_editors_takes_sizes_as_text() -> None:
    schema = DataConfig.model_json_schema()
    kinds = schema["properties"]["cache_limit_bytes"]["anyOf"]
    assert {kind["type"] for kind in kinds} == {"integer", "string"}


@pytest.mark.parametrize("dataset", ["digits", "image_folder", "voc", "cifar10", "multilabel_table", "parquet_images"])
def test_options_are_for_own_datasets_only(dataset: str, tmp_path: Path) -> None:
    values: dict[str, object] = {"dataset": dataset, "options": {"size": 3}}
    if dataset != "digits":
        values["root"] = tmp_path
    if dataset == "multilabel_table":
        values["table"] = "labels.csv"
    with pytest.raises(ValueError, match=f"dataset {dataset} does not use options"):
        DataConfig.model_validate(values)
