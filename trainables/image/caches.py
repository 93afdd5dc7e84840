"""The user's cache folder, where the sweep file names none."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$SWEEP_CACHE, or the user's cache folder."""
    if folder := os.environ.get("SWEEP_CACHE"):
        return Path(folder).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("sweep-runner"))
