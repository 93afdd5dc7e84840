"""The model package: what its files are called, what the ONNX file says about itself, and how it is opened.

Needs ONNX Runtime only (for a file of OpenVINO's, OpenVINO): a package is used without PyTorch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import numpy.typing as npt

from trainables.errors import DataError
from trainables.image.openvino_file import SUFFIX as OPENVINO_SUFFIX
from trainables.image.openvino_file import OpenVinoModel
from trainables.image.pixels.fit import SQUASH, Fit, Resize
from trainables.image.settings.pixel_rule import DEFAULT_RULE, PixelRule

ONNX_FILE = "model.onnx"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "model.json"

CPU_PROVIDER = "CPUExecutionProvider"
"""The device on which ONNX Runtime runs everywhere."""

INPUT = "images"
OUTPUT = "probabilities"
FORMAT = "image-classifier/1"
"""Names the meaning of the metadata and of the graph's input and output; raised when that changes."""
FORMAT_FITTED = "image-classifier/2"
"""Of a package with another `fit` than squash or a `rule` of its own: what knows the first format only would squash,
or scale values otherwise, in silence."""

_PIXEL_KEYS = ("bands", "value_range", "found")
_OPTIONAL_KEYS = ("fit", "pixels", "preprocessing", "origin")

THRESHOLD = 0.5
"""A multi-label example has every label whose probability reaches this."""


