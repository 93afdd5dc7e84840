"""Sweep files of the synthetic trainable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_spec
from sweep_runner.spec.model import SweepSpec
from tests.support.sweeps import SPEC, merged


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_text(yaml.safe_dump(merged(SPEC, changes), sort_keys=False))
        return path

    return write


@pytest.fixture
def make_spec(write_spec: Callable[..., Path]) -> Callable[..., SweepSpec]:
    def make(**changes: Any) -> SweepSpec:
        return check_spec(load_spec(write_spec(**changes))).spec

    return make
