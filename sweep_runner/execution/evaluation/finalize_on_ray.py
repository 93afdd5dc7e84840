"""Final evaluations on the nodes of a cluster: where the GPUs are may not be where the driver is."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep_runner.execution.evaluation.finalize import Finalizer, FinalResult, FinalTask, finalize
from sweep_runner.execution.resources.slots import Slot
from trainables.environment import withhold

_POLL_S = 0.5


def on_ray(slot: Slot, only_here: bool) -> Finalizer:
    """Runs tasks side by side as far as there is room.

    Args:
        slot: what each gets.
        only_here: on the driver's node, the only one that has the checkpoints when results are remote.
    """
    return partial(_finalize_on_ray, slot, only_here)


def _finalize_on_ray(
    slot: Slot, only_here: bool, tasks: Sequence[FinalTask], stopped: Callable[[], bool]
) -> list[FinalResult]:
    needs = _on_this_node(slot) if only_here else {"num_cpus": slot.cpus, "num_gpus": slot.gpus}
    remote = ray.remote(max_retries=0, **needs)(_finalize_json)
    named = remote.options(name="final evaluation")
    answers = [named.remote(dataclasses.asdict(task) | {"num_threads": slot.num_threads}) for task in tasks]
    pending = answers
    while pending and not stopped():
        _, pending = ray.wait(pending, num_returns=len(pending), timeout=_POLL_S)
    for answer in pending:
        ray.cancel(answer, force=True)
    return [_answered(answer) for answer in answers]


def _on_this_node(slot: Slot) -> dict[str, Any]:
    """Options of a Ray task that runs on the driver's node, with a slot there or with what the node has of it."""
    node = ray.get_runtime_context().get_node_id()
    has = next(each["Resources"] for each in ray.nodes() if each["NodeID"] == node)
    return {
        "num_cpus": min(slot.cpus, has.get("CPU", 0.0)),
        "num_gpus": min(slot.gpus, has.get("GPU", 0.0)),
        "scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False),
    }


def _answered(promise: Any) -> FinalResult:
    try:
        answer = ray.get(promise)
    except ray.exceptions.RayError as error:
        # Of a cancelled task the error has no text.
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        return FinalResult(metrics={}, num_examples={}, verified=None, error=f"the final evaluation failed: {reason}")
    return FinalResult(**answer)


def _finalize_json(task: dict[str, Any]) -> dict[str, Any]:
    withhold(os.environ)
    return dataclasses.asdict(finalize(FinalTask(**task)))
