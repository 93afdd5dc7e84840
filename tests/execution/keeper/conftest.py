"""Where sweeps are recorded."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tmp_path(in_memory: Path) -> Path:
    """These tests record thousands of times."""
    return in_memory
