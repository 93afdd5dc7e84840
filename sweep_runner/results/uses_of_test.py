"""How often a sweep's test split was looked at. Its figure is worth what it says at the first look; after each further
one, a choice may have been made with it in mind, and it flatters more.

One use is one model that was judged on it: the same model again tells nothing new. The sweep counts its own in its log
(and so in its tables); `sweep evaluate` notes others in a file each, because it may run beside the sweep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweep_runner.durable import write_atomically
from sweep_runner.results.candidates import SINGLE
from sweep_runner.results.leaderboard import Leaderboard, TrialRow, sweep_rows
from sweep_runner.results.paths import ResultsPaths, SweepPaths
from sweep_runner.results.tables import load_table


@dataclass(frozen=True)
class UsesOfTest:
    """The models that were judged on the test split of one sweep.

    Attributes:
        num_own: how many models the sweep itself has judged.
        trials: whose they are, as far as the tables know, in the order of the looks.
        made: what of several trials was judged: `soup`, `ensemble`.
        evaluated: others, that `sweep evaluate` has judged on the same examples.
        other_sweeps: sweeps of the same results folder with the very same data and splits → how many models each has
            judged.
    """

    num_own: int
    trials: tuple[int, ...] = ()
    evaluated: tuple[str, ...] = ()
    other_sweeps: Mapping[str, int] | None = None
    made: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How often test was used for this sweep's question."""
        return self.num_own + len(self.evaluated)

    def of(self, row: TrialRow) -> str:
        """What is to be said beside a trial's test figures: `test use 1 of 2, of an earlier winner`; empty where all is
        as it should be."""
        use = row.row.get("test_use")
        if use is None or self.count < 2:
            return ""
        earlier = ", of an earlier winner: more trials ran after it was seen" if use < self.num_own else ""
        return f"test use {use} of {self.count}{earlier}"

    def __str__(self) -> str:
        """`used once`, or `used 3 times (trials 3 and 7; by sweep evaluate: trial 5 epoch 2)`."""
        if not self.count:
            return "not used"
        if self.count == 1:
            return "used once" + self._elsewhere()
        named = []
        if self.trials:
            word = "trials" if len(self.trials) > 1 else "trial"
            named.append(f"{word} {_and([str(number) for number in self.trials])}")
        if self.made:
            named.append(f"the {_and(self.made)}")
        if self.evaluated:
            named.append(f"by sweep evaluate: {_and(self.evaluated)}")
        return f"used {self.count} times ({'; '.join(named)})" + self._elsewhere()

    def _elsewhere(self) -> str:
        if not self.other_sweeps:
            return ""
        uses = [f"{name} ({count})" for name, count in self.other_sweeps.items()]
        return f"; the same test examples were used by other sweeps, too: {_and(uses)}"


def uses_of_test(results: ResultsPaths, board: Leaderboard) -> UsesOfTest:
    """Who has looked at the test split of a sweep, as far as this results folder knows.

    Args:
        results: of the sweep and its neighbours.
        board: of the sweep.
    """
    # Tables of earlier versions do not say which use it was.
    rows = [
        row
        for row in (*board.ranked, *board.unranked)
        if row.row.get("test_use") is not None or row.row.get("test_num_examples") is not None
    ]
    rows.sort(key=lambda row: (int(row.row.get("test_use") or 0), row.trial))
    counted = [int(row.row.get("test_use") or 0) for row in rows]
    num_own = max([int(board.sweep.values.get("test_uses") or 0), len(rows), *counted])
    own = {(row.trial, row.row["best_epoch"]) for row in rows}
    looks = [look for look in _looks(results.sweep(board.sweep.sweep)) if _own_model(look) not in own]
    fingerprint = board.sweep.values.get("data_fingerprint")
    others = {
        other.sweep: int(other.values.get("test_uses") or 0)
        for other in (sweep_rows(results) if fingerprint else ())
        if other.sweep != board.sweep.sweep and other.values.get("data_fingerprint") == fingerprint
    }
    return UsesOfTest(
        num_own,
        tuple(row.trial for row in rows),
        tuple(str(look["model"]) for look in looks),
        {name: count for name, count in others.items() if count},
        _made(results, board.sweep.sweep),
    )


def _made(results: ResultsPaths, sweep: str) -> tuple[str, ...]:
    """What was made of several trials and judged on test."""
    table = load_table(results, "candidates", (sweep,), lambda text: None)
    rows = zip(table["candidate"].to_pylist(), table["test_accuracy"].to_pylist(), strict=True)
    return tuple(name for name, tested in rows if name != SINGLE and tested is not None)


def note_look(paths: SweepPaths, origin: Mapping[str, Any], model: str) -> Path:
    """Notes that a model was judged on the sweep's test split. The same model again: changes nothing.

    Args:
        paths: of the sweep whose test split it was.
        origin: of the model, as its package says: sweep, trial, epoch.
        model: its name where the package says no origin.

    Returns:
        The note.

    Raises:
        OSError: the note could not be written.
    """
    trial, epoch = origin.get("trial"), origin.get("epoch")
    ours = origin.get("sweep") == paths.name and isinstance(trial, int)
    if isinstance(trial, int):
        model = f"{'' if ours else str(origin.get('sweep')) + ' '}trial {trial}" + (
            f" epoch {epoch}" if isinstance(epoch, int) else ""
        )
    file = paths.looks_at_test / f"{hashlib.blake2b(model.encode(), digest_size=8).hexdigest()}.json"
    if file.exists():
        return file
    look = {
        "model": model,
        "trial": trial if ours else None,
        "epoch": epoch if ours else None,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    paths.looks_at_test.mkdir(exist_ok=True)
    write_atomically(file, json.dumps(look).encode())
    return file


def _looks(paths: SweepPaths) -> list[Mapping[str, Any]]:
    """What `note_look` wrote, oldest first. A damaged note counts, too: somebody has looked."""
    looks = []
    for file in paths.looks_at_test.glob("*.json"):
        try:
            look = json.loads(file.read_bytes())
            whole = isinstance(look, dict) and {"model", "time"} <= look.keys()
        except (OSError, ValueError):
            whole = False
        looks.append(look if whole else {"model": f"damaged note {file.name}", "time": ""})
    return sorted(looks, key=lambda look: str(look["time"]))


def _own_model(look: Mapping[str, Any]) -> tuple[Any, Any]:
    return look.get("trial"), look.get("epoch")


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
