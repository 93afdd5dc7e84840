"""What a sweep ran with: versions, git commit, hardware and command. No environment variables, no secrets."""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "sweep-runner",
    "torch",
    "torchvision",
    "timm",
    "accelerate",
    "ray",
    "optuna",
    "pyarrow",
    "onnx",
    "onnxruntime",
    "numpy",
)
MASK = "***"
_SECRET = r"(?:token|secret|passw(?:or)?d|passphrase|credential|api[-_]?key|access[-_]?key|private[-_]?key|auth)"
# `x.token=value` and `--token=value` as they are; `--token value` over two arguments.
_SECRET_SETTING = re.compile(rf"^([^=]*{_SECRET}[^=]*)=.*$", re.IGNORECASE | re.DOTALL)
_SECRET_OPTION = re.compile(rf"^-{{1,2}}[^=\s]*{_SECRET}[^=\s]*$", re.IGNORECASE)
_SECRET_URL = re.compile(r"://[^/@\s]+@")
_TOOL_PATIENCE_S = 5.0


def capture_environment(command: Sequence[str]) -> dict[str, Any]:
    """Everything that `environment.json` holds, ready for JSON.

    Args:
        command: the command line, program first; values of settings whose name says secret are masked.

    Returns:
        command, captured (when), host, platform, python, versions (package → version of those installed), git_commit
        and git_dirty (None outside a repository), num_cpus, memory_bytes, gpus (names).
    """
    commit, dirty = _git(Path.cwd())
    return {
        "command": masked(command),
        "captured": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "git_commit": commit,
        "git_dirty": dirty,
        "num_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpus": _gpus(),
    }


def versions() -> dict[str, str]:
    """The versions of the main packages that are installed, read without importing any."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def masked(command: Sequence[str]) -> str:
    """The command line as one string that a shell would read back, with secrets replaced by `***`."""
    words: list[str] = []
    hide_next = False
    for word in command:
        if hide_next and not word.startswith("-"):
            words.append(MASK)
            hide_next = False
            continue
        hide_next = bool(_SECRET_OPTION.match(word))
        shown = _SECRET_SETTING.sub(rf"\1={MASK}", word)
        words.append(_SECRET_URL.sub(f"://{MASK}@", shown))
    return " ".join(word if MASK in word and " " not in word else shlex.quote(word) for word in words)


def _git(folder: Path) -> tuple[str | None, bool | None]:
    """The commit of the repository that a folder is in, and whether tracked files differ from it."""
    commit = _output(["git", "-C", str(folder), "rev-parse", "HEAD"])
    if not commit:
        return None, None
    changes = _output(["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
    return commit, None if changes is None else bool(changes)


def _gpus() -> list[str]:
    names = _output(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"])
    return names.splitlines() if names else []


def _output(command: Sequence[str]) -> str | None:
    """What a tool prints; None when it is not there, fails, or does not answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
