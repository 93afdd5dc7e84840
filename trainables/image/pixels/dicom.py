"""DICOM pictures, by pydicom (an extra): rescaled and windowed as the file says."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from trainables.extras import install_command
from trainables.image.pixels.values import Values
from trainables.image.settings.pixel_rule import PixelRule, ValueRange

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

SUFFIXES = (".dcm", ".dicom")


def is_dicom(content: bytes) -> bool:
    """By its preamble."""
    return content[128:132] == b"DICM"


def read_dicom(content: bytes, rule: PixelRule) -> Values:
    """The values of a DICOM picture.

    They are rescaled (modality LUT) first. Black and white are those of the first window that the file has, else of the
    bits that it stores; with `data.value_range` they are that range of rescaled values (Hounsfield units of a CT).

    Raises:
        ValueError: pydicom is not there, the file is damaged, too large, or holds several frames.
    """
    try:
        import pydicom
    except ImportError as error:
        raise ValueError(f"DICOM images need pydicom: {install_command('dicom')}") from error
    from pydicom.errors import InvalidDicomError
    from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut

    try:
        data = pydicom.dcmread(io.BytesIO(content))
    except InvalidDicomError as error:
        raise ValueError(f"a damaged DICOM file: {error}") from error
    if "Rows" not in data or "Columns" not in data:
        raise ValueError("a DICOM file without an image (no Rows and Columns), or cut short")
    if (frames := int(data.get("NumberOfFrames") or 1)) > 1:
        raise ValueError(f"{frames} frames in one DICOM file: an example is one image, write each as a file")
    if data.Rows * data.Columns > rule.max_pixels:
        raise ValueError(f"{data.Columns}×{data.Rows} pixels are more than data.max_pixels: {rule.max_pixels:,}")
    numbers = data.pixel_array
    if data.PhotometricInterpretation == "PALETTE COLOR":
        numbers = apply_color_lut(numbers, data)
        return Values(numbers, (0.0, float(np.iinfo(numbers.dtype).max)), is_rgb=True)
    if numbers.ndim == 3:
        return Values(numbers, (0.0, 2.0**data.BitsStored - 1), is_rgb=True)
    rescaled = apply_modality_lut(numbers, data)
    inverted = data.PhotometricInterpretation == "MONOCHROME1"
    if rule.value_range == "auto" and "VOILUTSequence" in data:
        bits = int(data.VOILUTSequence[0].LUTDescriptor[2])
        return Values(apply_voi_lut(rescaled, data, prefer_lut=True), (0.0, 2.0**bits - 1), inverted)
    if rule.value_range == "auto" and data.get("WindowWidth"):
        center, width = float(_first(data.WindowCenter)), float(_first(data.WindowWidth))
        if data.get("VOILUTFunction") == "SIGMOID":
            return Values(255 / (1 + np.exp(-4 * (rescaled - center) / width)), (0.0, 255.0), inverted)
        # PS3.3 C.11.2.1.2: of LINEAR the window is a grey level narrower, and half of one further to the left.
        less = 0.0 if data.get("VOILUTFunction") == "LINEAR_EXACT" else 0.5
        return Values(rescaled, (center - width / 2, center + width / 2 - 2 * less), inverted)
    return Values(rescaled, _stored(data), inverted)


def _stored(data: Dataset) -> ValueRange | None:
    """Smallest and largest of what the stored bits can be, rescaled; None where a table rescales them."""
    if "ModalityLUTSequence" in data:
        return None
    bits, signed = int(data.BitsStored), bool(data.get("PixelRepresentation"))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def _first(value: Any) -> Any:
    """Of one or several."""
    return value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value