@dataclass(frozen=True)
class PackageFacts:
    """What one must know to use the model; all of it is in the ONNX file's metadata, each value as JSON.

    Attributes:
        classes: the class names, in the order of the probabilities.
        multilabel: each class on its own (sigmoid), or exactly one of them (softmax).
        threshold: for multi-label models, the probability from which a label counts as predicted: one for all
            labels, or one each.
        input_resolution: height and width in pixels that the network sees.
        channels: of the input images, 1 (grey) or 3 (RGB).
        fit: how an image becomes a square.
        rule: how files are read; its `max_pixels` is not kept.
        preprocessing: what the graph does to the pixels, and what is expected before it: for readers.
        origin: where the model comes from (sweep, trial, ...).
    """

    classes: tuple[str, ...]
    multilabel: bool
    input_resolution: int
    channels: int
    threshold: float | tuple[float, ...] = THRESHOLD
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    fit: Fit = SQUASH
    rule: PixelRule = DEFAULT_RULE

    @property
    def shown(self) -> str:
        """What of an image the model was trained on, where that is not the whole of it; else empty."""
        view = self.origin.get("view")
        what = {"crops": "objects, cropped by their boxes", "foreground": "objects, cut out by their masks"}
        return what.get(str(view), "") if view else ""

    @property
    def thresholds(self) -> npt.NDArray[np.float64]:
        """The threshold of each class, (C,)."""
        return np.broadcast_to(np.asarray(self.threshold, dtype=np.float64), (len(self.classes),))

    def to_metadata(self) -> dict[str, str]:
        """The ONNX file's metadata."""
        values = {
            "format": FORMAT if self.fit == SQUASH and not self.rule.digest else FORMAT_FITTED,
            "classes": self.classes,
            "multilabel": self.multilabel,
            "threshold": self.threshold,
            "input_resolution": self.input_resolution,
            "channels": self.channels,
            "fit": vars(self.fit),
            "pixels": {key: getattr(self.rule, key) for key in _PIXEL_KEYS},
            "preprocessing": self.preprocessing,
            "origin": self.origin,
        }
        return {key: json.dumps(value, ensure_ascii=False) for key, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """What `to_metadata` wrote.

        Raises:
            ValueError: something is missing or is not what it should be.
        """
        try:
            return cls._read(metadata)
        except (TypeError, AttributeError, OverflowError, RecursionError) as error:  # null, a number for a list, ...
            raise ValueError(f"its metadata is not what it should be: {error}") from error

    @classmethod
    def _read(cls, metadata: Mapping[str, str]) -> Self:
        try:
            values = {key: json.loads(metadata[key]) for key in ("format", "classes", "multilabel", "threshold")}
            resolution, channels = (json.loads(metadata[key]) for key in ("input_resolution", "channels"))
            optional = {key: json.loads(metadata.get(key, "{}")) for key in _OPTIONAL_KEYS}
        except KeyError as error:
            raise ValueError(f"its metadata has no {error.args[0]!r}") from error
        except json.JSONDecodeError as error:
            raise ValueError(f"its metadata is damaged: {error}") from error
        if values["format"] not in (FORMAT, FORMAT_FITTED):
            raise ValueError(
                f"its format is {values['format']!r}, and only {FORMAT!r} and {FORMAT_FITTED!r} are understood"
            )
        threshold = values["threshold"]
        if not isinstance(values["classes"], list) or not values["classes"]:
            raise ValueError(f"its classes are {values['classes']!r:.60}, and must be a list of names")
        if not (isinstance(resolution, int) and resolution > 0 and channels in (1, 3)):
            raise ValueError(f"its input is {resolution!r:.20} pixels with {channels!r:.20} channels (1 or 3)")
        if wrong := [key for key, value in optional.items() if not isinstance(value, dict)]:
            raise ValueError(f"its {wrong[0]} is {optional[wrong[0]]!r:.60}, and must be an object")
        if isinstance(threshold, list) and len(threshold) != len(values["classes"]):
            raise ValueError(f"it has {len(threshold)} thresholds for {len(values['classes'])} classes")
        return cls(
            classes=tuple(map(str, values["classes"])),
            multilabel=bool(values["multilabel"]),
            input_resolution=int(resolution),
            channels=int(channels),
            threshold=tuple(map(float, threshold)) if isinstance(threshold, list) else float(threshold),
            fit=_fit(optional.pop("fit")),
            rule=_rule(optional.pop("pixels")),
            **optional,
        )


class Package:
    """An exported model, ready to predict.

    Attributes:
        path: of the file.
        facts: classes, resolution and the rest.
    """

    def __init__(
        self, path: Path, num_threads: int = 1, provider: str = CPU_PROVIDER, *, shares_cpus: bool = False
    ) -> None:
        """Loads the ONNX file, or that of OpenVINO.

        Args:
            path: of the file.
            num_threads: CPU threads for the model.
            provider: of ONNX Runtime; what it cannot do runs on the CPU.
            shares_cpus: whether others need the CPUs while the model waits for work; else its threads spin meanwhile,
                and are there a moment earlier.

        Raises:
            DataError: no such file, damaged, or not a model package's ONNX or OpenVINO file.
        """
        self.path = path
        self._model: _OnnxModel | OpenVinoModel
        if path.suffix == OPENVINO_SUFFIX:
            self._model, kind = OpenVinoModel(path, num_threads), "OpenVINO"
        else:
            self._model, kind = _OnnxModel(path, num_threads, provider, shares_cpus), "ONNX"
        try:
            self.facts = PackageFacts.from_metadata(self._model.metadata)
        except ValueError as error:
            raise DataError(
                f"{path}: an {kind} file, but no exported model of this project ({error}). Give a package's "
                f"{ONNX_FILE}, or the folder that holds it."
            ) from error
        if wrong := self._unlike_its_facts():
            raise DataError(f"{path}: an {kind} file, but no exported model of this project ({wrong})")

    def _unlike_its_facts(self) -> str:
        """What of the graph is not as the metadata says; empty when all is."""
        if self._model.inputs != [(INPUT, "tensor(uint8)", 4)]:
            return f"its input is not the one {INPUT!r} of bytes, (N, height, width, channels)"
        outputs = self._model.outputs
        if [name for name, _ in outputs] != [OUTPUT] or len(outputs[0][1]) != 2:
            return f"its output is not the one {OUTPUT!r}, (N, classes)"
        if isinstance(told := outputs[0][1][1], int) and told != len(self.facts.classes):
            return f"it tells {told} probabilities, and names {len(self.facts.classes)} classes"
        return ""

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Runs the model.

        Args:
            images: (N, height, width, channels), of any height and width; for OpenVINO of the model's own.

        Returns:
            (N, classes).
        """
        return self._model.run(np.ascontiguousarray(images))


class _OnnxModel:
    """A network that ONNX Runtime runs."""

    def __init__(self, path: Path, num_threads: int, provider: str, shares_cpus: bool) -> None:
        import onnxruntime as ort
        from onnxruntime.capi import onnxruntime_pybind11_state as states

        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        if shares_cpus:
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # errors come as exceptions; without this they are printed, too
        refusals = (
            states.Fail,
            states.InvalidArgument,
            states.InvalidGraph,
            states.InvalidProtobuf,
            states.NotImplemented,
            states.RuntimeException,
        )
        # Read here, so that a missing or forbidden file is the usual OSError.
        content = _read(path)
        try:
            self._session = ort.InferenceSession(
                content, options, providers=list(dict.fromkeys((provider, CPU_PROVIDER)))
            )
        except refusals as error:
            reason = str(error).rpartition("failed:")[2].strip()
            raise DataError(
                f"{path}: not a usable ONNX file ({reason}). It may be cut short or damaged: export or copy it again."
            ) from error
        self.metadata: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.inputs = [(each.name, each.type, len(each.shape)) for each in self._session.get_inputs()]
        self.outputs = [(each.name, each.shape) for each in self._session.get_outputs()]

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probabilities of images."""
        (result,) = self._session.run([OUTPUT], {INPUT: images})
        assert isinstance(result, np.ndarray)
        return result


def load_package(
    path: Path, num_threads: int = 1, provider: str = CPU_PROVIDER, *, shares_cpus: bool = False
) -> Package:
    """Opens a model package.

    Args:
        path: the package's folder, or its ONNX file.
        num_threads: CPU threads for the model.
        provider: of ONNX Runtime.
        shares_cpus: as for `Package`.

    Raises:
        DataError: there is none, it is damaged, or it is something else.
    """
    path = path.expanduser()
    if path.is_dir():
        if not (path / ONNX_FILE).is_file():
            raise DataError(f"{path}: no model package, it holds no {ONNX_FILE}")
        path = path / ONNX_FILE
    return Package(path, num_threads, provider, shares_cpus=shares_cpus)


def _fit(values: Mapping[str, Any]) -> Fit:
    """Packages from before there was a choice say nothing: they squash."""
    fit = Fit(values.get("resize", SQUASH.resize), float(values.get("crop_fraction", SQUASH.crop_fraction)))
    if fit.resize not in get_args(Resize):
        raise ValueError(f"it resizes by {fit.resize!r}, and only {', '.join(get_args(Resize))} are understood")
    return fit


def _rule(values: Mapping[str, Any]) -> PixelRule:
    """JSON has no tuples."""
    known: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in _PIXEL_KEYS
    }
    return replace(DEFAULT_RULE, **known)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
