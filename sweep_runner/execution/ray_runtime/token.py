"""The token that Ray's processes, its dashboard and its Jobs API ask for."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import platformdirs

_MODE, _TOKEN, _PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


def token_file() -> Path:
    """The token of this user's Ray instances: made once, so that a browser that was told it stays welcome.

    A file of our own, because Ray makes the one that it uses by itself readable for everybody.
    """
    own = os.environ.get(_PATH)
    if own:
        return Path(own)
    path = _own_file()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.touch(mode=0o600)
        partial.write_text(secrets.token_hex(32), encoding="ascii")
        partial.replace(path)
    return path


def cluster_token() -> dict[str, str]:
    """The environment variables with which Ray shows a cluster that was there before the token that it asks for.

    What the user set, in Ray's own variables; else our own file, else Ray's. Without any: no token is shown.
    """
    if os.environ.get(_TOKEN) or os.environ.get(_PATH):
        return {_MODE: os.environ.get(_MODE) or "token"}
    for path in (_own_file(), _rays_file()):
        if path.is_file():
            return {_MODE: "token", _PATH: str(path)}
    # Whatever the mode is to be: with one that wants a token and none there, Ray ends the process without a word.
    return {_MODE: "disabled"}


def cluster_token_file() -> Path | None:
    """The file that holds the token of `cluster_token`; None when it is in a variable, or there is none."""
    if os.environ.get(_TOKEN):
        return None
    path = cluster_token().get(_PATH) or os.environ.get(_PATH)
    return Path(path) if path else None


def token_hint() -> str:
    """Which token is shown to a cluster, in words."""
    if os.environ.get(_TOKEN):
        return "it received the one in RAY_AUTH_TOKEN"
    path = cluster_token_file()
    if path is None:
        return "it received none, because there is neither RAY_AUTH_TOKEN nor RAY_AUTH_TOKEN_PATH nor a token file"
    return f"it received the one in {path}" + ("" if path.is_file() else ", which does not exist")


def _own_file() -> Path:
    return platformdirs.user_config_path("sweep-runner") / "ray-token"


def _rays_file() -> Path:
    return Path.home() / ".ray" / "auth_token"
