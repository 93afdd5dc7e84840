"""How a keeper's search ends: its trials pause when a rule says so, and what is run again then is handed out.

Whatever is decided is in the log before it is done, so that a keeper over the same log goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sweep_runner.execution.keeper.books import Books
from sweep_runner.execution.keeper.confirming import conclusion
from sweep_runner.execution.keeper.ending import Ending, EndWork
from sweep_runner.execution.keeper.live_trial import LiveTrial
from sweep_runner.results.events import SearchStopped
from sweep_runner.results.search_progress import SearchProgress
from sweep_runner.search.study import Proposal


class SearchEnd:
    """See the module.

    Args:
        books: where it is written down.
        work: what follows the search.
        at_a_time: how many trials run at a time.

    Attributes:
        ending: the rules.
        searching: whether trials of the search are handed out, and not yet what runs the best of them again.
        cut_off: the trials (number, attempt) whose workers are to be ended because the search has; for who does it to
            take.
    """

    def __init__(self, books: Books, work: EndWork, at_a_time: Callable[[], int]) -> None:
        self.ending = Ending(books.spec, books.recorder.state, work, at_a_time)
        self.searching = not books.study.is_over
        self.cut_off: set[tuple[int, int]] = set()
        self._books = books
        self._confirm = books.spec.search.confirm
        self._study = books.study
        self._recorder = books.recorder
        self._live = books.live
        self._queue = books.queue

    def end_if_due(self) -> None:
        """Ends the search when a rule says so: its trials pause where they are, with their checkpoints."""
        if self._search.stopped is None and self.searching:
            if (verdict := self.ending.due(time.time())) is not None:
                self._stop_search(verdict)
        elif self._live and not self.ending.leaves_time(time.time(), 0.0, repetition=True):
            for live in list(self._live.values()):
                self._cut(live, "no time is left to complete the repetition")

    def _stop_search(self, verdict: SearchStopped) -> None:
        self._recorder.record(verdict)
        for live in list(self._live.values()):
            self._cut(live, verdict.reason)
        self.set_queue_aside(verdict.reason)

    def set_queue_aside(self, reason: str) -> None:
        """Of trials that no worker has, those pause that have begun; they go on when the search does."""
        for proposal in self._queue:
            summary = self._recorder.state.trials.get(proposal.number)
            if proposal.confirms is None and summary is not None and summary.ended is None:
                started = time.time() - summary.attempt_s
                self._cut(LiveTrial(proposal, summary.attempt, started, 0.0, 0.0, summary.epochs), reason)
        kept = [proposal for proposal in self._queue if proposal.confirms is not None]
        self._queue.clear()
        self._queue.extend(kept)

    def _cut(self, live: LiveTrial, reason: str) -> None:
        """A trial pauses at its last report because the search has ended, and goes on should the search do so."""
        self._books.set_aside(live, live.epoch, reason, stopped=True)
        self.cut_off.add((live.proposal.number, live.attempt))

    def draw(self) -> Proposal | None:
        """What is to be handed out next: of the search; when it has ended, of what is run again."""
        self.end_if_due()
        verdict: SearchStopped | None = None
        if self._search.stopped is None:
            verdict = self.ending.holds_back(time.time())
            proposal = None if verdict else self._queue.popleft() if self._queue else self._study.ask()
            if proposal is not None:
                self.searching = proposal.confirms is None
                return proposal
        if any(live.proposal.confirms is None for live in self._live.values()):
            return None
        if verdict is not None and (self._queue or not self._study.is_over):
            self._stop_search(verdict)
        self.searching = False
        return self._draw_repetition()

    def _draw_repetition(self) -> Proposal | None:
        """A trial that runs one of the best again; when all have been, what that came to is put on record."""
        if self._queue:
            return self._queue.popleft()
        original = self.ending.next_repetition(time.time())
        if original is not None:
            return self._study.repeat(original.trial)
        confirm, state = self._confirm, self._recorder.state
        if confirm is not None and not self._live and state.best() is not None:
            found, before = conclusion(state, confirm, time.time()), self._search.confirmation
            if before is None or tuple(before.trials) != found.trials:
                self._recorder.record(found)
        return None

    @property
    def _search(self) -> SearchProgress:
        return self._recorder.state.search

    def ends_with(self, live: LiveTrial) -> bool:
        """Whether a trial pauses with the report that it has just made: the search has ended, or no time is left."""
        self.end_if_due()
        number, repeats = live.proposal.number, live.proposal.confirms is not None
        if number in self._live and not self.ending.leaves_time(time.time(), live.epoch_s, repetition=repeats):
            self._cut(live, f"no time is left for another epoch ({live.epoch_s:.3g} s)")
        if number not in self._live:
            self.cut_off.discard((number, live.attempt))  # the answer to its report ends it
            return True
        return False
