"""Holds searches against one another on all curves: `python -m benchmarks.curves [--sets NAME ...] [--seeds FROM TO]`.

Prints, for each set and engine, the mean regret in points of what is published after 5, 10, 20 and 30 full trainings,
by the luckiest epoch and (in brackets) by the rule of `--publish`, and paired sign tests after 20: of `guided` against
the others, by the luckiest, and of the rule in brackets against the luckiest. For recorded sets also the epochs
(median) until a search has seen a value within 1 % of the best recorded. `--engines` takes those of `variants.py`, too.
Seeds from 0 were tuned on; report on those from 100.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing import Pool

from benchmarks.curves.engines import GuidedPromotion, OptunaSearch, RandomSearch, StudyEngine, random_halving
from benchmarks.curves.replay import Choose, Engine, blended, epochs_until, luckiest, regrets, run, steadiest
from benchmarks.curves.sources import Curves, curves_of
from benchmarks.curves.variants import VARIANTS

AFTER = (5, 10, 20, 30)
JUDGED_AT = AFTER.index(20)
ENGINES: Mapping[str, Callable[[Curves, int], Engine]] = {
    "guided + promotion": GuidedPromotion,
    "the same, no usual values": lambda curves, seed: GuidedPromotion(curves, seed, recipes=[]),
    "the same, misleading values": lambda curves, seed: GuidedPromotion(curves, seed, recipes=curves.misleading),
    "random + successive halving": random_halving,
    "Optuna (TPE + median)": OptunaSearch,
    "random": RandomSearch,
    "tpe + successive halving": lambda curves, seed: StudyEngine(
        curves, seed, "tpe", {"kind": "successive_halving", "min_epochs": 1, "reduction_factor": 3}
    ),
    "guided + promotion, in a study": lambda curves, seed: StudyEngine(curves, seed, "guided", {"kind": "promotion"}),
}
OURS = next(iter(ENGINES))
RULES: Mapping[str, Choose] = {"steadiest": steadiest, "blended": blended}


def regrets_of(engine: str, rule: str, curves: Curves, seed: int) -> tuple[list[float], list[float], float]:
    """What one run publishes, in points below the best there is: by the luckiest epoch, and by a rule of `RULES`.

    And after how many epochs it had seen a value within 1 % of the best recorded: infinite, if it never had.
    """
    course = run({**ENGINES, **VARIANTS}[engine](curves, seed), curves, seed, max(AFTER))
    reached = None if curves.best_seen is None else epochs_until(course, 0.99 * curves.best_seen)
    lucky, other = (regrets(course, curves, choose, AFTER) for choose in (luckiest, RULES[rule]))
    return lucky, other, math.inf if reached is None else reached


def sign_test(wins: int, losses: int) -> float:
    """How probable it is to win so often or more by chance (one-sided)."""
    number = wins + losses
    return sum(math.comb(number, k) for k in range(wins, number + 1)) / 2**number if number else 1.0


def verdict(ours: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> str:
    """In how many pairs of runs ours is better and worse after 20 trainings, and how likely that is by chance."""
    pairs = [(a[JUDGED_AT], b[JUDGED_AT]) for a, b in zip(ours, others, strict=True)]
    wins, losses = sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
    return f"{wins}, {losses} (p = {sign_test(wins, losses):.2g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", help="By default all.")
    parser.add_argument("--engines", nargs="*", choices=[*ENGINES, *VARIANTS], default=list(ENGINES))
    parser.add_argument("--seeds", nargs=2, type=int, default=(100, 140), metavar=("FROM", "TO"))
    parser.add_argument("--publish", choices=RULES, default="steadiest", help="Rule that the brackets show.")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    columns = ["set", "engine", *map(str, AFTER), f"{OURS} better, worse after 20", f"{given.publish} better, worse"]
    columns.append("epochs to 1 %")
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    with Pool(given.processes) as pool:
        for curves in curves_of(given.sets or ()):
            ours: list[list[float]] = []
            for engine in given.engines:
                if "misleading" in engine and not curves.misleading:
                    continue
                both = pool.map(partial(regrets_of, engine, given.publish, curves), range(*given.seeds), chunksize=1)
                found = [lucky for lucky, *_ in both]
                means = " | ".join(
                    f"{statistics.mean(lucky[at] for lucky, *_ in both):.2f} "
                    f"({statistics.mean(other[at] for _, other, _ in both):.2f})"
                    for at in range(len(AFTER))
                )
                against = "–" if engine == OURS or not ours else verdict(ours, found)
                ours = found if engine == OURS else ours
                by_rule = verdict([other for _, other, _ in both], found)
                within = statistics.median(reached for *_, reached in both)
                cost = "–" if curves.best_seen is None else f"{within:.0f}" if math.isfinite(within) else "not reached"
                print(f"| {curves.name} | {engine} | {means} | {against} | {by_rule} | {cost} |", flush=True)


if __name__ == "__main__":
    main()
