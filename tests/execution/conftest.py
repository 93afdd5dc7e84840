"""Sweep files of the synthetic trainable."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep_runner.spec.check import check_spec
from sweep_runner.spec.loader import load_spec
from sweep_runner.spec.model import SweepSpec
from tests.support.sweeps import spec_writer


@pytest.fixture
def write_spec(tmp_path: Path) -> Callable[..., Path]:
    return spec_writer(tmp_path)


@pytest.fixture
def make_spec(write_spec: Callable[..., Path]) -> Callable[..., SweepSpec]:
    def make(**changes: Any) -> SweepSpec:
        return check_spec(load_spec(write_spec(**changes))).spec

    return make
