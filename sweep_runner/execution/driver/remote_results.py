"""The driver's side of results on object storage: checked and leased before anything starts, uploaded until the end."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from sweep_runner.durable import write_atomically
from sweep_runner.errors import SweepError
from sweep_runner.execution.keeper.retention import num_kept
from sweep_runner.results.paths import SweepPaths, remote_url
from sweep_runner.results.state import RANKED, SweepState
from sweep_runner.spec.model import SweepSpec

if TYPE_CHECKING:
    from sweep_runner.results.remote.lease import Lease
    from sweep_runner.results.remote.store import Store

_RUN_FILE = ".run"


class RemoteResults:
    """One run's hold on a sweep on the storage."""

    def __init__(self, store: Store, paths: SweepPaths, lease: Lease, warn: Callable[[str], None]) -> None:
        """Use `remote_results`."""
        from sweep_runner.results.remote.checkpoints import Place
        from sweep_runner.results.remote.mirror import Mirror

        self._store = store
        self._paths = paths
        self._lease = lease
        self._mirror = Mirror(store, paths, lease, warn)
        self._started = False
        mark = paths.root / _RUN_FILE
        run = secrets.token_hex(4)
        write_atomically(mark, run.encode())
        self.place: dict[str, Any] = Place(store.address, run, str(mark)).to_json()

    @property
    def lost(self) -> bool:
        """Whether another machine has taken the sweep over."""
        return bool(self._mirror.lost)

    def start(self) -> None:
        """Begins to upload. Call it when the sweep's files are open."""
        self._started = True
        self._mirror.start()

    def drop(self, trial: int, keep_epoch: int | None) -> None:
        """Removes a trial's checkpoints from the storage, all or all but one."""
        self._mirror.drop(trial, keep_epoch)

    def check(self) -> None:
        """Ends a run that is not the sweep's any more.

        Raises:
            SweepError: another machine has taken the sweep over.
        """
        if self.lost:
            raise SweepError(
                f"sweep {self._paths.name!r} was taken over by {self._mirror.lost}, and continues there; what this "
                f"run did since then is in {self._paths.root} only"
            )

    def bring_checkpoints(self, spec: SweepSpec, state: SweepState, published: int | None) -> None:
        """Brings the checkpoints that the end of the sweep needs: of the best trials and of baselines, and those that a
        soup or an ensemble is made of.

        What cannot be brought is as if it was not there; the mirror tells that the storage is gone.
        """
        from sweep_runner.results.remote.checkpoints import bring_checkpoints, digest
        from sweep_runner.results.remote.store import StoreError

        best = state.best()
        numbers = {summary.trial if summary.copy_of is None else summary.copy_of for summary in [best] if summary}
        if state.answer is not None:
            numbers.add(state.answer["chosen"])
        numbers -= {published}
        best_few = {each.trial for each in state.ranked()[: spec.keep.best]}
        for summary in state.trials.values():
            if (
                summary.name is not None or summary.trial in best_few
            ) and "val_num_examples" not in summary.final_metrics:
                numbers.add(summary.trial if summary.copy_of is None else summary.copy_of)
        if spec.export.soup or spec.export.ensemble:
            # By the checkpoints that are there it is known whether they were judged, also of what is published.
            several = state.ranked()[: num_kept(spec)]
            numbers |= {each.trial if each.copy_of is None else each.copy_of for each in several}
        found = [state.trials[number] for number in sorted(number for number in numbers if number is not None)]
        wanted = [
            (each.trial, each.best_epoch, digest(spec.config_of(each.params)))
            for each in found
            if each.state in RANKED and each.best_epoch
        ]
        with contextlib.suppress(StoreError):
            bring_checkpoints(self._store, self._paths, wanted)

    def put_aside(self) -> None:
        """Moves the sweep's objects out of the way, where no command looks.

        Raises:
            StoreError: the storage does not answer.
        """
        from sweep_runner.results.remote.address import address_of
        from sweep_runner.results.remote.store import Store

        self._lease.release()
        address = address_of(self._paths.root.parent)
        assert address is not None
        Store(address).move(self._paths.name, f".replaced/{self._paths.name}-{time.strftime('%Y%m%d-%H%M%S')}")

    def close(self) -> None:
        """Uploads a last time and gives the lease back."""
        if self._started:
            self._mirror.close()
        else:
            with contextlib.suppress(SweepError):  # it was not used, and goes stale by itself
                self._lease.release()

    @property
    def problem(self) -> str:
        """After `close`: what is not uploaded, why, and what to do; empty when everything is."""
        if not self._mirror.problem:
            return ""
        if self.lost:
            return self._mirror.problem
        return (
            f"not all of {self._paths.name} is uploaded: {self._mirror.problem}. "
            f"{self._paths.root} has everything; upload it later with: {self._paths.command('sync')}"
        )


@contextlib.contextmanager
def remote_results(
    paths: SweepPaths, warn: Callable[[str], None], take_over: bool = False
) -> Iterator[RemoteResults | None]:
    """Where the results are remote: found to be usable, leased and brought here, and uploaded at the end.

    Call it under the sweep's lock. For a results folder that is a path this yields None, and imports nothing.

    Args:
        paths: of the sweep's folder.
        warn: told when the storage is gone, and when it is back.
        take_over: takes the sweep from another machine's process.

    Raises:
        RequestError: the storage cannot be used; another machine writes the sweep; the two copies went apart.
    """
    if remote_url(paths.root.parent) is None:
        yield None
        return
    from sweep_runner.results.remote.address import address_of
    from sweep_runner.results.remote.fetch import bring_for_writer
    from sweep_runner.results.remote.lease import Lease
    from sweep_runner.results.remote.store import Store, StoreError

    address = address_of(paths.root.parent)
    assert address is not None
    try:
        Store(address).check(writable=True)
        store = Store(address.below(paths.name))
        lease = Lease.acquire(store, paths, take_over)
        remote = RemoteResults(store, paths, lease, warn)
        try:
            bring_for_writer(store, paths)
        except BaseException:
            remote.close()
            raise
    except StoreError as error:
        raise error.as_request() from error
    try:
        yield remote
    finally:
        remote.close()
