from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainables.image.pixels.decode import UnreadableImage, decode, open_image, to_pixels
from trainables.image.settings.pixel_rule import PixelRule

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)


def encoded(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, format=file_format, **options)
    return target.getvalue()


def corners() -> Image.Image:
    """Four coloured quarters, wider than high: every turn and flip of it looks different."""
    image = Image.new("RGB", (64, 32))
    image.paste(RED, (0, 0, 32, 16))
    image.paste(GREEN, (32, 0, 64, 16))
    image.paste(BLUE, (0, 16, 32, 32))
    image.paste(WHITE, (32, 16, 64, 32))
    return image


# What EXIF says was done to the picture, undone: the stored picture for each orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(orientation: int, file_format: str) -> None:
    turn = STORED[orientation]
    stored = corners() if turn is None else corners().transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100} if file_format in ("JPEG", "WEBP") else {}
    pixels = decode(encoded(stored, file_format, exif=exif, **options))
    assert pixels.shape == (32, 64, 3)
    assert np.abs(pixels.astype(int) - np.asarray(corners())).mean() < 8  # lossy formats
    for (row, column), color in {(4, 4): RED, (4, 60): GREEN, (28, 4): BLUE, (28, 60): WHITE}.items():
        assert np.abs(pixels[row, column].astype(int) - color).max() < 40


def test_box_counts_in_the_upright_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = encoded(corners().transpose(STORED[6]), exif=exif)  # type: ignore[arg-type]
    assert (decode(turned, box=(32, 0, 64, 16)) == GREEN).all()


def test_damaged_exif_does_not_make_a_good_picture_unreadable() -> None:
    content = encoded(corners(), "JPEG", exif=b"Exif\x00\x00garbage that is no TIFF header")
    assert decode(content).shape == (32, 64, 3)


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        pytest.param(Image.new("1", (4, 4), 1), {}, WHITE, id="one bit"),
        pytest.param(Image.new("L", (4, 4), 100), {}, (100, 100, 100), id="grey"),
        pytest.param(Image.new("LA", (4, 4), (0, 0)), {}, WHITE, id="grey, transparent, over white"),
        pytest.param(Image.new("LA", (4, 4), (100, 255)), {}, (100, 100, 100), id="grey with opaque alpha"),
        pytest.param(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), {}, WHITE, id="transparent red over white"),
        pytest.param(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), {}, (127, 127, 127), id="half black over white"),
        pytest.param(Image.new("RGB", (4, 4), BLUE), {"transparency": BLUE}, WHITE, id="one colour transparent"),
        pytest.param(Image.new("RGB", (4, 4), RED).quantize(4), {}, RED, id="palette"),
        pytest.param(Image.new("RGB", (4, 4), RED).quantize(4), {"transparency": 0}, WHITE, id="palette, transparent"),
    ],
)
def test_kinds_of_png(image: Image.Image, options: dict[str, Any], expected: tuple[int, int, int]) -> None:
    pixels = decode(encoded(image, **options))
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - expected).max() <= 1


def test_cmyk_jpeg() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, green, blue = decode(encoded(cyan, "JPEG"))[8, 8].tolist()
    assert red < 20
    assert green > 200
    assert blue > 200


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(file_format: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    pixels = decode(encoded(Image.fromarray(values), file_format))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_float_tiff_spans_the_grey_levels() -> None:
    values = np.array([[-1.0, 0.0, 1.0, np.nan]], dtype=np.float32)
    assert decode(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 128, 255, 128]


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in (RED, GREEN)]
    assert (decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])) == RED).all()
    assert (decode(encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])) == RED).all()


def test_transparent_gif_lies_over_white() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    assert (decode(encoded(image, "GIF", transparency=0)) == 255).all()


def test_grey_and_rgb_channels() -> None:
    color = encoded(corners())
    grey = decode(color, channels=1)
    assert grey.shape == (32, 64, 1)
    assert (grey[..., 0] == np.asarray(corners().convert("L"))).all()
    from_grey = encoded(corners().convert("L"))
    small = decode(from_grey, resolution=10)
    assert small.shape == (10, 10, 3)
    assert (small[..., 0] == small[..., 1]).all()
    assert (small[..., :1] == decode(from_grey, resolution=10, channels=1)).all()


def test_squashes_to_a_square_and_sees_nothing_outside_the_box() -> None:
    pixels = decode(encoded(corners()), box=(0, 0, 32, 16), resolution=20)
    assert pixels.shape == (20, 20, 3)
    assert (pixels == RED).all()


