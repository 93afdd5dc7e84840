"""The format `openvino`: its answers are the float file's; without OpenVINO one is told what to install."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from sweep_runner.errors import RequestError
from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_values
from tests.image.test_formats import SIDE, Case
from trainables.errors import DataError
from trainables.formats import further_formats
from trainables.image.deployment.predict import predict_paths
from trainables.image.package import ONNX_FILE, load_package

FILE = "model.openvino.xml"

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs OpenVINO: pip install -e '.[openvino]'"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Case:
    case = Case(tmp_path_factory.mktemp("openvino") / "case")
    (line,) = case.add("openvino", test=True)
    assert line.startswith(f"openvino: {FILE}, ")
    return case


@needs_openvino
def test_its_answers_are_the_float_files(made: Case) -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, SIDE, SIDE, 3), dtype=np.uint8)
    float_file, file = (load_package(made.package / name) for name in (ONNX_FILE, FILE))
    assert file.facts == float_file.facts
    assert file.probabilities(images) == pytest.approx(float_file.probabilities(images), abs=1e-5)
    entry = made.card["formats"]["openvino"]
    assert entry["bytes"] == sum((made.package / name).stat().st_size for name in (FILE, "model.openvino.bin"))
    assert {split: judged["drop_points"] for split, judged in entry["judged"].items()} == {"val": 0, "test": 0}
    assert set(made.card["files"]) == {ONNX_FILE, FILE, "model.openvino.bin"}
    assert "INFERENCE_PRECISION_HINT" in (made.package / "README.md").read_text()


@needs_openvino
def test_several_threads_get_the_answers_of_their_own_images(made: Case, tmp_path: Path) -> None:
    colors = [tuple(int(channel) for channel in np.eye(3)[number % 3] * 250) for number in range(60)]
    for number, color in enumerate(colors):
        Image.new("RGB", (20, 30), color).save(tmp_path / f"{number:02}.png")
    batches = predict_paths(load_package(made.package / FILE), sorted(tmp_path.glob("*.png")), 2, 4)
    predicted = [name for batch in batches for name in batch["predicted"].to_pylist()]
    assert predicted == ["red", "green", "blue"] * 20


@needs_openvino
def test_images_of_another_size_are_refused(made: Case) -> None:
    with pytest.raises(DataError, match=r"images of \(20, 20, 3\), and the OpenVINO model takes"):
        load_package(made.package / FILE).probabilities(np.zeros((1, 20, 20, 3), np.uint8))


@needs_openvino
def test_a_file_without_its_weights_or_a_damaged_one_is_no_model(made: Case, tmp_path: Path) -> None:
    alone = tmp_path / FILE
    alone.write_bytes((made.package / FILE).read_bytes())
    with pytest.raises(DataError, match=r"model\.openvino\.bin: no such file"):
        load_package(alone)
    alone.with_suffix(".bin").write_bytes(b"")
    alone.write_text("<net>")
    with pytest.raises(DataError, match="not a usable OpenVINO model"):
        load_package(alone)


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "openvino" else found(name, *rest)
    )
    monkeypatch.setitem(sys.modules, "openvino", None)


@pytest.mark.usefixtures("without_openvino")
def test_without_openvino_the_check_tells_what_to_install(tmp_path: Path) -> None:
    text = (
        "name: s\ndata: {dataset: digits}\ntrainable: image_classifier\nspace: {lr: [0.1, 0.2]}\n"
        "objective: {metric: val_accuracy, mode: max}\nexport: {formats: [onnx, openvino]}\n"
    )
    with pytest.raises(RequestError) as refusal:
        check_spec(load_values(yaml.safe_load(text)))
    (problem,) = refusal.value.problems
    assert "export.formats asks for openvino, whose package is not installed" in problem.message
    assert "[openvino]" in str(problem.hint)
    assert further_formats(["auto"]) == ("onnx-int8", "onnx-fp16")


@pytest.mark.usefixtures("without_openvino")
def test_without_openvino_the_format_is_left_out_and_its_files_are_not_opened(tmp_path: Path) -> None:
    case = Case(tmp_path / "case")
    (line,) = case.add("openvino")
    assert line.startswith("openvino is left out: OpenVINO is not installed: pip install")
    assert not list(case.package.glob("*openvino*"))
    (case.package / FILE).write_text("<net/>")
    with pytest.raises(DataError, match="needs OpenVINO, which is not installed: pip install"):
        load_package(case.package / FILE)
