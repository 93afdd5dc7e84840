"""The model package: what is in it, that it agrees with the trained model, and that nothing else is published."""

from __future__ import annotations

import ast
import contextlib
import gc
import getpass
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pyarrow as pa
import pytest
import torch
from onnx import numpy_helper
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from sweep_runner.cli.main import main
from trainables.errors import NotExportable, TrainableError
from trainables.facts import standard_facts
from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE
from trainables.image.data_config import DataConfig
from trainables.image.deployment import deploy, onnx_graph
from trainables.image.deployment.deploy import export_package
from trainables.image.deployment.model_card import README_FILE, model_card
from trainables.image.deployment.onnx_graph import DeployedClassifier, write_onnx
from trainables.image.deployment.package_facts import measure_package, note_facts
from trainables.image.deployment.predict import predict_paths
from trainables.image.index import SCHEMA, ImageIndex
from trainables.image.models.factory import build_model
from trainables.image.package import CARD_FILE, INPUT, ONNX_FILE, WEIGHTS_FILE, Package, PackageFacts, load_package
from trainables.image.pixels.decode import decode
from trainables.image.trainable import ImageClassifier
from trainables.image.training.checkpoint import load_trained
from trainables.image.training.evaluate import GivenImages, compute_logits, evaluate_checkpoint

CLASSES = ("ant", "bee", "cat", "dog", "emu", "fox")
INFO = {
    "sweep": "animals",
    "trial": 3,
    "name": None,
    "epoch": 5,
    "metrics": {"val_accuracy": 0.75},
    "final_metrics": {"test_accuracy": 0.5},
    "git_commit": "abc",
}


class Case:
    """A small dataset of image files, and a checkpoint of a model on it."""

    def __init__(
        self, folder: Path, multilabel: bool = False, splits: tuple[str, ...] = ("train", "val", "test")
    ) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.images.mkdir(parents=True)
        random = np.random.default_rng(0)
        rows: list[dict[str, Any]] = []
        for number in range(36):
            path = self.images / f"{number:02}.{('png', 'jpg')[number % 2]}"
            _random_image(random).save(path)
            labels = [number % 6, *([(number + 1) % 6] if multilabel and number % 3 else [])]
            row = {"example": path.name, "path": str(path), "labels": labels, "group": path.name}
            rows.append({**row, "split": splits[number % len(splits)]})
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        self.index = ImageIndex(table, CLASSES, multilabel, "fingerprint-1")
        self.index.save(folder / INDEX_FILE)
        self.data = DataConfig(dataset="image_folder", root=self.images, cache_dir=folder / "cache")
        self.checkpoint = folder / "checkpoint"
        self.package = folder / "package"
        self.verification: dict[str, Any] = {}

    def trained(self, **config: Any) -> ImageConfig:
        """Writes a checkpoint of a model with random weights whose predictions are not all the same."""
        config = ImageConfig(**{"pretrained": False, "finetune": "scratch", **config})
        torch.manual_seed(0)
        model = build_model(config, len(CLASSES)).eval()
        paths = [Path(path) for path in self.index.table["path"].to_pylist()]
        size, channels = config.input_resolution, config.num_channels
        pixels = np.stack([decode(path, resolution=size, channels=channels) for path in paths])
        head = model.get_classifier()  # type: ignore[operator]
        with torch.no_grad():
            logits = torch.from_numpy(compute_logits(model, GivenImages(pixels), np.arange(len(paths))))
            # Every class about as likely as the others, and most decisions clear.
            scale = 2 / logits.std(dim=0)
            head.weight.mul_(scale.unsqueeze(1))
            head.bias.copy_((head.bias - logits.mean(dim=0)) * scale)
        self.checkpoint.mkdir(exist_ok=True)
        save_file(
            {name: value.contiguous() for name, value in model.state_dict().items()}, self.checkpoint / WEIGHTS_FILE
        )
        return config

    def export(self, config: ImageConfig, info: dict[str, Any] = INFO) -> dict[str, Any]:
        self.package.mkdir()
        return dict(export_package(config, self.data, self.folder, self.checkpoint, self.package, info))


def _random_image(random: np.random.Generator) -> Image.Image:
    width, height = random.integers(20, 90, 2)
    coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return coarse.resize((int(width), int(height)), Image.Resampling.BICUBIC)


