"""Holds searches against one another on all curves: `python -m benchmarks.curves [--sets NAME ...] [--seeds FROM TO]`.

Prints, for each set and engine, the mean regret in points of what is published after 5, 10, 20 and 30 full trainings,
by the luckiest epoch and (in brackets) by the best mean of five, and paired sign tests of `guided` against the others
after 20, by the luckiest. For recorded sets also the epochs (median) until a search has seen a value within 1 % of the
best recorded. Seeds from 0 were tuned on; report on those from 100.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import Pool

from benchmarks.curves.engines import GuidedPromotion, OptunaSearch, RandomSearch, StudyEngine, random_halving
from benchmarks.curves.replay import Engine, epochs_until, luckiest, regrets, run, steadiest
from benchmarks.curves.sources import Curves, curves_of

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


def regrets_of(engine: str, curves: Curves, seed: int) -> tuple[list[float], list[float], float]:
    """What one run publishes, in points below the best there is: by the luckiest epoch, and by the steadiest.

    And after how many epochs it had seen a value within 1 % of the best recorded: infinite, if it never had.
    """
    course = run(ENGINES[engine](curves, seed), curves, seed, max(AFTER))
    reached = None if curves.best_seen is None else epochs_until(course, 0.99 * curves.best_seen)
    lucky, steady = (regrets(course, curves, choose, AFTER) for choose in (luckiest, steadiest))
    return lucky, steady, math.inf if reached is None else reached


def sign_test(wins: int, losses: int) -> float:
    """How probable it is to win so often or more by chance (one-sided)."""
    number = wins + losses
    return sum(math.comb(number, k) for k in range(wins, number + 1)) / 2**number if number else 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="*", help="By default all.")
    parser.add_argument("--engines", nargs="*", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--seeds", nargs=2, type=int, default=(100, 140), metavar=("FROM", "TO"))
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    given = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    columns = ["set", "engine", *map(str, AFTER), f"{OURS} better, worse after 20", "epochs to 1 %"]
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    with Pool(given.processes) as pool:
        for curves in curves_of(given.sets or ()):
            ours: list[list[float]] = []
            for engine in given.engines:
                if "misleading" in engine and not curves.misleading:
                    continue
                both = pool.map(partial(regrets_of, engine, curves), range(*given.seeds), chunksize=1)
                found = [lucky for lucky, *_ in both]
                means = " | ".join(
                    f"{statistics.mean(lucky[at] for lucky, *_ in both):.2f} "
                    f"({statistics.mean(steady[at] for _, steady, _ in both):.2f})"
                    for at in range(len(AFTER))
                )
                verdict = "–"
                if engine == OURS:
                    ours = found
                elif ours:
                    pairs = [(a[JUDGED_AT], b[JUDGED_AT]) for a, b in zip(ours, found, strict=True)]
                    wins, losses = sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
                    verdict = f"{wins}, {losses} (p = {sign_test(wins, losses):.2g})"
                within = statistics.median(reached for *_, reached in both)
                cost = "–" if curves.best_seen is None else f"{within:.0f}" if math.isfinite(within) else "not reached"
                print(f"| {curves.name} | {engine} | {means} | {verdict} | {cost} |", flush=True)


if __name__ == "__main__":
    main()
