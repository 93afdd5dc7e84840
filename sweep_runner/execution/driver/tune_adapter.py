"""Ray Tune as a disposable executor: a searcher and a scheduler that only pass on what the keeper decides.

Tune keeps no state that matters. When it dies, a new Tuner with new objects goes on from the keeper.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.execution import class_cache
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.trainable import wrap_function

from sweep_runner.errors import SweepError
from sweep_runner.execution.driver.task_names import name_tasks
from sweep_runner.execution.keeper.keeper import Keeper
from sweep_runner.execution.ray_runtime.servers import ServerDied
from sweep_runner.execution.resources.slots import Slot
from sweep_runner.execution.worker.loop import run, take
from sweep_runner.execution.worker.lost import why_lost
from sweep_runner.execution.worker.messages import Assignment, Message

MAX_RESTARTS = 5
"""How often a dead Tune is started again before the sweep gives up (it can be resumed)."""

_logger = logging.getLogger(__name__)


class Link:
    """What searcher and scheduler share: the keeper, and which Tune trial is which of ours.

    Tune copies and pickles what it is given; a link stays itself when copied and does not travel.
    """

    def __init__(self, keeper: Keeper, on_tick: Callable[[], None]) -> None:
        self.keeper = keeper
        self.on_tick = on_tick
        self.trials: dict[str, tuple[int, int]] = {}
        self.labels: dict[str, str] = {}
        # Of several workers each number has places of its own, which Tune makes.
        self.places_are_alike = keeper.spec.resources.workers == 1 and "workers" not in keeper.spec.space
        self.error: BaseException | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Link:
        return self

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return (object, ())

    def tick(self) -> None:
        """Calls `on_tick`; what it raises ends the sweep.

        Raises:
            ServerDied: at once, out of Tune, which would wait for ever for workers that are gone.
        """
        try:
            self.on_tick()
        except ServerDied as error:
            self.fail(error)
            raise
        except Exception as error:  # noqa: BLE001 - carried to the caller of `run_trials`
            self.fail(error)

    def next(self, trial_id: str) -> Assignment | None:
        """The next hand-out, for a trial of Tune's; None when there is none now."""
        try:
            assignment = self.keeper.next()
        except Exception as error:  # noqa: BLE001 - carried to the caller of `run_trials`
            self.fail(error)
            return None
        if assignment is not None:
            self.trials[trial_id] = (assignment.trial, assignment.attempt)
            self.labels[trial_id] = assignment.label
        return assignment

    def cut_off(self) -> set[tuple[int, int]]:
        """The trials whose workers are to be ended because the search has: looks at the clock first."""
        try:
            self.keeper.end.end_if_due()
        except Exception as error:  # noqa: BLE001 - carried to the caller of `run_trials`
            self.fail(error)
        found, self.keeper.end.cut_off = self.keeper.end.cut_off, set()
        return found

    def fail(self, error: BaseException) -> None:
        """The keeper could not record: nothing may go on. The error surfaces when Tune has wound down."""
        self.error = self.error or error
        self.keeper.stopping = True


class KeeperSearcher(Searcher):  # type: ignore[misc]  # ray has no types
    """Asks the keeper for the next trial."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def suggest(self, trial_id: str) -> Any:
        keeper = self._link.keeper
        if not keeper.live:
            self._link.tick()  # with nothing live, Tune waits for a trial and calls nothing else
        assignment = self._link.next(trial_id)
        if assignment is not None:
            return {"assignment": assignment.to_json()}
        # FINISHED is final, so it is only said when nothing that is live can come back to be tried again.
        return Searcher.FINISHED if keeper.stopping or keeper.finished else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tune may call it twice; the outcome came as a message before, unless the worker was lost."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the study and the log are the state."""

    def restore(self, checkpoint_path: str) -> None:
        raise NotImplementedError("a sweep is resumed from its study and log, never from Tune's files")


