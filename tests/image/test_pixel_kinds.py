"""Pictures of more than 8 bits, of other bands than red, green and blue, and of several frames: never guessed."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image
from pydantic import ValidationError

from trainables.contract import Preparation
from trainables.errors import DataError
from trainables.image.data.prepare import INDEX_FILE, prepare_images
from trainables.image.data_config import DataConfig
from trainables.image.deployment.evaluate_package import as_trained
from trainables.image.index import ImageIndex
from trainables.image.package import PackageFacts
from trainables.image.pixels.decode import UnreadableImage, decode, read_image
from trainables.image.pixels.examples import open_pixels, rule_of
from trainables.image.settings.pixel_rule import DEFAULT_RULE, PixelRule

Values = npt.NDArray[Any]


def tiff(values: Values, **options: Any) -> bytes:
    target = io.BytesIO()
    tifffile.imwrite(target, values, **options)
    return target.getvalue()


def deep_png(values: Values) -> bytes:
    """A PNG of 16 bits: (H, W, 1) grey or (H, W, 3) colours."""
    height, width, depth = values.shape

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 3: 2}[depth], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def ramp(last: int, bands: int = 1, dtype: str = "uint16") -> Values:
    """From 0 to `last`, (4, 16, bands)."""
    return np.linspace(0, last, 4 * 16 * bands).reshape(4, 16, bands).astype(dtype)


def folder(root: Path, content: list[bytes], suffix: str) -> DataConfig:
    for number, each in enumerate(content):
        place = root / ("cat", "dog")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:02}{suffix}").write_bytes(each)
    return DataConfig(dataset="image_folder", root=root)


def prepared(data: DataConfig, place: Path) -> tuple[Preparation, ImageIndex]:
    place.mkdir(exist_ok=True)
    preparation = prepare_images(data, place, [8])
    return preparation, ImageIndex.load(place / INDEX_FILE)


def test_twelve_bits_in_sixteen_keep_their_contrast_and_it_is_said(tmp_path: Path) -> None:
    data = folder(tmp_path / "set", [deep_png(ramp(4095 - 7 * number)) for number in range(12)], ".png")
    for attempt in ("a", "b"):  # the second time everything is known from the first
        preparation, index = prepared(data, tmp_path / attempt)
        assert index.found_range == (0, 4095)
        assert "0 is black and 4095 white" in preparation.summary["notes"]
        for limit in (data.cache_limit_bytes, 0):
            pixels = open_pixels(index, data.model_copy(update={"cache_limit_bytes": limit}), 8)
            assert pixels.gather(np.arange(12)).max() > 240
    # The model takes the range along, also to data where no picture is as bright.
    facts = PackageFacts(("cat", "dog"), False, 8, 3, rule=rule_of(index, data))
    again = PackageFacts.from_metadata(facts.to_metadata())
    assert again == facts
    dark = deep_png(np.full((2, 2, 1), 1000, dtype=np.uint16))
    assert decode(dark, rule=again.rule).max() == round(1000 * 255 / 4095)
    assert as_trained(DataConfig(dataset="image_folder", root=tmp_path), again).value_range == (0, 4095)
    own = DataConfig(dataset="image_folder", root=tmp_path, value_range=(0, 50))
    assert as_trained(own, again).value_range == (0, 50)


def test_sixteen_bits_are_as_ever(tmp_path: Path) -> None:
    data = folder(tmp_path / "set", [deep_png(ramp(65535)) for _ in range(12)], ".png")
    preparation, index = prepared(data, tmp_path / "work")
    assert index.found_range is None
    assert "notes" not in preparation.summary
    assert PackageFacts(("cat", "dog"), False, 8, 3, rule=rule_of(index, data)).to_metadata()["format"].endswith('/1"')


def test_the_range_can_be_set(tmp_path: Path) -> None:
    content = deep_png(np.array([[[0], [100], [200], [300]]], dtype=np.uint16))
    assert decode(content, rule=PixelRule(value_range=(100, 200)))[0, :, 0].tolist() == [0, 0, 255, 255]
    assert decode(content, rule=PixelRule(value_range="picture"))[0, :, 0].tolist() == [0, 85, 170, 255]
    grey = deep_png(ramp(4095))
    data = folder(tmp_path / "set", [grey] * 12, ".png").model_copy(update={"value_range": (0.0, 2000.0)})
    _, index = prepared(data, tmp_path / "work")
    assert index.found_range is None
    assert (
        open_pixels(index, data, 8).gather(np.array([0]))[0] == decode(grey, resolution=8, rule=data.pixel_rule)
    ).all()


def test_another_range_is_another_fingerprint(tmp_path: Path) -> None:
    data = folder(tmp_path / "set", [deep_png(ramp(4095)) for _ in range(12)], ".png")
    fingerprints = {
        prepared(data.model_copy(update={"value_range": value}), tmp_path / "work")[0].fingerprint
        for value in ("auto", "picture", (0.0, 4000.0))
    }
    assert len(fingerprints) == 3


@pytest.mark.parametrize(
    ("largest", "dtype", "found"),
    [(1.0, "float32", (0, 1)), (250.0, "float32", (0, 255)), (3000, "float32", (0, 3000))],
)
def test_fractions_have_one_range_for_all(tmp_path: Path, largest: float, dtype: str, found: tuple[int, int]) -> None:
    content = [tiff((np.linspace(0, largest, 64) / (1 + number)).reshape(4, 16).astype(dtype)) for number in range(12)]
    _, index = prepared(folder(tmp_path / "set", content, ".tif"), tmp_path / "work")
    assert index.found_range == found


def test_colours_of_sixteen_bits_whose_upper_half_is_all_that_can_be_read_are_not_crushed(tmp_path: Path) -> None:
    full = folder(tmp_path / "full", [deep_png(ramp(65535, 3)) for _ in range(12)], ".png")
    assert "the upper 8 are read: 12 images" in prepared(full, tmp_path / "a")[0].summary["notes"]
    crushed = folder(tmp_path / "crushed", [deep_png(ramp(4095, 3)) for _ in range(12)], ".png")
    for attempt in ("b", "c"):
        with pytest.raises(DataError, match="of which the upper 8 bits only can be read"):
            prepared(crushed, tmp_path / attempt)
    assert decode(tiff(ramp(4095, 3), photometric="rgb"), rule=PixelRule(value_range=(0, 4095))).max() == 255


def test_infrared_is_no_transparency() -> None:
    colours = np.full((4, 4, 4), (10, 20, 30, 0), dtype=np.uint8)
    for planar in ("contig", "separate"):
        values = colours if planar == "contig" else np.moveaxis(colours, 2, 0)
        opened = read_image(tiff(values, photometric="rgb", planarconfig=planar, extrasamples=["unspecified"]))
        assert (np.asarray(opened.image) == (10, 20, 30)).all(), planar
    transparent = tiff(colours, photometric="rgb", extrasamples=["unassalpha"])
    assert (decode(transparent) == 255).all()  # what the file calls so is


def test_bands_are_chosen_or_asked_for(tmp_path: Path) -> None:
    values = np.arange(13, dtype=np.uint16) * 1000 * np.ones((4, 4, 1), dtype=np.uint16)
    content = tiff(values, photometric="minisblack", planarconfig="contig")
    with pytest.raises(UnreadableImage, match=r"13 bands, .* such as data.bands: \[3, 2, 1\]"):
        decode(content)
    rule = PixelRule(bands=(4, 3, 2), value_range=(0, 12000))
    assert decode(content, rule=rule)[0, 0].tolist() == [64, 42, 21]
    assert decode(content, rule=PixelRule(bands=(13,), value_range=(0, 12000)))[0, 0].tolist() == [255] * 3
    with pytest.raises(UnreadableImage, match="asks for band 14, and the image has 13"):
        decode(content, rule=PixelRule(bands=(14,)))
    grey = tiff(np.zeros((4, 4, 2), np.uint8), photometric="minisblack", planarconfig="contig")
    with pytest.raises(UnreadableImage, match="2 bands"):
        decode(grey)
    swapped = decode(tiff(np.full((4, 4, 3), (1, 2, 3), np.uint8), photometric="rgb"), rule=PixelRule(bands=(3, 2, 1)))
    assert swapped[0, 0].tolist() == [3, 2, 1]
    data = folder(tmp_path / "set", [content] * 12, ".tif")
    with pytest.raises(DataError, match="13 bands"):
        prepared(data, tmp_path / "work")
    chosen = data.model_copy(update={"bands": (4, 3, 2)})
    preparation, index = prepared(chosen, tmp_path / "work")
    assert index.found_range == (0, 16383)
    assert preparation.details["examples"]["train"] > 1


@pytest.mark.parametrize("bands", [0, [1, 2], [1, 0, 2], "red", [1.5]])
def test_bands_that_cannot_be(bands: Any) -> None:
    with pytest.raises(ValidationError, match="counted from 1"):
        DataConfig(bands=bands)


@pytest.mark.parametrize("value", [[4095, 0], [0], "full", [0, "x"]])
def test_ranges_that_cannot_be(value: Any) -> None:
    with pytest.raises(ValidationError, match="low < high"):
        DataConfig(value_range=value)


def test_other_frames_are_left_out_and_counted(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (10, 200)]
    gif, pages = io.BytesIO(), io.BytesIO()
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:])
    frames[0].save(pages, "TIFF", save_all=True, append_images=frames[1:])
    for content in (gif.getvalue(), pages.getvalue()):
        assert (decode(content) == 10).all()
    data = folder(tmp_path / "set", [gif.getvalue()] * 12, ".gif")
    notes = prepared(data, tmp_path / "work")[0].summary["notes"]
    assert "of an animation the first frame is used: 12 images, such as" in notes


def test_white_may_be_zero() -> None:
    content = tiff(np.array([[0, 65535]], dtype=np.uint16), photometric="miniswhite")
    assert decode(content)[0, :, 0].tolist() == [255, 0]


def dicom(values: Values, **elements: Any) -> bytes:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.Rows, data.Columns = values.shape[:2]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = values.tobytes()
    for name, value in elements.items():
        setattr(data, name, value)
    target = io.BytesIO()
    data.save_as(target, enforce_file_format=True)
    return target.getvalue()


def test_dicom_is_scaled_as_the_file_says() -> None:
    values = np.array([[0, 1024, 2048, 4095]], dtype=np.uint16)

    def grey(rule: PixelRule = DEFAULT_RULE, **elements: Any) -> list[int]:
        return decode(dicom(values, **elements), rule=rule)[0, :, 0].tolist()

    assert grey() == [0, 64, 128, 255]  # of 12 bits stored
    assert grey(PhotometricInterpretation="MONOCHROME1") == [255, 191, 127, 0]
    assert grey(WindowCenter=1024, WindowWidth=1024, VOILUTFunction="LINEAR_EXACT") == [0, 128, 255, 255]
    hounsfield = {"RescaleSlope": 1, "RescaleIntercept": -1024}
    assert grey(WindowCenter=0, WindowWidth=2048, VOILUTFunction="LINEAR_EXACT", **hounsfield) == [0, 128, 255, 255]
    assert grey(PixelRule(value_range=(0, 1024)), WindowCenter=9, WindowWidth=2, **hounsfield) == [0, 0, 255, 255]


def test_dicom_that_cannot_be_read_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.zeros((2, 4), dtype=np.uint16)
    with pytest.raises(UnreadableImage, match="2 frames"):
        decode(dicom(values, NumberOfFrames=2))
    with pytest.raises(UnreadableImage, match=r"more than data\.max_pixels"):
        decode(dicom(values), rule=PixelRule(max_pixels=7))
    with pytest.raises(UnreadableImage, match="DICOM"):
        decode(b"\0" * 128 + b"DICM")
    content = dicom(values)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UnreadableImage, match=r"pip install .*\[dicom\]'"):
        decode(content)