SMALL = {"model": "simple_cnn3", "input_resolution": 32, "width": 8}


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path / "case")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A case whose package is there; its config names a weight file, its origin a folder."""
    case = Case(tmp_path_factory.mktemp("exported") / "case")
    config = case.trained(**SMALL)
    named = config.model_copy(update={"pretrained": str(case.folder / "private" / "weights.pth")})
    case.verification = case.export(named, {**INFO, "checkpoint": str(case.checkpoint)})
    return case


@pytest.mark.parametrize(
    "config",
    [
        {**SMALL, "color": "grayscale", "pooling": "catavgmax", "resize": "pad"},
        {"model": "mlp6", "input_resolution": 33},
        {"model": "resnet10t", "input_resolution": 64, "pooling": "max", "resize": "crop"},
        {"model": "mobilenetv3_small_050", "input_resolution": 32, "dropout": 0.5},
    ],
    ids=lambda config: config["model"],
)
def test_models_of_all_kinds_are_exported_and_agree(case: Case, config: dict[str, Any]) -> None:
    verification = case.export(case.trained(**config))
    assert verification["split"] == "test"
    assert verification["num_images"] == verification["num_agreeing"] == 12
    assert verification["max_difference"] < 1e-4
    assert {1, 7} <= set(verification["batch_sizes"])
    assert verification["own_size"]["num_images"] == 12
    assert verification["own_size"]["max_difference"] < 0.2


def test_the_package_says_what_it_is(exported: Case) -> None:
    case, config = exported, ImageConfig(**SMALL)
    assert sorted(path.name for path in case.package.iterdir()) == [
        README_FILE,
        CARD_FILE,
        ONNX_FILE,
        WEIGHTS_FILE,
    ]

    assert len({path.stat().st_mode for path in case.package.iterdir()}) == 1

    card = json.loads((case.package / CARD_FILE).read_text())
    assert card["classes"] == list(CLASSES)
    assert card["config"]["model"] == "simple_cnn3"
    assert card["metrics"] == {"val_accuracy": 0.75, "test_accuracy": 0.5}
    origin = {"sweep": "animals", "trial": 3, "name": None, "epoch": 5}
    assert card["origin"] == {**origin, "git_commit": "abc", "checkpoint": "checkpoint"}
    assert card["data"] == {"fingerprint": "fingerprint-1", "num_examples": {"train": 12, "val": 12, "test": 12}}
    assert card["verification"] == json.loads(json.dumps(case.verification))
    assert set(card["versions"]) >= {"python", "torch", "onnx", "onnxruntime", "timm"}

    facts = load_package(case.package).facts
    assert (facts.classes, facts.multilabel, facts.input_resolution, facts.channels) == (CLASSES, False, 32, 3)
    assert facts.threshold == 0.5
    assert facts.origin == origin
    assert facts.preprocessing["in_graph"]["mean"] == pytest.approx([0.485, 0.456, 0.406])

    again = build_model(config, len(CLASSES))
    again.load_state_dict(load_file(case.package / WEIGHTS_FILE))
    trained = load_trained(config, len(CLASSES), case.checkpoint)
    assert all(torch.equal(value, trained.state_dict()[name]) for name, value in again.state_dict().items())


def test_a_model_of_cropped_objects_says_so_wherever_it_is_used(
    case: Case, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """To a whole photo it would answer all the same, and surely."""
    case.data = case.data.model_copy(update={"view": "crops"})
    case.export(case.trained(**SMALL))
    assert load_package(case.package).facts.shown == "objects, cropped by their boxes"
    assert "Examples are objects, cropped by their boxes" in (case.package / README_FILE).read_text()
    _random_image(np.random.default_rng(0)).save(tmp_path / "photo.png")
    assert main(["predict", str(case.package), str(tmp_path / "photo.png")]) == 0
    assert "warning: this model was trained on objects, cropped by their boxes" in capsys.readouterr().err


def test_nothing_of_this_machine_is_in_the_package(exported: Case) -> None:
    case = exported
    content = (case.package / ONNX_FILE).read_bytes()
    secrets = [str(case.folder), str(Path.home()), str(Path(torch.__file__).parent), "site-packages", ".py"]
    for secret in [*secrets, *([getpass.getuser()] if len(getpass.getuser()) > 4 else [])]:
        assert secret.encode() not in content, secret
    assert not re.search(rb"/(home|root|tmp|usr|var)/", content)
    card = (case.package / CARD_FILE).read_text()
    assert str(case.folder) not in card
    assert json.loads(card)["config"]["pretrained"] == "weights.pth"
    assert json.loads(card)["origin"]["checkpoint"] == "checkpoint"


def test_batch_height_and_width_are_free_and_resizing_is_that_of_training(exported: Case) -> None:
    case = exported
    model = onnx.load(case.package / ONNX_FILE)
    (entry,) = model.graph.input
    assert entry.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim] == [
        "batch",
        "height",
        "width",
        3,
    ]
    package = load_package(case.package)
    random = np.random.default_rng(1)
    for height, width in ((32, 32), (31, 200), (500, 64), (3, 5), (1, 1)):
        images = [_random_image(random).resize((width, height)) for _ in range(3)]
        whole = package.probabilities(np.stack([np.asarray(image) for image in images]))
        squashed = [np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)) for image in images]
        assert whole.shape == (3, len(CLASSES))
        assert np.abs(whole - package.probabilities(np.stack(squashed))).max() < 0.05


@pytest.mark.parametrize(("multilabel", "resize"), [(False, "crop"), (True, "pad")])
def test_predictions_of_the_package_are_those_of_the_evaluation(tmp_path: Path, multilabel: bool, resize: str) -> None:
    case = Case(tmp_path / "case", multilabel)
    config = case.trained(**SMALL, resize=resize)
    case.export(config)
    evaluation = evaluate_checkpoint(config, case.data, case.folder, case.checkpoint, "test")
    assert evaluation is not None
    assert evaluation.num_examples == 12
    paths = [case.images / name for name in evaluation.predictions["example"].to_pylist()]
    rows = pa.Table.from_batches(predict_paths(load_package(case.package), paths, batch_size=5)).to_pylist()
    expected = evaluation.predictions.to_pylist()
    assert len({tuple(row["predicted"]) for row in expected}) > 1
    for row, other in zip(rows, expected, strict=True):
        assert (row["predicted"] if multilabel else [row["predicted"]]) == other["predicted"]
        for name in CLASSES:
            assert row[f"p_{name}"] == pytest.approx(other[f"p_{name}"], abs=1e-5)


def test_without_a_test_split_val_is_used(tmp_path: Path) -> None:
    case = Case(tmp_path / "case", splits=("train", "val"))
    config = case.trained(**SMALL)
    assert case.export(config)["split"] == "val"
    assert evaluate_checkpoint(config, case.data, case.folder, case.checkpoint, "test") is None


def _corrupt(path: Path, change: Any) -> None:
    model = onnx.load(path)
    largest = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    largest.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(largest).copy()), largest.name))
    onnx.save(model, path)


def _negate(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return -weights


def _one_nan(weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    weights.flat[0] = np.nan
    return weights


@pytest.mark.parametrize("change", [_negate, _one_nan])
def test_a_model_that_does_not_agree_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    write = deploy.write_onnx

    def write_and_corrupt(classifier: Any, facts: Any, path: Path) -> None:
        write(classifier, facts, path)
        _corrupt(path, change)

    monkeypatch.setattr(deploy, "write_onnx", write_and_corrupt)
    config = case.trained(**SMALL)
    with pytest.raises(
        TrainableError, match="does not agree with the trained one and is not published: on 12 test images"
    ):
        case.export(config)


def test_an_invalid_graph_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    write = deploy.write_onnx

    def write_and_break(classifier: Any, facts: Any, path: Path) -> None:
        write(classifier, facts, path)
        model = onnx.load(path)
        model.graph.node[-1].input[0] = "nowhere"
        onnx.save(model, path)

    monkeypatch.setattr(deploy, "write_onnx", write_and_break)
    with pytest.raises(TrainableError, match="not valid"):
        case.export(case.trained(**SMALL))


def test_the_exporter_is_silent(
    case: Case, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    case.export(case.trained(**SMALL))
    assert capfd.readouterr() == ("", "")
    assert not [str(warning.message) for warning in recwarn]


def test_the_onnx_file_works_without_any_of_our_code(exported: Case) -> None:
    case = exported
    session = ort.InferenceSession(case.package / ONNX_FILE, providers=["CPUExecutionProvider"])
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    image = np.asarray(Image.open(io.BytesIO((case.images / "00.png").read_bytes())))
    (probabilities,) = session.run(None, {INPUT: image[np.newaxis]})
    assert probabilities.shape == (1, len(classes))
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_the_lines_of_the_model_card_need_onnxruntime_numpy_and_pillow_only(exported: Case, tmp_path: Path) -> None:
    page = (exported.package / "README.md").read_text(encoding="utf-8")
    lines = page.partition("```python\n")[2].partition("```")[0]
    assert len(lines.splitlines()) == 3
    # An import path with these packages and what they need themselves, and nothing else.
    site = tmp_path / "site"
    site.mkdir()
    for name in ("onnxruntime", "numpy", "numpy.libs", "PIL", "pillow.libs", "flatbuffers", "google", "packaging"):
        installed = Path(np.__file__).parents[1] / name
        if installed.exists():
            (site / name).symlink_to(installed)
    (tmp_path / "model.onnx").symlink_to(exported.package / "model.onnx")
    Image.new("RGB", (30, 20), (200, 10, 10)).save(tmp_path / "photo.jpg")
    command = [sys.executable, "-S", "-c", lines]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert abs(sum(ast.literal_eval(done.stdout).values()) - 1) < 1e-3


class _Rows(nn.Module):
    """Attention over five dimensions in one call, as Hiera's, which ONNX has no translation for."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = 2
        self.fused_attn = True
        self.fc = nn.Linear(8, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images.mean(1).reshape(-1, 1, 2, 4, 8)
        if self.fused_attn:
            x = nn.functional.scaled_dot_product_attention(x, x, x)
        else:
            x = (x @ x.transpose(-2, -1) * 8**-0.5).softmax(-1) @ x
        logits: torch.Tensor = self.fc(x.mean((1, 2, 3)))
        return logits


def test_attention_over_five_dimensions_is_exported_step_by_step(tmp_path: Path) -> None:
    net = _Rows().eval()
    graph = DeployedClassifier(net, (0.5,) * 3, (0.5,) * 3, False).eval()
    write_onnx(graph, PackageFacts(("a", "b"), False, 8, 3), tmp_path / ONNX_FILE)
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = graph(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(Package(tmp_path / ONNX_FILE).probabilities(images), expected, rtol=1e-3)
    assert net.fused_attn, "as it was before"


def test_an_export_leaves_the_model_and_the_process_as_they_were(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 8), nn.Hardswish(inplace=True), nn.Flatten()).eval()
    graph = DeployedClassifier(net, [0.5] * 3, [0.5] * 3, False).eval()
    write_onnx(graph, PackageFacts(("a", "b"), False, 8, 3), tmp_path / ONNX_FILE)
    assert net[1].inplace
    assert gc.isenabled()
    assert "HardSwish" in {node.op_type for node in onnx.load(tmp_path / ONNX_FILE).graph.node}


def test_without_a_translation_the_weights_are_published_with_code_that_loads_them(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise NotExportable("the model has no ONNX translation: none of conv2d")

    monkeypatch.setattr(deploy, "write_onnx", refuse)
    config = case.trained(model="resnet10t", input_resolution=32, pooling="gem")
    verified = case.export(config)
    assert "has no model.onnx: the model has no ONNX translation" in verified["note"]
    assert {file.name for file in case.package.iterdir()} == {WEIGHTS_FILE, CARD_FILE, README_FILE}
    page = (case.package / README_FILE).read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    _random_image(np.random.default_rng(1)).save(case.package / "photo.jpg")
    monkeypatch.chdir(case.package)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, {})
    answer = ast.literal_eval(printed.getvalue())
    assert list(answer) == list(CLASSES)
    assert sum(answer.values()) == pytest.approx(1.0, abs=1e-4)


def test_an_invalid_translation_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise onnx.checker.ValidationError("Nodes in a graph must be topologically sorted")

    monkeypatch.setattr(onnx_graph, "put_before", refuse)
    graph = DeployedClassifier(_Rows().eval(), (0.5,) * 3, (0.5,) * 3, False).eval()
    with pytest.raises(NotExportable, match="topologically sorted"):
        write_onnx(graph, PackageFacts(("a", "b"), False, 8, 3), tmp_path / ONNX_FILE)


def test_a_package_tells_what_was_measured_of_it(exported: Case, tmp_path: Path) -> None:
    package = tmp_path / "package"
    shutil.copytree(exported.package, package)
    card = json.loads((package / CARD_FILE).read_text())
    facts = measure_package(package, standard_facts(ImageClassifier.facts))
    assert facts["num_parameters"] == card["num_parameters"]
    assert facts["num_flops"] == card["num_flops"] > card["num_parameters"]  # each weight is used at many places
    assert facts["onnx_bytes"] == (package / ONNX_FILE).stat().st_size
    note_facts(package, facts, "some processor, 3 CPUs")
    assert json.loads((package / CARD_FILE).read_text())["measured"]["facts"] == facts
    page = (package / README_FILE).read_text()
    assert "some processor, 3 CPUs, ONNX Runtime" in page
    assert "| 32 images at a time, all threads |" in page

    (package / ONNX_FILE).unlink()  # as of a network without an ONNX translation
    assert set(measure_package(package, ("onnx_latency_ms",))) == {"num_parameters", "num_flops"}


@pytest.mark.parametrize(
    ("uses", "said"), [(1, "used once, for this model"), (2, "2 models of the sweep were evaluated")]
)
def test_the_card_says_how_often_test_was_used(exported: Case, uses: int, said: str) -> None:
    card = json.loads((exported.package / CARD_FILE).read_text())
    assert "test data was used" not in model_card(card), "it is not known"
    assert said in model_card({**card, "origin": {**card["origin"], "test_uses": uses}})
