"""Further formats of a package: what is made, what holds it against the float model, and what is left out and why."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.conftest import write_color_model
from trainables.formats import FORMATS, FormatName, FormatsWanted
from trainables.image.data_config import DataConfig
from trainables.image.deployment.formats import int8
from trainables.image.deployment.formats.publish import add_formats
from trainables.image.deployment.formats.recipe import CannotConvert, FloatModel, Recipe
from trainables.image.index import SCHEMA, ImageIndex
from trainables.image.package import CARD_FILE, INPUT, ONNX_FILE, OUTPUT, PackageFacts, load_package
from trainables.paired import paired_drop

CLASSES = ("red", "green", "blue")
SIDE = 8
OF_ONNX = [name for name, each in FORMATS.items() if each.needs is None]
"""Those that every installation makes; OpenVINO's has a file of tests of its own."""


class Case:
    """Pictures of three colours, and the package of a small network that tells them apart."""

    def __init__(self, folder: Path, num: int = 120, multilabel: bool = False, val: bool = True) -> None:
        self.folder = folder
        random = np.random.default_rng(0)
        rows: list[dict[str, Any]] = []
        (folder / "images").mkdir(parents=True)
        for number in range(num):
            label = number % 3
            labels = [label, (label + 1) % 3] if multilabel and number % 2 else [label]
            pixels = random.integers(0, 90, (SIDE, SIDE, 3), dtype=np.uint8)
            pixels[..., labels] += 120
            path = folder / "images" / f"{number:03}.png"
            Image.fromarray(pixels).save(path)
            split = ("train", "val" if val else "train", "train", "test")[number // 3 % 4]
            rows.append({"example": path.name, "path": str(path), "labels": labels, "group": path.name, "split": split})
        self.index = ImageIndex(pa.Table.from_pylist(rows, schema=SCHEMA), CLASSES, multilabel, "fingerprint-1")
        self.data = DataConfig(dataset="image_folder", root=folder / "images", cache_dir=folder / "cache")
        self.package = folder / "package"
        write_network(self.package, multilabel)

    def add(self, *names: FormatName, **options: Any) -> list[str]:
        return add_formats(self.package, self.index, self.data, FormatsWanted(names, **options))

    @property
    def card(self) -> dict[str, Any]:
        card: dict[str, Any] = json.loads((self.package / CARD_FILE).read_text())
        return card


def write_network(folder: Path, multilabel: bool) -> None:
    """Two convolutions, the mean, a classifier: how bright each channel is."""
    random = np.random.default_rng(0)
    first = random.normal(0, 0.02, (16, 3, 3, 3)).astype(np.float32)
    for channel in range(3):
        first[channel, channel] += 0.11
    second = random.normal(0, 0.02, (3, 16, 1, 1)).astype(np.float32)
    second[range(3), range(3)] += 1
    nodes = [
        helper.make_node("Transpose", [INPUT], ["chw"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["chw"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "white"], ["scaled"]),
        helper.make_node("Conv", ["scaled", "first"], ["seen"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["seen"], ["positive"]),
        helper.make_node("Conv", ["positive", "second"], ["channels"]),
        helper.make_node("GlobalAveragePool", ["channels"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head", "bias"], ["logits"]),
        helper.make_node("Sigmoid" if multilabel else "Softmax", ["logits"], [OUTPUT]),
    ]
    weights = {
        "white": np.float32(255),
        "first": first,
        "second": second,
        "head": 20 * np.eye(3, dtype=np.float32),
        "bias": np.full(3, -8, dtype=np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    facts = PackageFacts(CLASSES, multilabel, SIDE, 3, origin={"sweep": "colors", "trial": 7})
    for key, value in facts.to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model)
    folder.mkdir()
    onnx.save(model, folder / ONNX_FILE)
    card = {
        "classes": CLASSES, "multilabel": multilabel, "config": {}, "num_parameters": 1, "input_resolution": SIDE,
        "channels": 3, "created": "today", "metrics": {}, "origin": {"trial": 7}, "files": {"model.onnx": 1},
        "data": {"fingerprint": "f", "num_examples": {"train": 1, "val": 1, "test": 1}},
    }  # fmt: skip
    (folder / CARD_FILE).write_text(json.dumps(card))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Case:
    case = Case(tmp_path_factory.mktemp("formats") / "case")
    assert len(case.add(*FORMATS, test=True)) == len(FORMATS)
    return case


@pytest.mark.parametrize("name", OF_ONNX)
def test_a_format_is_a_file_of_the_package_that_answers_as_the_float_model_does(made: Case, name: FormatName) -> None:
    model, float_model = load_package(made.package / FORMATS[name].file), load_package(made.package)
    assert model.facts == float_model.facts
    images = np.stack([np.asarray(Image.open(path)) for path in made.index.table["path"].to_pylist()])
    found, expected = model.probabilities(images), float_model.probabilities(images)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert 0 < np.abs(found - expected).max() < 0.1
    entry = made.card["formats"][name]
    assert (
        entry["bytes"] == made.card["files"][FORMATS[name].file] == (made.package / FORMATS[name].file).stat().st_size
    )
    assert {split: each["num_examples"] for split, each in entry["judged"].items()} == {"val": 30, "test": 30}
    assert entry["judged"]["test"]["num_agreeing"] == 30
    assert FORMATS[name].file in (made.package / "README.md").read_text()


def test_int8_computes_in_8_bits_but_for_pixels_and_classifier(made: Case) -> None:
    graph = onnx.load(made.package / FORMATS["onnx-int8"].file).graph
    quantized = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    inputs = {node.op_type: set(node.input) for node in graph.node}
    assert inputs["Conv"] <= quantized | {""}
    assert not inputs["Gemm"] & quantized
    assert not inputs["Div"] & quantized
    weight = next(each for each in graph.initializer if each.name.startswith("first") and each.name.endswith("scale"))
    assert weight.dims == [16]  # one for each output channel
    assert len(made.card["formats"]["onnx-int8"]["tried"]) == 3


def test_nobody_hears_of_the_quantizer(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Case(tmp_path / "case").add("onnx-int8")
    logging.getLogger("other").warning("a warning of somebody else")
    heard = capfd.readouterr()
    assert (heard.out, "onnxruntime" in heard.err) == ("", False)
    assert not any(type(handler) is logging.StreamHandler for handler in logging.getLogger().handlers)


def test_calibration_sees_train_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, seen = Case(tmp_path / "case"), []

    def recipes(model: FloatModel) -> Iterator[Sequence[Recipe]]:
        seen.append(model.calibration)
        return iter(())

    monkeypatch.setattr(int8, "recipes", recipes)
    with pytest.raises(AssertionError, match="a format has recipes"):
        case.add("onnx-int8")
    names = [case.index.table["path"][row].as_py() for row in case.index.rows("train")]
    assert np.array_equal(seen[0], np.stack([np.asarray(Image.open(name)) for name in names]))


def test_of_a_sweep_without_val_a_part_of_train_is_kept_from_calibration(tmp_path: Path) -> None:
    case = Case(tmp_path / "case", val=False)
    (line,) = case.add("onnx-int8")
    assert "train is what the model learnt from, so a loss elsewhere may be larger" in line
    entry = case.card["formats"]["onnx-int8"]
    assert (entry["num_calibrated"], entry["judged"]["train"]["num_examples"]) == (67, 23)


def test_labels_are_judged_by_the_f1_score_of_each_example(tmp_path: Path) -> None:
    case = Case(tmp_path / "case", multilabel=True)
    case.add("onnx-int8")
    judged = case.card["formats"]["onnx-int8"]["judged"]["val"]
    assert judged["num_agreeing"] == judged["num_examples"] == 30
    assert judged["drop_points"] == 0
    assert "F1 of an example" in (case.package / "README.md").read_text()


# What is refused, or left out ---------------------------------------------------------------------------


def test_ten_pictures_are_too_few_to_calibrate_on(tmp_path: Path) -> None:
    case = Case(tmp_path / "case", num=20)
    before = (case.package / ONNX_FILE).read_bytes()
    (line,) = case.add("onnx-int8")
    assert "onnx-int8 is left out: train has 11 images to calibrate on. With fewer than 32" in line
    assert case.card["formats_left_out"]["onnx-int8"] in line
    assert (case.package / ONNX_FILE).read_bytes() == before
    assert not (case.package / FORMATS["onnx-int8"].file).exists()


def test_what_loses_more_than_it_may_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tmp_path / "case")

    def recipes(model: FloatModel) -> Iterator[Sequence[Recipe]]:
        yield [Recipe("turns colours round", lambda path: _turned_round(model.path, path))]
        yield [Recipe("turns colours round again", lambda path: _turned_round(model.path, path))]

    monkeypatch.setattr(int8, "recipes", recipes)
    (line,) = case.add("onnx-int8")
    assert "of 2 recipes the best loses 100.00 points (30 of 30 lost, 0 gained; 95 %:" in line
    assert "at most 0.5 points may be lost (export.max_drop)" in line
    assert "is left out: of 2 recipes" in (case.package / "README.md").read_text()
    assert case.add("onnx-int8", max_drop=100)[0].startswith("onnx-int8: model.int8.onnx")
    assert case.card["formats_left_out"] == {}


def _turned_round(source: Path, target: Path) -> None:
    model = onnx.load(source)
    head = next(each for each in model.graph.initializer if each.name == "head")
    head.CopyFrom(numpy_helper.from_array(np.roll(numpy_helper.to_array(head), 1, axis=1), "head"))
    onnx.save(model, target)


def test_the_next_recipes_are_tried_where_the_first_lose_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case(tmp_path / "case")

    def recipes(model: FloatModel) -> Iterator[Sequence[Recipe]]:
        yield [Recipe("bad", lambda path: _turned_round(model.path, path))]
        yield [Recipe("good", lambda path: onnx.save(onnx.load(model.path), path))]

    monkeypatch.setattr(int8, "recipes", recipes)
    case.add("onnx-int8")
    entry = case.card["formats"]["onnx-int8"]
    assert entry["recipe"] == "good"
    assert list(entry["tried"]) == ["bad", "good"]


def test_a_recipe_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tmp_path / "case")

    def fails(path: Path) -> None:
        raise CannotConvert("it has no range")

    def recipes(model: FloatModel) -> Iterator[Sequence[Recipe]]:
        yield [Recipe("bad", fails), Recipe("good", lambda path: onnx.save(onnx.load(model.path), path))]

    monkeypatch.setattr(int8, "recipes", recipes)
    case.add("onnx-int8")
    entry = case.card["formats"]["onnx-int8"]
    assert (entry["recipe"], entry["tried"]["bad"]) == ("good", "it has no range")


def test_a_model_without_weights_to_quantize_is_left_out(tmp_path: Path) -> None:
    case = Case(tmp_path / "case")
    write_color_model(case.package, resolution=SIDE)
    (line,) = case.add("onnx-int8")
    assert "onnx-int8 is left out: nothing of the network before its classifier can be computed in 8 bits" in line


def test_a_model_that_the_quantizer_does_not_take_is_left_out(tmp_path: Path) -> None:
    case = Case(tmp_path / "case")
    model = onnx.load(case.package / ONNX_FILE)
    model.opset_import.append(helper.make_opsetid("", 20))  # ONNX Runtime runs it all the same
    onnx.save(model, case.package / ONNX_FILE)
    (line,) = case.add("onnx-int8")
    assert "onnx-int8 is left out: ONNX Runtime's quantizer does not take the model: " in line


def test_only_what_is_faster_is_kept_where_that_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tmp_path / "case")
    slow = {"onnx_latency_ms": 2.0}
    monkeypatch.setattr("trainables.image.deployment.formats.publish.latency_facts", lambda *_: dict(slow))
    (line,) = case.add("onnx-fp16", only_faster=("onnx-fp16",))
    assert "onnx-fp16 is left out: it is not faster on this machine: 2 ms, the float model 2 ms" in line
    (line,) = case.add("onnx-fp16", latency=("onnx_latency_ms",))
    assert "2 ms per image on one thread, float 2 ms" in line


def test_a_full_disk_leaves_the_package_whole(tmp_path: Path) -> None:
    """Files may not grow beyond what the float model has: as on a full disk, writing fails in the middle."""
    case = Case(tmp_path / "case")
    before = (case.package / ONNX_FILE).read_bytes()
    case.index.save(tmp_path / "index")
    code = f"""
import resource, sys
from pathlib import Path
from trainables.formats import FormatsWanted
from trainables.image.data_config import DataConfig
from trainables.image.deployment.formats.publish import add_formats
from trainables.image.index import ImageIndex
index = ImageIndex.load(Path({str(tmp_path / "index")!r}))
data = DataConfig(dataset="image_folder", root={str(case.folder / "images")!r}, cache_limit_bytes=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
print("\\n".join(add_formats(Path({str(case.package)!r}), index, data, FormatsWanted(("onnx-int8",)))), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "onnx-int8 is left out: writing it failed (File too large); the rest of the package is whole" in done.stderr
    assert (case.package / ONNX_FILE).read_bytes() == before
    assert sorted(path.name for path in case.package.iterdir()) == ["README.md", CARD_FILE, ONNX_FILE]
    assert sorted(path.name for path in case.folder.iterdir()) == ["images", "package"]


def test_a_package_without_onnx_has_no_further_formats(tmp_path: Path) -> None:
    case = Case(tmp_path / "case")
    (case.package / ONNX_FILE).unlink()
    assert case.add("onnx-int8") == ["onnx-int8 is left out: the package has no model.onnx to make it of"]
    assert case.card["formats_left_out"]


def test_each_file_is_used_with_onnxruntime_numpy_and_pillow_alone(made: Case) -> None:
    """A process in which nothing else can be imported."""
    photo = made.index.table["path"][4].as_py()
    for name in OF_ONNX:
        code = f"""
import sys
allowed = {{"onnxruntime", "numpy", "PIL", "json", "google", "flatbuffers", "packaging"}}
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {{"torch", "timm", "onnx", "pyarrow", "trainables", "sweep_runner", "pandas"}}:
            raise ImportError("not here: " + name)
sys.meta_path.insert(0, Guard())
import json, numpy as np, onnxruntime as ort
from PIL import Image
model = ort.InferenceSession({str(made.package / FORMATS[name].file)!r})
classes = json.loads(model.get_modelmeta().custom_metadata_map["classes"])
found = model.run(None, {{"images": np.asarray(Image.open({photo!r}))[None]}})[0][0]
print(classes[found.argmax()])
"""
        done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "green\n"), done.stderr


# The paired drop ----------------------------------------------------------------------------------------


def test_a_drop_is_of_pairs() -> None:
    before = np.array([1.0] * 90 + [0.0] * 10)
    after = before.copy()
    after[:3], after[95] = 0, 1
    drop = paired_drop(before, after)
    assert (drop.num_lost, drop.num_gained) == (3, 1)
    assert drop.points == pytest.approx(2)
    assert drop.low < 0 < drop.points < drop.high
    assert str(drop).startswith("2.00 points (3 of 100 lost, 1 gained; 95 %: ")


def test_no_disagreement_on_few_examples_is_no_certainty() -> None:
    few, many = (paired_drop(np.ones(num), np.ones(num)) for num in (10, 1000))
    assert few.points == many.points == 0
    assert few.high > 10
    assert many.high < 0.5


def test_examples_of_one_photo_count_as_one() -> None:
    before, after = np.ones(100), np.ones(100)
    after[:10] = 0
    single = paired_drop(before, after)
    grouped = paired_drop(before, after, [number // 10 for number in range(100)])
    assert grouped.high - grouped.low > 2 * (single.high - single.low)
