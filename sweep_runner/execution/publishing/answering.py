"""The answer of a sweep that has ended: worked out once the kept trials are judged on val, before a model is published.

Which trial's model is published hangs on it, where `export.prefer` asks for the smaller or faster one of those that
cannot be told apart.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping

from sweep_runner.results.answer import Answer, ranking, words
from sweep_runner.results.answering import ranked, work_out
from sweep_runner.results.events import Answered
from sweep_runner.results.paths import SweepPaths
from sweep_runner.results.recorder import Recorder
from sweep_runner.results.state import SweepState, TrialSummary
from sweep_runner.spec.plan import Plan
from trainables.facts import ONNX_LATENCY


def answer_on_record(plan: Plan, state: SweepState) -> Answer | None:
    """The answer, where it is of this leaderboard, of what was judged on val, and of what is preferred."""
    answer = Answer.read(state.answer)
    if answer is None:
        return None
    trials = ranked(state)
    same = (
        answer.ranked == ranking((each.trial, each.best_epoch) for each in trials)
        and answer.evaluated == _evaluated(trials)
        and answer.prefer == (plan.spec.export.prefer or "")
    )
    return answer if same else None


def chosen(plan: Plan, state: SweepState) -> TrialSummary | None:
    """The trial whose model is published; None while no trial has a result."""
    best = state.best()
    if best is None:
        return None
    answer = answer_on_record(plan, state)
    if answer is not None:
        return state.trials[answer.chosen]
    return state.trials[best.copy_of] if best.copy_of is not None else best


def record_answer(plan: Plan, paths: SweepPaths, recorder: Recorder, is_kept: Callable[[int], bool]) -> None:
    """Works the answer out and puts it on record, where that is not done yet.

    Args:
        plan: the sweep.
        paths: of its folder.
        recorder: open; the sweep has a best trial.
        is_kept: whether a trial's checkpoint is there, so that its model can be published.
    """
    state = recorder.state
    if answer_on_record(plan, state) is not None:
        return
    answer = work_out(state, paths, _evaluated(ranked(state)))
    answer = _preferred(answer, plan.spec.export.prefer or "", state, is_kept)
    recorder.record(Answered(time=time.time(), answer=answer.to_json()))


def _evaluated(trials: list[TrialSummary]) -> tuple[int, ...]:
    return tuple(each.trial for each in trials if each.has_final("val"))


def _preferred(answer: Answer, prefer: str, state: SweepState, is_kept: Callable[[int], bool]) -> Answer:
    """With the trial that is published, and why it is that one."""
    if not prefer:
        return answer
    answer = dataclasses.replace(answer, prefer=prefer)
    kept = [trial for trial in answer.alike if is_kept(trial)]
    others = [trial for trial in kept if trial != answer.winner]
    asked = f"(export.prefer: {prefer})"
    if not others:
        why = (
            f"trial {answer.winner} is published {asked}: no other trial that is not significantly worse has a "
            "checkpoint"
        )
        return dataclasses.replace(answer, why_chosen=why)
    what, costs = _costs(prefer, [state.trials[trial] for trial in kept])
    among = f"of trials {words(sorted(kept))}, which do not differ significantly and have checkpoints"
    if answer.winner not in costs or len(costs) < 2:
        why = f"trial {answer.winner} is published {asked}: {what} of the others is unknown"
        return dataclasses.replace(answer, why_chosen=why)
    # Of equals the better one on val: `kept` is in that order.
    chosen = min((trial for trial in kept if trial in costs), key=lambda trial: costs[trial])
    if chosen == answer.winner:
        why = f"trial {chosen} is published {asked}: it has the lowest {what} ({_figure(costs[chosen])}) {among}"
    else:
        why = (
            f"trial {chosen} is published instead of trial {answer.winner} {asked}: {what} {_figure(costs[chosen])} "
            f"instead of {_figure(costs[answer.winner])}, the lowest {among}"
        )
    return dataclasses.replace(answer, chosen=chosen, why_chosen=why)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def _costs(prefer: str, trials: list[TrialSummary]) -> tuple[str, Mapping[int, float]]:
    """What is compared, in words, and of each trial how much it is, as far as that is known."""
    if prefer == "smaller":
        sizes = {each.trial: each.num_parameters for each in trials}
        return "number of parameters", {trial: float(size) for trial, size in sizes.items() if size}
    latencies = {each.trial: each.facts[ONNX_LATENCY] for each in trials if ONNX_LATENCY in each.facts}
    if len(latencies) == len(trials):
        return "latency in ms", latencies
    return "seconds per epoch", {each.trial: each.duration_s / each.epochs for each in trials if each.epochs}
