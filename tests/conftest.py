"""What tests of several rooms need."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

from trainables.image.package import INPUT, ONNX_FILE, OUTPUT, PackageFacts

# Tests never time things: a loaded machine is no error.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

COLORS = ("red", "green", "blue")
_IN_MEMORY = Path("/dev/shm")  # Linux has a file system there
_ROOM_BYTES = 1e9


def write_color_model(
    folder: Path, *, multilabel: bool = False, resolution: int = 8, threshold: float | tuple[float, ...] = 0.5
) -> Path:
    """A package without training: how probable a color is depends on the image's mean of its channel.

    Single-label: softmax(mean / 16). Multi-label: sigmoid((mean - 128) / 16), a label a channel.
    """
    facts = PackageFacts(COLORS, multilabel, resolution, 3, threshold, origin={"sweep": "colors", "trial": 7})
    shape = ["batch", "height", "width", 3]
    shift = np.array([128.0 if multilabel else 0.0], dtype=np.float32)
    nodes = [
        helper.make_node("Cast", [INPUT], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Sub", ["means", "shift"], ["shifted"]),
        helper.make_node("Div", ["shifted", "scale"], ["logits"]),
        helper.make_node("Sigmoid" if multilabel else "Softmax", ["logits"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "axes"),
            numpy_helper.from_array(shift, "shift"),
            numpy_helper.from_array(np.array([16.0], dtype=np.float32), "scale"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    for key, value in facts.to_metadata().items():
        model.metadata_props.add(key=key, value=value)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / ONNX_FILE)
    return folder


@pytest.fixture(autouse=True)
def environment_of_its_own() -> Iterator[None]:
    """What a test's own sweep sets for Ray in this process (TMPDIR, a folder that is gone then) ends with the test."""
    before = dict(os.environ)
    yield
    if dict(os.environ) != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder in memory where there is room, gone after the test: for tests that would wait for the disk most of the
    time, because every record is brought there.
    """
    usable = os.access(_IN_MEMORY, os.W_OK) and shutil.disk_usage(_IN_MEMORY).free > _ROOM_BYTES
    with tempfile.TemporaryDirectory(prefix="sweep-tests-", dir=_IN_MEMORY if usable else None) as folder:
        yield Path(folder)


@pytest.fixture
def color_model(tmp_path: Path) -> Path:
    """The folder of a model package that tells red, green and blue images apart."""
    return write_color_model(tmp_path / "color-model")


@pytest.fixture
def color_labels_model(tmp_path: Path) -> Path:
    """As `color_model`, multi-label: every channel that is bright is a label."""
    return write_color_model(tmp_path / "color-labels-model", multilabel=True)


LEFT_OUT = {"long": "--long", "cluster": "--cluster"}
"""Marks of tests that only run when they are asked for."""


def pytest_addoption(parser: pytest.Parser) -> None:
    for mark, option in LEFT_OUT.items():
        parser.addoption(option, action="store_true", help=f"run the tests marked `{mark}`, too")


LONGEST = (
    "tracking/test_watched_sweep.py",
    "jobs/test_jobs.py",
    "faults/test_driver_kills.py",
    "examples/test_tutorial.py",
    "examples/test_notebook.py",
    "driver/test_folds_sweep.py",
    "faults/test_disk_full.py",
    "evaluation/test_final_evaluation.py",
    "cli/test_model_commands.py",
    "faults/test_remote_sweeps.py",
    "keeper/test_search_end_on_ray.py",
    "driver/test_changed_between_runs.py",
    "driver/test_shared_gpu.py",
)
"""Of the files with real sweeps, those that begin: no process is to sit by at the end while another has a long one."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """When only real sweeps are asked for, a file that has none is not imported: most of them, for twenty seconds."""
    if config.option.markexpr != "ray" or not collection_path.name.startswith("test_"):
        return None
    return True if "mark.ray" not in collection_path.read_text(encoding="utf-8") else None


def _place(item: pytest.Item) -> int:
    path = item.path.as_posix()
    return next((place for place, name in enumerate(LONGEST) if path.endswith(name)), len(LONGEST))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marks = [mark for mark, option in LEFT_OUT.items() if not config.getoption(option)]
    left_out = [item for item in items if any(item.get_closest_marker(mark) for mark in marks)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]
    if config.option.markexpr == "ray":
        items.sort(key=_place)


def pytest_collection_finish() -> None:
    """What collecting has imported stays: garbage collections need not walk through it, again and again.

    With torch and timm there is so much of it that each collection takes tenths of a second.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """What ends with the process is collected as ever: some libraries warn of what is left of them."""
    gc.unfreeze()
