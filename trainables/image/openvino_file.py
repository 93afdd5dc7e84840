"""A model package's file for OpenVINO: a network (`.xml`), its weights beside it (`.bin`), and what it says of itself.

Its answers are those of float32. Left to itself, OpenVINO computes in bfloat16 where the processor can, and the
probabilities are then about 0.01 apart.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trainables.cpus import num_cpus
from trainables.errors import DataError
from trainables.extras import install_command

SUFFIX = ".xml"
WEIGHTS_SUFFIX = ".bin"
METADATA = ["sweep_runner", "metadata"]
"""Where the file's runtime information has what an ONNX file has as metadata: one JSON object."""


class OpenVinoModel:
    """A network that OpenVINO runs, for several threads at a time."""

    def __init__(self, path: Path, num_threads: int) -> None:
        """Loads it.

        Args:
            path: of the `.xml`.
            num_threads: CPU threads for each image or batch.

        Raises:
            DataError: OpenVINO is not installed, or the file is missing or damaged.
        """
        try:
            import openvino
        except ImportError as error:
            raise DataError(f"{path}: needs OpenVINO, which is not installed: {install_command('openvino')}") from error
        for file in (path, path.with_suffix(WEIGHTS_SUFFIX)):
            if not file.is_file():
                raise DataError(f"{file}: no such file (an OpenVINO model is a .xml and a .bin with the same name)")
        core = openvino.Core()
        try:
            network = core.read_model(path)
            self._compiled = core.compile_model(network, "CPU", _settings(num_threads))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise DataError(
                f"{path}: not a usable OpenVINO model ({reason}). It may be cut short or damaged: export or copy it "
                "again, together with its .bin."
            ) from error
        self.metadata = _metadata(network)
        self.inputs = [(_name(each), _type(each), len(each.partial_shape)) for each in network.inputs]
        self.outputs = [(_name(each), [_length(size) for size in each.partial_shape]) for each in network.outputs]
        self._requests = threading.local()
        if self.metadata:  # else it is no model of ours, and is refused
            # Once in one thread: where several are the first to hand OpenVINO (2026.4) an array, they wait for each
            # other for ever. Its table of array types is made then, with a lock of its own below Python's.
            size = [each.get_length() if each.is_static else 1 for each in network.inputs[0].partial_shape]
            self.run(np.zeros(size, dtype=np.uint8))

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Probabilities of images.

        Raises:
            DataError: their size is not the model's.
        """
        if not hasattr(self._requests, "own"):
            self._requests.own = self._compiled.create_infer_request()
        wanted = self._compiled.inputs[0].partial_shape
        if not wanted.compatible(type(wanted)(list(images.shape))):
            raise DataError(f"images of {images.shape[1:]}, and the OpenVINO model takes {wanted}")
        found = self._requests.own.infer({0: images})[0]
        return np.array(found, dtype=np.float32)  # a copy: the request's own memory is used for the next images


def _settings(num_threads: int) -> Mapping[str, Any]:
    # A stream for each of those who may call at the same time: within one stream they would wait for each other.
    streams = max(1, num_cpus() // num_threads)
    return {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": streams * num_threads,
        "NUM_STREAMS": streams,
    }


def _metadata(network: Any) -> Mapping[str, str]:
    if not network.has_rt_info(METADATA):
        return {}
    try:
        found = json.loads(network.get_rt_info(METADATA).astype(str))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _name(port: Any) -> str:
    return str(next(iter(port.names), ""))


def _type(port: Any) -> str:
    return "tensor(uint8)" if port.element_type.get_type_name() == "u8" else str(port.element_type.get_type_name())


def _length(size: Any) -> int | str:
    return int(size.get_length()) if size.is_static else "batch"
