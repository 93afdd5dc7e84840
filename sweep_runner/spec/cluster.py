"""The section `cluster` of the sweep file: on which Ray cluster the sweep runs, and what its nodes are sent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sweep_runner.spec.document import KeyPath

LOCAL = "local"
"""The address that stands for an instance of the sweep's own, on this machine."""

_HOST_PORT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")


def _address(value: str) -> str:
    if value in (LOCAL, "auto"):
        return value
    if value.startswith(("http://", "https://")):
        raise ValueError(
            f"{value!r} is the address of Ray's dashboard: use the head's, HOST:PORT (6379 unless started with "
            f"another --port)"
        )
    if value.startswith("ray://"):
        raise ValueError(
            f"{value!r} is a Ray client address, which sweeps do not support: use the head's, HOST:PORT, on a node "
            f"of the cluster"
        )
    match = _HOST_PORT.fullmatch(value)
    if match is None or not 0 < int(match[1]) < 65536:
        raise ValueError(f'{value!r} is neither HOST:PORT (such as "10.0.0.5:6379") nor auto nor local')
    return value


def _some(value: str) -> str:
    if not value:
        raise ValueError("an empty path")
    return value


def _listed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Address = Annotated[str, AfterValidator(_address)]
Location = Annotated[str, AfterValidator(_some)]
Locations = Annotated[tuple[Location, ...], BeforeValidator(_listed)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)


class ClusterEnv(_Section):
    """What every worker of the cluster gets, through Ray's runtime environment."""

    working_dir: Location | None = Field(
        None, description="A folder that is sent to each node, so that trials can import its modules. At most 500 MiB."
    )
    py_modules: Locations = Field(
        (), description="Packages (folders) and modules (.py files) that are sent to each node for import."
    )
    excludes: Texts = Field(
        (),
        description="Patterns of files that are not sent, as in .gitignore. .git, .venv and the results folder "
        "never are.",
    )
    env_vars: dict[str, str | None] = Field(
        default_factory=dict,
        description="Environment variables of the workers. Without a value: taken from this environment when the "
        "sweep starts, and not stored.",
    )
    pip: Texts = Field((), description="Packages that each node installs for the workers, in pip's syntax.")


class Cluster(_Section):
    """On which Ray cluster the sweep runs."""

    address: Address = Field(
        LOCAL,
        description="`HOST:PORT` of a running Ray cluster's head, `auto` (the one on this machine), or `local`: the "
        "sweep starts its own instance on this machine. `--address` overrides it.",
    )
    env: ClusterEnv = Field(default_factory=ClusterEnv)


def absolute(cluster: Cluster) -> Cluster:
    """The section with its paths absolute: the workers' folders are others."""
    env = cluster.env
    working_dir = None if env.working_dir is None else _absolute(env.working_dir)
    modules = tuple(_absolute(module) for module in env.py_modules)
    return cluster.model_copy(
        update={"env": env.model_copy(update={"working_dir": working_dir, "py_modules": modules})}
    )


def wrong_paths(cluster: Cluster) -> Iterator[tuple[KeyPath, str, str]]:
    """What cannot be sent to a node: the key's path, the message, a hint."""
    env = cluster.env
    if env.working_dir is not None and not Path(_absolute(env.working_dir)).is_dir():
        yield ("cluster", "env", "working_dir"), *_not_there(env.working_dir, "working_dir", "a folder")
    for position, module in enumerate(env.py_modules):
        path = Path(_absolute(module))
        if not path.is_dir() and not (path.is_file() and path.suffix in (".py", ".whl", ".zip")):
            yield (
                ("cluster", "env", "py_modules", position),
                *_not_there(module, "py_modules", "a package's folder, a .py file, a wheel or a .zip"),
            )


def _not_there(given: str, key: str, wanted: str) -> tuple[str, str]:
    path = Path(_absolute(given))
    state = "is neither" if path.exists() else "does not exist"
    hint = "" if Path(given).is_absolute() else f"Relative paths are relative to the current directory, {Path.cwd()}."
    return f"cluster.env.{key} is {given!r}, which must be {wanted}: {path} {state}", hint


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())
