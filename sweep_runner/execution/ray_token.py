"""The token that Ray's processes, its dashboard and its Jobs API ask for."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import platformdirs


def token_file() -> Path:
    """The token of this user's Ray instances: made once, so that a browser that was told it stays welcome.

    A file of our own, because Ray makes the one that it uses by itself readable for everybody.
    """
    own = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if own:
        return Path(own)
    path = platformdirs.user_config_path("sweep-runner") / "ray-token"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(32), encoding="ascii")
        partial.replace(path)
    return path
