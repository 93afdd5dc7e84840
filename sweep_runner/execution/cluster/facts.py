"""What a node says of itself before the first trial. Travels by value: the node may lack this package, or have another.

So nothing here is imported from this project but inside `try`, and only plain values go in and out.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import platform
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import Any


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Looks at the machine that it runs on.

    Args:
        request: `packages` (whose versions), `modules` (whose code), `import_paths`, `folder` (the marker's),
            `marker` (the driver's text in it), `mine` (the name of the marker to write), `remote` (where the results
            are instead, or None), and `trainable`, `data`, `data_folder` to see the data as a trial will.

    Returns:
        host, python, versions (package → version, None when missing), digests (module → of its code, or why there is
        none), free_memory_bytes, free_disk_bytes, read (the marker's text, or None), storage_error, data, data_error.
    """
    sys.path += [path for path in request["import_paths"] if path not in sys.path]
    found: dict[str, Any] = {
        "host": platform.node(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in request["packages"]},
        "digests": {module: _digest(module) for module in request["modules"]},
        "free_memory_bytes": _free_memory_bytes(),
        "free_disk_bytes": None,
        "read": None,
        "storage_error": "",
        "data": "",
        "data_error": "",
    }
    try:
        if request["remote"] is not None:
            _reach_storage(request["remote"])
            found["read"] = request["marker"]
            found["free_disk_bytes"] = shutil.disk_usage(Path.home()).free
        else:
            folder = Path(request["folder"])
            found["read"] = (folder / "driver").read_text()
            (folder / request["mine"]).write_text(request["marker"])
            found["free_disk_bytes"] = shutil.disk_usage(folder).free
    except Exception as error:  # noqa: BLE001 - a library that is missing there is told as what it says
        found["storage_error"] = getattr(error, "strerror", None) or f"{error}"
    if found["storage_error"] or request["remote"] is not None:
        return found  # without the folder there is no data to be seen either
    try:
        found["data"] = _data(request)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - told to the user, whatever a user's module raises
        found["data_error"] = f"{type(error).__name__}: {error}"
    return found


def _reach_storage(remote: dict[str, str]) -> None:
    """Writes to where the results are, and removes it again: with this node's own credentials."""
    address = importlib.import_module("sweep_runner.results.remote.address").Address(**remote)
    importlib.import_module("sweep_runner.results.remote.store").Store(address).check(writable=True)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _digest(module: str) -> str:
    """Of the module's file, or of every file of the package; in words why there is none."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception as error:  # noqa: BLE001 - a package above it raised while it was imported
        return f"missing ({type(error).__name__}: {error})"
    if spec is None:
        return "missing"
    files = [Path(spec.origin)] if spec.origin and os.path.isfile(spec.origin) else []  # noqa: PTH113 - may be "built-in"
    for folder in spec.submodule_search_locations or ():
        files += sorted(Path(folder).rglob("*.py"))
    digest = hashlib.sha256()
    for file in dict.fromkeys(files):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _free_memory_bytes() -> int | None:
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def _data(request: dict[str, Any]) -> str:
    loading = importlib.import_module("trainables.loading")
    trainable = loading.load_trainable(request["trainable"])
    parsed = trainable.data_class.model_validate(request["data"])
    return str(trainable(parsed, Path(request["data_folder"])).data_here())
