"""A sweep on a Ray cluster that was there before, and goes on after: attached to, looked over, left as it was."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sweep_runner.errors import Interrupted, RequestError, SweepError
from sweep_runner.execution.cluster.address import Reached, reach
from sweep_runner.execution.cluster.preflight import NodeReport, Preflight
from sweep_runner.execution.cluster.runtime_env import runtime_env
from sweep_runner.execution.ray_runtime.leftovers import temporary_folder
from sweep_runner.execution.ray_runtime.quiet import quieten, tune_environment
from sweep_runner.execution.ray_runtime.session import RaySession, live_nodes
from sweep_runner.execution.ray_runtime.token import cluster_token, cluster_token_file
from sweep_runner.results.paths import SweepPaths
from sweep_runner.spec.plan import Plan

_MOST_PENDING = 100_000
"""Trials that Tune may know of before they run: the keeper hands out no more than there is room for."""


@dataclass(frozen=True, kw_only=True)
class AttachedSession(RaySession):
    """A Ray instance that is not the sweep's own.

    Attributes:
        preflight: looks at nodes that come later.
    """

    preflight: Preflight


def look_for(plan: Plan, paths: SweepPaths) -> Reached:
    """Makes sure that the cluster can be used, before anything that takes long. Sets Ray's environment.

    Raises:
        RequestError: it cannot.
    """
    runtime_env(plan.spec.cluster.env, paths.root.parent)  # for what it finds wrong
    _prepare_environment()
    return reach(plan.spec.cluster.address)


@contextlib.contextmanager
def attached_session(
    plan: Plan, paths: SweepPaths, reached: Reached, show: Callable[[list[NodeReport]], None]
) -> Iterator[AttachedSession]:
    """Attaches to a cluster, and looks its nodes over.

    When it is closed, or this process dies, Ray ends the actors and placement groups of this driver and no others.

    Args:
        plan: the sweep, prepared.
        paths: of its folder.
        reached: the cluster, from `look_for`.
        show: gets what was found on each node, right or wrong.

    Raises:
        RequestError: a node is not fit for the sweep.
        SweepError: the cluster went away meanwhile.
    """
    quieten()
    import ray
    from ray.job_config import JobConfig

    name, file = plan.spec.name, str(plan.loaded.path.absolute())
    with temporary_folder() as folder:
        try:
            context = _attach(
                ray,
                reached,
                runtime_env=runtime_env(plan.spec.cluster.env, paths.root.parent),
                job_config=JobConfig(metadata={"job_name": f"sweep {name}", "sweep": name, "file": file}),
            )
            preflight = Preflight(plan, paths)
            reports = preflight.look_over()
            show(reports)
            preflight.refuse(reports, live_nodes())
            url = f"http://{context.dashboard_url}" if context.dashboard_url else ""
            yield AttachedSession(folder, url, cluster_token_file(), live_nodes(), preflight=preflight)
        finally:
            ray.shutdown()


def _prepare_environment() -> None:
    assert "ray" not in sys.modules, "Ray reads its environment variables when it is imported"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")  # of Ray's native part, which writes to our stderr
    # A job of the Jobs API has a runtime environment of its own; what the sweep file says goes before it.
    os.environ.update({**tune_environment(_MOST_PENDING), **cluster_token(), "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1"})


def _attach(ray: Any, reached: Reached, **options: Any) -> Any:
    try:
        return ray.init(
            address=reached.address,
            _node_ip_address=reached.node,
            log_to_driver=False,
            logging_level="ERROR",
            configure_logging=False,
            **options,
        )
    except Interrupted:
        raise
    except Exception as error:
        # Ray says with bare exceptions that versions differ, or that a folder is too large to be sent.
        reason = " ".join(str(error).split()) or type(error).__name__
        if "ersion mismatch" in reason:
            raise RequestError(
                f"the cluster at {reached.address} runs another Ray or Python than this command: {reason}",
                hint="Install the same versions on every machine: pip install -c constraints.txt",
            ) from error
        if "size" in reason and "exceeds" in reason:
            raise RequestError(
                f"cluster.env: too large to be sent to the nodes: {reason}",
                hint="Name less of it under cluster.env.py_modules, or leave files out with cluster.env.excludes.",
            ) from error
        raise SweepError(f"could not attach to the cluster at {reached.address}: {reason}") from error
