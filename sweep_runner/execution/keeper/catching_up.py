"""After a crash: the study is brought up to the log, which alone decides what happened."""

from __future__ import annotations

from sweep_runner.errors import SweepError
from sweep_runner.execution.keeper.books import Books
from sweep_runner.execution.keeper.live_trial import LiveTrial
from sweep_runner.execution.keeper.reports import Reports
from sweep_runner.execution.keeper.search_end import SearchEnd
from sweep_runner.results.events import EpochReported, SweepChanged
from sweep_runner.results.log import read_events


def catch_up(books: Books, reports: Reports, end: SearchEnd) -> None:
    """Brings the study up to the log, decides what the crash left undecided, queues what was running."""
    _check_that_they_belong_together(books)
    open_trials = {proposal.number: proposal for proposal in books.study.open_trials()}
    last: EpochReported | None = None  # unless something followed that only comes after its decision
    for event in read_events(books.paths.log):
        if not isinstance(event, SweepChanged):
            last = event if isinstance(event, EpochReported) else None
        if isinstance(event, EpochReported) and event.trial in open_trials:
            books.study.report(event.trial, event.epoch, event.metrics[books.spec.objective.metric])
    for number, proposal in list(open_trials.items()):
        summary = books.summary(number)
        state = "WAITING" if summary is None else summary.state
        if state == "PAUSED" and summary is not None and not summary.stopped:
            books.pause_in_study(number)
            del open_trials[number]
        elif summary is not None and state not in ("WAITING", "RUNNING", "PAUSED"):
            books.tell(number, state, summary.best_value)
            del open_trials[number]
        else:
            books.study.go_on(number)
            if last is not None and last.trial == number:
                live = LiveTrial(proposal, last.attempt, last.time, 0.0, 0.0)
                if not reports.goes_on(live, last.epoch, last.metrics):
                    del open_trials[number]
    books.give_up_surplus()
    books.queue.extend(open_trials[number] for number in sorted(open_trials))
    stopped = books.recorder.state.search.stopped
    if stopped is not None:
        end.set_queue_aside(stopped.reason)


def _check_that_they_belong_together(books: Books) -> None:
    """A trial is in the study before it is in the log, and has ended in the log before it has in the study."""
    trials = books.study.trials()
    lacking = [number for number in books.recorder.state.trials if number >= len(trials)]
    ended = [trial.number for trial in trials if trial.state not in ("WAITING", "RUNNING", "PAUSED")]
    lost = [number for number in ended if books.summary(number) is None]
    if not lacking and not lost:
        return
    if lacking:
        what = f"{books.paths.log} has trial {min(lacking)}, which {books.paths.study.name} lacks"
    else:
        what = f"{books.paths.study} has trial {min(lost)} as ended, which {books.paths.log.name} lacks"
    raise SweepError(
        f"{what}: one of the two files was removed or replaced. Put it back from a copy, or put the whole sweep "
        "aside and start over: sweep run FILE --fresh"
    )
