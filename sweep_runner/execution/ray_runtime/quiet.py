"""What keeps Ray and Tune quiet and out of the way: environment variables, and two private places."""

from __future__ import annotations

import logging

_logger = logging.getLogger(__name__)

WORKER_ENVIRONMENT = {
    # Long enough for a stopped trial to clean up in its `finally` before its worker is reused.
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",
    # A trial's working directory is where the worker started, not a folder of Tune's.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    # Without this a worker that asks for no GPU sees all of them.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    # Tune gives it to every worker: PyTorch Lightning would fork.
    "PL_DISABLE_FORK": "1",
}
"""Of the workers. Those of an own instance inherit it, those of a cluster get it with the runtime environment."""


def tune_environment(max_pending: int) -> dict[str, str]:
    """The environment variables that make Tune quiet, keep no snapshots, and keep N workers N."""
    return {
        **WORKER_ENVIRONMENT,
        # A finished trial's worker takes the next trial at once. If Tune knew of one pending trial only, that
        # would be one whose own worker is still starting; Tune would cancel the start, and with trials
        # shorter than a start all of them would end up in one process.
        "TUNE_MAX_PENDING_TRIALS_PG": str(max_pending),
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_IGNORE_UNHANDLED_ERRORS": "1",
        # Started by `uv run`, Ray would have each worker started by uv, too, and send it the current folder: which may
        # hold gigabytes, or lie below that of the project; and without uv on PATH no worker comes, and none is missed.
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }


def quieten() -> None:
    """Imports Ray so that its signal handler and its words to stdout stay away."""
    import ray
    from ray.job_config import JobConfig

    logging.getLogger("ray").setLevel(logging.ERROR)
    # Tells at length of a dashboard that did not start; the sweep says it in a line.
    logging.getLogger("ray._private.services").setLevel(logging.CRITICAL)
    # Three private places in Ray: it would have workers look for every module in the current directory first, put a
    # handler of its own in place of ours, which ends the process without a word, and print to stdout (where our
    # results go) what it thinks of every worker that died.
    JobConfig._runtime_env_has_working_dir = lambda self: True  # then it adds no folders; ours come with a trial
    ray._private.utils.set_sigterm_handler = lambda handler: None
    ray._private.worker.print_to_stdstream = lambda data, ignore_prefix: _logger.debug("%s", data["lines"])