class KeeperScheduler(FIFOScheduler):  # type: ignore[misc]  # ray has no types
    """Hands each message to the keeper and answers with its decision."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        # Tune keeps every trial for ever, with means over the last steps of whatever it measures: 8 KiB a trial that
        # nobody reads. (Private in Tune; does nothing should it be called otherwise one day.)
        trial.run_metadata._n_steps = ()
        name_tasks(tune_controller, lambda trial: self._link.labels[trial.trial_id])

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number, _ = self._link.trials[trial.trial_id]
        try:
            go_on = self._link.keeper.on_message(number, Message.from_json(result["message"]))
        except Exception as error:  # noqa: BLE001 - carried to the caller of `run_trials`
            self._link.fail(error)
            go_on = False
        if not go_on and self._link.places_are_alike:
            go_on = self._give_next(trial)
        return str(TrialScheduler.CONTINUE if go_on else TrialScheduler.STOP)

    def _give_next(self, trial: Any) -> bool:
        """Gives the worker that has just ended a trial its next one; whether there is one.

        To Tune it is all one trial: a new one would cost it a restart of the worker's function, and memory for ever.
        """
        if trial.placement_group_factory.required_resources.get("GPU", 0.0) != self._link.keeper.gpus:
            return False  # trials get another share of a GPU now: the next one has a place of its own
        assignment = self._link.next(trial.trial_id)
        if assignment is None:
            return False
        # Calls of an actor are run in order: this one before the answer to the report, which the worker waits for.
        _actor_of(trial).take.options(name=assignment.label).remote(assignment.to_json())
        return True

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        number, attempt = self._link.trials[trial.trial_id]
        try:
            loss = why_lost(trial)
            self._link.keeper.on_lost(number, attempt, loss.reason, of_node=loss.of_node)
        except Exception as error:  # noqa: BLE001 - carried to the caller of `run_trials`
            self._link.fail(error)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Called at least every 0.1 s: also the place to notice that the user wants to stop.

        Tune starts pending trials by itself; its own scan over all trials for this is left out.
        """
        self._link.tick()
        keeper = self._link.keeper
        live = list(tune_controller.get_live_trials())
        keeper.wait_for_place(self._link.trials[trial.trial_id] for trial in live if trial.status == Trial.PENDING)
        overdue = set(keeper.overdue()) | self._link.cut_off()
        if keeper.stopping or overdue:
            for trial in live:
                if keeper.stopping or self._link.trials[trial.trial_id] in overdue:
                    _kill_worker(trial)
        return None


def run_trials(
    keeper: Keeper, slot: Slot, folder: Path, on_tick: Callable[[], None], sweep: str, *, inherits: bool
) -> None:
    """Runs until the keeper has nothing more to hand out, or is told to stop.

    Args:
        keeper: decides and records.
        slot: what a trial gets.
        folder: temporary, for whatever Tune writes.
        on_tick: called many times a second in this thread.
        sweep: its name, under which Ray's dashboard shows the workers.
        inherits: workers have this process's environment by themselves, as in an instance of the sweep's own.

    Raises:
        SweepError: Tune died again and again.
        Exception: what the keeper raised while recording (disk full, ...).
    """
    # Tune logs every lost worker with a traceback; the keeper records the reason.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    RayActorManager._actor_task_failed = _actor_task_failed
    if inherits:
        # Private in Tune, which asks for workers with these variables: none of those that Ray has started (and that
        # have imported PyTorch) would do, and as many again would be started.
        class_cache.DEFAULT_ENV_VARS = {}
        class_cache.ENV_VARS_TO_PROPAGATE = frozenset()
    for restart in range(MAX_RESTARTS + 1):
        link = Link(keeper, on_tick)
        tuner = tune.Tuner(
            _trainable_class(sweep, slot),
            tune_config=tune.TuneConfig(
                search_alg=KeeperSearcher(link),
                scheduler=KeeperScheduler(link),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
                trial_name_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=f"run-{restart}",
                storage_path=str(folder),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        )
        died: Exception | None = None
        try:
            tuner.fit()
        except Exception as error:  # noqa: BLE001 - Tune has ways to die that are no fault of a trial
            died = error
        if link.error is not None:
            raise link.error
        if keeper.stopping or (died is None and not keeper.live):
            return
        _logger.debug("Tune died, starting it again", exc_info=died)
        keeper.requeue_live()
    raise SweepError(f"Ray Tune died {MAX_RESTARTS + 1} times, last with: {died}. `sweep resume` goes on from here.")


_original_actor_task_failed = RayActorManager._actor_task_failed


def _actor_task_failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
    """In place of Tune's: a worker that Ray's memory monitor ended is a lost worker, and no reason for Tune to die.

    Private in Ray, which knows two kinds of failure here and dies of any other, whatever `max_failures` says.
    """
    if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
        exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
    _original_actor_task_failed(self, tracked_actor_task, exception)


def _trainable_class(sweep: str, slot: Slot) -> type:
    """Tune's class for our worker function, under a name that tells in Ray's dashboard whose it is."""

    def request(cls: type, config: Mapping[str, Any]) -> PlacementGroupFactory:
        assignment = Assignment.from_json(config["assignment"])
        workers = assignment.workers
        bundle = {"CPU": slot.cpus} | ({"GPU": assignment.gpus} if assignment.gpus else {})
        # Of several workers each has a bundle, and what Tune starts, which only passes on what they say, has none.
        return PlacementGroupFactory([bundle] if workers == 1 else [{}, *[bundle] * workers], strategy="PACK")

    # Not tune.with_resources: it would put a class of its own, with its own name, around this one.
    members: dict[str, Any] = {"default_resource_request": classmethod(request), "take": _take}
    return type(f"sweep {sweep}", (wrap_function(run, name=f"sweep {sweep}"),), members)


def _take(self: Any, text: str) -> None:
    """A method of the worker's actor."""
    take(text)


def _kill_worker(trial: Any) -> None:
    actor = _actor_of(trial)
    if actor is not None:
        ray.kill(actor)


def _actor_of(trial: Any) -> Any:
    # Private in Tune, and the only way to a trial's process.
    return trial.temporary_state.ray_actor
