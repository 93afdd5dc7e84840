"""What Ray sends to every worker of the cluster: our settings for workers, and the sweep file's `cluster.env`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sweep_runner.errors import Problem, RequestError
from sweep_runner.execution.ray_runtime.quiet import WORKER_ENVIRONMENT
from sweep_runner.spec.cluster import ClusterEnv
from trainables import allocator

_NEVER_SENT = (".git", ".venv", "__pycache__")


def runtime_env(env: ClusterEnv, results: Path) -> dict[str, Any]:
    """The runtime environment, as `ray.init` takes it.

    Args:
        env: of the sweep file, with absolute paths.
        results: the results folder, which is never sent: nodes share it.

    Raises:
        RequestError: a variable that is to be taken from here is not set here.
    """
    missing = [name for name, value in env.env_vars.items() if value is None and name not in os.environ]
    if missing:
        raise RequestError(
            [
                Problem(
                    f"cluster.env.env_vars.{name} has no value, and is not set in this environment",
                    hint=f"export {name}=…, or give the value in the sweep file (it is then kept with the sweep).",
                )
                for name in missing
            ]
        )
    given = {name: os.environ[name] if value is None else value for name, value in env.env_vars.items()}
    made: dict[str, Any] = {"env_vars": {**allocator.ENVIRONMENT, **WORKER_ENVIRONMENT, **given}}
    if env.working_dir is not None:
        folder = Path(env.working_dir)
        excludes = [*_NEVER_SENT, *env.excludes]
        if results.is_relative_to(folder) and results != folder:
            excludes.append(f"/{results.relative_to(folder)}/")
        made |= {"working_dir": env.working_dir, "excludes": excludes}
    elif env.excludes:
        made["excludes"] = list(env.excludes)
    if env.py_modules:
        made["py_modules"] = list(env.py_modules)
    if env.pip:
        made["pip"] = list(env.pip)
    return made
