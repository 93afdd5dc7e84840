"""`sweep doctor`: what this machine has and lacks."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import click

from sweep_runner.cli.common import Out, common_options, json_option
from sweep_runner.results.paths import ResultsPaths
from trainables.cpus import num_cpus
from trainables.extras import install_command
from trainables.quantities import size_text

PACKAGES = ("torch", "torchvision", "timm", "ray", "optuna", "accelerate", "pyarrow", "onnx", "onnxruntime", "duckdb")
EXTRAS = {
    "app": ("streamlit",),
    "dashboard": ("optuna_dashboard",),
    "serve": ("fastapi", "uvicorn"),
    "trackers": ("tensorboard", "wandb"),
    "mlflow": ("mlflow",),
}
HUB = ("huggingface.co", 443)
RAY_PORTS = {"dashboard": 8265, "cluster": 6379, "client": 10001}
_MIN_SHM_BYTES = 64 * 2**20  # a container's default; Ray then falls back to /tmp, which is slow
_MIN_DISK_BYTES = 5 * 10**9


@dataclass(frozen=True)
class Finding:
    """One line. `wrong` stops sweeps from running; `note` may be all right."""

    what: str
    state: Literal["ok", "note", "wrong"]
    found: str


@click.command()
@json_option
@common_options
def doctor(as_json: bool, results: ResultsPaths, out: Out) -> int:
    """Check this machine: versions, GPUs, memory, disk, ports, hub, extras.

    Exit code 1 if something is missing that every sweep needs.

    \b
    Examples:
      sweep doctor
      sweep doctor --json
    """
    findings = list(_look(results))
    if as_json:
        out.json([asdict(finding) for finding in findings])
    else:
        out.table(("what", "state", "found"), [(each.what, each.state, each.found) for each in findings])
    return int(any(finding.state == "wrong" for finding in findings))


def _look(results: ResultsPaths) -> Iterator[Finding]:
    python = sys.version.split()[0]
    yield Finding("python", "ok" if sys.version_info >= (3, 11) else "wrong", python)
    for package in PACKAGES:
        try:
            yield Finding(package, "ok", version(package))
        except PackageNotFoundError:
            yield Finding(package, "wrong", f"not installed: pip install {package}")
    yield _gpus()
    import psutil

    memory = psutil.virtual_memory()
    yield _cpus()
    yield Finding("memory", "ok", f"{size_text(memory.available)} of {size_text(memory.total)} free")
    if Path("/dev/shm").is_dir():
        room = shutil.disk_usage("/dev/shm")
        small = room.total <= _MIN_SHM_BYTES
        hint = "; Ray falls back to /tmp, which is slow: give the container more (--shm-size=2g)" if small else ""
        yield Finding("shared memory", "note" if small else "ok", f"{size_text(room.total)}{hint}")
    yield from _disks(results.root)
    for name, port in RAY_PORTS.items():
        taken = _listens(port)
        hint = "in use; a sweep takes another port by itself, but a cluster of your own needs it" if taken else "free"
        yield Finding(f"port {port} (Ray {name})", "note" if taken else "ok", hint)
    yield _hub()
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        hint = f"{', '.join(missing)} missing: {install_command(extra)}" if missing else "installed"
        yield Finding(f"extra {extra}", "note" if missing else "ok", hint)


def _cpus() -> Finding:
    usable, there = num_cpus(), os.cpu_count() or 1
    fewer = f" of {there}: this process may use no more (taskset, cpuset, container quota)"
    return Finding("cpus", "ok", f"{usable}{fewer if usable < there else ''}")


def _gpus() -> Finding:
    # In a process of its own would be slower; torch is what trials use, so its answer is the one that counts.
    from importlib import import_module

    try:
        torch = import_module("torch")
    except (ImportError, OSError) as error:
        return Finding("gpus", "wrong", f"torch does not start: {error}")
    if not torch.cuda.is_available():
        return Finding("gpus", "note", "none: trials train on CPUs")
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return Finding("gpus", "ok", ", ".join(names))


def _disks(root: Path) -> Iterator[Finding]:
    from trainables.image.data_config import DataConfig

    for what, folder in (("results", root), ("cache", DataConfig(dataset="digits").cache_folder)):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            yield Finding(f"disk of {what}", "wrong", f"{there} cannot be written; choose another folder")
        else:
            yield Finding(
                f"disk of {what}", "ok" if free > _MIN_DISK_BYTES else "note", f"{size_text(free)} free at {folder}"
            )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _hub() -> Finding:
    what = "model hub"
    if os.environ.get("HF_HUB_OFFLINE"):
        return Finding(what, "note", "HF_HUB_OFFLINE is set: only weights that are on this machine")
    try:
        with socket.create_connection(HUB, timeout=3):
            return Finding(what, "ok", f"{HUB[0]} answers")
    except OSError:
        hint = "pretrained: false and weights on this machine still work"
        return Finding(what, "note", f"{HUB[0]} does not answer: no pretrained weights can be fetched; {hint}")
