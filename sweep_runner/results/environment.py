"""What a sweep ran with: versions, git commit, hardware and command. No environment variables, no secrets.

`environment.json` holds what the sweep began with; under `later_runs` the same of every later run (resume, extend,
retry), oldest first.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from trainables.cpus import num_cpus

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
    "pillow",
    "safetensors",
)
MASK = "***"
_SECRET = r"(?:token|secret|passw(?:or)?d|passphrase|credential|api[-_]?key|access[-_]?key|private[-_]?key|auth)"
# `x.token=value` and `--token=value` as they are; `--token value` over two arguments.
_SECRET_SETTING = re.compile(rf"^([^=]*{_SECRET}[^=]*)=.*$", re.IGNORECASE | re.DOTALL)
_SECRET_OPTION = re.compile(rf"^-{{1,2}}[^=\s]*{_SECRET}[^=\s]*$", re.IGNORECASE)
_SECRET_URL = re.compile(r"://[^/@\s]+@")
# Inside a value: `{token: x}`, `?sig=x&token=y`, `Bearer x`; and what is a key by its looks, whatever it is called.
_SECRET_INSIDE = re.compile(
    rf"""((?:[\w-]*{_SECRET}[\w-]*|[?&](?:sig|signature|key))["']?\s*[:=]\s*|\bbearer\s+|\bbasic\s+)[^\s,}}&]+""",
    re.IGNORECASE,
)
_SECRET_LOOKS = re.compile(r"\b(?:hf_|gh[opsu]_|github_pat_|glpat-|sk-|xox[abp]-|AKIA|ASIA)[\w-]{8,}")
_TOOL_PATIENCE_S = 5.0


def capture_environment(command: Sequence[str]) -> dict[str, Any]:
    """Everything that `environment.json` holds, ready for JSON.

    Args:
        command: the command line, program first; values of settings whose name says secret are masked.

    Returns:
        command, captured (when), host, platform, python, versions (package → version of those installed), git_commit
        and git_dirty (None outside a repository), git_changes (a digest of what differs from the commit in tracked
        files; None when nothing does), num_cpus (that the process may use), memory_bytes, cpu (its model),
        gpus (names), gpu_driver (its version).
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
        "git_changes": _git_changes(Path.cwd()) if dirty else None,
        "num_cpus": num_cpus(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "cpu": _cpu(),
        "gpus": _gpus("name"),
        "gpu_driver": next(iter(_gpus("driver_version")), None),
    }


def add_run(path: Path, now: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A run's environment, added to those of the earlier runs. Writes nothing; but a damaged file is put aside.

    Args:
        path: of `environment.json`; it need not be there.
        now: `capture_environment` of this run.

    Returns:
        What the file is to hold, and in words what is different in code and versions from the run before.
    """
    kept = _read(path)
    if kept is None:
        document, differences = dict(now), []
    else:
        earlier = kept.get("later_runs", [])
        document = {**kept, "later_runs": [*earlier, dict(now)]}
        differences = environment_differences(earlier[-1] if earlier else kept, now)
    return document, differences


def _read(path: Path) -> dict[str, Any] | None:
    try:
        kept = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        kept = None
    if isinstance(kept, dict) and isinstance(kept.get("later_runs", []), list):
        return kept
    path.replace(path.with_name(f"{path.name}.damaged"))
    return None


def environment_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What is different in the code and the versions of two runs, in words: `torch 2.14 → 2.15`."""
    found = []
    if before.get("git_commit") != now.get("git_commit"):
        found.append(f"git commit {_short(before.get('git_commit'))} → {_short(now.get('git_commit'))}")
    elif before.get("git_changes") != now.get("git_changes"):
        found.append("uncommitted changes of the code")
    pairs = {"python": (before.get("python"), now.get("python"))}
    old, new = before.get("versions") or {}, now.get("versions") or {}
    pairs.update({package: (old.get(package), new.get(package)) for package in dict.fromkeys((*old, *new))})
    found += [f"{name} {one or 'none'} → {other or 'none'}" for name, (one, other) in pairs.items() if one != other]
    return found


def _short(commit: Any) -> str:
    return str(commit)[:10] if commit else "none"


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
        shown = _SECRET_INSIDE.sub(rf"\1{MASK}", _SECRET_URL.sub(f"://{MASK}@", shown))
        words.append(_SECRET_LOOKS.sub(MASK, shown))
    return " ".join(word if MASK in word and " " not in word else shlex.quote(word) for word in words)


def _git(folder: Path) -> tuple[str | None, bool | None]:
    """The commit of the repository that a folder is in, and whether tracked files differ from it."""
    commit = _output(["git", "-C", str(folder), "rev-parse", "HEAD"])
    if not commit:
        return None, None
    changes = _output(["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"])
    return commit, None if changes is None else bool(changes)


def _git_changes(folder: Path) -> str | None:
    changes = _output(["git", "-C", str(folder), "diff", "HEAD"])
    return None if changes is None else hashlib.sha256(changes.encode()).hexdigest()[:16]


def gpu_names() -> list[str]:
    """This machine's GPUs, as their driver names them."""
    return _gpus("name")


def _gpus(what: str) -> list[str]:
    """Of each GPU: `name`, `driver_version`."""
    names = _output(["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"])
    return names.splitlines() if names else []


def _cpu() -> str:
    """The CPU's model, as Linux names it; else the architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.machine()


def _output(command: Sequence[str]) -> str | None:
    """What a tool prints; None when it is not there, fails, or does not answer."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
