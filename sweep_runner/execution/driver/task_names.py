"""Names what a worker is asked to do after its trial, so that Ray's dashboard tells trials apart.

A worker runs one trial after another under one actor, whose name Ray never changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

_logger = logging.getLogger(__name__)


class _Named:
    """An actor whose methods are called under another name than their own."""

    def __init__(self, actor: Any, name: str) -> None:
        self._actor = actor
        self._name = name

    def __getattr__(self, method: str) -> Any:
        return getattr(self._actor, method).options(name=self._name)


def name_tasks(controller: Any, name_of: Callable[[Any], str]) -> None:
    """Gives the tasks of a Tune controller the names of their trials. Again: does nothing.

    Args:
        controller: Tune's, as a scheduler gets it, which makes a task of its worker for each report of a trial.
        name_of: a trial's name, from Tune's trial.
    """
    try:
        # Private in Ray, which has no way to name them. Without these the tasks keep the names that Tune gives.
        controller = controller._tune_controller  # a scheduler gets it in a wrapper
        if "_schedule_trial_task" in vars(controller):
            return
        schedule, actor_of = controller._schedule_trial_task, controller._trial_to_actor
        actors = controller._actor_manager._live_actors_to_ray_actors_resources
    except AttributeError as error:
        _logger.debug("tasks are not named: %s", error)
        return

    def schedule_named(trial: Any, *arguments: Any, **options: Any) -> Any:
        tracked = actor_of[trial]
        found = actors.get(tracked)
        if found is None:
            return schedule(trial, *arguments, **options)
        actor, resources = found
        actors[tracked] = (_Named(actor, name_of(trial)), resources)
        try:
            return schedule(trial, *arguments, **options)
        finally:
            actors[tracked] = found

    controller._schedule_trial_task = schedule_named
