"""How pictures become squares: the same with Pillow and in the exported graph, and as timm's evaluation crops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from PIL import Image
from timm.data import create_transform

from trainables.image.config import ImageConfig
from trainables.image.data.prepare import INDEX_FILE, prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.deployment.onnx_resize import put_before
from trainables.image.index import ImageIndex
from trainables.image.package import FORMAT, PackageFacts
from trainables.image.pixels.decode import decode, to_pixels
from trainables.image.pixels.examples import MappedPixels, open_pixels
from trainables.image.pixels.fit import SQUASH, Fit
from trainables.image.pixels.masks import MEAN_COLOR
from trainables.image.pixels.squares import make_square

CROP, PAD = Fit("crop", 0.875), Fit("pad")
SIZES = [(64, 48), (31, 200), (500, 40), (33, 32), (20, 21), (3, 5), (1, 1), (640, 479), (32, 32)]


def picture(size: tuple[int, int], seed: int = 0) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def resizing_graph(side: int, channels: int, fit: Fit) -> ort.InferenceSession:
    """The first part of an exported graph, with nothing behind it."""
    shape = ["batch", side, side, channels]
    ends = [helper.make_tensor_value_info(name, TensorProto.UINT8, shape) for name in ("images", "same")]
    core = helper.make_graph([helper.make_node("Identity", ["images"], ["same"])], "core", ends[:1], ends[1:])
    model = helper.make_model(core, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    whole = put_before(model, side, channels, fit)
    onnx.checker.check_model(whole, full_check=True)
    return ort.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])


def levels_apart(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("fit", [SQUASH, CROP, Fit("crop", 1.0), Fit("crop", 0.73), PAD], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_graph_makes_the_squares_of_training(fit: Fit, channels: int) -> None:
    graph = resizing_graph(32, channels, fit)
    for width, height in SIZES:
        image = picture((width, height))
        whole = to_pixels(image, channels=channels)
        (square,) = graph.run(None, {"images": np.stack([whole, whole])})
        # What has the size already is taken for prepared.
        wanted = whole if whole.shape[:2] == (32, 32) else to_pixels(image, resolution=32, channels=channels, fit=fit)
        assert levels_apart(square[0], wanted) <= 2, (width, height)
        assert np.abs(square[1].astype(int) - wanted).mean() < 0.25


@pytest.mark.parametrize("fraction", [0.875, 0.95, 1.0])
def test_crop_is_that_of_timms_evaluation(fraction: float) -> None:
    transform = create_transform(
        (3, 32, 32), crop_pct=fraction, crop_mode="center", interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )
    for size in [(64, 48), (31, 200), (33, 32), (20, 21), (640, 479), (32, 32)]:
        theirs = (transform(picture(size)).numpy().transpose(1, 2, 0) * 255).round().astype(np.uint8)
        ours = np.asarray(make_square(picture(size), 32, Fit("crop", fraction)))
        assert levels_apart(ours, theirs) <= 2, size  # halves may be rounded otherwise
        assert np.abs(ours.astype(int) - theirs).mean() < 0.25


def test_pad_keeps_all_of_a_picture_in_its_proportions() -> None:
    square = np.asarray(make_square(Image.new("RGB", (60, 20), (250, 0, 0)), 30, PAD))
    assert (square[:10] == MEAN_COLOR).all()
    assert (square[10:20] == (250, 0, 0)).all()
    assert (square[20:] == MEAN_COLOR).all()


def test_a_line_of_pixels_needs_no_more_memory_than_its_square() -> None:
    # The whole of it, brought to 256 pixels across, would be 45 GB.
    line = Image.new("L", (1, 230_000), 7)
    assert np.asarray(make_square(line, 224, CROP)).shape == (224, 224)


def test_each_way_has_its_own_cached_pixels(tmp_path: Path, make_folder: object) -> None:
    root = make_folder({"cat": 5, "dog": 5})  # type: ignore[operator]
    data = DataConfig(dataset="image_folder", root=root)
    # At 8 px both fractions make the shorter side 9 pixels long.
    fits = [SQUASH, CROP, Fit("crop", 0.88), PAD]
    preparation = prepare_images(data, tmp_path, [8], fits=fits)
    assert list(preparation.details["pixels"]) == ["8×8×3", "8×8×3-crop9", "8×8×3-pad"]
    index = ImageIndex.load(tmp_path / INDEX_FILE)
    uncached = data.model_copy(update={"cache_limit_bytes": 0})
    rows = np.arange(len(index.table))
    for fit in fits:
        pixels = open_pixels(index, data, 8, fit=fit)
        assert isinstance(pixels, MappedPixels)
        wanted = np.stack([decode(Path(path), resolution=8, fit=fit) for path in index.table["path"].to_pylist()])
        assert (pixels.gather(rows) == wanted).all()
        assert (open_pixels(index, uncached, 8, fit=fit).gather(rows) == wanted).all()


def test_the_config_says_the_fit() -> None:
    assert ImageConfig().fit == SQUASH
    assert ImageConfig(resize="crop").fit == CROP
    assert ImageConfig(resize="crop", crop_fraction=0.9).fit == Fit("crop", 0.9)
    assert ImageConfig(resize="pad", crop_fraction=0.9).fit == PAD


def test_packages_from_before_there_was_a_choice_squash() -> None:
    facts = PackageFacts(("a", "b"), False, 32, 3)
    metadata = facts.to_metadata()
    assert metadata["format"] == f'"{FORMAT}"'  # what reads only this squashes, and rightly
    del metadata["fit"]
    assert PackageFacts.from_metadata(metadata) == facts
    cropped = PackageFacts(("a", "b"), False, 32, 3, fit=CROP)
    assert cropped.to_metadata()["format"] != f'"{FORMAT}"'
    assert PackageFacts.from_metadata(cropped.to_metadata()) == cropped
    with pytest.raises(ValueError, match="stretch"):
        PackageFacts.from_metadata({**metadata, "fit": '{"resize": "stretch"}'})