def test_box_is_clipped_and_one_outside_is_refused(tmp_path: Path) -> None:
    image = open_image(encoded(corners()))
    assert to_pixels(image, box=(-5, -5, 10, 10)).shape == (10, 10, 3)
    path = tmp_path / "photo.png"
    corners().save(path)
    with pytest.raises(UnreadableImage, match=r"photo\.png.*\[70, 0, 80, 10\] lies outside the image of 64×32"):
        decode(path, box=(70, 0, 80, 10))


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_truncated_file_is_refused_with_its_name(tmp_path: Path, file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), file_format)
    path = tmp_path / "cut.img"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableImage, match=r"cut\.img: "):
        open_image(path)


def test_missing_empty_and_foreign_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"gone\.jpg: No such file"):
        open_image(tmp_path / "gone.jpg")
    with pytest.raises(UnreadableImage, match="the file is empty"):
        open_image(b"")
    with pytest.raises(UnreadableImage, match="not an image of a known format"):
        open_image(b"<html>not found</html>")
    with pytest.raises(UnreadableImage, match="not an image of a known format"):
        open_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")


def test_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (12_000, 12_000)))
    with pytest.raises(UnreadableImage, match=r"12000×12000 pixels are more than data\.max_pixels"):
        open_image(bomb)
    with pytest.raises(UnreadableImage, match="64×32"):
        open_image(encoded(corners()), rule=PixelRule(max_pixels=64 * 32 - 1))
    assert open_image(encoded(corners()), rule=PixelRule(max_pixels=64 * 32)).size == (64, 32)


def test_damaged_and_huge_files_leave_no_noise_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(encoded(Image.new("1", (12_000, 12_000))))
    tiff = encoded(corners(), "TIFF")
    (tmp_path / "damaged.tif").write_bytes(tiff[:-40] + b"\xff" * 40)
    code = "import sys; from pathlib import Path; from trainables.image.pixels.decode import *\n"
    code += "for path in Path(sys.argv[1]).iterdir():\n  try: decode(path)\n  except UnreadableImage: print(path.name)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "bomb.png" in done.stdout


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "PPM"]), st.data())
def test_damaged_bytes_either_decode_or_are_unreadable(file_format: str, data: st.DataObject) -> None:
    content = bytearray(encoded(corners(), file_format))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(content), rule=PixelRule(max_pixels=1_000_000))
    except UnreadableImage:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3


def test_same_pixels_from_path_and_bytes(tmp_path: Path, make_picture: Callable[..., Path]) -> None:
    path = make_picture(tmp_path / "a.jpg")
    assert (decode(path, resolution=8) == decode(path.read_bytes(), resolution=8)).all()


@pytest.mark.parametrize(("suffix", "file_format"), [(".jpg", "PNG"), (".png", "JPEG"), (".gif", "WEBP")])
def test_the_content_counts_not_the_suffix(tmp_path: Path, suffix: str, file_format: str) -> None:
    path = tmp_path / f"photo{suffix}"
    path.write_bytes(encoded(corners(), file_format))
    assert decode(path).shape == (32, 64, 3)


def test_a_text_file_named_like_a_picture_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("not an image at all\n" * 50)
    with pytest.raises(UnreadableImage, match=r"notes\.jpg: not an image of a known format"):
        open_image(tmp_path / "notes.jpg")


@pytest.mark.parametrize("size", [(30_000, 1), (1, 30_000)])
def test_a_picture_of_one_line_is_squashed_like_any_other(size: tuple[int, int]) -> None:
    line = Image.new("RGB", size, RED)
    assert (decode(encoded(line), resolution=32) == RED).all()
    assert decode(encoded(line)).shape == (size[1], size[0], 3)


def test_first_page_of_a_tiff_with_many() -> None:
    pages = [Image.new("RGB", (8, 8), color) for color in [RED] + [GREEN] * 500]
    assert (decode(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])) == RED).all()


def test_a_bomb_of_many_frames_is_refused_or_costs_one_frame() -> None:
    frames = [Image.new("L", (2_000, 2_000), number % 2) for number in range(40)]
    bomb = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(bomb, resolution=8).shape == (8, 8, 3)
    with pytest.raises(UnreadableImage, match="2000×2000"):
        decode(bomb, rule=PixelRule(max_pixels=1_000_000))
